"""Another policy on what has happened: at every decision of every recorded run, what it would have decided. It runs nothing and asks nobody.

A run's decisions up to and including the first that changes are *exact*: that policy would have been asked just this. From there the run
would have gone elsewhere, so what the rest says is *bounded* by the recording: what would be decided if these calls came up all the same.
A family of runs is one story: what changes in a parent bounds the subagents' runs that it starts later, and what changes in a subagent's
run bounds its parent from where that run came to its end.

* People's answers stand as they were given. A call that is still put before a person is decided as it was; one that no longer is, is changed.
* A decision that a person edited for a fork was no policy's, and is left alone. One that a fork took over from the record is asked again.
* What a fork shares with its original is looked at for both, and counted once.
* Another rule with the same outcome is no change. Another reason is one, where the model or a person is told it.
* Where the agent was changed in the middle of a run, each stretch is shown with the tools that were recorded for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from afk_es.debugger.naming import all_runs
from afk_es.errors import RunNotFoundError
from afk_es.evals.policies.changes import PolicyWhatIf, RunWhatIf
from afk_es.evals.policies.history import Origin, origins, pages
from afk_es.evals.policies.reading import PolicyReading
from afk_es.evals.policies.sums import PolicySums
from afk_es.evals.policies.tried_policy import Policy, TriedPolicy
from afk_es.evals.run_selection import RunSelection
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent

DEEPEST = 32
"""Levels of subagents that are followed. A log is data, perhaps somebody's that leads in a circle."""

Progress = Callable[[int, int], None]
"""Is told how many runs and decisions have been looked at."""


async def policy_what_if(
    log: EventLog,
    policy: Policy,
    *,
    runs: RunSelection | Sequence[str] | None = None,
    progress: Progress | None = None,
    on_run: Callable[[RunWhatIf], None] | None = None,
) -> PolicyWhatIf:
    """What another policy would have decided in recorded runs. A run brings the runs of its subagents along.

    Args:
        log: open; it is only read.
        policy: stands for all that was asked then, of the runner and of the agents. An `Agent` is its engine and roles, each subagent's for
            its own runs, and its tools, which say what the arguments of its calls come to; runs of other agents are left out.
        runs: ids of runs, or a selection; None: all but replays.
        progress: told after every run.
        on_run: given what there is to say of each run, also of those that stay as they are, which the answer only counts.

    Raises:
        RunNotFoundError: the log has no run of such an id.
        ConfigurationError: `policy` is none, or answers what no log can hold.
    """
    trial = _Trial(log, TriedPolicy.of(policy), progress, on_run)
    if runs is None or isinstance(runs, RunSelection):
        await trial.selected(runs or RunSelection(subagents=True))
    else:
        await trial.named(runs)
    return trial.sums.answer(log.location)


