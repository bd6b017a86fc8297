"""Events as lines for people: those of `afk-es log`, while they happen. A line holds nothing that a terminal would obey."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

from afk_es.machine.events import TERMINAL, AgentRunEvent
from afk_es.views import Timeline, clipped, render_line

_COLOURS = {"quiet": "2", "good": "32", "bad": "31", "mark": "33"}
_WIDTH_WITHOUT_TERMINAL = 160
_NAME_WIDTH = 10
_RUNS_KEPT = 1_000


class ConsoleSink:
    """Writes a line for each event, led by the end of its run's id. Colours only on a terminal, and not where NO_COLOR is set.

    Args:
        stream: where to; default `sys.stderr`, as it is when a line is written. It is not closed.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._timelines: dict[str, Timeline] = {}

    def export(self, event: AgentRunEvent) -> None:
        """Write its line."""
        stream = self._stream if self._stream is not None else sys.stderr
        if stream is None:
            return  # A program without a console, such as pythonw.
        terminal = stream.isatty()
        width = shutil.get_terminal_size((80, 24)).columns if terminal else _WIDTH_WITHOUT_TERMINAL
        timeline = self._timelines.setdefault(event.run_id, Timeline())
        line = timeline.line(event)
        name = clipped(event.run_id[-_NAME_WIDTH:], _NAME_WIDTH)
        text = f"{name} {render_line(line, max(width - _NAME_WIDTH - 1, 40))}"
        if terminal and line.tone in _COLOURS and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
            text = f"\x1b[{_COLOURS[line.tone]}m{text}\x1b[0m"
        # A stream of an old encoding takes what it can.
        encoding = getattr(stream, "encoding", None) or "utf-8"
        stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        if event.type in TERMINAL and event.state != "interrupted":
            self._timelines.pop(event.run_id, None)
        elif len(self._timelines) > _RUNS_KEPT:
            # The longest known goes: if it is not over, its times are told from its next event on.
            self._timelines.pop(next(iter(self._timelines)))

    def flush(self) -> None:
        """Flush the stream."""
        stream = self._stream if self._stream is not None else sys.stderr
        if stream is not None:
            stream.flush()

    def close(self) -> None:
        """As `flush`."""
        self.flush()
