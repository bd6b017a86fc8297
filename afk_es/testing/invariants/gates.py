"""No effect without an allow, and none that the log did not announce: what the world is asked for stands in the log, decided and durable."""

from __future__ import annotations

from typing import Any

from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.effects import CallModel, ExecuteTool, Summarise
from afk_es.machine.values import digest_json
from afk_es.testing.invariants.course import CalledTool, course_of
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.observing import ObservedRun

_INTENTS = {CallModel: "llm_called", ExecuteTool: "tool_started", Summarise: "compaction_started"}


class NoEffectWithoutAllow(Invariant):
    """The policy decides before each request to a model, each start of a tool and each delegation; what it refuses never takes effect.

    A decision that leaves a call to a person is an allow once that person has said yes; one that leaves the words to a person, once they
    have spoken.
    """

    name = "no effect without an allow"

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Judge what the log announces."""
        match event.type:
            case "llm_called":
                allowed = course_of(run).llm_allowed
                if allowed is None or allowed.data["action"] != "allow":
                    word = "no decision" if allowed is None else f"the decision {allowed.data['action']!r}"
                    raise self.violated(f"the model is asked in step {event.step} with {word} of the policy", run)
            case "tool_started" | "subagent_started":
                course = course_of(run)
                if course.about is None:
                    raise self.violated(f"{event.data['tool_name']} starts, and nobody asked for that call", run)
                self._judge(run, course.about, event)
            case "tool_completed" if event.data["success"]:
                call = course_of(run).about
                if call is not None and (refused := _refusal(call)) is not None:
                    raise self.violated(f"{call.tool_name} ({call.id}) returned, and {refused}", run)
            case _:
                pass

    def asked(self, ask: Ask) -> None:
        """Judge what the world is asked for."""
        effect = ask.effect
        if not isinstance(effect, CallModel | ExecuteTool | Summarise):
            return
        run = self.simulation.runs.get(ask.run_id)
        intent = run.events[effect.seq - 1] if run is not None and len(run.events) >= effect.seq else None
        wanted = _INTENTS[type(effect)]
        if intent is None or intent.type != wanted:
            raise self.violated(f"{ask.key} is asked for, and at seq {effect.seq} the log has {_type(intent)}", ask.run_id, effect.seq)
        if isinstance(effect, ExecuteTool):
            self._judge_execution(ask, effect, intent.data)

    def _judge(self, run: ObservedRun, call: CalledTool, event: AgentRunEvent) -> None:
        refused = _refusal(call)
        if refused is not None:
            raise self.violated(f"{call.tool_name} ({call.id}) starts, and {refused}", run)
        wanted = "subagent_before_execute" if event.type == "subagent_started" else "tool_before_execute"
        if call.gate is not None and call.gate.data["event_type"] != wanted:
            raise self.violated(f"{call.tool_name} ({call.id}) was decided on as {call.gate.data['event_type']}", run)
        if event.type == "tool_started" and event.data["arguments_hash"] != digest_json(call.arguments):
            raise self.violated(f"{call.tool_name} ({call.id}) starts with other arguments than were decided on: {call.arguments}", run)

    def _judge_execution(self, ask: Ask, effect: ExecuteTool, started: dict[str, Any]) -> None:
        call, tool = effect.call, ask.tool
        if (call.id, call.tool_name, effect.ordinal) != (started["tool_call_id"], started["tool_name"], started["ordinal"]):
            raise self.violated(f"{ask.key} is run as {call.tool_name} ({call.id}), and announced otherwise", ask.run_id, effect.seq)
        if digest_json(call.arguments) != started["arguments_hash"]:
            raise self.violated(f"{ask.key} is run with other arguments than were announced: {call.arguments}", ask.run_id, effect.seq)
        if (
            tool is not None
            and not tool.prehooks
            and not tool.middlewares
            and ask.about != tool.json_arguments(tool.validate(call.arguments))
        ):
            raise self.violated(f"{ask.key} gets {ask.about}, and {call.arguments} were announced", ask.run_id, effect.seq)


def _type(event: AgentRunEvent | None) -> str:
    return "nothing yet" if event is None else event.type


def _refusal(call: CalledTool) -> str | None:
    """Why the call may not take effect, or None."""
    if call.gate is None:
        return "the policy was not asked about it"
    action = call.gate.data["action"]
    if action == "deny":
        return f"the policy denied it: {call.gate.data['reason']}"
    answered = [question.outcome for question in call.questions]
    refused = next((outcome for outcome in answered if outcome not in ("granted", "answered", None)), None)
    if refused is not None:
        return "a person said no"
    if action != "allow" and not any(question.purpose == "policy" and question.outcome for question in call.questions):
        return f"the decision was {action!r}, and nobody has answered"
    return None
