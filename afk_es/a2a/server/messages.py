"""What a client's message says to an agent: texts, data and images for the model, and ids for the door. It knows no run and no server.

What is in a message is the client's word, and bounded by the size of a request only; what becomes an id of ours is bounded here.
"""

from __future__ import annotations

from typing import Any

import msgspec
from a2a.types.a2a_pb2 import Message, Part, Role
from a2a.utils.errors import ContentTypeNotSupportedError, InvalidParamsError
from google.protobuf.json_format import MessageToDict, SerializeToJsonError

from afk_es.errors import ConfigurationError
from afk_es.llms import UserMessage
from afk_es.llms.content import MEDIA_TYPES, content_of
from afk_es.machine.content import Image, Text
from afk_es.machine.values import canonical_json, digest_json

LONGEST_ID = 256
"""Characters of a message's, task's or context's id."""

MOST_REFERENCES = 32

TEXT_MODES = ("text/plain", "application/json")
"""What every agent takes and gives."""

IMAGE_MODES = tuple(sorted(MEDIA_TYPES))


class Said(msgspec.Struct, frozen=True):
    """A client's message, read.

    Attributes:
        content: what the model is told; a text where there are no images.
        text: of the text parts alone, joined by line ends.
        data: of the data parts, in order.
        digest: of all that was said. A message that comes again under its id has the same.
    """

    message_id: str
    task_id: str
    context_id: str
    content: UserMessage
    text: str
    data: tuple[Any, ...]
    references: tuple[str, ...]
    metadata: dict[str, Any]
    digest: str


def said_by(message: Message, *, images: bool = True) -> Said:
    """The message as an agent takes it. Data parts are JSON text for the model.

    Args:
        images: whether the agent takes images.

    Raises:
        InvalidParamsError: not a user's message, without content, or with ids out of bounds.
        ContentTypeNotSupportedError: a file that is no image, or is given by its address.
    """
    if message.role != Role.ROLE_USER:
        raise InvalidParamsError("message.role is ROLE_USER in what a client sends")
    for name in ("message_id", "task_id", "context_id"):
        _check_id(f"message.{name}", getattr(message, name))
    if len(message.reference_task_ids) > MOST_REFERENCES:
        raise InvalidParamsError(f"message.reference_task_ids names at most {MOST_REFERENCES} tasks")
    for each in message.reference_task_ids:
        _check_id("message.reference_task_ids", each)
    parts = [_content(part, images=images) for part in message.parts]
    words = "\n".join(part.text for part in parts if isinstance(part, Text))
    content: UserMessage = parts if any(isinstance(part, Image) for part in parts) else words
    if content is words and not words.strip():
        raise InvalidParamsError("message.parts say nothing")
    try:
        text, recorded = content_of(content)
    except ConfigurationError as error:
        raise ContentTypeNotSupportedError(str(error)) from error
    return Said(
        message_id=message.message_id,
        task_id=message.task_id,
        context_id=message.context_id,
        content=content,
        text="\n".join(part.text for part in message.parts if part.WhichOneof("content") == "text"),
        data=tuple(_json(part.data) for part in message.parts if part.WhichOneof("content") == "data"),
        references=tuple(message.reference_task_ids),
        metadata=_json(message.metadata),
        digest=digest_json([text, recorded, list(message.reference_task_ids)]),
    )


def _check_id(name: str, value: str) -> None:
    if len(value) > LONGEST_ID or not (value.isprintable() and value.isascii()):
        raise InvalidParamsError(f"{name} has at most {LONGEST_ID} printable ASCII characters")


def _json(value: Any) -> Any:
    # The library has an error of its own for most of what JSON cannot say, and a bare ValueError for such numbers.
    try:
        return MessageToDict(value)
    except (SerializeToJsonError, ValueError) as error:
        raise InvalidParamsError("data is JSON, in which numbers are finite") from error


def _content(part: Part, *, images: bool) -> Text | Image:
    match part.WhichOneof("content"):
        case "text":
            return Text(part.text)
        case "data":
            return Text(canonical_json(_json(part.data)).decode())
        case "raw" if images and part.media_type in MEDIA_TYPES:
            return Image(data=part.raw, media_type=part.media_type)
        case "raw":
            taken = f"images are: {', '.join(IMAGE_MODES)}" if images else "this agent takes no files"
            raise ContentTypeNotSupportedError(f"a file of type {part.media_type or 'unknown'!r} is not taken; {taken}")
        case "url":
            # Whoever fetches it, this process or a provider, would do so at a stranger's word.
            raise ContentTypeNotSupportedError("a file is not taken by its address; send its bytes")
        case _:
            raise InvalidParamsError("a part of message.parts has no content")
