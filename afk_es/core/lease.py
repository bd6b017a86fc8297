"""The port of whoever lends a run to this process for a time. A run that is lent starts nothing after that time: others may have it by then."""

from __future__ import annotations

from typing import Protocol


class Lease(Protocol):
    """The right to drive a run."""

    def held(self) -> bool:
        """Whether it still holds. Asked before every effect, so it looks at a clock that went on while the process was stopped, and at nothing else."""
        ...
