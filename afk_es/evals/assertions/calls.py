"""The tool calls of a run, each with what became of it: one pass over its events.

A call is identified by the answer that asked for it and its place in it, never by its id alone: models repeat their ids within a run.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any, Literal, TypeAlias

import msgspec

from afk_es.errors import UsageError
from afk_es.evals.assertions.family import Member, Order, events_of, events_seen, members
from afk_es.evals.evidence import Evidence
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent

Counted: TypeAlias = Literal["asked", "permitted", "started", "succeeded"]
"""Which calls count.

| counts | which | its arguments | where it stands |
|---|---|---|---|
| asked | all that the model asked for | as the model asked | at the answer |
| permitted (default) | of these, all but what a policy or a person denied or a limit cut off | as it was to run | at its start, else the answer |
| started | of these, what was really started | as it ran | at its first start |
| succeeded | of these, what returned, in the background too | as it ran | at its end |

A call with invalid arguments, or to a tool that there is not, is permitted and never started: the agent made that mistake, and nobody
stopped it. A policy may have changed the arguments that a call was to run with.
"""

COUNTED: tuple[Counted, ...] = ("asked", "permitted", "started", "succeeded")

_REFUSED = frozenset({"denied", "limited"})


class RecordedCall(msgspec.Struct, frozen=True):
    """A tool call of a run. Going to a subagent is one, by the name of the tool that does it.

    Attributes:
        member: the run that asked for it.
        agent: the name of the agent whose run that is.
        answer: seq of the model's answer that asked for it; calls with the same answer run side by side.
        index: its place in that answer, from 0.
        proposed: the arguments as the model asked; a text where they are no JSON.
        arguments: as it was to run: a policy may have changed them.
        started: seq of its first start; 0 where it was never started.
        ended: seq of its end; 0 where it has none.
        outcome: "returned", "failed", "invalid", "denied", "limited", "unknown" or "cancelled", as `tool_completed` has it; "" without an end.
    """

    member: Member
    agent: str
    step: int
    answer: int
    index: int
    tool_name: str
    tool_call_id: str
    proposed: dict[str, Any] | str
    arguments: dict[str, Any] | str
    started: int = 0
    ended: int = 0
    outcome: str = ""

    def counts_as(self, counted: Counted) -> bool:
        """Whether it is one of these; see `Counted`."""
        match counted:
            case "asked":
                return True
            case "permitted":
                return self.outcome not in _REFUSED
            case "started":
                return self.started > 0
            case "succeeded":
                return self.outcome == "returned"

    def arguments_as(self, counted: Counted) -> dict[str, Any] | str:
        """Its arguments, for who counts calls so."""
        return self.proposed if counted == "asked" else self.arguments

    def seq_as(self, counted: Counted) -> int:
        """The seq at which it stands, for who counts calls so."""
        match counted:
            case "asked":
                return self.answer
            case "succeeded":
                return self.ended
            case "permitted" | "started":
                return self.started or self.answer

    @property
    def order(self) -> Order:
        """Orders calls of a family as they were asked for."""
        return (*self.member.path, self.answer, self.index)


class _Call:
    """A call whose fate is still being read."""

    def __init__(self, event: AgentRunEvent, index: int, asked: dict[str, Any]) -> None:
        self.event = event
        self.index = index
        self.asked = asked
        self.arguments: dict[str, Any] | str = asked["arguments"]
        self.started = self.ended = 0
        self.outcome = ""


class CallBook:
    """The calls of one run, told its events in order."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._agent = ""
        self._calls: list[_Call] = []
        self._open: dict[str, _Call] = {}
        """Of the last answer, by id: within one answer ids differ."""
        self._tickets: dict[str, _Call] = {}

    def note(self, event: AgentRunEvent) -> None:
        """Take the next event in."""
        data = event.data
        match event.type:
            case "run_started":
                self._agent = data["agent_name"]
            case "llm_completed":
                asked = [_Call(event, index, call) for index, call in enumerate(data["tool_calls"])]
                self._calls += asked
                self._open = {call.asked["id"]: call for call in asked}
            case "tool_background_resolved" | "tool_background_failed":
                call = self._tickets.pop(data["ticket_id"], None)
                if call is not None:
                    call.ended, call.outcome = event.seq, "returned" if event.type == "tool_background_resolved" else "failed"
            case _:
                call = self._open.get(data.get("tool_call_id", ""))
                if call is not None:
                    self._happened(call, event, data)

    def _happened(self, call: _Call, event: AgentRunEvent, data: dict[str, Any]) -> None:
        match event.type:
            case "policy_decision":
                call.arguments = data.get("updated_tool_args", call.arguments)
            case "tool_started" | "subagent_started":
                call.started = call.started or event.seq
            case "tool_deferred":
                self._tickets[data["ticket_id"]] = call
            case "tool_completed":
                call.ended, call.outcome = event.seq, data["outcome"]
            case _:
                pass

    def calls(self) -> list[RecordedCall]:
        """The calls so far, in the order in which they were asked for."""
        return [
            RecordedCall(
                self._member,
                self._agent,
                call.event.step,
                call.event.seq,
                call.index,
                call.asked["tool_name"],
                call.asked["id"],
                call.asked["arguments"],
                call.arguments,
                call.started,
                call.ended,
                call.outcome,
            )
            for call in self._calls
        ]


def check_counted(counted: object) -> None:
    """Refuse what is no way to count calls.

    Raises:
        UsageError: it is none of `COUNTED`.
    """
    if counted not in COUNTED:
        raise UsageError(f"counted={counted!r} is none of: {', '.join(COUNTED)}")


async def calls_of(log: EventLog, run_id: str, *, counted: Counted = "permitted", subagents: bool = False) -> list[RecordedCall]:
    """The tool calls of a recorded run, in the order in which they were asked for.

    Args:
        counted: which; see `Counted`.
        subagents: those of its subagents' runs too, at every level, each run's behind the calls of the answer that started it.
    """
    check_counted(counted)
    found: list[RecordedCall] = []
    for member in await members(log, run_id, subagents=subagents):
        found += await _calls(member, events_of(log, member.run_id))
    return _counting(found, counted)


async def calls_in(evidence: Evidence, *, counted: Counted = "permitted", subagents: bool = False) -> list[RecordedCall]:
    """As `calls_of`, for a run that is checked."""
    found: list[RecordedCall] = []
    for member in await members(evidence.log, evidence.run_id, subagents=subagents):
        found += await _calls(member, events_seen(evidence, member))
    return _counting(found, counted)


async def _calls(member: Member, events: AsyncIterable[AgentRunEvent]) -> list[RecordedCall]:
    book = CallBook(member)
    async for event in events:
        book.note(event)
    return book.calls()


def _counting(calls: list[RecordedCall], counted: Counted) -> list[RecordedCall]:
    return sorted((call for call in calls if call.counts_as(counted)), key=lambda call: call.order)
