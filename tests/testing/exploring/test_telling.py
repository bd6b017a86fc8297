"""Goal: a script is told in lines that anybody can read, that fit, and that cannot drive the terminal they are printed to."""

from __future__ import annotations

import pytest

from afk_es.testing import (
    Action,
    Answer,
    Call,
    Control,
    Crash,
    ModelAnswers,
    ModelFails,
    PersonSays,
    StalledProcess,
    Summarises,
    TicketEnds,
    TimePasses,
    Together,
    ToolDefers,
    ToolFails,
    ToolReturns,
    ToolRuns,
    UserSays,
)
from afk_es.testing.exploring.telling import told, told_action
from afk_es.views.printable import columns
from tests.testing.exploring.shop import says

TOLD: list[tuple[Action, str]] = [
    (says(1, ("refund", {"order_id": "", "amount": 0.0})), 'the model of shop asks for refund(order_id="", amount=0.0)'),
    (says(1, ("refund", "{broken")), 'the model of shop asks for refund("{broken", which is no JSON)'),
    (says(2, text="Done.", cost_usd=0.25, tokens=(3, 4)), 'the model of shop says "Done."; costs $0.25; takes 3 + 4 tokens'),
    (says(2), 'the model of shop says ""'),
    (says(2, text="I", finish_reason="length"), 'the model of shop says "I"; finishes by "length"'),
    (Answer("model:a:b:1", ModelFails("overloaded", 3.0)), "the model of a:b is overloaded, and says to come back in 3 s"),
    (Answer("model:shop:1", ModelFails("connection")), "the model of shop is cut off"),
    (Answer("tool:refund:1", ToolReturns({"ok": True})), 'refund returns {"ok":true}'),
    (Answer("tool:refund:1", ToolFails("error", "no such order")), 'refund says that it failed: "no such order"'),
    (Answer("tool:refund:1", ToolDefers(None, 30.0)), "refund goes on in the background, for 30 s at most"),
    (Answer("tool:refund:1", ToolRuns()), "refund runs"),
    (Answer("approval:refund:1", PersonSays("no")), "ann says no to refund"),
    (Answer("approval:refund:1", PersonSays("yes", by="bob", outside=True)), "bob says yes to refund, from another process"),
    (Answer("input:refund:1", PersonSays("yes", "A-17")), 'ann says "A-17" when refund asks'),
    (Answer("approval:refund:1", PersonSays("put_off")), "ann puts off the answer to refund"),
    (Answer("approval:refund:1", PersonSays("absent")), "nobody is there to answer to refund"),
    (Answer("summary:shop:1", Summarises(None)), "nobody finds words to sum up"),
    (TimePasses(), "time passes, up to the next thing that waits for it"),
    (TimePasses(31.0), "31 s pass"),
    (Crash(), "the process dies now, and another one goes on"),
    (
        Crash(2, "after", 30.0, 1),
        "the process dies after the 2nd write from here, and another one goes on after 30 s, with version 2 of the agent",
    ),
    (Crash(11, "before"), "the process dies before the 11th write from here, and another one goes on"),
    (StalledProcess(), "the process stalls, and another one takes over"),
    (Control("interrupt"), "somebody lays the run down"),
    (Control("reopen"), "somebody reopens the run"),
    (TicketEnds(output="paid"), 'background work ends: "paid"'),
    (TicketEnds(1, error="it broke"), 'background work 2 fails: "it broke"'),
    (UserSays("and B-4?"), 'the user goes on: "and B-4?"'),
    (Together((Control("pause"), TicketEnds())), "at one moment: somebody pauses the run; background work ends"),
]


@pytest.mark.parametrize(("action", "words"), TOLD, ids=[words[:40] for _action, words in TOLD])
def test_what_happens_is_told_in_words(action: Action, words: str) -> None:
    assert told_action(action) == words


def test_the_lines_are_numbered_and_fit() -> None:
    script = tuple(says(1, ("look", {"text": "wide 漢字 " * 40}), text="long " * 100) for _line in range(11))
    lines = told(script, width=60)
    assert [line[:3] for line in lines][:2] == [" 1.", " 2."]
    assert lines[-1].startswith("11.")
    assert all(columns(line) <= 60 for line in lines)


def test_of_a_long_script_the_middle_is_left_out() -> None:
    lines = told(tuple(TimePasses(float(number)) for number in range(100)), most=10)
    assert len(lines) == 10
    assert lines[0] == "  1. 0 s pass"
    assert lines[5] == "     (91 more)"
    assert lines[-1] == "100. 99 s pass"


def test_nothing_that_is_told_drives_a_terminal() -> None:
    hostile = "\x1b[2J\x07\u202e\r\n"
    call = Call("c", f"look{hostile}", {f"a{hostile}": hostile, "b": [hostile]})
    script: tuple[Action, ...] = (
        Answer("model:shop:1", ModelAnswers(hostile, (call,), finish_reason=hostile)),
        Answer(f"tool:look{hostile}:1", ToolReturns({hostile: hostile})),
        Answer("approval:look:1", PersonSays("no", hostile, hostile)),
        UserSays(hostile + "\ud800"),
        TicketEnds(error=hostile),
    )
    text = "".join(told(script))
    assert not set(text) & set("\x1b\x07\u202e\r\n\ud800")


def test_where_nothing_has_to_happen_it_says_so() -> None:
    assert told(()) == ["Nothing has to happen: everybody answers plainly."]
