"""What a person calls a run, and the run: ids, beginnings of ids, the last one, the last that failed."""

from __future__ import annotations

from collections.abc import AsyncIterator

from afk_es.errors import RunNotFoundError, UsageError
from afk_es.log import EventLog, RunRecord
from afk_es.machine.events import TERMINAL

_RUN_PREFIX = "run_"
_SHORTEST = 12
"""Characters of an id that are always shown: our ids begin with 12 digits of time, and a shorter beginning would soon fit later runs."""


async def named_run(log: EventLog, name: str) -> str:
    """The id of the run that is meant.

    Raises:
        RunNotFoundError: there is none.
        UsageError: the beginning of an id fits several runs; the message lists them.
    """
    if name.startswith("@"):
        return await _selected(log, name)
    if await log.head(name) is not None:
        return name
    found = await log.find(name)
    if not found and not name.startswith(_RUN_PREFIX):
        found = await log.find(_RUN_PREFIX + name)
    if not found or not name:
        raise RunNotFoundError(f"{log.location} has no run {name!r}; `afk-es runs` lists what it has")
    if len(found) > 1:
        shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise UsageError(f"{name!r} is the beginning of several runs; write more of the one that is meant: {shown}")
    return found[0]


async def _selected(log: EventLog, name: str) -> str:
    if name not in ("@last", "@last-failed"):
        raise UsageError(f"{name!r} is not a way to name a run; there are @last and @last-failed")
    async for run_id in _newest(log):
        if name == "@last" or await went_wrong(log, run_id):
            return run_id
    what = "no run yet" if name == "@last" else "no run that failed or crashed"
    raise RunNotFoundError(f"{log.location} has {what}")


async def _newest(log: EventLog) -> AsyncIterator[str]:
    """The ids of all runs, the newest first. The first of them cost nothing; a record of a run adds up all its events."""
    found = await log.find("")
    for run_id in found:
        yield run_id
    before = found[-1] if found else None
    while before is not None and (page := await log.runs(limit=200, before=before)):
        for record in page:
            yield record.run_id
        before = page[-1].run_id


async def went_wrong(log: EventLog, run_id: str) -> bool:
    """Whether the run failed, or has no end and nobody drives it."""
    head = await log.head(run_id)
    if head is None or head.last_type in TERMINAL:
        return head is not None and head.last_type == "run_failed"
    claims = await log.scan(run_id, types=("run_started",), backwards=True, limit=1)
    return not await log.alive(claims[0].data["owner"], run_id)


async def all_runs(log: EventLog, *, thread_id: str | None = None, before: str | None = None) -> AsyncIterator[RunRecord]:
    """Every run of the log, or of a thread, the newest first; `before` is the run behind which it begins.

    Raises:
        RunNotFoundError: there is no run `before`.
    """
    # The first page is small: most callers want the last run, and a page costs a scan of its runs' events.
    size = 20
    while page := await log.runs(thread_id=thread_id, limit=size, before=before):
        for record in page:
            yield record
        before = page[-1].run_id
        size = 200


async def status_of(log: EventLog, record: RunRecord) -> str:
    """The run's status for people: one that nobody drives any more and that has not ended has crashed."""
    if record.ended or await log.alive(record.owner, record.run_id):
        return record.state
    return "crashed"


async def short_ids(log: EventLog, run_ids: list[str]) -> dict[str, str]:
    """The shortest beginning of each id that is unique in the log."""
    return {run_id: await _short_id(log, run_id) for run_id in run_ids}


async def _short_id(log: EventLog, run_id: str) -> str:
    low, high = min(len(run_id), len(_RUN_PREFIX) + _SHORTEST), len(run_id)
    # Longer beginnings fit fewer runs, so the shortest unique one can be searched for by halves.
    while low < high:
        middle = (low + high) // 2
        if len(await log.find(run_id[:middle])) == 1:
            high = middle
        else:
            low = middle + 1
    return run_id[:low].removeprefix(_RUN_PREFIX)
