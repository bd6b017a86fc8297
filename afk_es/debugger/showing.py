"""What there is to show of a run as a whole, or of one event: facts, with the request behind a model call. How they are laid out, others know."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import msgspec

from afk_es.debugger.recording import Recording
from afk_es.machine import AgentRunEvent, evolve
from afk_es.machine.content import MultipartMessage, Text
from afk_es.machine.requests import model_request
from afk_es.machine.state import ENDED
from afk_es.machine.values import Message, Messages, ToolCall
from afk_es.redaction import Redaction
from afk_es.views import Overview, RebuiltRequest, arguments_text, message_text, overview, redacted_facts, visible, without_bytes


class Seen(NamedTuple):
    """A run at a glance, and its status for people: "crashed" where it has no end and nobody drives it."""

    overview: Overview
    status: str


async def seen_whole(rec: Recording, redaction: Redaction | None) -> Seen:
    """The run at a glance. All its events are read and held.

    Raises:
        InvariantError: the events do not fold.
    """
    seen = overview([event async for page in rec.pages() for event in page], rec.history())
    driven = seen.status in ENDED or await rec.log.alive(seen.owner, seen.run_id)
    status = seen.status if driven else "crashed"
    if redaction is not None:
        said = tuple(redacted_message(message, redaction) for message in seen.conversation)
        # With its images, of which a plain message knows nothing.
        seen = msgspec.structs.replace(redacted_facts(seen, redaction), conversation=said)
    return Seen(seen, status)


class SeenEvent(NamedTuple):
    """One event.

    Attributes:
        data: it, as JSON data; of an `llm_called` also the "request".
        rebuilt: of an `llm_called`: the request, and whether it is the one whose hash was recorded. It is not redacted.
    """

    data: dict[str, Any]
    rebuilt: RebuiltRequest | None


async def seen_event(rec: Recording, seq: int, redaction: Redaction | None) -> SeenEvent:
    """The event at `seq`, whole.

    Raises:
        UsageError: there is no such event.
        InvariantError: it asks a model, and the events before it do not fold.
    """
    event = await rec.event(seq)
    data: dict[str, Any] = msgspec.to_builtins(event)
    rebuilt = None
    if event.type == "llm_called":
        rebuilt = await _rebuilt(rec, event)
        data["request"] = _request_json(rebuilt)
    return SeenEvent(data if redaction is None else redaction.value(data), rebuilt)


async def _rebuilt(rec: Recording, event: AgentRunEvent) -> RebuiltRequest:
    before = await rec.state(event.seq - 1)
    evolve(before, event)  # An event that does not fit has no request.
    whole = msgspec.structs.replace(before, messages=Messages(await rec.messages(before)))
    return RebuiltRequest(event.seq, model_request(whole, event.data["model_index"]), event.data["request_hash"])


def _request_json(rebuilt: RebuiltRequest) -> dict[str, Any]:
    request = rebuilt.request
    return {
        "model": request.model,
        "instructions": request.instructions,
        "messages": [msgspec.to_builtins(message) for message in request.messages],
        "tools": [{"name": tool.name, "description": tool.description, "parameters": tool.parameters} for tool in request.tools],
        "parameters": request.parameters,
        "output_schema": request.output_schema,
        "hash": request.hash,
        "recorded_hash": rebuilt.recorded_hash,
        "proved": rebuilt.proved,
    }


def event_text(data: dict[str, Any]) -> str:
    """The event of a `SeenEvent` as JSON for people, without its request; images are named by their size."""
    event = {key: value for key, value in data.items() if key not in ("schema", "request")} | {"data": without_bytes(data["data"])}
    # JSON escapes C0 controls by itself, and nothing else that a terminal may obey.
    return visible(msgspec.json.format(msgspec.json.encode(event), indent=2).decode(), multiline=True)


def request_messages(rebuilt: RebuiltRequest, redaction: Redaction | None) -> list[Message]:
    """What was said in a request, the instructions first."""
    request = rebuilt.request
    said = [*([Message("system", request.instructions)] if request.instructions else []), *request.messages]
    return said if redaction is None else [redacted_message(message, redaction) for message in said]


def whole_message(message: Message) -> list[str]:
    """The lines of a message and of the calls in it; at least one."""
    lines = visible(message_text(message), multiline=True).splitlines()
    lines += [visible(f"calls {call.tool_name}({arguments_text(call.arguments)})") for call in message.tool_calls]
    return lines or [""]


def redacted_message(message: Message, redaction: Redaction) -> Message:
    """The message without secrets in its texts and in the arguments of its calls; images stay."""
    calls = tuple(ToolCall(call.id, call.tool_name, redaction.value(call.arguments)) for call in message.tool_calls)
    message = dataclasses.replace(message, content=redaction.text(message.content), tool_calls=calls)
    if not isinstance(message, MultipartMessage):
        return message
    parts = tuple(Text(redaction.text(part.text)) if isinstance(part, Text) else part for part in message.parts)
    return dataclasses.replace(message, parts=parts)
