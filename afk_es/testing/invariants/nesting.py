"""What belongs together in a run: each intent with its one result, each call with its own, each answer with what the world said."""

from __future__ import annotations

from typing import Any

from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.values import clean_text, plain
from afk_es.testing.invariants.course import CalledTool, Course, course_of
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.facts import Fact, ModelAnswers, ModelFails, ToolDefers, ToolFails, ToolReturns
from afk_es.testing.simulation.observing import ObservedRun


class WellNested(Invariant):
    """Every intent has at most one result, which names it rightly; every call of a batch comes to exactly one end before the next step."""

    name = "events are well nested"

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Judge how the event fits behind those before it."""
        judge = _JUDGES.get(event.type)
        wrong = judge(run, event, course_of(run)) if judge is not None else None
        if wrong is not None:
            raise self.violated(wrong, run)


def _previous(run: ObservedRun, types: frozenset[str]) -> AgentRunEvent | None:
    return next((each for each in reversed(run.events[:-1]) if each.type in types), None)


_REQUEST = frozenset({"llm_called", "llm_completed", "llm_failed", "effect_in_doubt"})


def _llm_called(run: ObservedRun, event: AgentRunEvent, course: Course) -> str | None:
    last = _previous(run, _REQUEST)
    if last is not None and last.type == "llm_called":
        return f"the model is asked while the request of seq {last.seq} has no result"
    if event.data["ordinal"] != course.llm_calls:
        return f"request number {course.llm_calls} says that it is number {event.data['ordinal']}"
    return None


def _llm_ended(run: ObservedRun, event: AgentRunEvent, course: Course) -> str | None:
    if event.type == "llm_failed" and event.data["attempt"] == 0:
        return None  # The instructions failed, and the model was not asked.
    last = _previous(run, _REQUEST)
    if last is None or last.type != "llm_called":
        return f"{event.type} without a request"
    if event.type == "llm_failed" and (event.data["model"], event.data["attempt"]) != (last.data["model"], last.data["attempt"]):
        return f"{event.type} of another request than that of seq {last.seq}"
    return None


def _batch_started(run: ObservedRun, event: AgentRunEvent, course: Course) -> str | None:
    requested = [(each["id"], each["tool_name"]) for each in course.requested]
    if requested != list(zip(event.data["tool_call_ids"], event.data["tool_names"], strict=True)):
        return f"the batch has {event.data['tool_call_ids']}, and the model asked for {requested}"
    if len(course.calls) != len(requested):
        return f"two calls of one answer have the same id: {[call_id for call_id, _name in requested]}"
    return None


def _call_started(run: ObservedRun, event: AgentRunEvent, course: Course) -> str | None:
    call, data = course.about, event.data
    if call is None:
        return f"{data['tool_call_id']} starts, and is no call of this batch"
    if (call.ordinal, call.tool_name) != (data.get("ordinal"), data.get("tool_name")):
        return f"call {call.ordinal} ({call.tool_name}, {call.id}) starts as {data.get('ordinal')} ({data.get('tool_name')})"
    if data.get("attempt") != len(call.starts):
        return f"start number {len(call.starts)} of {call.id} says that it is attempt {data.get('attempt')}"
    if call.ending is not None:
        return f"{call.tool_name} ({call.id}) starts after its end at seq {call.ending.seq}"
    earlier = call.starts[-2] if len(call.starts) > 1 else None
    if earlier is not None and earlier.ending is None and earlier.doubt is None:
        return f"{call.tool_name} ({call.id}) starts again while its start at seq {earlier.event.seq} has no result"
    return None


def _attempt_ended(run: ObservedRun, event: AgentRunEvent, course: Course) -> str | None:
    call, data = course.about, event.data
    if call is None:
        return f"{event.type} of {data['tool_call_id']}, which is no call of this batch"
    start = call.starts[-1] if call.starts else None
    if event.type == "tool_failed" and data["attempt"] == 0:
        return None if start is None else f"{call.id} is refused before it started, and it has started"
    if start is None or start.ending is not event:
        return f"{event.type} of {call.tool_name} ({call.id}), which has no start without a result"
    if "attempt" in data and data["attempt"] != len(call.starts):
        return f"{event.type} of attempt {data['attempt']} of {call.id}, which is at attempt {len(call.starts)}"
    if event.type == "subagent_completed" and data["run_id"] != start.event.data["run_id"]:
        return f"{event.type} of run {data['run_id']}, and {call.id} started {start.event.data['run_id']}"
    return None


def _call_ended(run: ObservedRun, event: AgentRunEvent, course: Course) -> str | None:
    call, data = course.about, event.data
    if call is None:
        return f"tool_completed of {data['tool_call_id']}, which is no call of this batch"
    if call.ending is not event:
        return f"{call.tool_name} ({call.id}) ends twice"
    if data["tool_name"] != call.tool_name:
        return f"{call.id} is a call of {call.tool_name}, and ends as one of {data['tool_name']}"
    if data["success"] != (data["outcome"] == "returned"):
        return f"{call.id} ends as {data['outcome']!r} with success={data['success']}"
    if data["success"] and not call.starts and not any(question.outcome == "answered" for question in call.questions):
        return f"{call.tool_name} ({call.id}) returned, and it never started"
    return None


def _step_started(run: ObservedRun, event: AgentRunEvent, course: Course) -> str | None:
    if course.step != course.steps:
        return f"step number {course.steps} says that it is number {course.step}"
    open_ones = [call for call in course.calls.values() if call.ending is None and call.deferred is None]
    return f"a step begins, and {_names(open_ones)} has no end" if open_ones else None


def _names(calls: list[CalledTool]) -> str:
    return ", ".join(f"{call.tool_name} ({call.id})" for call in calls)


_JUDGES = {
    "llm_called": _llm_called,
    "llm_completed": _llm_ended,
    "llm_failed": _llm_ended,
    "tool_batch_started": _batch_started,
    "tool_started": _call_started,
    "subagent_started": _call_started,
    "tool_failed": _attempt_ended,
    "subagent_completed": _attempt_ended,
    "tool_deferred": _attempt_ended,
    "tool_completed": _call_ended,
    "step_started": _step_started,
}


class ResultsBelong(Invariant):
    """What the log says of a request or a call is what the world answered to that very request or call, and it says so of no other."""

    name = "a result belongs to its call"

    def __init__(self) -> None:
        self._answers: dict[tuple[str, int], tuple[Ask, Fact]] = {}

    def answered(self, ask: Ask, fact: Fact) -> None:
        """Remember what was answered to which intent."""
        if ask.kind in ("tool", "model") and ask.effect is not None:
            self._answers[ask.run_id, ask.effect.seq] = ask, fact  # type: ignore[union-attr]  # calls of tools and models have one

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Compare."""
        match event.type:
            case "llm_completed" | "llm_failed":
                called = _previous(run, frozenset({"llm_called"}))
                if called is not None and not (event.type == "llm_failed" and event.data["attempt"] == 0):
                    self._compare(run, event, self._answers.get((run.run_id, called.seq)), _of_the_model)
            case "tool_completed" | "tool_failed" | "tool_deferred":
                call = course_of(run).about
                if (
                    call is not None
                    and call.starts
                    and call.starts[-1].ending is event
                    and event.data.get("outcome", "returned") == "returned"
                ):
                    self._compare(run, event, self._answers.get((run.run_id, call.starts[-1].event.seq)), _of_the_tool)
            case _:
                pass

    def _compare(self, run: ObservedRun, event: AgentRunEvent, answer: tuple[Ask, Fact] | None, says: Any) -> None:
        if answer is None:
            if event.type in ("llm_completed", "tool_completed"):
                raise self.violated(f"{event.type} of {event.data.get('tool_call_id', 'a request')} that nobody has answered", run)
            return
        wrong = says(*answer, event)
        if wrong is not None:
            raise self.violated(f"{answer[0].key}: {wrong}", run)


