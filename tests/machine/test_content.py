"""Messages with images: a message without one is what it always was, and one with them is proved by its digest like any other."""

from __future__ import annotations

import pytest

from afk_es.errors import InvariantError
from afk_es.machine import Draft, evolve, initial_state, stamp
from afk_es.machine.content import Image, MultipartMessage, Text, images_of, joined_text, part_data, user_turn
from afk_es.machine.values import Message, Messages, canonical_json
from tests.machine.simulation import Simulation, spec_of

PARTS = (Text("What is this?"), Image(data=b"\x89PNG", media_type="image/png"), Image(url="https://example.org/a.png"))


def test_a_message_without_images_is_encoded_as_in_the_first_release() -> None:
    assert canonical_json(Message("user", "hi")) == b'{"role":"user","content":"hi","tool_calls":[],"tool_call_id":null}'
    assert type(user_turn("hi", [])) is Message


def test_parts_become_json_data_and_back() -> None:
    message = user_turn("What is this?", [part_data(part) for part in PARTS])
    assert message == MultipartMessage("user", "What is this?", parts=PARTS)
    assert part_data(PARTS[1]) == {"type": "image", "media_type": "image/png", "data": "iVBORw=="}


def test_the_digest_depends_on_every_byte() -> None:
    digests = {
        Messages([MultipartMessage("user", "x", parts=(Text("x"), Image(data=data, media_type="image/png")))]).digest()
        for data in (b"\x89PNG1", b"\x89PNG2")
    }
    assert len(digests) == 2
    assert Messages([Message("user", "x")]).digest() not in digests


def test_a_run_begins_with_what_was_said_and_shown() -> None:
    run = Simulation(spec_of())
    agent = {"agent_name": "a", "models": [{"model": "m", "provider": "p"}]}
    claim = {"agent_name": "a", "resumed": False, "epoch": 1, "owner": "o", "agent": agent, "user_message": "What is this?"}
    run.put(Draft("run_started", {**claim, "user_parts": [part_data(part) for part in PARTS]}))
    assert list(run.state.messages) == [MultipartMessage("user", "What is this?", parts=PARTS)]
    empty = initial_state("r", "t")
    with pytest.raises(InvariantError, match="a kind that is not known: 'smell'"):
        evolve(empty, stamp(empty, Draft("run_started", {**claim, "user_parts": [{"type": "smell"}]}), empty.at))


def test_what_looks_at_text_only_gets_the_texts_and_what_looks_at_images_the_images_in_order() -> None:
    parts = (Text("one"), *PARTS[1:], Text("two"))
    assert joined_text(parts) == "one\ntwo"
    assert joined_text(PARTS[1:]) == ""
    assert images_of(MultipartMessage("user", "one\ntwo", parts=parts)) == PARTS[1:]


def test_a_turn_without_parts_is_a_message_of_its_text() -> None:
    assert user_turn("hi", []) == Message("user", "hi")
