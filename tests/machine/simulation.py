"""A run without a world: `decide` and `evolve` driven to the end by answers that somebody chooses.

Whoever chooses is a `Chooser`: Hypothesis, so that failures shrink, or a function of the intent alone, so that a run that was killed and
resumed gets the answers that the unkilled one got. No event loop, no log, no handlers: what is proved here is the machine.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from afk_es.machine import AgentRunEvent, Draft, Effect, RunSpec, RunState, decide, endings, evolve, initial_state, stamp
from afk_es.machine.compaction import compacted_data
from afk_es.machine.delegation import DelegationSpec
from afk_es.machine.effects import (
    AskPerson,
    CallModel,
    CancelSubagent,
    EvaluatePolicy,
    ExecuteTool,
    ResolveInstructions,
    RouteSubagents,
    RunSubagent,
    Summarise,
    ValidateOutput,
    Wait,
)
from afk_es.machine.events import validate
from afk_es.machine.spec import Background, Interaction, Limits, ModelSpec, Policies, Retry, ToolSpec
from afk_es.machine.state import Ticket
from afk_es.machine.tickets import expiry
from afk_es.machine.values import ToolCall

T = TypeVar("T")

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MILLISECOND = dt.timedelta(milliseconds=1)
EVENTS = 400
"""Bound of a simulated run. Limits end every run long before; reaching it is a failure."""

TOOLS = (
    ToolSpec("look", "reads", {"type": "object"}, read_only=True, timeout_s=5.0),
    ToolSpec("pay", "writes", {"type": "object"}),
    ToolSpec("strict", "must not fail", {"type": "object"}, idempotent=True, raise_on_error=True),
    ToolSpec("scout", "a subagent", {"type": "object"}, kind="subagent", subagent="scout", subagent_digest="d1"),
    ToolSpec("clerk", "another", {"type": "object"}, kind="subagent", subagent="clerk", subagent_digest="d2"),
)
NAMES = ("look", "pay", "strict", "scout", "clerk", "nowhere")
CLASSES = ("retryable", "terminal", "non_fatal")


def spec_of(**changes: Any) -> RunSpec:
    """A spec with all the tools above and small limits; keywords go to whichever part of the spec has a field of that name."""
    kinds: dict[str, Any] = {
        "limits": Limits,
        "policies": Policies,
        "interaction": Interaction,
        "retry": Retry,
        "background": Background,
        "delegation": DelegationSpec,
    }
    parts: dict[str, dict[str, Any]] = {part: {} for part in kinds}
    whole: dict[str, Any] = {"models": (ModelSpec("m", "p"),), "instructions": "Be brief.", "tools": TOOLS}
    for name, value in changes.items():
        for part, kind in kinds.items():
            if name in kind.__struct_fields__:
                parts[part][name] = value
                break
        else:
            whole[name] = value
    return RunSpec("agent", **whole, **{part: kinds[part](**fields) for part, fields in parts.items()})


class Chooser(Protocol):
    """Whoever decides what the world answers."""

    def pick(self, key: str, options: Sequence[T]) -> T:
        """One of the options; `key` says what about."""
        ...


class Hashed:
    """Answers as a function of the seed and the key: equal intents get equal answers, whenever they are asked."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def pick(self, key: str, options: Sequence[T]) -> T:
        """The option that the digest of the key points at."""
        number = int.from_bytes(hashlib.blake2b(f"{self._seed}:{key}".encode(), digest_size=4).digest(), "big")
        return options[number % len(options)]


