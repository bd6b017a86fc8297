"""What a model is asked is a conversation that a provider accepts, and it holds what it must: the last results, the request, what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from afk_es.machine.rendering import render_error, render_output
from afk_es.machine.spec import Rendering
from afk_es.machine.values import Message
from afk_es.testing.invariants.course import CalledTool, Course, course_of
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.asks import Ask


@dataclass(slots=True)
class _Checked:
    """How much of a run's conversation was looked through: so many messages, of which this was the last."""

    count: int
    last: Message


class WellFormedRequests(Invariant):
    """Every tool message in a request has its call before it, every call its one result behind it, in the order of the calls; a system message
    stands first or nowhere. Compaction drops no result without its call, nor ever what the model has not seen yet: the results of its last
    calls are there, each the one of its own call, and so is what the run was asked to do.
    """

    name = "requests are well formed"

    def __init__(self) -> None:
        self._checked: dict[str, _Checked] = {}

    def asked(self, ask: Ask) -> None:
        """Judge a request."""
        if ask.kind != "model":
            return
        messages: Sequence[Message] = ask.about.messages
        start = 1 if messages and messages[0].role == "system" else 0
        wrong = self._form(ask.run_id, messages, start) or self._content(ask, messages)
        if wrong is not None:
            raise self.violated(f"{ask.key}: {wrong}", ask.run_id, getattr(ask.effect, "seq", None))

    # ------------------------------------------------------------------------------------------------------------------------ the inside

    def _form(self, run_id: str, messages: Sequence[Message], start: int) -> str | None:
        checked = self._checked.get(run_id)
        size = len(messages)
        if checked is not None and start < checked.count <= size and messages[checked.count - 1] is checked.last:
            begin = checked.count
        else:
            begin = start
        open_ids: list[str] = []
        for index in range(begin, size):
            message = messages[index]
            wrong = _follows(message, open_ids)
            if wrong is not None:
                return f"message {index}: {wrong}"
            if message.role == "assistant":
                open_ids = [call.id for call in message.tool_calls]
                if len(set(open_ids)) < len(open_ids):
                    return f"message {index}: two calls have one id: {open_ids}"
        if open_ids:
            return f"{open_ids} have no results"
        if size > start and messages[-1].role not in ("user", "tool"):
            return f"it ends with a message of role {messages[-1].role!r}"
        if size > start:
            self._checked[run_id] = _Checked(size, messages[-1])
        return None

    def _content(self, ask: Ask, messages: Sequence[Message]) -> str | None:
        run = self.simulation.runs[ask.run_id]
        course = course_of(run)
        said = run.events[0].data.get("user_message")
        if said and not any(message.role == "user" and message.content == said for message in messages):
            return "what the run was asked to do is not in it"
        if not course.answers:
            return None
        return _last_exchange(messages, course, run.state.spec.rendering)


def _follows(message: Message, open_ids: list[str]) -> str | None:
    """What is wrong with a message behind an answer of whose calls these have no result yet; takes its own away."""
    match message.role:
        case "tool":
            if message.tool_call_id not in open_ids:
                return f"a result of {message.tool_call_id!r}, which has no call before it"
            if message.tool_call_id != open_ids[0]:
                return f"the result of {message.tool_call_id!r} stands before that of {open_ids[0]!r}"
            del open_ids[0]
            return None
        case "user" | "assistant":
            return f"{open_ids} have no results, and {message.role} goes on" if open_ids else None
        case _:
            return f"a message of role {message.role!r} within the conversation"


def _last_exchange(messages: Sequence[Message], course: Course, rendering: Rendering) -> str | None:
    """What is wrong with the model's last answer and the results of its calls, which it has not seen yet."""
    answer = course.answers[-1].data
    wanted = [call["id"] for call in answer["tool_calls"]]
    index = len(messages) - 1
    while index >= 0 and messages[index].role == "user":
        index -= 1
    results: list[Message] = []
    while index >= 0 and messages[index].role == "tool":
        results.append(messages[index])
        index -= 1
    results.reverse()
    if wanted and [message.tool_call_id for message in results] != wanted:
        return f"the model asked for {wanted}, and gets the results of {[message.tool_call_id for message in results]}"
    if wanted and (index < 0 or [call.id for call in messages[index].tool_calls] != wanted):
        return "the model's last answer is not before the results of its calls"
    if wanted and course.calls.keys() == set(wanted):
        for message in results:
            wrong = _shown(message, course.calls[str(message.tool_call_id)], rendering)
            if wrong is not None:
                return wrong
    return None


def _shown(message: Message, call: CalledTool, rendering: Rendering) -> str | None:
    ending: Any = call.ending.data if call.ending is not None else None
    if ending is None:
        return None
    if ending["success"]:
        expected = render_output(ending["output"], rendering)
    else:
        expected = render_error(ending["error"] or "the call failed", rendering)
    return None if message.content == expected else f"the result of {call.id} is shown as {message.content!r}, and it is {expected!r}"
