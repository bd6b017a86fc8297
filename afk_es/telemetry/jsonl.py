"""Events as JSON, one object a line: the form of `afk-es log --format jsonl`, for whatever collects a program's output, or looks at it."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO, TextIO

import msgspec

from afk_es.machine.events import AgentRunEvent
from afk_es.views import visible_json

SCHEMA = "afk_es.event/1"


class JsonSink:
    """Writes each event whole, as `{"schema": "afk_es.event/1", "type": ..., "run_id": ..., "data": {...}, ...}`.

    Args:
        target: a file to append to, made for its owner only where it is not there, and opened with the first event; or a text stream,
            which is not closed; default `sys.stderr`.
    """

    def __init__(self, target: str | os.PathLike[str] | TextIO | None = None) -> None:
        self._path = os.fspath(target) if isinstance(target, (str, os.PathLike)) else None
        self._stream: TextIO | None = None if isinstance(target, (str, os.PathLike)) else target
        self._file: BinaryIO | None = None

    def export(self, event: AgentRunEvent) -> None:
        """Write its line."""
        line = visible_json({"schema": SCHEMA, **msgspec.to_builtins(event)}) + b"\n"
        if self._path is not None:
            if self._file is None:
                self._file = open(self._path, "ab", opener=_private)  # noqa: SIM115 - closed by `close`
            self._file.write(line)
            return
        stream = self._stream if self._stream is not None else sys.stderr
        if stream is not None:
            stream.write(line.decode())

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        open_file = self._file if self._path is not None else self._stream if self._stream is not None else sys.stderr
        if open_file is not None:
            open_file.flush()

    def close(self) -> None:
        """Flush; close the file, if it is a file of ours."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
