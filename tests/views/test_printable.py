"""Text that a log shows must fit its line, and must not be obeyed by a terminal."""

from __future__ import annotations

import pytest

from afk_es.views import arguments_text, clipped, columns, compact_json, padded, visible


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("\x07\x08\x00\x7f", "\\x07\\x08\\x00\\x7f"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028x\u2066", "\\u2028x\\u2066"),
        ("\ud800", "\ufffd"),
        ("Grüße ☃", "Grüße ☃"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(hostile: str, shown: str) -> None:
    assert visible(hostile) == shown


def test_line_breaks_and_tabs_may_be_kept_and_nothing_else() -> None:
    assert visible("a\n\tb\r\x1b", multiline=True) == "a\n\tb\\r\\x1b"


@pytest.mark.parametrize("text", ["short", "x" * 50, "日本語" * 20, "e\u0301" * 40, "\x1b" * 30, ""])
@pytest.mark.parametrize("width", [0, 1, 2, 7, 10])
def test_a_clipped_text_fits_and_a_padded_one_fits_exactly(text: str, width: int) -> None:
    assert columns(clipped(text, width)) <= width
    assert columns(padded(text, width)) == width
    assert columns(padded(text, width, right=True)) == width


def test_a_text_that_fits_is_not_touched() -> None:
    assert clipped("日本", 4) == "日本"
    assert clipped("日本語", 5) == "日本…"


def test_clipping_a_huge_text_does_not_read_all_of_it() -> None:
    class Huge(str):
        def translate(self, table: object, /) -> str:
            raise AssertionError("the whole text was read")

    assert clipped(Huge("x" * 1_000_000), 10) == "x" * 9 + "…"


def test_values_and_arguments_in_one_line() -> None:
    assert compact_json({"b": 1, "a": [None]}) == '{"a":[null],"b":1}'
    assert compact_json("as it is") == "as it is"
    assert arguments_text({"a": 1, "b": "x"}) == 'a=1, b="x"'
    assert arguments_text('{"broken') == '{"broken'
    assert arguments_text(None) == ""