def answers_to(state: RunState, effect: Effect) -> list[Draft]:
    """Every kind of answer that this effect may get in this state, the plain one first: at least one for each of `endings(effect)`."""
    match effect:
        case ResolveInstructions():
            return [Draft("instructions_resolved", {"instructions": f"Step {effect.step}."}), *_llm_failures(effect.id, "none", 1)]
        case EvaluatePolicy(call=None):
            return [policy("allow"), policy("deny"), policy("request_approval")]
        case EvaluatePolicy(call=call):
            assert call is not None
            rewritten: dict[str, Any] = {"rewritten": True}
            return [
                policy("allow", call),
                policy("deny", call),
                policy("defer", call),
                policy("allow", call, updated_tool_args=rewritten),
                policy("request_approval", call, updated_tool_args=rewritten),
                policy("request_approval", call, request_payload={"amount": 3}),
                policy("request_user_input", call, request_payload={"prompt": "Which?"}),
                policy("request_user_input", call, request_payload={"argument": "which"}),
                tool_failed(call, 0, "non_fatal"),
            ]
        case CallModel():
            wishes = (("look", "pay"), (), ("look",), NAMES, ("strict", "scout"), ("pay", "pay", "pay"))
            replies = [llm_completed(f"c{state.step}", names) for names in wishes]
            priced = [llm_completed(f"c{state.step}", ("pay", "look", "look"), cost_usd=cost) for cost in (0.0, 0.4, 1.5)]
            return [*replies, *priced, *_llm_failures(effect.id, effect.model, effect.attempt)]
        case Summarise():
            summaries = [Draft("thread_compacted", compacted_data(state, text)) for text in ("They spoke.", "They spoke of this. " * 80)]
            return [*summaries, *(compaction_failed(effect.attempt, kind) for kind in CLASSES)]
        case ValidateOutput():
            return [Draft("output_validated", {"output": {"text": effect.text}}), Draft("output_rejected", {"error": "text: missing"})]
        case ExecuteTool(call=call):
            ticket = {"ticket_id": f"t{effect.ordinal}", "status": "pending", "summary": "started", "resume_hint": None}
            return [
                tool_completed(call, output={"said": call.tool_name}),
                *(tool_failed(call, effect.attempt, kind) for kind in CLASSES),
                tool_completed(call, error="it broke"),
                Draft("tool_deferred", {"tool_name": call.tool_name, "tool_call_id": call.id, **ticket}),
            ]
        case RunSubagent():
            said = f"{effect.subagent_name} says so"
            return [
                subagent_completed(effect, output=said),
                *(subagent_completed(effect, error="it broke", classification=kind) for kind in ("retryable", "terminal")),
                subagent_completed(effect, error="ended by somebody", state="cancelled"),
                subagent_completed(effect, output=said, usage={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}, cost_usd=0.25),
                subagent_waiting(effect),
            ]
        case CancelSubagent():
            return [
                subagent_completed(effect, error="cancelled", state="cancelled", cost_usd=0.125),
                subagent_completed(effect, output="just in time"),
            ]
        case RouteSubagents():
            chain: dict[str, Any] = {"nodes": [node("a", "scout"), node("b", "clerk", inputs={"found": "a"})], "edges": [["a", "b"]]}
            loose = [node("a", "scout", retries=1), node("b", "clerk", timeout_s=5.0, required=False)]
            return [
                routed(None),
                routed(chain),
                routed({"nodes": loose, "edges": [], "join_policy": "allow_optional_failures"}),
                routed({"nodes": loose, "edges": [], "join_policy": "first_success"}),
                Draft("subagents_routed", {"plan": None, "error": "no plan", "error_type": "RouterFailed"}),
            ]
        case AskPerson(kind="approval"):
            answers = [approval(effect.request, outcome) for outcome in ("granted", "denied", "deferred")]
            return [*answers, unasked(effect.request)]
        case AskPerson():
            words = [
                given(effect.request, "answered", "blue"),
                given(effect.request, "denied", None),
                given(effect.request, "deferred", None),
            ]
            return [*words, unasked(effect.request)]
        case Wait():
            return [Draft("timer_fired", {"timer": effect.timer})]


def policy(action: str, call: ToolCall | None = None, **more: Any) -> Draft:
    """A policy's word on the model call, or on a tool call."""
    reason = None if action == "allow" else "rule 7"
    data = {"event_type": "llm_before_execute", "action": action, "reason": reason, "policy_id": None, "matched_rules": [], **more}
    if call is not None:
        data |= {"event_type": "tool_before_execute", "tool_name": call.tool_name, "tool_call_id": call.id}
    return Draft("policy_decision", data)


def llm_completed(prefix: str, names: Sequence[str] = (), *, text: str = "an answer", **more: Any) -> Draft:
    """A model's reply that asks for these tools; ids are derived from the prefix."""
    calls = [{"id": f"{prefix}-{index}", "tool_name": name, "arguments": {"n": index}} for index, name in enumerate(names)]
    data = {"tool_call_count": len(calls), "finish_reason": "stop", "text": text, "tool_calls": calls, "latency_ms": 1.0}
    return Draft("llm_completed", {**data, "usage": None, "cost_usd": None, **more})


def llm_failed(classification: str, *, model: str = "m", attempt: int = 1, **more: Any) -> Draft:
    """A failed request to the model."""
    data = {"error": "no luck", "error_type": "E", "classification": classification, "model": model, "attempt": attempt, **more}
    return Draft("llm_failed", data)


def _llm_failures(key: str, model: str, attempt: int) -> list[Draft]:
    return [llm_failed(kind, model=model, attempt=attempt) for kind in CLASSES]


