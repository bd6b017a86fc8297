"""Where a golden contradicts itself: what its runs are said to have come to, and what their events say. One of them was edited.

The events are what a check answers today's agent from, so an edit of one is in today's run as well, and no comparison of the two could find
it. That is what the outcome of a run is held against its events for. It works on the lines of the file, so it finds an edit after which
the events could not have happened, and nothing could be replayed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from afk_es.debugger.changes import changes
from afk_es.debugger.exchange.golden_facts import GoldenError, GoldenOutcome
from afk_es.evals.goldens.call_changes import Asked, CallLedger
from afk_es.evals.goldens.divergence import Divergence, Place
from afk_es.evals.goldens.finding import Finding
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.recording import outcome_of
from afk_es.machine import RunState
from afk_es.machine.events import TERMINAL

_SUMMED = ("final_text", "final_structured", "error", "llm_calls", "tool_calls", "tokens", "cost_usd")

Fact = dict[str, Any]
"""An event as its line says it, with the number of the line."""


class _Call(msgspec.Struct, frozen=True):
    id: str
    tool_name: str
    arguments: Any


class _Answer(msgspec.Struct, frozen=True):
    """What is held of an `llm_completed`."""

    text: str
    tool_calls: list[_Call]
    structured_response: Any = None


async def edited_states(golden: Golden) -> dict[str, RunState]:
    """The states that the runs of an edited file end in; of one that was not, or that cannot be, none."""
    try:
        return await golden.states() if golden.edited else {}
    except GoldenError:
        # Whoever replays it is told of the line.
        return {}


def contradictions(golden: Golden, states: Mapping[str, RunState]) -> Iterator[tuple[Finding, Divergence]]:
    """Each with the finding that it is, for whoever chooses by mode; expected is what the outcome says.

    Args:
        states: see `edited_states`.
    """
    events: dict[str, list[Fact]] = defaultdict(list)
    for fact in golden.facts:
        if fact.kind == "event":
            events[fact.value["run"]].append({**fact.value, "line": fact.line})
    for run_id, outcome in golden.outcomes.items():
        found = list(_of_run(outcome, events[run_id]))
        if not found and run_id in states:
            found = [(finding, events[run_id][-1], None) for finding in _of_state(outcome, states[run_id])]
        for finding, event, call in found:
            message = f"{finding.message}: the golden contradicts itself, so one of the two was edited (expected is by its outcome); restore the file"
            place = None if event is None else _place(event, call)
            yield finding, Divergence(finding.kind, finding.field, finding.expected, finding.actual, place, None, message)


def _of_run(outcome: GoldenOutcome, events: list[Fact]) -> Iterator[tuple[Finding, Fact | None, Asked | None]]:
    try:
        answers = [(event, msgspec.convert(event.get("data"), _Answer)) for event in events if event["type"] == "llm_completed"]
    except msgspec.ValidationError:
        return  # Whoever loads the file is told of the line.
    if outcome.calls is not None:
        ledger = CallLedger()
        expected = [(str(call.get("tool_name", "")), call.get("arguments"), "", None) for call in outcome.calls]
        found = [(call.tool_name, call.arguments, call.id, event) for event, answer in answers for call in answer.tool_calls]
        ledger.enter(_asked(expected), _asked(found))
        for finding, old, new in ledger.findings("by its outcome", "by its events"):
            yield finding, new.at if new is not None else _near(old, found), new
    end = events[-1] if events and events[-1]["type"] in TERMINAL else None
    state = None if end is None else end.get("data", {}).get("state") or end["type"].removeprefix("run_")
    if state != outcome.state:
        yield Finding("end", "result", "state", outcome.state, state, "the run ends in another state"), end, None
    if state == outcome.state == "completed" and answers:
        yield from _answer(outcome, events, *answers[-1])


def _of_state(outcome: GoldenOutcome, state: RunState) -> Iterator[Finding]:
    """What the lines do not show by themselves: errors, counts, tokens and costs are what all events together come to."""
    actual = outcome_of(state, ())
    for name in _SUMMED:
        before, after = getattr(outcome, name), getattr(actual, name)
        if before != after:
            yield Finding("answer", "result", name, before, after, f"the run comes to another {name}")


def _answer(outcome: GoldenOutcome, events: list[Fact], last: Fact, answer: _Answer) -> Iterator[tuple[Finding, Fact | None, Asked | None]]:
    if answer.text != outcome.final_text:
        yield Finding("answer", "result", "final_text", outcome.final_text, answer.text, "the final answer is another one"), last, None
    validated = next((event for event in reversed(events) if event["type"] == "output_validated"), None)
    structured = answer.structured_response if validated is None else validated.get("data", {}).get("output")
    for change in changes(outcome.final_structured, structured, "final_structured"):
        yield (
            Finding("answer", "result", change.path, change.before, change.after, "the final answer is another one"),
            validated or last,
            None,
        )


def _asked(calls: Iterable[tuple[str, Any, str, Fact | None]]) -> list[Asked]:
    return [Asked((), name, arguments, place, place, call_id, event) for place, (name, arguments, call_id, event) in enumerate(calls)]


def _near(gone: Asked | None, found: list[tuple[str, Any, str, Fact]]) -> Fact | None:
    """The answer in which a call that is not there should stand."""
    if gone is None or not found:
        return None
    return found[min(gone.ordinal, len(found) - 1)][3]


def _place(event: Fact, call: Asked | None) -> Place:
    tool, call_id = (call.name, call.call_id) if call is not None else ("", "")
    text = f"(line {event['line']} of the file)" if event["line"] else ""
    return Place(event["run"], event["seq"], event.get("step", 0), (), event["type"], text, tool, call_id)