class _Trial:
    """One question to all runs: it goes from family to family, from each root down, and adds up."""

    def __init__(self, log: EventLog, tried: TriedPolicy, progress: Progress | None, on_run: Callable[[RunWhatIf], None] | None) -> None:
        self.log = log
        self.tried = tried
        self.sums = PolicySums()
        self._progress = progress
        self._on_run = on_run
        self._counted: dict[str, int | None] = {}
        self._any_order = False
        self._met_again = False

    async def selected(self, selection: RunSelection) -> None:
        """All runs of a selection. They come the newest first: forks before what they were forked from, children before their parents."""
        waiting: dict[str, set[str]] = {}
        left = selection.newest
        async for record in all_runs(self.log, thread_id=selection.thread_id):
            admitted = left != 0 and await selection.admits(self.log, record)
            left = left - 1 if admitted and left is not None else left
            root = record.run_id if record.parent_run_id is None else await self._root(record.run_id)
            if admitted:
                waiting.setdefault(root, set()).add(record.run_id)
            if root == record.run_id and (wanted := waiting.pop(root, None)) is not None:
                await self._family(root, wanted, await origins(self.log, root, record.thread_id, record.forked_from))
            if left == 0 and not waiting:
                return
        for root, wanted in waiting.items():
            await self._family(root, wanted)

    async def named(self, run_ids: Sequence[str]) -> None:
        """Runs by their ids, in whatever order."""
        self._any_order = True
        families: dict[str, set[str]] = {}
        for run_id in run_ids:
            if await self.log.head(run_id) is None:
                raise RunNotFoundError(f"{self.log.location} has no run {run_id!r}")
            families.setdefault(await self._root(run_id), set()).add(run_id)
        for root, wanted in families.items():
            await self._family(root, wanted)

    async def _root(self, run_id: str) -> str:
        """The run at the head of the family, as far up as the log has it."""
        for _level in range(DEEPEST):
            first = await self.log.read(run_id, limit=1)
            parent = first[0].data.get("parent")
            if parent is None:
                break
            above = next((each for each in (parent.get("root"), parent["run_id"]) if each is not None), run_id)
            if await self.log.head(above) is None:
                above = parent["run_id"]
                if await self.log.head(above) is None:
                    break
            run_id = above
        return run_id

    async def _family(self, root: str, wanted: set[str], whence: tuple[Origin, ...] | None = None) -> None:
        if whence is None:
            head = await self.log.head(root)
            whence = () if head is None else await origins(self.log, root, head.thread_id, head.forked_from)
        self._met_again = self._any_order or len(whence) > 1
        await self.walk(root, None, None, wanted, whence, frozenset())

    async def walk(
        self,
        run_id: str,
        above: TriedPolicy | None,
        parted: str | None,
        wanted: set[str] | None,
        whence: tuple[Origin, ...],
        path: frozenset[str],
    ) -> str | None:
        """One run, and the subagents' runs where it starts them.

        Args:
            above: the policy of the run that started it.
            parted: where the family has gone elsewhere before.
            wanted: the runs that are asked about; None: this one, and all below it.
            whence: the runs that its events were written for; of a subagent's run, which is no fork, empty.
            path: the runs above it.

        Returns:
            Where it goes elsewhere, or one below it does.
        """
        told = (wanted is None or run_id in wanted) and self._counted.get(run_id, 0) is not None
        reading: PolicyReading | None = None
        async for page in pages(self.log, run_id):
            for event in page:
                if reading is None:
                    reading = self._reading(event, above, parted, None if told else wanted, whence, path, self.sums if told else None)
                await reading.take(event)
        if reading is None:
            return None
        row = reading.row()
        if told:
            self._report(row)
        self._remember(run_id, whence)
        return reading.parted

    def _reading(
        self,
        first: AgentRunEvent,
        above: TriedPolicy | None,
        parted: str | None,
        wanted: set[str] | None,
        whence: tuple[Origin, ...],
        path: frozenset[str],
        sums: PolicySums | None,
    ) -> PolicyReading:
        whence = whence or (Origin(first.run_id, first.thread_id, None),)
        tried = self.tried.among(first.data.get("agent_name") or "", above)
        down = path | {first.run_id}

        async def below(run_id: str, since: str | None, own: bool) -> str | None:
            if run_id in down or len(down) > DEEPEST:
                return None
            asked = wanted if own else set()
            return await self.walk(run_id, tried, since, asked, (), down)

        return PolicyReading(first, tried, whence, parted, sums, self.fresh, below)

    def fresh(self, origin: Origin, seq: int) -> bool:
        """Whether an event has not been counted for another run that shares it."""
        if origin.run_id not in self._counted:
            return True
        upto = self._counted[origin.run_id]
        return upto is not None and seq > upto

    def _remember(self, run_id: str, whence: tuple[Origin, ...]) -> None:
        """What was counted of runs that may be met again: those that others share, and where the order is anybody's, all."""
        for origin in whence[:-1]:
            known = self._counted.get(origin.run_id, 0)
            if origin.upto is not None and known is not None:
                self._counted[origin.run_id] = max(known, origin.upto)
        if self._met_again:
            self._counted[run_id] = None

    def _report(self, row: RunWhatIf | None) -> None:
        if row is None:
            self.sums.others += 1
            return
        self.sums.take_run(row)
        if self._on_run is not None:
            self._on_run(row)
        if self._progress is not None:
            self._progress(self.sums.runs, self.sums.decisions)
