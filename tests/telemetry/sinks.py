"""Sinks for tests: one that remembers, and those that do to a run whatever a sink can do."""

from __future__ import annotations

import threading

from afk_es.machine import AgentRunEvent


class Remembering:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[AgentRunEvent] = []
        self.flushes = 0
        self.closes = 0
        self.threads: set[str] = set()

    def export(self, event: AgentRunEvent) -> None:
        self.threads.add(threading.current_thread().name)
        self.events.append(event)

    def flush(self) -> None:
        self.flushes += 1

    def close(self) -> None:
        self.closes += 1

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]


class Raising(Remembering):
    """Raises whatever it is given, on every event."""

    def __init__(self, error: BaseException, *, when_flushed: bool = False) -> None:
        super().__init__()
        self.error = error
        self.when_flushed = when_flushed

    def export(self, event: AgentRunEvent) -> None:
        super().export(event)
        if not self.when_flushed:
            raise self.error

    def flush(self) -> None:
        super().flush()
        if self.when_flushed:
            raise self.error


class Hanging(Remembering):
    """Hangs at the first event until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def export(self, event: AgentRunEvent) -> None:
        self.reached.set()
        self.let_go.wait(60)
        super().export(event)
