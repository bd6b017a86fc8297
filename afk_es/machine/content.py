"""What a user's message may hold beside text: images, by address or as bytes. Plain records; `afk_es.llms.content` checks what users give.

A message of text alone is a `Message`, as it always was, and has the digest it always had; one with images is a `MultipartMessage`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from afk_es.machine.values import Message


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image, by its address or by its bytes; exactly one of `url` and `data`.

    Attributes:
        url: an http or https address. The provider fetches it, not this process.
        data: the file's bytes.
        media_type: of the bytes: "image/png", "image/jpeg", "image/gif" or "image/webp"; where it is left out, what the bytes begin with.
    """

    url: str | None = None
    media_type: str | None = None
    data: bytes | None = field(default=None, repr=False)


Part: TypeAlias = Text | Image


@dataclass(frozen=True, slots=True)
class MultipartMessage(Message):
    """A user's turn with images.

    Attributes:
        content: the text of its text parts, for whoever looks at text only.
        parts: everything, in order.
    """

    parts: tuple[Part, ...] = ()


def user_turn(text: str, parts: Iterable[dict[str, Any]]) -> Message:
    """The user's turn as `run_started` holds it.

    Raises:
        ValueError: a kind of part that this version does not know.
    """
    known = tuple(_part(data) for data in parts)
    return MultipartMessage("user", text, parts=known) if known else Message("user", text)


def part_data(part: Part) -> dict[str, Any]:
    """The part as plain JSON data; bytes become base64 (RFC 4648)."""
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if part.data is None:
        return {"type": "image", "url": part.url}
    return {"type": "image", "media_type": part.media_type, "data": base64.b64encode(part.data).decode()}


def _part(data: dict[str, Any]) -> Part:
    match data:
        case {"type": "text", "text": text}:
            return Text(text)
        case {"type": "image", "data": encoded, "media_type": media_type}:
            return Image(data=base64.b64decode(encoded), media_type=media_type)
        case {"type": "image", "url": url}:
            return Image(url=url)
        case _:
            raise ValueError(f"a message's part of a kind that is not known: {data.get('type')!r}")


def images_of(message: MultipartMessage) -> tuple[Image, ...]:
    """The images of a turn, in order."""
    return tuple(part for part in message.parts if isinstance(part, Image))


def joined_text(parts: Sequence[Part]) -> str:
    """The text of the parts, without the images."""
    return "\n".join(part.text for part in parts if isinstance(part, Text))
