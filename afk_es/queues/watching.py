"""How far a run is, as its worker says it of the task. It hears of every event and remembers only the last word."""

from __future__ import annotations

from msgspec.structs import replace

from afk_es.machine import AgentRunEvent
from afk_es.queues.items import Progress

_DOING = {
    "llm_called": "asks {model}",
    "tool_started": "runs {tool_name}",
    "subagent_started": "waits for {subagent_name}",
    "approval_requested": "asks for approval of {tool_name}",
    "input_requested": "asks for input to {tool_name}",
    "llm_failed": "asked {model}, which failed",
    "compaction_started": "sums up what was said",
}


class ProgressFeed:
    """The `Feed` of a run of which only this is wanted.

    Attributes:
        progress: how far it is.
    """

    def __init__(self) -> None:
        self.progress: Progress = Progress()

    def publish(self, event: AgentRunEvent) -> None:
        """Take it in."""
        data = event.data
        if event.type == "tool_progress":
            said = event.message or f"runs {data['tool_name']}"
            self.progress = Progress(event.step, said, data["progress"], data["total"])
        elif event.type == "step_started":
            self.progress = Progress(event.step, self.progress.doing)
        elif (doing := _DOING.get(event.type)) is not None:
            self.progress = replace(self.progress, step=event.step, doing=doing.format_map(data))

    async def room(self) -> None:
        """Nobody is waited for."""

    def close(self) -> None:
        """There will be no more."""
