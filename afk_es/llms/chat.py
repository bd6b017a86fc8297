"""The chat APIs' own format of messages and tools, both ways. It knows the OpenAI dialect, which everybody else speaks as well."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec

from afk_es.machine.content import Image, MultipartMessage, Part, Text, joined_text
from afk_es.machine.spec import ToolSpec
from afk_es.machine.values import Message, Role, ToolCall, canonical_json, clean_text

_ROLES: frozenset[str] = frozenset(get_args(Role))


def chat_messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """The messages as the chat APIs take them: new dicts, so that an adapter may change them."""
    return [_chat_message(message) for message in messages]


def _chat_message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
    if isinstance(message, MultipartMessage):
        return {"role": message.role, "content": [_chat_part(part) for part in message.parts]}
    if not message.tool_calls:
        return {"role": message.role, "content": message.content}
    # None and not "": some providers refuse an empty text beside tool calls.
    return {"role": message.role, "content": message.content or None, "tool_calls": [_chat_call(call) for call in message.tool_calls]}


def _chat_part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    url = part.url if part.data is None else f"data:{part.media_type};base64,{base64.b64encode(part.data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _chat_call(call: ToolCall) -> dict[str, Any]:
    # Canonical JSON, because a request made from a live run and one made from its log must be the same bytes.
    arguments = call.arguments if isinstance(call.arguments, str) else canonical_json(call.arguments).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.tool_name, "arguments": arguments}}


def chat_tools(tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
    """The tools as the chat APIs take them."""
    return [
        {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters}}
        for tool in tools
    ]


def parsed_arguments(text: str | None) -> dict[str, Any] | str:
    """A tool call's arguments: the decoded object, or the text itself where it is not a JSON object.

    No text at all means no arguments: several providers send "" for a tool that takes none.
    """
    if text is None or not text.strip():
        return {}
    text = clean_text(text)
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def message_from_chat(turn: Mapping[str, Any]) -> Message:
    """A message from its chat form.

    Raises:
        ValueError: an unknown role, content that is neither text nor (of a user) images, or a tool turn without its call id.
    """
    role = turn.get("role")
    if role not in _ROLES:
        raise ValueError(f"a message's role is one of {', '.join(sorted(_ROLES))}; this one has {role!r}")
    tool_call_id = turn.get("tool_call_id")
    if role == "tool" and not isinstance(tool_call_id, str):
        raise ValueError("a tool message needs the tool_call_id of the call it answers")
    content = turn.get("content")
    if role == "user" and isinstance(content, list) and any(isinstance(part, Mapping) and "image_url" in part for part in content):
        parts = tuple(_part_from_chat(part) for part in content)
        return MultipartMessage(role, joined_text(parts), parts=parts)
    calls = tuple(_call_from_chat(call) for call in turn.get("tool_calls") or ())
    return Message(role, _text(content), calls, tool_call_id)


def _call_from_chat(call: ToolCall | Mapping[str, Any]) -> ToolCall:
    if isinstance(call, ToolCall):
        return call
    try:
        function = call["function"]
        arguments = function.get("arguments")
        decoded = arguments if isinstance(arguments, dict) else parsed_arguments(arguments)
        return ToolCall(call["id"], function["name"], decoded)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a tool call has id and function (name, arguments); this one is {call!r}") from error


_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.*)", re.DOTALL)


def _part_from_chat(part: Any) -> Part:
    match part:
        case {"type": "text", "text": str() as text}:
            return Text(text)
        case {"type": "image_url", "image_url": {"url": str() as url} | (str() as url)}:
            found = _DATA_URL.fullmatch(url)
            if found is None:
                return Image(url=url)
            try:
                return Image(data=base64.b64decode(found[2], validate=True), media_type=found[1])
            except binascii.Error as error:
                raise ValueError(f"an image's data: URL is not base64: {error}") from error
        case _:
            raise ValueError("a part of a user's message is text or image_url in the chat APIs' form")


def _text(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(part["text"] for part in content)
    raise ValueError(f"a message's content is text, or a list of text parts; this one is {type(content).__name__}")


def tool_from_chat(tool: Mapping[str, Any]) -> ToolSpec:
    """A tool from its chat form.

    Raises:
        ValueError: it has no function with a name.
    """
    try:
        function = tool["function"]
        return ToolSpec(function["name"], function.get("description") or "", function.get("parameters") or {"type": "object"})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a tool has a function (name, description, parameters); this one is {tool!r}") from error
