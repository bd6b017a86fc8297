"""Stores in memory that are wrong in what they tell, one defect each: everything else is `MemoryEventLog`. The name of a class says what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from afk_es.log.memory import MemoryEventLog
from afk_es.log.port import RunHead, RunRecord
from afk_es.machine import AgentRunEvent

Events = Sequence[AgentRunEvent]
replaced = msgspec.structs.replace


class StaleHeads(MemoryEventLog):
    def __init__(self) -> None:
        super().__init__()
        self.heads: dict[str, RunHead] = {}

    async def head(self, run_id: str) -> RunHead | None:
        found = await super().head(run_id)
        return found and self.heads.setdefault(run_id, found)


class OrdersAThreadByItsBeginnings(MemoryEventLog):
    async def thread(self, thread_id: str) -> list[RunHead]:
        return sorted(await super().thread(thread_id), key=lambda head: head.first_position)


class FindsThreadsByTheirBeginning(MemoryEventLog):
    async def thread(self, thread_id: str) -> list[RunHead]:
        names = {run.head.thread_id for run in self._runs.values() if run.head.thread_id.startswith(thread_id)}
        return [head for name in sorted(names) for head in await super(FindsThreadsByTheirBeginning, self).thread(name)]


class ListsOldestFirst(MemoryEventLog):
    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        return (await super().runs(thread_id=thread_id, before=before, limit=1_000))[::-1][:limit]


class RepeatsTheLastRunOfAPage(MemoryEventLog):
    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        found = await super().runs(thread_id=thread_id, before=before, limit=limit)
        return found if before is None else [row for row in await super().runs(limit=1_000) if row.run_id == before] + found


class ListsAnUnknownPriceAsNothing(MemoryEventLog):
    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        found = await super().runs(thread_id=thread_id, limit=limit, before=before)
        return [replaced(row, cost_usd=row.cost_usd or 0.0) for row in found]


class CountsNoErrors(MemoryEventLog):
    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        return [replaced(row, errors=0) for row in await super().runs(thread_id=thread_id, limit=limit, before=before)]


class FindsWhateverTheCase(MemoryEventLog):
    async def find(self, prefix: str) -> list[str]:
        self._check_open()
        return [run_id for run_id in reversed(self._runs) if run_id.lower().startswith(prefix.lower())][:20]


class FindsInTheMiddle(MemoryEventLog):
    async def find(self, prefix: str) -> list[str]:
        self._check_open()
        return [run_id for run_id in reversed(self._runs) if prefix in run_id][:20]


class FindsTheOldestTwenty(MemoryEventLog):
    async def find(self, prefix: str) -> list[str]:
        self._check_open()
        return [run_id for run_id in self._runs if run_id.startswith(prefix)][:20][::-1]


class Scanning(MemoryEventLog):
    """Changes what a scan is asked before it is made."""

    def asked(self, options: dict[str, Any]) -> dict[str, Any]:
        """What it scans for."""
        raise NotImplementedError

    async def scan(
        self,
        run_id: str,
        *,
        after: int = 0,
        before: int | None = None,
        types: Collection[str] = (),
        containing: Sequence[str] = (),
        backwards: bool = False,
        limit: int | None = None,
    ) -> list[AgentRunEvent]:
        options = {"after": after, "before": before, "types": types, "containing": containing, "backwards": backwards, "limit": limit}
        return await super().scan(run_id, **self.asked(options))


class ScansUpToAndWithTheEnd(Scanning):
    def asked(self, options: dict[str, Any]) -> dict[str, Any]:
        before = options["before"]
        return options | {"before": None if before is None else before + 1}


class ScansForOneTypeOnly(Scanning):
    def asked(self, options: dict[str, Any]) -> dict[str, Any]:
        return options | {"types": list(options["types"])[:1]}


class ScansForwardsOnly(Scanning):
    def asked(self, options: dict[str, Any]) -> dict[str, Any]:
        return options | {"backwards": False}


class LimitsAScanBeforeItFilters(Scanning):
    def asked(self, options: dict[str, Any]) -> dict[str, Any]:
        if options["limit"] is not None and not options["backwards"] and options["before"] is None:
            return options | {"before": options["after"] + options["limit"] + 1}
        return options


class MindsTheCaseOfTexts(MemoryEventLog):
    async def scan(self, run_id: str, *, containing: Sequence[str] = (), **options: Any) -> list[AgentRunEvent]:
        found = await super().scan(run_id, containing=containing, **options)
        return [item for item in found if all(text in f"{item.message}{item.data}{item.type}" or not text.isascii() for text in containing)]


class LosesTextsInParts(MemoryEventLog):
    async def scan(self, run_id: str, *, containing: Sequence[str] = (), **options: Any) -> list[AgentRunEvent]:
        found = await super().scan(run_id, containing=containing, **options)
        return [item for item in found if not containing or item.type != "run_started"]


class ForksSeeTheirBaseGoOn(MemoryEventLog):
    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        found = await super().read(run_id, after=after, limit=limit)
        run = self._runs.get(run_id)
        if run is None or run.base is None or limit is not None:
            return found
        late = await super().read(run.base.run_id, after=max(run.base.seq, after))
        return [*found, *(replaced(item, run_id=run_id) for item in late)]


class ForksKeepTheNameOfTheirBase(MemoryEventLog):
    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        found = await super().read(run_id, after=after, limit=limit)
        run = self._runs.get(run_id)
        if run is None or run.base is None:
            return found
        return [replaced(item, run_id=run.base.run_id) if item.seq <= run.base.seq else item for item in found]


class ForksShareOneEventTooFew(MemoryEventLog):
    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        found = await super().read(run_id, after=after, limit=limit)
        run = self._runs.get(run_id)
        return found if run is None or run.base is None else [item for item in found if item.seq != run.base.seq]


class KnowsForksOfForksAsItsOwn(MemoryEventLog):
    async def forks(self, run_id: str) -> list[RunHead]:
        own = await super().forks(run_id)
        deeper = [await super(KnowsForksOfForksAsItsOwn, self).forks(fork.run_id) for fork in own]
        return [*own, *(head for heads in deeper for head in heads)]


class CountsWhatAForkReuses(MemoryEventLog):
    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        found = await super().runs(thread_id=thread_id, limit=limit, before=before)
        return [replaced(row, cost_usd=(row.cost_usd or 0.0) * 2) if row.forked_from else row for row in found]
