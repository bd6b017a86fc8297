"""Files of others, read with every size bounded: from bytes to JSON values with their places. Knows what a format looks like, not what it means."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from afk_es.debugger.exchange.transcript import Place, TranscriptError
from afk_es.machine.values import plain

Format = Literal["chat", "atif", "jsonl", "golden"]
"""OpenAI-style chat transcripts, ATIF trajectories, our own export of a run, a golden."""

MAX_FILE_BYTES = 512 * 1024 * 1024
"""A file is read as a whole, and checked as a whole before anything is written."""
MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 200
"""Levels of lists and objects in a value. The interpreter would stand about a thousand, and a log that held that many would be read by no other tool."""

EXPORT_SCHEMA = "afk_es.export/1"
"""The schema of the first line of a run that `export --to jsonl` wrote."""

_WHITE = b" \t\r\n"
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


class Source:
    """A file that was read: one JSON value, or one a line.

    Attributes:
        name: the file as the user named it.
        values: each JSON value with its place.
    """

    def __init__(self, name: str, values: list[tuple[Place, Any]], *, lines: bool) -> None:
        self.name = name
        self.values = values
        self.lines = lines


_NONBLOCKING: int = getattr(os, "O_NONBLOCK", 0)
"""Windows has none, and opens no such pipe by a path."""


def read_source(path: str | os.PathLike[str]) -> Source:
    """The JSON values of a file: all of it is one, or each line is.

    Raises:
        TranscriptError: it is too large, not UTF-8, not JSON, or nested too deeply; the message names the line.
        OSError: it cannot be read.
    """
    name = os.fspath(path)
    file = Path(path).expanduser()
    if file.is_dir():
        raise TranscriptError(f"{name} is a directory; name the files in it")
    with open(file, "rb", opener=_without_waiting) as opened:
        if stat.S_ISCHR(os.fstat(opened.fileno()).st_mode):
            raise TranscriptError(f"{name} is a device, which may have no end; name a file")
        if _NONBLOCKING:
            os.set_blocking(opened.fileno(), True)
        content = opened.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise TranscriptError(f"{name} is larger than {MAX_FILE_BYTES // 2**20} MiB; split it")
    content = content.removeprefix(b"\xef\xbb\xbf").strip(_WHITE)
    if not content:
        raise TranscriptError(f"{name} is empty")
    if content[:2] == b"PK" or content[:2] == b"\x1f\x8b" or content.startswith(b"SQLite format 3"):
        raise TranscriptError(f"{name} is no JSON; unpack an archive first, and open a log as it is, with --db")
    if content[:1] not in (b"{", b"["):
        raise TranscriptError(
            f"{name} is no JSON: it begins with {content[:20]!r}, and a transcript is an object, a list, or one of these a line"
        )
    if b"\n" in content and _first_line_is_whole(content):
        return Source(name, list(_lines(name, content)), lines=True)
    return Source(name, [(Place(name), _decoded(Place(name), content))], lines=False)


def _without_waiting(path: str, flags: int) -> int:
    """Open a pipe without waiting for somebody to write to it; what is being written is read to its end."""
    return os.open(path, flags | _NONBLOCKING)


def _first_line_is_whole(content: bytes) -> bool:
    first = content.partition(b"\n")[0].strip(_WHITE)
    if len(first) > MAX_LINE_BYTES or _depth(first) != 0:
        return False
    rest = content[content.index(b"\n") :].lstrip(_WHITE)
    return first[:1] in (b"{", b"[") and rest[:1] in (b"{", b"[")


def _lines(name: str, content: bytes) -> Iterator[tuple[Place, Any]]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        stripped = line.strip(_WHITE)
        if not stripped:
            continue
        place = Place(name, number)
        if len(stripped) > MAX_LINE_BYTES:
            raise place.wrong(f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB")
        yield place, _decoded(place, stripped)


def _decoded(place: Place, content: bytes) -> Any:
    if too_deep(content):
        raise place.wrong(f"it is nested deeper than {MAX_DEPTH} levels")
    try:
        return plain(msgspec.json.decode(content))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise place.wrong(f"it is not JSON: {error}") from error


def _depth(content: bytes) -> int:
    """How many brackets are open at the end."""
    return sum(1 if found in (b"[", b"{") else -1 if found in (b"]", b"}") else 0 for found in _BRACKETS.findall(content))


def too_deep(content: bytes) -> bool:
    """Whether lists and objects are nested deeper than `MAX_DEPTH`, without decoding them."""
    if content.count(b"[") + content.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for found in _BRACKETS.finditer(content):
        character = found[0]
        if character in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif character in (b"]", b"}"):
            depth -= 1
    return False


def guessed(source: Source) -> Format:
    """Which format the file is in, by what is in it.

    Raises:
        TranscriptError: it looks like none of them.
    """
    place, first = source.values[0]
    if isinstance(first, dict):
        schema = first.get("schema") or first.get("schema_version")
        if isinstance(schema, str) and schema.startswith("afk_es.golden/"):
            return "golden"
        if isinstance(schema, str) and schema.startswith("afk_es."):
            return "jsonl"
        if isinstance(schema, str) and schema.upper().startswith("ATIF"):
            return "atif"
        if "steps" in first and "agent" in first:
            return "atif"
        if any(key in first for key in ("messages", "traj", "conversation")):
            return "chat"
        if source.lines and "role" in first:
            return "chat"
    if isinstance(first, list) and all(isinstance(each, dict) for each in first):
        return "chat"
    raise place.wrong(
        "this is no transcript that can be read: a list of chat messages, an object with `messages`, an ATIF trajectory, a run that "
        "`afk-es export --to jsonl` wrote, or a golden"
    )


def shown(value: Any) -> str:
    """A value in a message of an error: short, and in one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
