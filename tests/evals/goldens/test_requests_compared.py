"""The requests of two runs, facet by facet: once for each cause, and every message looked at once, however long the run."""

from __future__ import annotations

from typing import Any

import pytest

from afk_es.debugger.recording import Recording
from afk_es.evals.goldens import requests
from afk_es.evals.goldens.differences import Differences
from afk_es.evals.goldens.requests import Explained, Rebuilt, RequestComparison
from afk_es.machine.requests import ModelRequest
from afk_es.machine.spec import ToolSpec
from afk_es.machine.values import Message, Messages, ToolCall, digest_json
from tests.evals.desk import agent, asks, ran, says

TOOL = ToolSpec("look", "Look.", {})
NOTHING = Explained(set(), set())
RUNS = ("run_1", "run_2")


def rebuilt(*messages: Message, compactions: int = 0, **changed: Any) -> Rebuilt:
    fields: dict[str, Any] = {
        "model": "m",
        "instructions": "i",
        "messages": Messages(messages),
        "tools": (TOOL,),
        "parameters": {"temperature": 0},
        "output_schema": None,
        **changed,
    }
    whole = digest_json([fields[name] for name in ("model", "instructions", "parameters", "output_schema")])
    described = digest_json([[tool.name, tool.description] for tool in fields["tools"]])
    return Rebuilt(ModelRequest(**fields, hash=whole + described + fields["messages"].digest()), compactions)


def said(text: str, role: Any = "user", **more: Any) -> Message:
    return Message(role, text, **more)


def found(old: Rebuilt, new: Rebuilt, explained: Explained = NOTHING, comparison: RequestComparison | None = None) -> list[tuple[str, str]]:
    differences = (comparison or RequestComparison()).differences(RUNS, old, new, explained)
    return [(each.kind, each.field) for each in differences]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"model": "n"}, [("params", "model")]),
        ({"instructions": "j"}, [("prompt", "instructions")]),
        ({"instructions": None}, [("prompt", "instructions")]),
        ({"tools": ()}, [("tool_schema", "tools.look")]),
        ({"tools": (ToolSpec("look", "See.", {}),)}, [("tool_schema", "tools.look.description")]),
        ({"tools": (ToolSpec("look", "Look.", {}, timeout_s=9.0),)}, []),
        ({"parameters": {"temperature": 1}}, [("params", "parameters.temperature")]),
        ({"output_schema": {"type": "object"}}, [("params", "output_schema")]),
    ],
)
def test_each_facet_has_its_class(changed: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert found(rebuilt(said("a")), rebuilt(said("a"), **changed)) == expected


def test_a_message_is_compared_in_the_first_request_that_has_it_and_not_again() -> None:
    comparison = RequestComparison()
    first, other = said("a"), said("b")
    assert found(rebuilt(first), rebuilt(other), comparison=comparison) == [("prompt", "messages[0].content")]
    second = said("c", "tool", tool_call_id="c1"), said("d", "tool", tool_call_id="c1")
    assert found(rebuilt(first, second[0]), rebuilt(other, second[1]), comparison=comparison) == [("prompt", "messages[1].content")]
    assert found(rebuilt(first, second[0]), rebuilt(other, second[1]), comparison=comparison) == []


def test_ids_of_calls_are_no_difference() -> None:
    def conversation(call_id: str) -> Rebuilt:
        calls = (ToolCall(call_id, "look", {}),)
        return rebuilt(said("a"), said("", "assistant", tool_calls=calls), said("r", "tool", tool_call_id=call_id))

    assert found(conversation("c1"), conversation("toolu_9")) == []


def test_what_an_event_tells_of_is_not_told_of_its_message() -> None:
    old, new = rebuilt(said("r", "tool", tool_call_id="c1")), rebuilt(said("s", "tool", tool_call_id="c1"))
    assert found(old, new) == [("prompt", "messages[0].content")]
    assert found(old, new, Explained({"c1"}, set())) == []
    assert found(rebuilt(said("a", "assistant")), rebuilt(said("b", "assistant"))) == []
    assert found(rebuilt(said("a")), rebuilt(said("b")), Explained(set(), {digest_json("a")})) == []


def test_messages_more_or_less_are_told_where_nobody_else_does() -> None:
    old = rebuilt(said("a"), said("z"))
    assert found(old, rebuilt(said("a"), said("notice"), said("z"))) == [("prompt", "messages[1]")]
    assert found(rebuilt(said("a"), said("notice"), said("z")), old) == [("prompt", "messages[1]")]
    assert found(old, rebuilt(said("a"), said("x", "assistant"), said("y", "tool", tool_call_id="c"), said("z"))) == []
    assert found(old, rebuilt(said("b"), said("x", "assistant"), said("z"))) == [("prompt", "messages[0].content")]


def test_after_a_compaction_the_conversation_is_compared_anew() -> None:
    comparison = RequestComparison()
    assert found(rebuilt(said("a"), said("b")), rebuilt(said("a"), said("b")), comparison=comparison) == []
    old, new = rebuilt(said("summary"), compactions=1), rebuilt(said("another"), compactions=1)
    assert found(old, new, comparison=comparison) == [("prompt", "messages[0].content")]


def test_many_new_messages_of_unequal_number_are_compared_in_order() -> None:
    many = [said(str(number)) for number in range(requests.ALIGNED_AT_MOST + 5)]
    assert found(rebuilt(*many), rebuilt(*many, said("more"))) == [("prompt", f"messages[{len(many)}]")]


async def test_a_run_of_five_thousand_events_has_every_message_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With instructions that differ, so that no request has the hash of the other."""
    # Thousands of events, and not the loop, are what is looked at: folded from zero after each write they would take a minute.
    monkeypatch.delenv("AFK_ES_ALWAYS_REPLAY", raising=False)
    looked_at = 0
    side_by_side = requests._side_by_side

    def counted(gone: Any, come: Any) -> Any:
        nonlocal looked_at
        looked_at += len(gone) + len(come)
        return side_by_side(gone, come)

    monkeypatch.setattr(requests, "_side_by_side", counted)
    steps = 620
    plenty = {"max_steps": 5_000, "max_llm_calls": 5_000, "max_tool_calls": 5_000}
    script = [*[asks(("look", {"order": number})) for number in range(steps)], says("Done.")]
    recordings = []
    for instructions in ("Be brief.", "Be rude."):
        log, result = await ran(agent(*script, limits=plenty, instructions=instructions))
        recordings.append(await Recording.open(log, result.run_id))
    assert await recordings[0].last_seq() > 4_900
    compared = await Differences("strict", "0.1.0").of(*recordings)
    assert [each.field for each in compared.divergences] == ["instructions"]
    messages = 1 + 2 * steps
    assert looked_at == 2 * messages
