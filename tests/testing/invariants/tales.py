"""Made-up histories: what a run's log and the world would tell an invariant, right up to the event that is wrong."""

from __future__ import annotations

import asyncio
import datetime as dt
from types import SimpleNamespace
from typing import Any

from afk_es.llms import LLMRequest
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.effects import CallModel, Effect, ExecuteTool
from afk_es.machine.spec import Limits, ModelSpec, RunSpec, ToolSpec
from afk_es.machine.values import Message, Messages, ToolCall, digest_json
from afk_es.testing.invariants import Invariant
from afk_es.testing.simulation.asks import Ask, AskKind
from afk_es.testing.simulation.facts import Call, Fact, ModelAnswers
from afk_es.testing.simulation.observing import ObservedRun
from afk_es.testing.simulation.virtual_loop import START
from afk_es.tools import Tool, ToolContext

LOOK = ToolSpec("look", "", {}, read_only=True)
PAY = ToolSpec("pay", "", {}, timeout_s=5.0)
SCOUT = ToolSpec("transfer_to_scout", "", {}, kind="subagent", subagent="scout")


def spec(**limits: Any) -> RunSpec:
    """An agent with two tools and a subagent."""
    return RunSpec("boss", (ModelSpec("m", "p"),), tools=(LOOK, PAY, SCOUT), limits=Limits(**limits))


class Tale:
    """A simulation in which one run happens as it is told, whatever a machine would make of it.

    Args:
        invariant: is told.
        spec: of the run.
        parent: its parent's id, where it is a subagent's.
    """

    def __init__(self, invariant: Invariant, spec: RunSpec | None = None, *, world: Tale | None = None, parent: str | None = None) -> None:
        self.invariant = invariant
        self.moment_s = 0.0
        number = len(world.simulation.runs) + 1 if world is not None else 1
        self.state = RunState(f"run_{number}", "thread", spec=spec or globals()["spec"]())
        self.run = ObservedRun(self.state.run_id, "thread", self.state, self.state, parent)
        self.simulation: Any = world.simulation if world is not None else _simulation()
        self.simulation.runs[self.run.run_id] = self.run
        self._asked = 0
        invariant.begins(self.simulation)

    def happens(self, kind: str, /, *, step: int = 1, state: str = "running", writer: int = 1, **data: Any) -> AgentRunEvent:
        """The next event, with this and what else such an event has."""
        if kind == "step_started":
            data["step"] = step
        at = START + dt.timedelta(seconds=self.moment_s)
        event = AgentRunEvent(
            kind, self.run.run_id, "thread", len(self.run.events) + 1, at, state, step, "", {**_USUAL.get(kind, {}), **data}
        )
        self.run.events.append(event)
        self.simulation.writer = writer
        self.invariant.appended(self.run, event, self.state, self.state)
        return event

    def begins(self, **data: Any) -> None:
        """A run begins its first step, and the model has been allowed."""
        self.happens("run_started", **data)
        self.happens("step_started")
        self.happens("policy_decision")

    def batch(self, *names: str, **arguments: Any) -> None:
        """The model asks for these tools, as c0, c1 and so on."""
        calls: list[dict[str, Any]] = [{"id": f"c{number}", "tool_name": name, "arguments": arguments} for number, name in enumerate(names)]
        ordinal = sum(each.type == "llm_called" for each in self.run.events) + 1
        ask = self.asks_model(self.happens("llm_called", ordinal=ordinal).seq)
        self.invariant.answered(ask, ModelAnswers(calls=tuple(Call(call["id"], call["tool_name"], arguments) for call in calls)))
        self.answers_request(calls)
        self.happens("tool_batch_started", tool_call_ids=[call["id"] for call in calls], tool_names=list(names), tool_call_count=len(calls))

    def answers_request(self, calls: list[dict[str, Any]], **data: Any) -> None:
        """The model has answered."""
        self.happens("llm_completed", tool_calls=calls, **data)

    def decides(self, call_id: str, action: str, **data: Any) -> None:
        """The policy decides about a call."""
        event_type = data.pop("event_type", "tool_before_execute")
        self.happens("policy_decision", event_type=event_type, action=action, tool_call_id=call_id, tool_name="pay", **data)

    def starts(self, call_id: str, name: str = "pay", ordinal: int = 1, attempt: int = 1, arguments: Any = None, **data: Any) -> int:
        """A tool starts; the seq of that."""
        digest = digest_json(arguments if arguments is not None else {})
        about: dict[str, Any] = {
            "tool_name": name,
            "tool_call_id": call_id,
            "ordinal": ordinal,
            "attempt": attempt,
            "arguments_hash": digest,
        }
        return self.happens("tool_started", idempotency_key=f"k{ordinal}", **about, **data).seq

    def ends(self, call_id: str, name: str = "pay", outcome: str = "returned", **data: Any) -> None:
        """A call is over."""
        success = outcome == "returned"
        error = None if success else "no"
        about = {"tool_name": name, "tool_call_id": call_id, "outcome": outcome, "success": success, "error": error}
        self.happens("tool_completed", **{"output": "out" if success else None, **about, **data})

    def asks_person(self, call_id: str, arguments: Any = None, **data: Any) -> None:
        """A question is put about a call of pay."""
        arguments = arguments if arguments is not None else {}
        about = {"request_id": f"approval:{call_id}", "tool_name": "pay", "tool_call_id": call_id, "arguments": arguments}
        self.happens("approval_requested", arguments_hash=digest_json(arguments), **{**about, **data})

    def person_answers(self, call_id: str, outcome: str, arguments: Any = None, **data: Any) -> None:
        """It is answered, as the log has it."""
        about = {"request_id": f"approval:{call_id}", "tool_call_id": call_id, "outcome": outcome, "by": "ann", "reason": None}
        digest = digest_json(arguments if arguments is not None else {})
        self.happens("approval_resolved", **{"arguments_hash": digest, **about, **data})

    # ------------------------------------------------------------------------------------------------------------------ what the world sees

    def ask(self, kind: AskKind, name: str, about: Any, effect: Effect | None, *, process: int = 1, **more: Any) -> Ask:
        """The world is asked."""
        self._asked += 1
        future: asyncio.Future[Fact] = SimpleNamespace()  # type: ignore[assignment]  # nobody waits for it
        ask = Ask(f"{kind}:{name}:{self._asked}", kind, name, process, self.run.run_id, 1, effect, about, future, **more)
        self.invariant.asked(ask)
        return ask

    def runs_tool(
        self,
        seq: int,
        call_id: str = "c0",
        name: str = "pay",
        ordinal: int = 1,
        arguments: Any = None,
        *,
        key: str | None = None,
        **more: Any,
    ) -> Ask:
        """A tool is run."""
        arguments = arguments if arguments is not None else {}
        key = key if key is not None else f"k{ordinal}"
        effect = ExecuteTool(f"tool:{seq}", seq, ordinal, ToolCall(call_id, name, arguments), 1, None, key)
        context = ToolContext(idempotency_key=key, secrets=more.pop("secrets", {}))
        tool: Tool[..., Any] | None = more.pop("tool", None)
        return self.ask("tool", name, more.pop("about", arguments), effect, tool=tool, context=context, **more)

    def asks_model(self, seq: int, *messages: Message, process: int = 1) -> Ask:
        """The model is asked."""
        shown = messages or (Message("user", "hi"),)
        effect = CallModel(f"llm:{seq}", seq, 0, "m", 1, Messages(shown), None, "k")
        return self.ask("model", "boss", LLMRequest(model="m", messages=shown), effect, process=process)


