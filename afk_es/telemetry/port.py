"""The port of telemetry: what takes the events of runs and tells somebody outside of them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from afk_es.machine.events import AgentRunEvent


@runtime_checkable
class TelemetrySink(Protocol):
    """Takes events and tells of them.

    All three are plain functions and are called from one thread that is not the event loop's, so they may block. They are handed events
    that are durable in the log already, each once, those of a run in order, those of several runs mixed; secrets are redacted. Pieces of
    text as a model writes them (`text_delta`) are no events of the log and do not come here. Whatever is raised is logged once and the
    run goes on; the event counts as not told.
    """

    def export(self, event: AgentRunEvent) -> None:
        """Tell of an event, or keep it until `flush`."""
        ...

    def flush(self) -> None:
        """Tell of everything that was kept. Called when no run is left, and after a pause in the events."""
        ...

    def close(self) -> None:
        """Flush, and let go of what this sink has opened itself; called once by whoever made the sink, and nothing comes after it."""
        ...
