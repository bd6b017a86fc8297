"""Runs of subagents: started, gone on with and ended as runs of their own, and told to the parent as what they came to.

A child's log is the only place where its work is recorded. So there is nothing to be in doubt about: whoever drives the parent looks into
the child's log, and starts the child, goes on with it, or reads what it came to.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec

from afk_es.agents.inheritance import inherited_context
from afk_es.clock import Clock
from afk_es.core.guard import Guard
from afk_es.core.handle import Stretch
from afk_es.core.lease import Lease
from afk_es.core.loop import Handlers, Loop
from afk_es.core.pending import state_of
from afk_es.core.places import CrowdedError, Place, Places
from afk_es.core.result import text_of_run
from afk_es.errors import HeadConflictError, LeaseLostError, LogError, RunOwnedError, ToolArgumentsError
from afk_es.handlers import Binding
from afk_es.log import EventLog
from afk_es.machine import Draft, RunState
from afk_es.machine.children import live_children
from afk_es.machine.effects import CancelSubagent, RunSubagent
from afk_es.machine.events import ParentRef
from afk_es.machine.values import Usage, plain
from afk_es.views import FOR_GOOD

_SPECS_KEPT = 64


@dataclass(frozen=True, slots=True)
class ChildRun:
    """A subagent's run as its parent wants it.

    Attributes:
        binding: the subagent, with the limits that its parent leaves it.
        parent: what the child's first event says of where it comes from.
        root: the run that a caller started.
        place: the child's, which it lends out while its own subagents work.
        end: the reason to end it for good, where it is not to go on.
        guard: the parent's, which watches its subagents as well.
        lease: the parent's; who drives the parent drives its subagents.
        take_over: whether the parent was taken from an owner that may still live, and may have this run as well.
    """

    run_id: str
    binding: Binding
    task: str
    context: dict[str, Any]
    parent: ParentRef
    root: str
    place: Place | None = None
    end: str | None = None
    guard: Guard | None = None
    lease: Lease | None = None
    take_over: bool = False


Begin = Callable[[ChildRun], Awaitable[Stretch]]
"""Starts the child's run, goes on with it, or finds that it has ended."""


class Children:
    """The runs of subagents that go on in one Runner.

    Args:
        begin: the Runner's way to begin one.
    """

    def __init__(self, begin: Begin, places: Places) -> None:
        self.places = places
        self._begin = begin
        self._living: dict[str, asyncio.Task[Stretch]] = {}
        self._placed: OrderedDict[tuple[Any, ...], tuple[Binding, Binding]] = OrderedDict()

    def living(self, run_id: str) -> asyncio.Task[Stretch] | None:
        """The child's stretch, if it goes on in this Runner or is about to."""
        return self._living.get(run_id)

    def begin(self, child: ChildRun) -> asyncio.Task[Stretch]:
        """Begin the child's stretch, whole: nobody's cancellation leaves it halfway."""
        starting = asyncio.ensure_future(self._begin(child))
        self._living[child.run_id] = starting
        starting.add_done_callback(lambda begun: self._begun(child.run_id, begun))
        return starting

    def _begun(self, run_id: str, starting: asyncio.Task[Stretch]) -> None:
        if starting.cancelled() or starting.exception() is not None:
            self._living.pop(run_id, None)
        else:
            starting.result().task.add_done_callback(lambda _ended: self._living.pop(run_id, None))

    def bound(self, target: Binding, parent: RunState, budget_usd: float | None) -> Binding:
        """The subagent with its place in the family: below this parent, with what the parent leaves it."""
        path = (*parent.spec.agent_path, parent.spec.agent_name)
        own = target.spec.limits
        depth = min(own.max_subagent_depth, max(parent.spec.limits.max_subagent_depth - 1, 0))
        costs = [cost for cost in (own.max_total_cost_usd, budget_usd) if cost is not None]
        return self._below(target, path, depth, min(costs) if costs else None)

    def placed(self, target: Binding, recorded: RunState) -> Binding:
        """The subagent as its run has it recorded, for whoever goes on with it."""
        limits = recorded.spec.limits
        return self._below(target, recorded.spec.agent_path, limits.max_subagent_depth, limits.max_total_cost_usd)

    def _below(self, target: Binding, path: tuple[str, ...], depth: int, cost_usd: float | None) -> Binding:
        limits = msgspec.structs.replace(target.spec.limits, max_subagent_depth=depth, max_total_cost_usd=cost_usd)
        if target.spec.agent_path == path and target.spec.limits == limits:
            return target
        # One object per content: the log stores and decodes a spec once, by the identity of its data.
        key = (id(target), path, depth, cost_usd)
        if key not in self._placed:
            spec = msgspec.structs.replace(target.spec, agent_path=path, limits=limits)
            # The target is kept with it, so that its id stays taken.
            self._placed[key] = (target, replace(target, spec=spec, data=plain(msgspec.to_builtins(spec))))
            if len(self._placed) > _SPECS_KEPT:
                self._placed.popitem(last=False)
        return self._placed[key][1]


