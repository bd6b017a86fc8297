"""What a check of a run came to."""

from __future__ import annotations

from typing import Any

import msgspec


class Verdict(msgspec.Struct, frozen=True):
    """What an assertion or a scorer says of a run.

    Attributes:
        name: of the check.
        passed: whether the run is good enough by it. A check that never applied passes, and says that it was not exercised.
        message: what was found; for a failure, the reason.
        exercised: False for a vacuous pass: nothing in the run was there to be checked.
        score: from 0 to 1, of a scorer; None of an assertion.
        positions: seqs of the events that prove it, of the run itself or, as "RUN:SEQ", of a subagent's.
        details: JSON data for reports, such as which call was matched with which.
    """

    name: str
    passed: bool
    message: str = ""
    exercised: bool = True
    score: float | None = None
    positions: tuple[str, ...] = ()
    details: dict[str, Any] = {}
