"""Numbers for people, in few columns: money, durations, times, shares as bars. Nothing here knows a run."""

from __future__ import annotations

import datetime as dt
import math

from afk_es.views import minutes_up

_FULL, _EMPTY = "█", "░"


def dollars(cost: float | None) -> str:
    """US dollars, never with an exponent; "unknown" where no answer carried a price."""
    if cost is None:
        return "unknown"
    if cost >= 1 or cost == 0:
        return f"${cost:.2f}"
    return "$" + f"{cost:.{max(2, 1 - math.floor(math.log10(cost)))}f}"


def span(seconds: float) -> str:
    """A duration: 3ms, 1.50s, 12.3s, 4m05s, 2h05m, 3d04h."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.2f}s" if seconds < 10 else f"{seconds:.1f}s"
    return minutes_up(seconds)


def count(number: float) -> str:
    """A number with its thousands apart by a space, as positions are shown: 1 234."""
    return f"{number:,.10g}".replace(",", " ") if math.isfinite(number) and number == int(number) else f"{number:.4g}"


def bar(share: float, width: int) -> str:
    """A bar of that many columns, filled by the share; more than 1 is full, and anything above 0 shows."""
    filled = round(max(0.0, min(1.0, share)) * width)
    if share > 0 and not filled:
        filled = 1
    return _FULL * filled + _EMPTY * (width - filled)


def local(at: dt.datetime) -> str:
    """A time of day for people, to the second, in their zone."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
