"""Whether processes of others have come to their end."""

from __future__ import annotations

import time
from pathlib import Path

_PATIENCE_S = 10.0


def is_running(process: int) -> bool:
    """Whether it runs: a zombie, which its new parent has not collected yet, does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rsplit(")", 1)[1].split()[0] not in ("Z", "X")


def has_ended(process: int) -> bool:
    """Whether it has ended, or does so now: a signal is sent at once, and takes effect when the process is next looked at."""
    until = time.monotonic() + _PATIENCE_S
    while is_running(process):
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True
