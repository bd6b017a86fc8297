"""Where the stretches of runs begin: a new run, one that goes on from its log, a fork, a subagent's. Driving them is the `Driver`'s affair.

Whatever is wrong with what is asked is said here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from afk_es.agents import Agent
from afk_es.clock import Clock, Ids
from afk_es.core.bindings import Bindings, is_served
from afk_es.core.delegation import Children, ChildRun, root_of
from afk_es.core.driving import Driver, Opening, Terms, result_so_far
from afk_es.core.fork_answers import begun_as_fork, choices_of, had_no_code
from afk_es.core.forking import Forks
from afk_es.core.handle import Stretch
from afk_es.core.history import ThreadMemory
from afk_es.core.outside import not_found
from afk_es.core.preparation import prepared, write_down
from afk_es.core.recorded_agents import RecordedAgent
from afk_es.core.result import RESULT_EVENTS
from afk_es.core.session import Session
from afk_es.core.starting import check_id, checked_run_id, json_context, started, taken
from afk_es.core.wiring import check_same_agent
from afk_es.errors import HeadConflictError, InvalidEventError, RunOwnedError, UsageError
from afk_es.handlers import Binding
from afk_es.handlers.edits import Choices
from afk_es.llms import UserMessage
from afk_es.llms.content import content_of
from afk_es.log import Statement
from afk_es.machine import AgentRunEvent, Draft, RunState, fold, initial_state
from afk_es.machine.values import Messages, clean_text, digest

_CLAIMS = 100
"""How often a run is claimed whose owner goes on appending. Each time it has to append between a look at the run and the next statement."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """Begins the stretches of one Runner."""

    session: Session
    driver: Driver
    bindings: Bindings
    forks: Forks
    memory: ThreadMemory
    children: Children
    clock: Clock
    ids: Ids

    # ------------------------------------------------------------------------------------------------------------------------- new runs

    async def start(
        self,
        agent: Agent,
        user_message: UserMessage | None,
        context: dict[str, Any] | None,
        thread_id: str | None,
        run_id: str | None,
        terms: Terms,
    ) -> Stretch:
        """Begin a run; arguments and errors are those of `Runner.run`."""
        content_of(user_message)
        if thread_id is not None:
            check_id("thread_id", thread_id)
        if run_id is not None:
            checked_run_id(run_id)
        # Servers are asked while the Runner is in use, and left when it no longer is. All else is told before the log is touched.
        binding = None if is_served(agent) else await self.bindings.runnable(agent)
        merged = json_context(agent, context)
        async with self.session as log:
            if binding is None:
                binding = await self.bindings.runnable(agent)
            if run_id is not None and await log.head(run_id) is not None:
                raise taken(run_id, log)
            refs = await self.memory.latest(log, thread_id) if thread_id is not None else []
            history = await self.memory.read(log, refs)
            state = initial_state(run_id or self.ids.new("run"), thread_id or self.ids.new("thread"), history)
            first = started(binding, log.owner, user_message, merged)
            if refs:
                first.data["history"] = refs
            return await self.driver.drive(Opening(binding, state, history, first, []), terms)

    async def prepare(
        self,
        agent: Agent,
        run_id: str,
        user_message: UserMessage | None,
        context: dict[str, Any] | None,
        reason: str,
        statements: Sequence[Statement],
    ) -> None:
        """Write a run down that begins elsewhere; arguments and errors are those of `Runner.prepare`."""
        content_of(user_message)
        checked_run_id(run_id)
        check_id("reason", reason)
        binding = None if is_served(agent) else await self.bindings.runnable(agent)
        merged = json_context(agent, context)
        async with self.session as log:
            if binding is None:
                binding = await self.bindings.runnable(agent)
            state = initial_state(run_id, self.ids.new("thread"))
            first = started(binding, log.owner, user_message, merged)
            try:
                await write_down(log, prepared(state, first, clean_text(reason), self.clock.now()), statements)
            except (HeadConflictError, InvalidEventError) as error:
                if await log.head(run_id) is not None:
                    raise taken(run_id, log) from error
                raise

    async def fork(
        self, agent: Agent | None, run_id: str, at: int | None, choices: Choices, thread_id: str | None, terms: Terms
    ) -> Stretch:
        """Begin a fork; arguments and errors are those of `Runner.fork`."""
        check_id("run_id", run_id)
        if thread_id is not None:
            check_id("thread_id", thread_id)
        async with self.session:
            own = (self.ids.new("run"), thread_id or self.ids.new("thread"))
            fork = await self.forks.prepared(agent, run_id, at, choices, own)
            opening = Opening(fork.binding, fork.state, fork.history, fork.started, fork.notable, reuse=fork.reuse)
            return await self.driver.drive(opening, terms)

    async def begin_child(self, child: ChildRun) -> Stretch:
        """The run of a subagent: from its start, or from where its log ends."""
        async with self.session as log:
            if await log.head(child.run_id) is not None:
                terms = Terms(guard=child.guard, lease=child.lease, take_over=child.take_over)
                return await self.go_on(child.binding.agent, child.run_id, terms, allow_agent_change=True, child=child)
            state = initial_state(child.run_id, f"thread_{digest(child.run_id.encode())}")
            data: dict[str, Any] = {
                "agent_name": child.binding.spec.agent_name,
                "resumed": False,
                "epoch": 1,
                "owner": log.owner,
                "agent": child.binding.data,
                "user_message": child.task,
                "context": child.context,
                "parent": child.parent,
            }
            opening = Opening(child.binding, state, Messages(), Draft("run_started", data), [], child=child)
            return await self.driver.drive(opening, Terms(guard=child.guard, lease=child.lease))

    # ------------------------------------------------------------------------------------------------------------- runs that go on

    async def go_on(
        self,
        agent: Agent,
        run_id: str,
        terms: Terms,
        *,
        thread_id: str | None = None,
        allow_agent_change: bool = False,
        reopen: bool = False,
        child: ChildRun | None = None,
    ) -> Stretch:
        """Go on with a run from its log; arguments and errors are those of `Runner.resume`.

        An owner that is to be taken over may append between the look at its run and the claim: then it is looked again.

        Args:
            child: the run as its parent wants it, where it is a subagent's.
        """
        resume = partial(self._resume, agent, run_id, terms, thread_id, child, allow_agent_change=allow_agent_change, reopen=reopen)
        for _ in range(_CLAIMS):
            try:
                return await resume()
            except RunOwnedError:
                if not terms.take_over:
                    raise
        return await resume()

    async def _resume(
        self,
        agent: Agent,
        run_id: str,
        terms: Terms,
        thread_id: str | None,
        child: ChildRun | None,
        *,
        allow_agent_change: bool,
        reopen: bool,
    ) -> Stretch:
        check_id("run_id", run_id)
        async with self.session as log:
            events = await log.read(run_id)
            if not events:
                raise not_found(log, run_id)
            first = events[0]
            forked = begun_as_fork(events)
            binding = await self._binding_to_resume(agent, forked, child, events)
            if thread_id is not None and thread_id != first.thread_id:
                raise UsageError(f"run {run_id} belongs to thread {first.thread_id!r}, not to {thread_id!r}")
            history = await self.memory.read(log, first.data.get("history", []))
            state = fold(initial_state(run_id, first.thread_id, history), events)
            notable = [event for event in events if event.type in RESULT_EVENTS]
            reopens = reopen and state.status == "failed"
            if state.ended and state.status != "interrupted" and not reopens:
                if terms.feed is not None:
                    terms.feed.close()
                return Stretch.over(state, await result_so_far(log, binding, state, notable, whole=child is None))
            origin = forked or first
            _check_resumable(state, first, origin, reopens=reopens)
            if state.spec.agent_path:
                # A subagent's run keeps its place in the family, and the limits that its parent left it.
                binding = self.children.placed(binding, state)
            if not allow_agent_change:
                check_same_agent(state.spec, binding.spec)
            if not state.ended and not terms.take_over and await log.alive(state.owner, run_id):
                raise RunOwnedError(
                    f"run {run_id} is being driven by {state.owner}, which is alive; wait until it ends, or stop that process"
                )
            reuse = await self.forks.reuse_of(forked, events, binding) if forked is not None else None
            untouched = reuse.untouched(state, no_code=had_no_code(origin, events)) if reuse is not None else []
            again = _started_again(log.owner, binding, state, origin, untouched, reopens=reopens)
            return await self.driver.drive(Opening(binding, state, history, again, notable, reuse, child), terms)

    async def _binding_to_resume(
        self, agent: Agent, forked: AgentRunEvent | None, child: ChildRun | None, events: Sequence[AgentRunEvent]
    ) -> Binding:
        if child is not None:
            return child.binding
        if forked is not None:
            return await self.forks.bound(agent, choices_of(forked))
        return await self.bindings.runnable(agent, events)


def _check_resumable(state: RunState, first: AgentRunEvent, origin: AgentRunEvent, *, reopens: bool) -> None:
    """Refuse a run that goes on in another way.

    Args:
        origin: where it comes from: its first event, or of a fork, the one behind what it shares.
    """
    run_id = state.run_id
    if state.spec.retention is not None and state.spec.retention.alone:
        raise UsageError(f"run {run_id} compacts thread {state.thread_id!r}; call compact_thread again, and it goes on with it")
    if "replay_of" in first.data:
        raise UsageError(
            f"run {run_id} replays run {first.data['replay_of']['run_id']}, and a replay is not resumed: it asks nobody, so replay "
            "that run again (Runner.replay)"
        )
    if reopens and "parent" in origin.data:
        raise UsageError(
            f"run {run_id} is a subagent's, and its parent was told that it failed: reopen the run that a caller started, "
            f"{root_of(first.data, run_id)}"
        )


def _started_again(owner: str, binding: Binding, state: RunState, origin: AgentRunEvent, untouched: list[int], *, reopens: bool) -> Draft:
    """The event that begins another stretch of a run.

    Args:
        origin: as for `_check_resumable`.
        untouched: intents under way that a fork answers without touching the world.
    """
    data: dict[str, Any] = {
        "agent_name": binding.spec.agent_name,
        "resumed": True,
        "epoch": state.epoch + 1,
        "owner": owner,
    }
    if "forked_from" in origin.data and isinstance(binding.agent, RecordedAgent):
        data["recorded_agent"] = True
    if untouched:
        data["untouched"] = untouched
    if reopens:
        data["reopened"] = True
    if "parent" in origin.data:
        # Whoever is told of this stretch alone must be able to place it.
        data["parent"] = origin.data["parent"]
    if binding.spec != state.spec:
        data["agent"] = binding.data
    return Draft("run_started", data)