def tool_failed(call: ToolCall, attempt: int, classification: str) -> Draft:
    """A failed attempt to run a tool, or at attempt 0 a refusal to start it."""
    failure = {"error": f"{call.tool_name} broke", "error_type": "E", "classification": classification}
    return Draft("tool_failed", {"tool_name": call.tool_name, "tool_call_id": call.id, "attempt": attempt, **failure})


def tool_completed(call: ToolCall, *, output: Any = None, error: str | None = None) -> Draft:
    """The end of a tool call."""
    outcome = "returned" if error is None else "failed"
    agent = {"agent_name": "agent", "agent_depth": 0, "agent_path": ["agent"]}
    data = {"tool_name": call.tool_name, "tool_call_id": call.id, "success": error is None, "output": output, "error": error, **agent}
    return Draft("tool_completed", {**data, "outcome": outcome, "latency_ms": 1.0})


def compaction_failed(attempt: int, classification: str) -> Draft:
    """A summary that was not to be had."""
    failure = {"error": "no words", "error_type": "E", "classification": classification}
    return Draft("compaction_failed", {**failure, "attempt": attempt, "summariser": "s"})


def subagent_completed(
    effect: RunSubagent | CancelSubagent, *, output: Any = None, error: str | None = None, state: str | None = None, **more: Any
) -> Draft:
    """The end of a child's run."""
    ended = state or ("completed" if error is None else "failed")
    about = {"subagent_name": effect.subagent_name, "run_id": effect.run_id, "tool_call_id": effect.call.id, "attempt": effect.attempt}
    return Draft(
        "subagent_completed",
        {**about, "success": error is None, "latency_ms": 1.0, "error": error, "output": output, "state": ended, **more},
    )


def subagent_waiting(effect: RunSubagent) -> Draft:
    """A child that was laid down."""
    about = {"subagent_name": effect.subagent_name, "run_id": effect.run_id, "tool_call_id": effect.call.id}
    return Draft("subagent_waiting", {**about, "reason": "waits for ann"})


def node(node_id: str, subagent: str, **more: Any) -> dict[str, Any]:
    """A node of a plan, as the log has it."""
    return {"id": node_id, "subagent": subagent, "task": f"do {node_id}", **more}


def routed(plan: dict[str, Any] | None) -> Draft:
    """A router's answer."""
    return Draft("subagents_routed", {"plan": plan})


def approval(request: dict[str, Any], outcome: str) -> Draft:
    """A person's word on an approval request."""
    asked = {key: request[key] for key in ("request_id", "tool_call_id", "arguments_hash")}
    return Draft("approval_resolved", {**asked, "outcome": outcome, "by": "ann", "reason": None})


def given(request: dict[str, Any], outcome: str, value: str | None) -> Draft:
    """A person's words, or their refusal to give any."""
    asked = {key: request[key] for key in ("request_id", "tool_call_id")}
    return Draft("input_resolved", {**asked, "outcome": outcome, "value": value, "by": "ann"})


def result_of(ticket: Ticket) -> Draft:
    """What a background tool came to."""
    data = {"tool_name": ticket.tool_name, "tool_call_id": ticket.tool_call_id, "ticket_id": ticket.ticket_id}
    return Draft("tool_background_resolved", {**data, "output": "it is done"})


def unasked(request: dict[str, Any]) -> Draft:
    """The person could not be asked."""
    asked = {key: request[key] for key in ("request_id", "tool_call_id")}
    return Draft("warning", {"kind": "interaction_failed", **asked, "reason": "nobody is at the desk"})


def control(action: str) -> Draft:
    """A wish from outside."""
    return Draft("control_requested", {"action": action, "reason": None, "origin": "test"})


