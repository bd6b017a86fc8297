"""Text that is safe and fits: what models and tools wrote must not be able to drive the terminal of whoever reads the log.

ECMA-48 terminals obey C0 and C1 control characters; the bidirectional controls of Unicode reorder a line for the eye only ("Trojan Source",
CVE-2021-42574). Both are shown as escapes and do nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from afk_es.machine.content import Image, MultipartMessage, Text
from afk_es.machine.values import Message, canonical_json, clean_text

ELLIPSIS = "…"

_BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_BREAKS = "\u2028\u2029"
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


_CONTROLS: dict[int, str] = {code: _escape(code) for code in (*range(0x20), *range(0x7F, 0xA0))}
_CONTROLS.update({ord(character): _escape(ord(character)) for character in _BIDIRECTIONAL + _BREAKS})
_CONTROLS.update({ord(character): name for character, name in _NAMED.items()})
_MULTILINE: dict[int, str] = {code: text for code, text in _CONTROLS.items() if chr(code) not in "\n\t"}


def visible(text: str, *, multiline: bool = False) -> str:
    """The text with every control character shown as an escape.

    Args:
        text: any text, lone surrogates included.
        multiline: leave line breaks and tabs as they are.
    """
    return clean_text(text).translate(_MULTILINE if multiline else _CONTROLS)


def columns(text: str) -> int:
    """How many columns of a terminal the text takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_columns_of(character) for character in text)


def clipped(text: str, width: int) -> str:
    """The text in one line of at most that many columns, control characters visible, cut off with an ellipsis."""
    # Beyond this many characters nothing can be seen, and an output may be megabytes.
    line = visible(text[: 4 * max(width, 1) + 1])
    if columns(line) <= width:
        return line
    if width <= 0:
        return ""
    kept = next(index for index, used in enumerate(accumulate(map(_columns_of, line))) if used >= width)
    return line[:kept].rstrip() + ELLIPSIS


def padded(text: str, width: int, *, right: bool = False) -> str:
    """The text clipped or filled with spaces to exactly that many columns."""
    line = clipped(text, width)
    space = " " * (width - columns(line))
    return space + line if right else line + space


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Iterable[int] = (), total: int) -> list[str]:
    """The lines of a table; the last column takes what room is left, the others what they need."""
    numbers = set(right)
    needed = [max([columns(name), *(columns(row[index]) for row in rows)]) for index, name in enumerate(header)]
    lines = []
    for row in (header, *rows):
        cells = [padded(cell, needed[index], right=index in numbers) for index, cell in enumerate(row[:-1])]
        used = sum(needed[:-1]) + 2 * (len(row) - 1)
        lines.append("  ".join([*cells, clipped(row[-1], max(8, total - used))]).rstrip())
    return lines


def compact_json(value: Any) -> str:
    """A JSON value in one line, for people."""
    if isinstance(value, str):
        return value
    return canonical_json(value).decode()


_OBEYED = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
"""In UTF-8: what a terminal obeys, or reorders or breaks lines by, and JSON lets stand. See `visible`."""


def visible_json(value: object) -> bytes:
    """JSON in one line, for whoever reads it: what a terminal would obey stands in it as an escape, and is the same value to a program."""
    return _OBEYED.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), msgspec.json.encode(value))


def arguments_text(arguments: dict[str, Any] | str | None) -> str:
    """The arguments of a call as they would stand between the parentheses."""
    if arguments is None:
        return ""
    if isinstance(arguments, str):
        return arguments
    return ", ".join(f"{name}={canonical_json(value).decode()}" for name, value in arguments.items())


def message_text(message: Message) -> str:
    """What was said, with every image in a line of its own, named and not shown."""
    if not isinstance(message, MultipartMessage):
        return message.content
    return "\n".join(part.text if isinstance(part, Text) else image_text(part) for part in message.parts)


def image_text(image: Image) -> str:
    """An image by its kind and size, or its address: `[image image/png, 12 kB]`."""
    if image.data is None:
        return f"[image {image.url}]"
    return _sized(image.media_type, len(image.data))


def parts_text(parts: list[dict[str, Any]]) -> str:
    """The images among the parts of a `run_started`, which are sized without being decoded."""
    images = (part for part in parts if part.get("type") == "image")
    return " ".join(
        _sized(part.get("media_type"), _decoded_bytes(part["data"])) if "data" in part else f"[image {part.get('url')}]" for part in images
    )


def without_bytes(data: dict[str, Any]) -> dict[str, Any]:
    """An event's data for people: the images' bytes are named by their size."""
    parts = data.get("user_parts")
    if not isinstance(parts, list):
        return data
    shown = [{**part, "data": f"({_decoded_bytes(part['data'])} bytes, base64)"} if "data" in part else part for part in parts]
    return {**data, "user_parts": shown}


def _decoded_bytes(encoded: str) -> int:
    """How many bytes some base64 stands for."""
    return len(encoded) // 4 * 3 - encoded[-2:].count("=")


def _sized(media_type: str | None, size: int) -> str:
    return f"[image {media_type}, {f'{size / 1000:.0f} kB' if size >= 1000 else f'{size} bytes'}]"


def _columns_of(character: str) -> int:
    if character < "\u0300":
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
