"""Which values are taken for secrets of a recording, from names and from the places of its marks."""

from __future__ import annotations

from typing import Any

import pytest

from afk_es.handlers.withholding import Withholding, named_secrets
from afk_es.redaction import Redaction

WORD = "hunter2-of-the-desk"


def _kept(recorded: str, today: str) -> str:
    """Today's text as the log may hold it."""
    found: str = Withholding(Redaction()).data("instructions_resolved", {"instructions": today}, {"instructions": recorded})["instructions"]
    return found


@pytest.mark.parametrize(
    ("recorded", "today"),
    [
        ("Say [redacted] always.", f"Say {WORD} always."),
        ("[redacted]", WORD),
        ("[redacted] is it", f"{WORD} is it"),
        ("[redacted], and (again) [redacted].", f"{WORD}, and (again) other-4711."),
    ],
)
def test_one_word_in_the_place_of_each_mark_is_the_secret(recorded: str, today: str) -> None:
    assert _kept(recorded, today) == recorded


@pytest.mark.parametrize(
    ("recorded", "today"),
    [
        ("Say [redacted] always.", f"Say {WORD} and more always."),
        ("Say [redacted] always.", f"Say {WORD} never."),
        ("Say [redacted] always.", "Say something always."),
        ("Say [redacted] always.", "Say a-1 always."),
        ("Say [redacted] always.", "Say  always."),
        ("[redacted][redacted]", WORD),
        ("a [redacted] a", "a a"),
        ("Say it.", f"Say {WORD}."),
    ],
)
def test_a_text_that_differs_in_more_stays_what_it_is(recorded: str, today: str) -> None:
    assert _kept(recorded, today) == today


def test_what_was_learned_once_is_kept_back_wherever_it_stands_later() -> None:
    withholding = Withholding(Redaction())
    withholding.data("instructions_resolved", {"instructions": f"Say {WORD}."}, {"instructions": "Say [redacted]."})
    later = withholding.data("instructions_resolved", {"instructions": f"Never say {WORD}!"}, {})
    assert later == {"instructions": "Never say [redacted]!"}


def test_data_that_the_recording_has_like_this_is_the_very_same() -> None:
    data = {"instructions": "Authorization: Bearer [redacted]"}
    assert Withholding(Redaction()).data("instructions_resolved", data, {**data, "more": 1}) is data


def test_a_name_of_a_tool_is_never_learned() -> None:
    withholding = Withholding(Redaction())
    withholding.spare(["look_up_1"])
    assert not withholding.learn(["look_up_1", "up_1"])
    assert withholding.learn([WORD])
    assert not withholding.learn([WORD])


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"token": WORD}, [WORD]),
        ({"a": [{"api_key": WORD}]}, [WORD]),
        ({"token": "[redacted]", "password": "Bearer [redacted]"}, []),
        ({"token": "wordless", "otp": 12345678, "count": WORD}, []),
        ({"properties": {"token": {"type": "string", "description": "of whoever-4711"}}}, []),
        ({"properties": {"token": {"type": "string", "default": WORD}}}, [WORD]),
        ({"properties": {"token": {"const": WORD}, "q": {"default": "other-4711"}}}, [WORD]),
        ({"properties": "no schema"}, []),
    ],
)
def test_values_that_stand_under_a_secrets_name_are_found(data: dict[str, Any], found: list[str]) -> None:
    assert list(named_secrets(data, Redaction())) == found


def test_data_without_end_is_not_followed_to_the_end() -> None:
    data: dict[str, Any] = {"token": WORD}
    for _ in range(500):
        data = {"a": data}
    assert list(named_secrets(data, Redaction())) == []
