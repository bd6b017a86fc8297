"""What was put before the policy in a recorded run, event by event as it was, and what the policy said. It decides nothing itself.

It is the part of a run's fold that a policy is shown: agent, context and the calls of the answer under way. So a run of any length is read
in pages, without its messages and outputs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, get_args

import msgspec

from afk_es.agents import PolicyEvent
from afk_es.evals.policies.tried_policy import TriedPolicy
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent
from afk_es.machine.effects import PolicySubject
from afk_es.machine.events import RunRef
from afk_es.machine.spec import ToolSpec
from afk_es.machine.values import canonical_json

PAGE = 500
"""Events read at once."""

READ = (
    "run_started",
    "llm_completed",
    "subagents_routed",
    "policy_decision",
    "tool_started",
    "subagent_started",
    "subagent_completed",
    "subagent_waiting",
    "approval_resolved",
    "input_resolved",
)
"""The types that say what a policy was shown, and what became of what it let through."""

_SUBJECTS = frozenset(get_args(PolicySubject))
_SPECS_KEPT = 32


class Origin(NamedTuple):
    """A run that events of a run are, or are shared with: those up to `upto`, from where the origin before it ends; None: to the end."""

    run_id: str
    thread_id: str
    upto: int | None


class Question(NamedTuple):
    """Something that was put before the policy.

    Attributes:
        event_type: what it was.
        origin: the run that it was asked in.
        step: there.
        context: of the run, as JSON.
        tool_name: None for a call of the model.
        call: the arguments of the call, as the model asked for it.
        tool: that tool, as it was recorded.
    """

    event_type: PolicySubject
    origin: Origin
    step: int
    context: bytes
    tool_name: str | None
    call: dict[str, Any] | str
    tool: ToolSpec | None

    @property
    def subagent_name(self) -> str | None:
        """For a call that hands work to a subagent, which."""
        return self.tool.subagent if self.tool is not None and self.event_type == "subagent_before_execute" else None

    def put(self, tried: TriedPolicy) -> PolicyEvent:
        """As it was put before the policy; nothing in it is shared with anything else, for a rule may do with it as it likes.

        Args:
            tried: says what arguments come to.
        """
        name = self.tool_name
        return PolicyEvent(
            event_type=self.event_type,
            run_id=self.origin.run_id,
            thread_id=self.origin.thread_id,
            step=self.step,
            context=msgspec.json.decode(self.context),
            tool_name=name,
            tool_args=self.arguments(tried),
            tool_read_only=self.read_only(tried),
            subagent_name=self.subagent_name,
            # Said, since Pydantic makes a deep copy of a default for every event.
            metadata={},
        )

    def arguments(self, tried: TriedPolicy) -> dict[str, Any]:
        """The arguments as they were put, in an object of their own."""
        return {} if self.tool_name is None else tried.arguments(self.tool_name, self.tool, self.call)

    def read_only(self, tried: TriedPolicy) -> bool | None:
        """Whether the tool says that it only reads; None for a call of the model."""
        return None if self.tool_name is None else tried.read_only(self.tool_name, self.tool)


async def origins(log: EventLog, run_id: str, thread_id: str, forked_from: RunRef | None) -> tuple[Origin, ...]:
    """The runs that a run's events were written for: of a fork, those that it shares its beginning with, then itself."""
    own = Origin(run_id, thread_id, None)
    if forked_from is None:
        return (own,)
    found: list[Origin] = []
    for claim in await log.scan(run_id, types=("run_started",)):
        base: RunRef | None = claim.data.get("forked_from")
        # A fork from seq 0 shares nothing.
        if base is not None and base["seq"]:
            head = await log.head(base["run_id"])
            found.append(Origin(base["run_id"], head.thread_id if head is not None else thread_id, base["seq"]))
    return (*found, own)


async def pages(log: EventLog, run_id: str) -> AsyncIterator[list[AgentRunEvent]]:
    """The events of a run that matter here, page by page, with a turn of the event loop in between."""
    after = 0
    while page := await log.scan(run_id, after=after, types=READ, limit=PAGE):
        yield page
        if len(page) < PAGE:
            return
        after = page[-1].seq
        await asyncio.sleep(0)


class PolicyHistory:
    """What a run's policy was shown, as its events are taken in one after the other.

    Args:
        origins: as `origins` answers.
    """

    def __init__(self, origins: tuple[Origin, ...]) -> None:
        self._origins = list(origins)
        self._context = b"{}"
        self._begun = False
        self._tools: dict[str, ToolSpec] = {}
        self._arguments: dict[str, dict[str, Any] | str] = {}

    @property
    def origin(self) -> Origin:
        """The run that the last event was written for."""
        return self._origins[0]

    def take(self, event: AgentRunEvent) -> Question | None:
        """Take in the next event; for a decision of the policy, what it was about.

        None as well for a decision of a newer version about something that this one does not know.
        """
        while self._origins[0].upto is not None and event.seq > self._origins[0].upto:
            del self._origins[0]
        data = event.data
        match event.type:
            case "run_started":
                self._start(data)
            case "llm_completed":
                # The first of two that share an id is the one that the machine finds.
                self._arguments = {call["id"]: call["arguments"] for call in reversed(data["tool_calls"])}
            case "subagents_routed":
                nodes = data["plan"]["nodes"] if data["plan"] is not None else ()
                self._arguments = {node["id"]: {"task": node["task"]} for node in nodes}
            case "policy_decision" if data["event_type"] in _SUBJECTS:
                return self._question(event, data)
            case _:
                pass
        return None

    def _start(self, data: dict[str, Any]) -> None:
        if not self._begun:
            self._begun = True
            self._context = canonical_json(data.get("context", {}))
        if "agent" in data:
            self._tools = _tools_of(data["agent"])

    def _question(self, event: AgentRunEvent, data: dict[str, Any]) -> Question:
        name = data.get("tool_name")
        if name is None:
            return Question(data["event_type"], self._origins[0], event.step, self._context, None, {}, None)
        call = self._arguments.get(data["tool_call_id"], {})
        return Question(data["event_type"], self._origins[0], event.step, self._context, name, call, self._tools.get(name))


_SPECS: list[tuple[dict[str, Any], dict[str, ToolSpec]]] = []


def _tools_of(agent: dict[str, Any]) -> dict[str, ToolSpec]:
    """The tools of a recorded agent. A log shares one dict between all runs of an agent, so each is decoded once."""
    for known, tools in _SPECS:
        if known is agent:
            return tools
    tools = {tool.name: tool for tool in msgspec.convert(agent.get("tools", []), list[ToolSpec])}
    _SPECS.append((agent, tools))
    if len(_SPECS) > _SPECS_KEPT:
        del _SPECS[0]
    return tools
