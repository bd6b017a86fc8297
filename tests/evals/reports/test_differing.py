"""Two texts beside each other: what differs is marked on its side, what is the same at length is left out on both."""

from __future__ import annotations

import pytest

from afk_es.evals.reports.differing import Part, beside, value_text


def marked(parts: tuple[Part, ...]) -> str:
    return "".join(f"[{part.text}]" if part.differs else f"<{part.left_out}>" if part.left_out else part.text for part in parts)


def test_words_that_differ_are_marked() -> None:
    sides = beside("Refund only what the rules allow.", "Refund what the rules of the fare allow.")
    assert marked(sides.expected) == "Refund [only ]what the rules allow."
    assert marked(sides.actual) == "Refund what the rules[ of the fare] allow."


@pytest.mark.parametrize(("expected", "actual"), [("", "new"), ("old", ""), ("same", "same"), ("a b c", "x y z"), ("", "")])
def test_both_texts_are_whole(expected: str, actual: str) -> None:
    sides = beside(expected, actual)
    assert "".join(part.text for part in sides.expected) == expected
    assert "".join(part.text for part in sides.actual) == actual
    assert any(part.differs for side in sides for part in side) == (expected != actual)


def test_what_is_the_same_at_length_is_left_out_and_counted() -> None:
    same = "All of this is the same. " * 200
    sides = beside(f"{same}old {same}", f"{same}new {same}")
    assert "[old]" in marked(sides.expected)
    assert "[new]" in marked(sides.actual)
    for side, length in ((sides.expected, 2 * len(same) + 4), (sides.actual, 2 * len(same) + 4)):
        assert sum(len(part.text) + part.left_out for part in side) == length
        assert sum(len(part.text) for part in side) < 700


def test_texts_without_anything_in_common_take_no_time() -> None:
    """A tool's output may be megabytes; words times words would be hours."""
    left, right = (" ".join(f"{letter}{number}" for number in range(300_000)) for letter in "ab")
    sides = beside(left, right)
    assert [part.differs for part in sides.expected] == [True, False]
    assert sides.expected[-1].left_out > 0


def test_values_are_text_to_read() -> None:
    assert value_text("as it is") == "as it is"
    assert value_text({"a": [1, None]}) == '{\n  "a": [\n    1,\n    null\n  ]\n}'
    assert value_text({"\ud800": (float("nan"),)}) == '{\n  "\ufffd": [\n    null\n  ]\n}'
