"""What happened in the demo, as read back from the log and the shop, and whether that is what was claimed."""

from __future__ import annotations

import os
import signal

import msgspec

from afk_es.cli.verify import Verified
from afk_es.machine import AgentRunEvent
from afk_es.views import CallRecord, ToolTally, call_records, tallied


class Story(msgspec.Struct, frozen=True):
    """What happened.

    Attributes:
        killed_pid: the process that was killed; `returncode` is how it ended, as the operating system says.
        killed_at: the seq of the last event it wrote.
        resumed_by: the process that went on.
        refunds: rows of the shop's table after all was over; `notifications` likewise.
    """

    log: str
    shop: str
    run_id: str
    killed_pid: int
    returncode: int
    killed_at: int
    resumed_by: int
    state: str
    answer: str
    refunds: int
    notifications: int
    verified: Verified
    events: tuple[AgentRunEvent, ...]

    @property
    def calls(self) -> list[CallRecord]:
        """The tool calls, as the log has them."""
        return call_records(self.events)

    @property
    def tallies(self) -> list[ToolTally]:
        """The tool calls counted by tool."""
        return tallied(self.calls)

    @property
    def killed(self) -> bool:
        """Whether the process was killed, and did not end by itself."""
        return self.returncode == -signal.SIGKILL if os.name == "posix" else self.returncode != 0

    @property
    def as_claimed(self) -> bool:
        """Whether all went as the demo says: killed, resumed, completed, paid once, nothing run twice, and a log that verifies."""
        return (
            self.killed
            and self.state == "completed"
            and self.refunds == 1
            and self.notifications == 1
            and not any(tally.repeated for tally in self.tallies)
            and not self.verified.problems
        )