class SubagentHandler:
    """Performs `RunSubagent` and `CancelSubagent` for one stretch of a parent's run.

    Args:
        place: the parent's own, where it is a subagent itself.
        parent: the parent's loop, which says why an effect was stopped.
        take_over: see `ChildRun`.
    """

    def __init__(
        self,
        children: Children,
        binding: Binding,
        log: EventLog,
        clock: Clock,
        root: str,
        place: Place | None,
        parent: Callable[[], Loop],
        take_over: bool = False,
    ) -> None:
        self._children = children
        self._binding = binding
        self._log = log
        self._clock = clock
        self._root = root
        self._place = place
        self._parent = parent
        self._take_over = take_over

    def handlers(self) -> Handlers:
        """Its part of the table."""
        return {RunSubagent: self.run, CancelSubagent: self.cancel}

    async def run(self, effect: RunSubagent, state: RunState) -> Draft:
        """What the child came to, or that it was laid down."""
        began = self._clock.monotonic()
        target = self._binding.subagents.get(effect.subagent_name)
        if target is None:
            error = f"agent {self._binding.spec.agent_name!r} has no subagent {effect.subagent_name!r} any more"
            return _never_ran(effect, error, "SubagentGone", "terminal", _since(self._clock, began))
        try:
            # A policy or a person may have changed the task since the gate.
            self._binding.tools[effect.call.tool_name].validate(effect.call.arguments)
        except ToolArgumentsError as error:
            return _never_ran(effect, str(error), "InvalidArguments", "non_fatal", _since(self._clock, began))
        try:
            async with self._lent():
                place = await self._children.places.take(target.spec.agent_name)
                try:
                    child = await self._lived(self._ordered(effect, target, state, place))
                finally:
                    place.close()
        except CrowdedError as error:
            return _never_ran(effect, str(error), "TooManySubagents", "retryable", _since(self._clock, began))
        except (RunOwnedError, HeadConflictError, LogError) as error:
            return _waiting(effect, str(error))
        if child.status == "interrupted" and not child.overdue:
            return _waiting(effect, child.reason)
        return await _told(effect, child, self._log, _since(self._clock, began))

    async def cancel(self, effect: CancelSubagent, state: RunState) -> Draft:
        """What the child has spent and come to once it has ended for good; it may have ended before."""
        return await cancelled(effect, self._log, self._clock, self._ended(effect, state))

    # --------------------------------------------------------------------------------------------------------------------- the inside

    def _lent(self) -> AbstractAsyncContextManager[None]:
        return self._place.lent() if self._place is not None else nullcontext()

    def _ordered(
        self, effect: RunSubagent | CancelSubagent, target: Binding, state: RunState, place: Place | None = None, end: str | None = None
    ) -> ChildRun:
        return ChildRun(
            effect.run_id,
            self._children.bound(target, state, effect.budget_usd if isinstance(effect, RunSubagent) else None),
            effect.task if isinstance(effect, RunSubagent) else "",
            inherited_context(target.agent, state.context),
            {"run_id": state.run_id, "tool_call_id": effect.call.id, "seq": effect.seq, "root": self._root},
            self._root,
            place,
            end,
            self._parent().guard,
            self._parent().lease,
            self._take_over,
        )

    async def _lived(self, child: ChildRun) -> RunState:
        """The child's last state in this process."""
        while True:
            # A stretch of an earlier stretch of the parent's may still be on its way to lie down.
            found = self._children.living(child.run_id)
            starting = found or self._children.begin(child)
            state: RunState | None = None
            try:
                stretch = await asyncio.shield(starting)
                await stretch.result()
                state = stretch.state
            except (LeaseLostError, HeadConflictError):
                # It was driven under a lease of an earlier stretch of the parent's.
                if found is None:
                    raise
            except asyncio.CancelledError:
                if _is_being_cancelled():
                    await self._laid_down(starting)
                    raise
                # The child's task was cancelled with everybody else in its event loop, and its log says so.
                state = starting.result().state
            if state is not None and (found is None or state.status != "interrupted"):
                return state
            # One that ended in this very turn of the event loop is among the living until the next.
            await asyncio.sleep(0)

    async def _laid_down(self, starting: asyncio.Task[Stretch]) -> None:
        """The parent lets go of the child: lay it down with its parent. A parent that goes on has another effect end it."""
        parent = self._parent()
        if not parent.finished:
            return
        await asyncio.wait([starting])
        if starting.cancelled() or starting.exception() is not None:
            return
        stretch = starting.result()
        ended = parent.state.ended and parent.state.status != "interrupted"
        stretch.ask("cancel" if ended else "interrupt", f"with its parent {parent.state.run_id}: {parent.state.reason}".rstrip(": "))
        await asyncio.wait([stretch.task])

    async def _ended(self, effect: CancelSubagent, state: RunState) -> RunState | None:
        while True:
            found = self._children.living(effect.run_id)
            starting = found
            if starting is None:
                if await self._log.head(effect.run_id) is None:
                    return None
                target = self._binding.subagents.get(effect.subagent_name)
                if target is None:
                    return None
                starting = self._children.begin(self._ordered(effect, target, state, end=effect.reason))
            try:
                stretch = await asyncio.shield(starting)
                stretch.ask("cancel", effect.reason)
                await stretch.result()
            except (LeaseLostError, HeadConflictError):
                # As in `_lived`.
                if found is None:
                    raise
                await asyncio.sleep(0)
                continue
            except asyncio.CancelledError:
                if _is_being_cancelled():
                    raise
                stretch = starting.result()
            return stretch.state


