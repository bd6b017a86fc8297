"""A time as it is written on a command line: a date, or so long ago."""

from __future__ import annotations

import datetime as dt
import re

from afk_es.clock import SystemClock
from afk_es.errors import UsageError

_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def moment(text: str, option: str) -> dt.datetime:
    """The time that is meant: so long ago, or a date or time, in the zone of this machine where it names none.

    Raises:
        UsageError: it is none; the message names the option.
    """
    try:
        if (span := _SPAN.fullmatch(text.strip())) is not None:
            return SystemClock().now() - dt.timedelta(seconds=int(span[1]) * _SECONDS[span[2]])
        return dt.datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{option} {text!r} is no time; write 2026-11-20, 2026-11-20T09:30, or how long ago: 90m, 12h, 7d, 4w") from error
