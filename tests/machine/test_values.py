"""Canonical JSON, and the list of messages that costs O(1) to append to and to keep."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afk_es.machine.values import Message, Messages, ToolCall, canonical_json, clean_text, digest_json, plain

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TURNS = st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), st.text(max_size=3)), max_size=5)


@given(JSON)
def test_json_is_plain_already_and_its_digest_does_not_depend_on_the_order_of_keys(value: Any) -> None:
    assert plain(value) == value
    assert digest_json({"a": value, "b": 1}) == digest_json({"b": 1, "a": value})


def test_what_json_cannot_say_is_repaired_or_refused() -> None:
    assert plain({"n": math.nan, "t": (1, 2), 3: "k"}) == {"n": None, "t": [1, 2], "3": "k"}
    broken = plain({"bad\ud800": ["\ud800", ("x",), {"y"}, None, True, 1.5]})
    assert broken == {"bad\ufffd": ["\ufffd", ["x"], ["y"], None, True, 1.5]}
    with pytest.raises(TypeError, match="object is not a JSON value"):
        plain([object()])
    assert clean_text("plain") == "plain"
    assert canonical_json({"b": 1, "a": [ToolCall("1", "t", {})]}) == b'{"a":[{"id":"1","tool_name":"t","arguments":{}}],"b":1}'


@given(TURNS, TURNS, TURNS)
def test_views_share_a_buffer_and_never_change(head: list[Message], left: list[Message], right: list[Message]) -> None:
    whole = Messages(head)
    first, second = whole.appended(*left), whole.appended(*right)
    assert list(whole) == head
    assert list(first) == head + left
    assert list(second) == head + right
    assert first == Messages(head + left)
    assert first.digest() == Messages(head + left).digest()
    assert second.digest() == Messages(head + right).digest()
    assert whole.digest() == Messages(head).digest()
    assert (first == second) == (left == right)


def test_a_list_of_messages_is_a_sequence_that_a_system_message_may_lead() -> None:
    turns = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    system = Message("system", "s")
    messages = Messages(turns)
    led = messages.led_by(system)
    assert len(led) == 4
    assert [led[index] for index in range(4)] == [system, *turns] == list(led)
    assert (led[-1], messages[-1], messages[0]) == (turns[2], turns[2], turns[0])
    assert led[1:3] == turns[:2]
    assert led.digest() == messages.digest()
    assert led != messages
    assert messages != turns
    assert repr(messages) == f"Messages({turns!r})"
    with pytest.raises(IndexError):
        messages[3]


def test_a_list_may_let_go_of_its_messages_and_keep_its_length_its_digest_and_what_follows() -> None:
    turns = [Message("user", "a"), Message("assistant", "b")]
    system, later = Message("system", "s"), Message("user", "c")
    whole = Messages(turns).led_by(system)
    left = whole.left_behind()
    assert (len(left), left.digest(), left.held_from, whole.held_from) == (3, whole.digest(), 2, 0)
    assert left[0] == system, "what leads it is no part of what was left behind"
    for read in (lambda: left[1], lambda: left[1:], lambda: list(left)):
        with pytest.raises(LookupError, match="message 0 was left behind; messages are held from 2 on"):
            read()
    assert repr(left) == "<Messages: 2, held from 2>"
    grown = left.appended(later)
    assert (len(grown), grown[3], grown.digest()) == (4, later, whole.appended(later).digest())
    assert repr(grown) == "<Messages: 3, held from 2>"
    other = left.appended(Message("user", "d"))
    assert (grown[3], other[3].content) == (later, "d"), "an older view is copied before it grows"
    assert Messages.absent(2, whole.digest()).led_by(system) == left


def test_lists_that_left_messages_behind_are_compared_by_what_is_known_of_them() -> None:
    whole = Messages([Message("user", "a"), Message("assistant", "b")])
    left = whole.left_behind()
    assert left == whole
    assert whole == left
    assert left != whole.led_by(Message("system", "s"))
    assert left != Messages([Message("user", "a"), Message("assistant", "x")])
    assert left != Messages([Message("user", "a")])
    assert Messages.absent(0, "") == Messages()
    assert list(Messages.absent(0, "")) == []


def test_a_view_ends_where_it_ended_however_its_buffer_has_grown() -> None:
    first = Messages([Message("user", "a")])
    second = first.appended(Message("assistant", "b"))
    with pytest.raises(IndexError, match=r"^1$"):
        first[1]
    assert (list(first), second[1].content) == ([second[0]], "b")


def test_appending_to_the_newest_view_copies_nothing_and_to_an_older_one_its_part() -> None:
    """Method: the buffer itself, since only its identity tells a copy from none."""
    first = Messages([Message("user", "a")])
    second = first.appended(Message("assistant", "b"))
    assert second._buffer is first._buffer
    assert first.appended(Message("assistant", "c"))._buffer is not first._buffer
    left = second.left_behind()
    assert left.appended(Message("user", "d"))._buffer is left._buffer


def test_a_branch_of_a_list_that_left_its_messages_behind_has_the_digest_of_the_whole() -> None:
    whole = Messages([Message("user", "a"), Message("assistant", "b")])
    left = Messages.absent(2, whole.digest())
    grown = left.appended(Message("user", "c"))
    branch = left.appended(Message("user", "d"))
    assert grown.digest() == whole.appended(Message("user", "c")).digest()
    assert branch.digest() == whole.appended(Message("user", "d")).digest()
