"""From our words to the SDK's protobuf messages."""

from __future__ import annotations

from typing import Any

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.struct_pb2 import Value

from afk_es.errors import ConfigurationError
from afk_es.machine.content import Image, MultipartMessage, Text
from afk_es.machine.values import Message, clean_text, plain


def message_of(parts: list[pb.Part], *, message_id: str, context_id: str | None = None, task_id: str | None = None) -> pb.Message:
    """A message of the user's."""
    return pb.Message(role=pb.ROLE_USER, message_id=message_id, context_id=context_id or "", task_id=task_id or "", parts=parts)


def text_part(text: str) -> pb.Part:
    """A part of text."""
    return pb.Part(text=clean_text(text))


def data_part(value: Any) -> pb.Part:
    """A part of JSON.

    Raises:
        ConfigurationError: the value is no JSON.
    """
    try:
        return pb.Part(data=ParseDict(plain(value), Value()), media_type="application/json")
    except (TypeError, ParseError, RecursionError) as error:
        raise ConfigurationError(f"data is a JSON value: {error}") from error


def parts_of(message: Message) -> list[pb.Part]:
    """The parts of a turn of a conversation: its text, and its images by address or as bytes."""
    if not isinstance(message, MultipartMessage):
        return [text_part(message.content)]
    return [text_part(part.text) if isinstance(part, Text) else _image(part) for part in message.parts]


def _image(image: Image) -> pb.Part:
    media_type = image.media_type or ""
    if image.data is not None:
        return pb.Part(raw=image.data, media_type=media_type)
    return pb.Part(url=image.url or "", media_type=media_type)