def _of_the_model(ask: Ask, fact: Fact, event: AgentRunEvent) -> str | None:
    if isinstance(fact, ModelFails):
        return "it failed, and the log has an answer" if event.type == "llm_completed" else None
    if event.type == "llm_failed" or not isinstance(fact, ModelAnswers):
        return None
    data = event.data
    if data["text"] != clean_text(fact.text):
        return f"it said {fact.text!r}, and the log has {data['text']!r}"
    said = [(clean_text(call.tool_name), plain(call.arguments)) for call in fact.calls]
    if said != [(call["tool_name"], call["arguments"]) for call in data["tool_calls"]]:
        return f"it asked for {said}, and the log has {data['tool_calls']}"
    return None


def _of_the_tool(ask: Ask, fact: Fact, event: AgentRunEvent) -> str | None:
    tool = ask.tool
    if tool is None or tool.posthooks or tool.middlewares or tool.prehooks:
        return None
    if isinstance(fact, ToolReturns):
        if event.type == "tool_failed":
            return None  # What it returned may be nothing that can be recorded.
        if event.type != "tool_completed" or event.data["output"] != plain(fact.output):
            return f"it returned {fact.output!r}, and the log has {event.type} {event.data.get('output')!r}"
    elif isinstance(fact, ToolFails) and event.type != "tool_failed":
        return f"it failed, and the log has {event.type}"
    elif isinstance(fact, ToolDefers) and event.type == "tool_completed":
        return "it went on in the background, and the log has its result"
    return None