async def cancelled(effect: CancelSubagent, log: EventLog, clock: Clock, ending: Awaitable[RunState | None]) -> Draft:
    """The end of a child that is being ended.

    Args:
        ending: ends it, and answers with its last state; None where it never began.
    """
    began = clock.monotonic()
    try:
        child = await ending
    except (RunOwnedError, HeadConflictError, LogError) as error:
        return _never_ran(effect, f"it could not be cancelled: {error}", "NotCancelled", "terminal", _since(clock, began))
    if child is None:
        return _never_ran(effect, effect.reason, "Cancelled", "terminal", _since(clock, began), "cancelled")
    return await _told(effect, child, log, _since(clock, began))


def _since(clock: Clock, began: float) -> float:
    return round((clock.monotonic() - began) * 1000, 3)


def _never_ran(
    effect: RunSubagent | CancelSubagent, error: str, error_type: str, classification: str, latency_ms: float, state: str | None = None
) -> Draft:
    data = {**_about(effect), "success": False, "latency_ms": latency_ms, "error": error, "state": state}
    return Draft("subagent_completed", {**data, "error_type": error_type, "classification": classification}, error)


async def _told(effect: RunSubagent | CancelSubagent, child: RunState, log: EventLog, latency_ms: float) -> Draft:
    whole = child.status in ("completed", "degraded")
    usage, cost = await _spent(child, log)
    data: dict[str, Any] = {
        **_about(effect),
        "success": whole,
        "latency_ms": latency_ms,
        "error": None if whole else child.reason or f"it is {child.status}",
        "output": None if not whole else child.output if child.spec.output_schema is not None else text_of_run(child),
        "state": child.status,
        "usage": asdict(usage) if usage.total_tokens else None,
        "cost_usd": float(cost) if cost is not None else None,
    }
    if not whole:
        data |= await _classified(child, log)
    return Draft("subagent_completed", data, data["error"] or "")


async def _spent(child: RunState, log: EventLog) -> tuple[Usage, Decimal | None]:
    """What the child has used up. One that has run out of time ends here although it could be resumed, and so do the subagents that it was
    waiting for: what those have used up is in their logs, and not yet in its own.
    """
    usage, cost = child.usage, child.cost_usd if child.cost_known else None
    for turn in live_children(child):
        below = turn.child
        events = await log.read(below.run_id) if below is not None else []
        if events:
            more, spent = await _spent(await state_of(log, events), log)
            usage += more
            cost = spent if cost is None else cost + (spent or 0)
    return usage, cost


async def _classified(child: RunState, log: EventLog) -> dict[str, Any]:
    """Whether another run of it may go better: not where it was told to end, or would meet the same wall."""
    last = await log.read(child.run_id, after=child.seq - 1, limit=1)
    error_type = last[0].data.get("error_type") if last else None
    if child.status == "cancelled" or child.overdue or error_type in FOR_GOOD:
        classification = "terminal"
    elif child.call is not None and child.call.failure is not None:
        classification = child.call.failure.classification
    else:
        classification = "retryable"
    return {"error_type": error_type or child.status, "classification": classification}


def _about(effect: RunSubagent | CancelSubagent) -> dict[str, Any]:
    return {
        "subagent_name": effect.subagent_name,
        "correlation_id": f"subagent:{effect.ordinal}:{effect.attempt}",
        "run_id": effect.run_id,
        "tool_call_id": effect.call.id,
        "attempt": effect.attempt,
    }


def _waiting(effect: RunSubagent, reason: str) -> Draft:
    reason = reason or "it was laid down"
    data = {"subagent_name": effect.subagent_name, "tool_call_id": effect.call.id, "run_id": effect.run_id, "reason": reason}
    return Draft("subagent_waiting", data, reason)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def root_of(first_data: dict[str, Any], run_id: str) -> str:
    """The run at the head of the family, as a run's first event says."""
    root: str = first_data.get("parent", {}).get("root", run_id)
    return root
