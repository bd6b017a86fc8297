"""LLMRequest and LLMResponse: what they take, what they refuse, and that a long history costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from afk_es.llms import LLMRequest, LLMResponse, Message, Messages, ToolCall, ToolSpec, Usage, chat_messages, chat_tools

_HELLO = [{"role": "user", "content": "hello"}]


class _Unread(Messages):
    """Messages that must not be looked through."""

    def __iter__(self) -> Iterator[Message]:
        raise AssertionError("the history was walked through")

    def __len__(self) -> int:
        raise AssertionError("the history was measured")


def test_a_runs_messages_and_tools_pass_as_they_are_without_a_look_at_them() -> None:
    messages, tools = _Unread([Message("user", "hello")]), (ToolSpec("f", "", {}),)
    request = LLMRequest(model="m", messages=messages, tools=tools)
    assert request.messages is messages
    assert request.tools is tools
    assert request.model_copy(update={"model": "n"}).messages is messages


def test_chat_dicts_become_messages_and_tools() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    history: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "he"}, {"type": "text", "text": "llo"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "1", "name": "f"},
        Message("assistant", "done"),
    ]
    tool = {"type": "function", "function": {"name": "f", "description": "Does f.", "parameters": {"type": "object"}}}
    request = LLMRequest(model="m", messages=history, tools=[tool], stop="END")
    assert request.messages == (
        Message("system", "Be brief."),
        Message("user", "hello"),
        Message("assistant", "", (ToolCall("a", "f", {"x": 1}),)),
        Message("tool", "1", (), "a"),
        Message("assistant", "done"),
    )
    assert request.tools == (ToolSpec("f", "Does f.", {"type": "object"}),)
    assert request.stop == ("END",)
    assert chat_tools(request.tools) == [tool]
    assert LLMRequest.model_validate(request.model_dump()) == request
    assert LLMRequest.model_validate_json(request.model_dump_json()) == request


def test_arguments_are_rendered_as_canonical_json_and_broken_ones_as_they_came() -> None:
    calls = (ToolCall("a", "f", {"z": 1, "a": "ü"}), ToolCall("b", "f", '{"x": '))
    rendered = chat_messages([Message("assistant", "", calls)])[0]
    assert rendered["content"] is None
    assert [call["function"]["arguments"] for call in rendered["tool_calls"]] == ['{"a":"ü","z":1}', '{"x": ']


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"messages": "hello"}, "list of Message or chat dicts"),
        ({"messages": [3]}, "this one is int"),
        ({"messages": [{"role": "robot", "content": ""}]}, "assistant, system, tool, user"),
        ({"messages": [{"role": "tool", "content": "1"}]}, "tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "list of text parts"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "a tool call has id and function"),
        ({"tools": "f"}, "list of ToolSpec or chat dicts"),
        ({"tools": [3]}, "this one is int"),
        ({"tools": [{"name": "f"}]}, "a tool has a function"),
        ({"temprature": 1}, "temprature"),
        ({"model": ""}, "model"),
        ({"top_p": 2}, "top_p"),
        ({"timeout_s": 0}, "timeout_s"),
    ],
)
def test_malformed_requests_are_refused_with_what_is_wrong(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        LLMRequest(**{"model": "m", "messages": _HELLO, **fields})


def test_contracts_are_frozen() -> None:
    with pytest.raises(ValidationError):
        LLMRequest(model="m", messages=_HELLO).model = "n"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        LLMResponse().text = "x"  # type: ignore[misc]


def test_a_response_keeps_the_providers_object_to_itself() -> None:
    response = LLMResponse(text="x", usage=Usage(1, 2, 3), raw=object())
    assert "raw" not in response.model_dump()
    assert "raw" not in repr(response)
    assert LLMResponse.model_validate_json(response.model_dump_json()).usage == Usage(1, 2, 3)
