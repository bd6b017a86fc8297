"""Goal: a recording is read into what was answered, in order, joints mended. Method: logs written by hand, a line an event."""

from __future__ import annotations

import datetime as dt
from typing import Any

from afk_es.handlers.tape import Tape
from afk_es.machine import AgentRunEvent

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def tape(*lines: tuple[str, dict[str, Any]], gaps: dict[int, float] | None = None) -> Tape:
    """A tape of these events, a second apart.

    Args:
        gaps: further seconds before the event of that seq.
    """
    events, at = [], START
    for seq, (kind, data) in enumerate((STARTED, *lines), start=1):
        at += dt.timedelta(seconds=(gaps or {}).get(seq, 0.0))
        events.append(AgentRunEvent(kind, "run_1", "thread_1", seq, at, "running", 1, "", data))
        at += dt.timedelta(seconds=1)
    return Tape(events)


STARTED: tuple[str, dict[str, Any]] = ("run_started", {})
RESUMED: tuple[str, dict[str, Any]] = ("run_started", {"resumed": True})
CALLED = ("llm_called", {"model": "m"})
ANSWERED = ("llm_completed", {"text": "ok"})


def started(call_id: str, *, ordinal: int = 1, attempt: int = 1, hash_: str = "h") -> tuple[str, dict[str, Any]]:
    data = {"tool_name": "work", "tool_call_id": call_id, "ordinal": ordinal, "attempt": attempt, "arguments_hash": hash_}
    return "tool_started", data


def failed(call_id: str) -> tuple[str, dict[str, Any]]:
    return "tool_failed", {"tool_name": "work", "tool_call_id": call_id}


def completed(call_id: str, outcome: str = "returned") -> tuple[str, dict[str, Any]]:
    return "tool_completed", {"tool_name": "work", "tool_call_id": call_id, "outcome": outcome}


def doubted(effect: str, seq: int, resolution: str, call_id: str = "") -> tuple[str, dict[str, Any]]:
    data = {"effect": effect, "intent_seq": seq, "resolution": resolution, "tool_name": "work", "tool_call_id": call_id}
    return "effect_in_doubt", data


def answer_of(found: Any) -> int | None:
    """The seq of an answer that was found."""
    return None if found is None or found.answer is None else int(found.answer.seq)


def test_a_call_is_answered_by_the_same_arguments_then_by_the_same_place() -> None:
    made = tape(started("a", ordinal=1, hash_="x"), started("b", ordinal=2, hash_="y"), completed("b"), completed("a"))
    assert answer_of(made.call("work", "y", (1, 1))) == 4, "the arguments say which, and not the place"
    assert answer_of(made.call("work", "z", (1, 1))) == 5, "nobody had these arguments; this one had the place"
    assert made.call("work", "x", (1, 1)) is None, "and each is given once"
    assert made.call("other", "x", (1, 1)) is None


def test_equal_calls_are_answered_in_their_places_first() -> None:
    made = tape(started("a", ordinal=1), started("b", ordinal=2), completed("b"), completed("a"))
    assert answer_of(made.call("work", "h", (2, 1))) == 4
    assert answer_of(made.call("work", "h", (3, 1))) == 5, "the next that is left"


def test_every_attempt_has_an_answer_of_its_own() -> None:
    made = tape(started("a"), failed("a"), started("a", attempt=2), completed("a"))
    assert [answer_of(made.call("work", "h", (1, attempt))) for attempt in (1, 2, 3)] == [3, 5, None]


def test_what_was_cut_has_no_answer() -> None:
    made = tape(CALLED, started("a"), completed("a", "cancelled"))
    assert answer_of(made.call("work", "h", (1, 1))) is None
    assert made.models[0].answer is None


def test_what_was_asked_again_after_a_crash_has_the_later_answer_and_the_time_of_nobody_is_left_out() -> None:
    made = tape(CALLED, RESUMED, doubted("llm", 2, "ask_again"), CALLED, ANSWERED, gaps={3: 100.0})
    assert [(asked.seq, answer_of(asked)) for asked in made.models] == [(5, 6)]
    assert made.moment(6) == 4_000_000
    assert len(made.parts) == 1


def test_what_was_reported_as_unknown_after_a_crash_has_that_as_its_answer() -> None:
    made = tape(started("a"), started("b", ordinal=2, hash_="b"), RESUMED, doubted("tool", 2, "report", "a"), completed("a", "unknown"))
    assert answer_of(made.call("work", "h", (1, 1))) == 6
    again = tape(started("a"), RESUMED, doubted("tool", 2, "run_again", "a"), started("a", attempt=2), completed("a"))
    assert answer_of(again.call("work", "h", (1, 1))) == 6


def test_a_stretch_that_was_laid_down_is_a_part_and_what_it_left_in_doubt_is_left_so() -> None:
    made = tape(
        CALLED,
        ("control_requested", {"action": "interrupt", "origin": "handle"}),
        ("run_interrupted", {"reason": "later"}),
        RESUMED,
        doubted("llm", 2, "ask_again"),
        CALLED,
        ANSWERED,
    )
    assert [(part.first, part.last, len(part.controls)) for part in made.parts] == [(1, 4, 1), (5, 8, 0)]
    assert [answer_of(asked) for asked in made.models] == [None, 8]


def test_what_came_with_nothing_in_between_came_together() -> None:
    made = tape(started("a"), started("b", ordinal=2), completed("a"), completed("b"), ("step_started", {"step": 2}))
    assert made.came == {4, 5}
    assert [made.together(seq) for seq in (4, 5)] == [5, 5]
