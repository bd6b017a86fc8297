"""What a person was asked, and what became of the answer: bound to one call with these arguments, asked once, and heeded."""

from __future__ import annotations

from typing import Any

from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.values import digest_json
from afk_es.testing.invariants.course import CalledTool, Question, course_of
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.facts import Fact, PersonSays
from afk_es.testing.simulation.observing import ObservedRun

_SAID = {"granted": "yes", "answered": "yes", "denied": "no", "deferred": "put_off"}
_FALLBACKS = {"allow": ("granted", "answered"), "deny": ("denied",), "defer": ("deferred",)}


class ApprovalsAreBound(Invariant):
    """An approval holds for one call with these very arguments; an answer is what a person said, or the fallback where none could.

    A question is put once, and not again after it was answered, whoever drives the run by then. A yes lets the call start with what was
    shown; a no ends it.
    """

    name = "an approval is bound to its call and arguments"

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], set[str]] = {}

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Judge questions, answers, and what starts on account of them."""
        match event.type:
            case "approval_requested" | "input_requested":
                self._judge_question(run, event)
            case "approval_resolved" | "input_resolved":
                self._judge_answer(run, event, after)
            case "tool_started" | "subagent_started":
                self._judge_start(run, event)
            case _:
                pass

    def asked(self, ask: Ask) -> None:
        """Judge what a person is shown."""
        if ask.kind not in ("approval", "input") or ask.effect is None:
            return
        request, run = ask.about, self.simulation.runs[ask.run_id]
        question = _question(run, request.request_id, request.tool_call_id)
        if question is None:
            raise self.violated(f"{ask.key}: a person is asked, and the log has no such question", run)
        if question.outcome is not None:
            raise self.violated(f"{ask.key}: a person is asked again what was answered at seq {question.answers[-1].seq}", run)
        asked = question.asked.data
        if (request.tool_name, request.arguments) != (asked["tool_name"], asked.get("arguments", request.arguments)):
            raise self.violated(f"{ask.key}: a person is shown {request.tool_name} {request.arguments}, and the log has {asked}", run)

    def answered(self, ask: Ask, fact: Fact) -> None:
        """Remember what was said."""
        if isinstance(fact, PersonSays):
            self._said.setdefault((ask.run_id, ask.about.request_id), set()).add(fact.outcome)

    # ------------------------------------------------------------------------------------------------------------------------ the inside

    def _judge_question(self, run: ObservedRun, event: AgentRunEvent) -> None:
        call, data = course_of(run).about, event.data
        if call is None or call.tool_name != data["tool_name"]:
            raise self.violated(f"a person is asked about {data['tool_name']} ({data['tool_call_id']}), which nobody called", run)
        purpose = data.get("purpose", "policy")
        asked_before = [question for question in call.questions[:-1] if question.purpose == purpose]
        if purpose == "policy":
            if call.gate is None or call.gate.data["action"] not in ("request_approval", "request_user_input", "defer"):
                raise self.violated(f"a person is asked about {call.tool_name} ({call.id}), and no rule wants that", run)
            if asked_before:
                raise self.violated(f"a person is asked again about {call.tool_name} ({call.id})", run)
            if "arguments" in data and not call.fed and data["arguments"] != call.arguments:
                raise self.violated(f"a person is shown {data['arguments']}, and {call.arguments} is what would run", run)
        elif len(asked_before) >= sum(start.doubt is not None for start in call.starts):
            raise self.violated(f"a person is asked again whether to repeat {call.tool_name} ({call.id})", run)
        if event.type == "approval_requested" and data["arguments_hash"] != digest_json(data["arguments"]):
            raise self.violated(f"the hash of the question about {call.tool_name} ({call.id}) is not of its arguments", run)

    def _judge_answer(self, run: ObservedRun, event: AgentRunEvent, after: RunState) -> None:
        call, data = course_of(run).about, event.data
        question = call.questions[-1] if call is not None and call.questions else None
        if call is None or question is None or question.asked.data["request_id"] != data["request_id"]:
            raise self.violated(f"{data['request_id']} is answered for {data['tool_call_id']}, which did not ask that", run)
        if any(earlier.data["outcome"] != "deferred" for earlier in question.answers[:-1]):
            raise self.violated(f"the question about {call.tool_name} ({call.id}) is answered twice", run)
        if event.type == "approval_resolved" and data["arguments_hash"] != question.asked.data["arguments_hash"]:
            raise self.violated(f"the answer about {call.tool_name} ({call.id}) is for other arguments", run)
        if data["by"] == "fallback":
            self._judge_fallback(run, event, question, after)
        elif _SAID[data["outcome"]] not in self._said.get((run.run_id, data["request_id"]), ()):
            raise self.violated(f"{data['by']} is said to have {data['outcome']} {call.tool_name} ({call.id}), and did not", run)

    def _judge_fallback(self, run: ObservedRun, event: AgentRunEvent, question: Question, after: RunState) -> None:
        interaction = after.spec.interaction
        rule = interaction.approval_fallback if event.type == "approval_resolved" else interaction.input_fallback
        if event.data["outcome"] not in _FALLBACKS[rule]:
            raise self.violated(f"the fallback is {rule!r}, and the answer is {event.data['outcome']!r}", run)
        waited_s = (event.at - question.asked.at).total_seconds()
        if interaction.mode == "headless" or waited_s + 1e-3 >= question.asked.data["timeout_s"]:
            return
        request_id = event.data["request_id"]
        if not any(each.type == "warning" and each.data.get("request_id") == request_id for each in run.events[question.asked.seq :]):
            raise self.violated(f"nobody was given the time to answer {request_id}: {waited_s:g} s", run)

    def _judge_start(self, run: ObservedRun, event: AgentRunEvent) -> None:
        call = course_of(run).about
        if call is None or not call.questions:
            return
        question = call.questions[-1]
        if question.outcome not in ("granted", "answered"):
            raise self.violated(f"{call.tool_name} ({call.id}) starts, and the answer is {question.outcome or 'still to come'}", run)
        granted = question.asked.data.get("arguments_hash")
        if event.type == "tool_started" and granted is not None and event.data["arguments_hash"] != granted:
            raise self.violated(f"{call.tool_name} ({call.id}) starts with other arguments than were approved", run)


def _question(run: ObservedRun, request_id: str, tool_call_id: str) -> Question | None:
    call: CalledTool | None = course_of(run).calls.get(tool_call_id)
    questions: Any = call.questions if call is not None else ()
    return next((each for each in questions if each.asked.data["request_id"] == request_id), None)
