"""Replays recorded runs: prepares them and drives their stretches. What a replay is answered stands in `handlers.replaying`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as with_fields
from typing import Any

import msgspec
from msgspec.structs import replace

from afk_es.agents import Agent
from afk_es.agents.transfer import transfer_tool
from afk_es.clock import Clock
from afk_es.core.delegation import Children, ChildRun
from afk_es.core.driving import Opening
from afk_es.core.handle import Stretch
from afk_es.core.history import ThreadMemory
from afk_es.core.outside import not_found
from afk_es.core.places import Places
from afk_es.core.recorded_agents import RecordedAgent, recorded_agent
from afk_es.core.replayability import unreplayable
from afk_es.core.result import AgentResult
from afk_es.errors import UsageError
from afk_es.handlers import Binding
from afk_es.handlers.holding import Unanswered
from afk_es.handlers.leftovers import Leftover
from afk_es.handlers.replaying import Playback
from afk_es.handlers.tape import Tape
from afk_es.handlers.virtual_time import VirtualTime
from afk_es.handlers.withholding import Withholding
from afk_es.interaction import ApprovalDecision, ApprovalRequest, InputDecision, InputRequest
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent, Draft, RunSpec, RunState, initial_state
from afk_es.machine.delegation import TRANSFER
from afk_es.machine.inquiries import inquiries
from afk_es.machine.values import Messages, digest, plain
from afk_es.redaction import Redaction
from afk_es.tools import Tool

_NO_LIMIT = 1 << 30


class Replayed(msgspec.Struct, frozen=True):
    """What a replay came to.

    Attributes:
        run_id: the replay's.
        result: what today's agent made of the recorded answers. Usage and costs are those of the recording.
        served: recorded answers that were given, to subagents too; 0 says that the recording did not bear on this agent.
        leftovers: recorded answers that nobody asked for.
        unanswered: what was asked for and had no recorded answer; then the result is interrupted.
    """

    run_id: str
    result: AgentResult
    served: int
    leftovers: tuple[Leftover, ...]
    unanswered: tuple[Unanswered, ...]


class RecordedPeople:
    """An interaction provider for a Runner that only replays: what people said is in the recording, and nobody is ever asked."""

    async def request_approval(self, request: ApprovalRequest) -> ApprovalDecision:
        """Refuse: a run that is no replay has been given this provider."""
        raise UsageError("RecordedPeople is for replays, which serve what people said from the record; give a live run a real provider")

    async def request_input(self, request: InputRequest) -> InputDecision:
        """Refuse: a run that is no replay has been given this provider."""
        raise UsageError("RecordedPeople is for replays, which serve what people said from the record; give a live run a real provider")


Bind = Callable[[Agent, RunSpec, Mapping[str, RunSpec]], Awaitable[Binding]]
"""Binds an agent: as it was recorded, and its subagents as they were, by name, as far as they ran."""
Drive = Callable[[Opening], Awaitable[Stretch]]
"""Claims a run and lets its loop go on."""


@dataclass(frozen=True, slots=True)
class Replays:
    """Replays runs of one log.

    Args:
        bind: binds an agent to the objects that run it; servers are not asked.
        placed: gives a binding the place in a family that a recorded state has.
        drive: as the Runner drives its runs.
    """

    log: EventLog
    clock: Clock
    memory: ThreadMemory
    bind: Bind
    placed: Callable[[Binding, RunState], Binding]
    drive: Drive

    async def replay(self, agent: Agent, run_id: str, own: tuple[str, str], redaction: Redaction | None = None) -> Replayed:
        """Replay a run to the end of its recording.

        Args:
            own: run id and thread id of the replay.
            redaction: what the recording kept back; None for nothing.

        Raises:
            RunNotFoundError, UsageError: nothing was written.
        """
        tapes: dict[str, Tape] = {}
        events = await self.log.read(run_id)
        if not events:
            raise not_found(self.log, run_id)
        _check(events)
        await self._read(events, 0, tapes)
        first = events[0]
        spec = spec_of(first)
        binding = await self.bind(agent, spec, {(known := spec_of(tape.events[0])).agent_name: known for tape in tapes.values()})
        if isinstance(agent, RecordedAgent):
            binding = await self._recorded_team(binding, agent.spec, [tapes[run_id]], tapes)
        history = await self.memory.read(self.log, first.data.get("history", []))
        state = initial_state(*own, history)
        if spec.agent_path:
            binding = self.placed(binding, replace(state, spec=spec))
        withholding = Withholding(redaction) if redaction is not None else None
        if withholding is not None:
            binding = withholding.binding(binding, first.data["agent"])
        family = _Family(self, tapes, VirtualTime(self.clock.now()), isinstance(agent, RecordedAgent), withholding)
        member = family.member(binding, state, history, run_id)
        stretch = await member.begin(self._started(first, len(events), binding))
        result = await stretch.result_or_cancel()
        while not family.stopped and _goes_on(result, member.playback):
            family.time.advance_to(member.playback.next_part())
            result = await (await member.resume()).result_or_cancel()
        return family.told(result)

    async def _read(self, events: Sequence[AgentRunEvent], base: int, tapes: dict[str, Tape]) -> None:
        """The tapes of a run and of the runs of its subagents that the log has."""
        tape = tapes[events[0].run_id] = Tape(events, base)
        for asked in tape.subagents:
            child = await self.log.read(asked.child)
            if child and asked.child not in tapes:
                _check(child, part=True)
                since = child[0].at - events[asked.seq - 1].at
                await self._read(child, tape.moment(asked.seq) + max(round(since.total_seconds() * 1e6), 0), tapes)

    async def _recorded_team(self, binding: Binding, spec: RunSpec, runs: Sequence[Tape], tapes: dict[str, Tape]) -> Binding:
        """The binding of an agent that is made of its log, with the subagents that these runs of it have begun.

        People are asked as the recording says, whoever asks them here.
        """
        below: dict[str, list[Tape]] = defaultdict(list)
        for asked in (each for run in runs for each in run.subagents):
            if asked.child in tapes:
                below[asked.name.removeprefix("subagent:")].append(tapes[asked.child])
        team: dict[str, Binding] = {}
        tools: dict[str, Tool[..., Any]] = {}
        for name, theirs in below.items():
            agent = recorded_agent(spec_of(theirs[0].events[0]))
            team[name] = await self._recorded_team(await self.bind(agent, agent.spec, {}), agent.spec, theirs, tapes)
            tools[TRANSFER + name] = transfer_tool(agent)
        return with_fields(binding, spec=spec, data=plain(msgspec.to_builtins(spec)), subagents=team, tools=tools)

    def _started(self, first: AgentRunEvent, last: int, binding: Binding) -> Draft:
        data: dict[str, Any] = {
            "agent_name": binding.spec.agent_name,
            "resumed": False,
            "epoch": 1,
            "owner": self.log.owner,
            "agent": binding.data,
            "user_message": first.data.get("user_message"),
            "context": first.data.get("context", {}),
            "replay_of": {"run_id": first.run_id, "seq": last},
        }
        for key in ("user_parts", "history"):
            if key in first.data:
                data[key] = first.data[key]
        if isinstance(binding.agent, RecordedAgent):
            data["recorded_agent"] = True
        return Draft("run_started", data)


@dataclass(slots=True)
class _Family:
    """The runs of one replay.

    Attributes:
        tapes: the recordings, by run id.
        members: those that have begun, by their own run ids, in that order.
    """

    replays: Replays
    tapes: dict[str, Tape]
    time: VirtualTime
    from_log: bool
    withholding: Withholding | None
    members: dict[str, _Member] = field(default_factory=dict)
    children: Children = field(init=False)

    def __post_init__(self) -> None:
        # Their places are no matter of today: when each began is recorded.
        self.children = Children(self.begin_child, Places(_NO_LIMIT, _NO_LIMIT, _NO_LIMIT))

    def member(self, binding: Binding, state: RunState, history: Messages, recorded: str, child: ChildRun | None = None) -> _Member:
        """A run that is to begin, at the first stretch of its recording."""
        tape = self.tapes[recorded]
        recorded_spec = spec_of(tape.events[0])
        playback = Playback(
            tape,
            self.time,
            recorded_spec,
            from_log=self.from_log,
            has_child=self.tapes.__contains__,
            late=self.late,
            withholding=self.withholding,
        )
        self.time.advance_to(playback.next_part())
        member = self.members[state.run_id] = _Member(self, playback, binding, state, history, child)
        return member

    async def begin_child(self, child: ChildRun) -> Stretch:
        """The run of a subagent: from its start, or from where it was laid down."""
        known = self.members.get(child.run_id)
        if known is not None:
            known.binding, known.child = self._bound(child, known.playback.tape), child
            if known.state.ended and known.state.status != "interrupted":
                assert known.stretch is not None
                return Stretch.over(known.state, known.stretch.task.result())
            known.playback.next_part()
            return await known.resume()
        recorded = self.members[child.parent["run_id"]].playback.children[child.run_id].child
        state = initial_state(child.run_id, f"thread_{digest(child.run_id.encode())}")
        binding = self._bound(child, self.tapes[recorded])
        member = self.member(binding, state, Messages(), recorded, child)
        data: dict[str, Any] = {
            "agent_name": binding.spec.agent_name,
            "resumed": False,
            "epoch": 1,
            "owner": self.replays.log.owner,
            "agent": binding.data,
            "user_message": child.task,
            # What an agent hands on of its context is its code's affair.
            "context": self._context(child, self.tapes[recorded]),
            "parent": child.parent,
            "replay_of": {"run_id": recorded, "seq": len(self.tapes[recorded].events)},
        }
        return await member.begin(Draft("run_started", data))

    def _bound(self, child: ChildRun, tape: Tape) -> Binding:
        return child.binding if self.withholding is None else self.withholding.binding(child.binding, tape.events[0].data["agent"])

    def _context(self, child: ChildRun, tape: Tape) -> dict[str, Any]:
        recorded: dict[str, Any] = tape.events[0].data.get("context", {})
        if self.from_log or self.withholding is None:
            return recorded if self.from_log else child.context
        found: dict[str, Any] = self.withholding.data("run_started", {"context": child.context}, {"context": recorded})["context"]
        return found

    def late(self, run_id: str) -> int | None:
        """By how many microseconds a run of today ended later than the recorded one; None where it never began."""
        known = self.members.get(run_id)
        return known.playback.late if known is not None and known.stretch is not None else None

    @property
    def stopped(self) -> bool:
        """Whether any of them was laid down for want of an answer."""
        return any(member.playback.stopped for member in self.members.values())

    def told(self, result: AgentResult) -> Replayed:
        """What came of it."""
        playbacks = [member.playback for member in self.members.values()]
        unanswered = [each for playback in playbacks for each in playback.unanswered]
        if result.state == "interrupted" and not unanswered:
            unanswered = [each for member in self.members.values() for each in member.open_questions()]
        return Replayed(
            result.run_id,
            result,
            sum(playback.served for playback in playbacks),
            tuple([each for playback in playbacks for each in playback.leftovers()]),
            tuple(unanswered),
        )


@dataclass(slots=True)
class _Member:
    """One run of the family, from stretch to stretch."""

    family: _Family
    playback: Playback
    binding: Binding
    initial: RunState
    history: Messages
    child: ChildRun | None
    notable: list[AgentRunEvent] = field(default_factory=list)
    stretch: Stretch | None = None

    @property
    def state(self) -> RunState:
        """Where it stands."""
        return self.initial if self.stretch is None else self.stretch.state

    async def begin(self, started: Draft) -> Stretch:
        """Drive it from this event on."""
        opening = Opening(
            self.binding,
            self.state,
            self.history,
            started,
            self.notable,
            child=self.child,
            playback=self.playback,
            children=self.family.children,
        )
        self.stretch = await self.family.replays.drive(opening)
        return self.stretch

    async def resume(self) -> Stretch:
        """Drive it on, where it was laid down, or where it failed and its recording was reopened."""
        state = self.state
        data: dict[str, Any] = {
            "agent_name": self.binding.spec.agent_name,
            "resumed": True,
            "epoch": state.epoch + 1,
            "owner": self.family.replays.log.owner,
        }
        if state.status == "failed":
            data["reopened"] = True
        if self.binding.spec != state.spec:
            data["agent"] = self.binding.data
        if self.child is not None:
            data["parent"] = self.child.parent
        return await self.begin(Draft("run_started", data))

    def open_questions(self) -> list[Unanswered]:
        """Questions that the recording does not have, where they laid the run down by themselves."""
        found: list[Unanswered] = []
        for inquiry in inquiries(self.state):
            if not self.playback.knows(inquiry.seq):
                what = f"{inquiry.kind} for {inquiry.request['tool_name']}"
                found.append(Unanswered(inquiry.run_id, inquiry.seq, what, f"nobody was asked for {what} in the recording"))
        return found


def _goes_on(result: AgentResult, playback: Playback) -> bool:
    """Whether the recording has another stretch behind an end such as today's."""
    return playback.parts_left if result.state == "interrupted" else result.state == "failed" and playback.reopens


def spec_of(started: AgentRunEvent) -> RunSpec:
    """The agent that a run began with."""
    return msgspec.convert(started.data["agent"], RunSpec)


def _check(events: Sequence[AgentRunEvent], *, part: bool = False) -> None:
    reason = unreplayable(events, part=part)
    if reason is not None:
        raise UsageError(f"run {events[0].run_id} cannot be replayed: {reason}")