def _simulation() -> Any:
    log = MemoryEventLog()
    asyncio.run(log.open())
    return SimpleNamespace(runs={}, pending={}, writer=1, process=SimpleNamespace(number=1), log=log, errors=[], root=None, results=[])


_USUAL: dict[str, dict[str, Any]] = {
    "run_started": {"agent_name": "boss", "resumed": False, "epoch": 1, "owner": "me"},
    "step_started": {"step": 1, "state": "running"},
    "policy_decision": {"event_type": "llm_before_execute", "action": "allow", "reason": None, "policy_id": None, "matched_rules": []},
    "llm_called": {"model": "m", "provider": "p", "model_index": 0, "attempt": 1, "ordinal": 1, "request_hash": ""},
    "llm_completed": {"text": "", "finish_reason": None, "tool_call_count": 0, "tool_calls": [], "usage": None, "cost_usd": 0.0},
    "llm_failed": {"model": "m", "attempt": 1, "error": "no", "error_type": "E", "classification": "retryable"},
    "tool_failed": {"attempt": 1, "error": "no", "error_type": "E", "classification": "retryable"},
    "approval_requested": {"purpose": "policy", "policy_id": None, "reason": None, "payload": {}, "timeout_s": 300.0, "agent_path": []},
    "subagent_started": {"subagent_name": "scout", "correlation_id": "", "tool_name": "transfer_to_scout", "attempt": 1, "run_id": "run_2"},
    "subagent_completed": {
        "subagent_name": "scout",
        "success": True,
        "state": "completed",
        "error": None,
        "run_id": "run_2",
        "latency_ms": 0.0,
    },
    "effect_in_doubt": {"effect": "tool", "resolution": "report"},
    "control_requested": {"reason": None, "origin": "handle"},
    "tool_deferred": {"status": "running", "summary": None, "resume_hint": None, "tool_name": "pay", "tool_call_id": "c0"},
    "tool_background_resolved": {"output": "out", "tool_name": "pay", "tool_call_id": "c0"},
    "run_completed": {"state": "completed"},
    "run_interrupted": {"reason": "laid down"},
    "run_failed": {"error": "no", "error_type": "E"},
    "run_cancelled": {"reason": "enough"},
    "limit_reached": {"maximum": 1.0, "used": 1.0},
}
