"""What the tools of the crash tests do to the world: lines in a file, each written with one system call, so a kill never tears one."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from afk_es.tools import ToolContext


class Journal:
    """The world outside, in one file."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path

    def note(self, what: str, ctx: ToolContext | None = None, **more: Any) -> None:
        """An effect has taken place."""
        line = {"what": what, "pid": os.getpid(), **more}
        if ctx is not None:
            line |= {"run_id": ctx.run_id, "call_id": ctx.tool_call_id, "key": ctx.idempotency_key}
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, json.dumps(line).encode() + b"\n")
        finally:
            os.close(file)

    def lines(self) -> list[dict[str, Any]]:
        """Everything that happened, in order."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def times(self) -> Counter[str]:
        """How often each tool call took effect, by its idempotency key."""
        return Counter(line["key"] for line in self.lines() if "key" in line)
