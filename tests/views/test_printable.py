"""Text that a log shows must fit its line, and must not be obeyed by a terminal."""

from __future__ import annotations

import json

import pytest

from afk_es.machine.content import Image, MultipartMessage, Text, part_data
from afk_es.machine.values import Message
from afk_es.views import (
    arguments_text,
    clipped,
    columns,
    compact_json,
    message_text,
    padded,
    table,
    visible,
    visible_json,
    without_bytes,
)
from afk_es.views.printable import image_text, parts_text


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


def test_a_table_gives_each_column_what_it_needs_and_the_last_one_what_is_left() -> None:
    rows = [("add", "2", "fine"), ("日本", "10", "a long story that does not fit")]
    assert table(("tool", "n", "said"), rows, right=[1], total=26) == [
        "tool   n  said",
        "add    2  fine",
        "日本  10  a long story th…",
    ]
    assert table(("a", "b"), [("x" * 20, "123456789")], total=10)[1] == "x" * 20 + "  1234567…", "never less than eight columns"
    assert table(("tool", "said"), [], total=40) == ["tool  said"]


@pytest.mark.parametrize(
    "hostile", ["\x7f", "\x80", "\x9f", "\u061c", "\u200e", "\u200f", "\u2028", "\u202e", "\u2066", "\u2069", "\x1b", "\n"]
)
def test_json_for_people_holds_nothing_that_a_terminal_obeys_and_is_the_same_value(hostile: str) -> None:
    value = {"said": [f"a{hostile}b"], "n": 1}
    shown = visible_json(value)
    assert hostile.encode() not in shown
    assert json.loads(shown) == value


@pytest.mark.parametrize("harmless", ["Grüße ☃", "\u00a0", "\u200d", "\u202f", "\u2065", "\u206a"])
def test_json_for_people_leaves_every_other_character_as_it_is(harmless: str) -> None:
    assert visible_json(harmless) == f'"{harmless}"'.encode()


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (Image(url="https://example.org/a.png"), "[image https://example.org/a.png]"),
        (Image(data=b"x" * 999, media_type="image/png"), "[image image/png, 999 bytes]"),
        (Image(data=b"x" * 1000, media_type="image/gif"), "[image image/gif, 1 kB]"),
        (Image(data=b"x" * 12_345, media_type="image/png"), "[image image/png, 12 kB]"),
    ],
)
def test_an_image_is_named_by_its_address_or_by_its_kind_and_size(image: Image, shown: str) -> None:
    assert image_text(image) == shown
    assert parts_text([part_data(Text("what is this?")), part_data(image)]) == shown
    assert message_text(MultipartMessage("user", "x", parts=(Text("this:"), image, Text("what?")))) == f"this:\n{shown}\nwhat?"


def test_a_message_of_text_is_its_text_and_parts_without_images_are_none() -> None:
    assert message_text(Message("user", "hello")) == "hello"
    assert parts_text([part_data(Text("hello"))]) == ""
    assert parts_text([part_data(Image(url="a")), part_data(Image(url="b"))]) == "[image a] [image b]"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1000])
def test_the_bytes_of_an_event_are_named_by_their_size_and_nothing_else_is_touched(size: int) -> None:
    kept = part_data(Image(url="https://example.org/a.png"))
    parts = [part_data(Image(data=b"x" * size, media_type="image/png")), kept]
    data = {"agent_name": "a", "user_parts": parts}
    shown = {"type": "image", "media_type": "image/png", "data": f"({size} bytes, base64)"}
    assert without_bytes(data) == {"agent_name": "a", "user_parts": [shown, kept]}
    assert data["user_parts"] is parts
    plain = {"agent_name": "a"}
    assert without_bytes(plain) is plain