class Simulation:
    """One run: its events, every state it went through, and what is to be done next.

    Args:
        patient: people are waited for without end.
    """

    def __init__(self, spec: RunSpec, *, run_id: str = "run_1", patient: bool = False) -> None:
        self.spec = spec
        self.patient = patient
        self.now = START
        self.state = initial_state(run_id, "thread_1")
        self.states = [self.state]
        self.events: list[AgentRunEvent] = []

    @property
    def types(self) -> list[str]:
        """The types of the events so far."""
        return [event.type for event in self.events]

    def put(self, *drafts: Draft) -> None:
        """Append and fold."""
        for draft in drafts:
            validate(draft.type, draft.data)
            self.now += MILLISECOND
            event = stamp(self.state, draft, self.now)
            self.state = evolve(self.state, event)
            self.events.append(event)
            self.states.append(self.state)
            assert (self.state.seq, self.state.at) == (event.seq, event.at), (
                "every event moves the position and the time, whatever else it changes"
            )
            assert (event.state, event.step) == (self.state.status, self.state.step), "the event says what the run is once it has happened"
            assert len(self.events) < EVENTS, "a run of small limits does not end"

    def start(self, text: str | None = "Hello") -> None:
        """The run's first event."""
        agent = msgspec.to_builtins(self.spec)
        self.put(self._claim(False, agent=agent, user_message=text, context={"who": "ann"}))

    def resume(self, spec: RunSpec | None = None) -> None:
        """A new owner takes the run over, whatever it was doing; with another spec where one is given."""
        if spec is not None:
            self.spec = spec
            self.put(self._claim(True, agent=msgspec.to_builtins(spec)))
        else:
            self.put(self._claim(True))

    def reopen(self, spec: RunSpec | None = None) -> None:
        """A run that failed is gone on with; with another spec where one is given."""
        more: dict[str, Any] = {} if spec is None else {"agent": msgspec.to_builtins(spec)}
        self.spec = spec or self.spec
        self.put(self._claim(True, reopened=True, **more))

    def _claim(self, resumed: bool, **more: Any) -> Draft:
        epoch = self.state.epoch + 1
        return Draft("run_started", {"agent_name": "agent", "resumed": resumed, "epoch": epoch, "owner": f"owner_{epoch}", **more})

    def effects(self) -> tuple[Effect, ...]:
        """Let the machine conclude what it can, and say what should be under way then."""
        while True:
            decision = decide(self.state)
            assert decision == decide(self.state), "decide is a function of state"
            assert not (decision.events and decision.effects)
            if not decision.events:
                return decision.effects
            self.put(*decision.events)

    def wanted(self, kind: type[T]) -> list[T]:
        """The effects of that kind that should be under way now."""
        return [effect for effect in self.effects() if isinstance(effect, kind)]

    def answer(self, effect: Effect, draft: Draft) -> None:
        """End an effect; a wait ends no sooner than it should."""
        assert draft.type in endings(effect)
        if isinstance(effect, Wait):
            self.now = max(self.now, effect.until)
        self.put(draft)

    def answer_plainly(self, *kinds: type) -> None:
        """Answer effects with their first, plain answer until none but of those kinds is left."""
        while True:
            open_ones = [effect for effect in self.effects() if not isinstance(effect, (*kinds, Wait))]
            if not open_ones:
                return
            self.answer(open_ones[0], answers_to(self.state, open_ones[0])[0])

    def turn(self, chooser: Chooser, intruders: Sequence[str] = ()) -> bool:
        """Let one thing happen: an effect ends, or somebody intrudes. False once nothing more can happen."""
        effects = self.effects()
        if self.state.ended:
            return False
        if not effects:
            assert self.state.status == "paused", f"dead: {self.state.phase} {self.state.call} {self.state.batch}"
            self.put(control("resume"))
            return True
        intruder = chooser.pick("intruder", ("",) * 12 + tuple(intruders)) if intruders else ""
        if intruder == "crash":
            self.resume()
        elif intruder == "result" and self.state.tickets:
            self.put(result_of(self.state.tickets[0]))
        elif intruder and intruder != "result":
            self.put(control(intruder))
        else:
            # A ticket expires when nothing else can happen, or which of two runs hears of it first would be an accident.
            last = (self.state.deadline, expiry(self.state) if self.state.tickets else None)
            due = [effect for effect in effects if effect not in last] or [effects[0]]
            if self.patient:
                due = [effect for effect in due if not effect.id.startswith("answer:")]
            effect = chooser.pick(f"next:{len(due)}", due)
            self.answer(effect, chooser.pick(intent(effect), answers_to(self.state, effect)))
        return True

    def run(self, chooser: Chooser, intruders: Sequence[str] = (), intrusions: int = 4) -> None:
        """Drive the run to its end."""
        before = 0
        while self.turn(chooser, intruders if before < intrusions else ()):
            before += self.events[-1].type in ("control_requested", "run_started")


def intent(effect: Effect) -> str:
    """What an effect is about, by kind, name, ordinal and attempt, and not by where in the log it was announced."""
    match effect:
        case ExecuteTool():
            return f"tool:{effect.call.tool_name}:{effect.ordinal}"
        case RunSubagent() | CancelSubagent():
            return f"subagent:{effect.subagent_name}:{effect.ordinal}:{effect.attempt}"
        case CallModel():
            return f"llm:{effect.model}:{len(effect.messages)}"
        case Summarise():
            return f"summary:{len(effect.messages)}"
        case AskPerson():
            return f"ask:{effect.request['request_id']}"
        case Wait():
            return "wait"
        case _:
            return effect.id
