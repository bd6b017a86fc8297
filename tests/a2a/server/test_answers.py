"""What counts as a yes, and what never does."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afk_es.a2a.server.answers import Decision, Unclear, decided
from afk_es.a2a.server.messages import Said
from afk_es.interaction import ApprovalRequest, InputRequest

YES = {"yes", "y", "ok", "okay", "approve", "approved", "allow", "allowed", "granted", "yes please", "go ahead"}


def said(text: str = "", *data: Any) -> Said:
    return Said("m", "", "", text, text, data, (), {}, "d")


REQUEST: dict[str, Any] = {
    "thread_id": "t",
    "tool_name": "pay",
    "tool_call_id": "c",
    "arguments": {},
    "rule": None,
    "reason": None,
    "payload": {},
    "agent_path": (),
    "asked_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "expires_at": None,
    "deferred": False,
}


def approval(request_id: str = "a", run_id: str = "r") -> ApprovalRequest:
    return ApprovalRequest(request_id=request_id, run_id=run_id, purpose="policy", arguments_hash="h", **REQUEST)


def words() -> InputRequest:
    return InputRequest(request_id="i", run_id="r", prompt="Which?", **REQUEST)


@pytest.mark.parametrize("text", ["yes", "YES", " Yes. ", "ok", "approve", "Approved!", "go ahead", "r/a: yes", "r/a yes"])
def test_a_plain_yes(text: str) -> None:
    decision = decided(said(text), [approval()])
    assert isinstance(decision, Decision)
    assert (decision.outcome, decision.text) == ("granted", None)


@pytest.mark.parametrize(
    ("text", "reason"), [("no", None), ("No!", None), ("no, it is late", "it is late"), ("deny: too much\nreally", "too much\nreally")]
)
def test_a_no_and_its_reason(text: str, reason: str | None) -> None:
    decision = decided(said(text), [approval()])
    assert isinstance(decision, Decision)
    assert (decision.outcome, decision.text) == ("denied", reason)


@pytest.mark.parametrize("text", ["", "maybe", "yes but", "yes, and pay twice", "not yes", "yesterday", "okay?", "y/n", "r/b yes"])
def test_neither(text: str) -> None:
    assert isinstance(decided(said(text), [approval()]), Unclear)


_PIECES = [
    "yes",
    "YES",
    "no",
    "ok",
    "y",
    "approve",
    "please",
    "go",
    "ahead",
    "but",
    "not",
    "r/a",
    "r/b",
    " ",
    ": ",
    ".",
    "!",
    ",",
    "?",
    "\n",
    "\u0130",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=6).map("".join))
@settings(max_examples=300)
def test_only_the_listed_words_allow_anything(text: str) -> None:
    """Whatever is made of the very words that count: no other word stands beside them but the question's name."""
    decision = decided(said(text), [approval()])
    words = re.sub(r"[ .!,:\n]+", " ", text.casefold().strip().removeprefix("r/a")).strip()
    if isinstance(decision, Decision) and decision.outcome == "granted":
        assert words in YES


def test_of_several_the_named_one_is_meant() -> None:
    pending: list[ApprovalRequest | InputRequest] = [approval("a"), approval("a", "child"), words()]
    assert isinstance(decided(said("yes"), pending), Unclear)
    for text, outcome in (("child/a yes", "granted"), ("r/i: green tea", "answered")):
        decision = decided(said(text), pending)
        assert isinstance(decision, Decision)
        assert (f"{decision.request.run_id}/{decision.request.request_id}", decision.outcome) == (text.split()[0].rstrip(":"), outcome)


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        ({"decision": "approve"}, "granted"),
        ({"decision": "deny"}, "denied"),
        ({"decision": "Approve"}, None),
        ({"decision": "approve", "request_id": "r/b"}, None),
        ({"request_id": "r/a"}, None),
    ],
)
def test_data_decides_before_words(data: dict[str, Any], outcome: str | None) -> None:
    decision = decided(said("yes", data), [approval()])
    assert (decision.outcome if isinstance(decision, Decision) else None) == outcome


def test_data_that_is_about_something_else_is_none_of_it() -> None:
    assert isinstance(decided(said("yes", {"weather": "fine"}, 7), [approval()]), Decision)


def test_an_input_is_denied_by_data_alone() -> None:
    denied, answered = decided(said("", {"decision": "deny"}), [words()]), decided(said("no"), [words()])
    assert isinstance(denied, Decision)
    assert isinstance(answered, Decision)
    assert (denied.outcome, answered.outcome, answered.text) == ("denied", "answered", "no")
