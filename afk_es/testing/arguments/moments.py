"""Dates, times and durations as JSON spells them: RFC 3339, and ISO 8601 for durations. It knows no schema."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Core = Mapping[str, Any]
"""What Pydantic's validator of the type was told: `ge`, `gt`, `le`, `lt`, `now_op`, `tz_constraint`, each or none."""

_LONG_AGO = dt.date(2020, 1, 1)
_FAR_OFF = dt.date(2200, 1, 1)
"""Past and future for whoever runs this; the real clock is the validator's affair."""

_BOUNDS = ("ge", "gt", "le", "lt")
_ZONES = ("Z", "+00:00", "+02:00", "-05:00", "+05:30")
_DAY = dt.timedelta(days=1)
_TICK = dt.timedelta(microseconds=1)
_LONGEST = dt.timedelta(days=1000)


def dates(core: Core) -> SearchStrategy[Any] | None:
    """Dates within the bounds; None where no date is."""
    low, high = _range(core, _DAY, dt.date.min, dt.date.max)
    if core.get("now_op") == "past":
        high = min(high, _LONG_AGO)
    if core.get("now_op") == "future":
        low = max(low, _FAR_OFF)
    return None if low > high else st.dates(low, high).map(dt.date.isoformat)


def datetimes(core: Core) -> SearchStrategy[Any] | None:
    """Moments within the bounds, with or without a zone as the validator wants it; None where no moment is."""
    said = [core[keyword] for keyword in _BOUNDS if core.get(keyword) is not None]
    aware = core.get("tz_constraint") == "aware" or any(bound.tzinfo is not None for bound in said)
    naive = core.get("tz_constraint") == "naive" or (bool(said) and not aware)
    utc = {keyword: _as_utc(core[keyword]) for keyword in _BOUNDS if core.get(keyword) is not None}
    low, high = _range(utc, _TICK, dt.datetime.combine(dt.date.min, dt.time.min), dt.datetime.combine(dt.date.max, dt.time.max))
    if core.get("now_op") == "past":
        high = min(high, dt.datetime.combine(_LONG_AGO, dt.time()))
    if core.get("now_op") == "future":
        low = max(low, dt.datetime.combine(_FAR_OFF, dt.time()))
    if low > high:
        return None
    zones = [""] if naive else ["Z"] if said else [*_ZONES] if aware else [*_ZONES, ""]
    return st.builds(lambda moment, zone: moment.isoformat() + zone, st.datetimes(low, high), st.sampled_from(zones))


def times(core: Core) -> SearchStrategy[Any] | None:
    """Times of a day within the bounds; None where none is."""
    said = [core[keyword] for keyword in _BOUNDS if core.get(keyword) is not None]
    aware = core.get("tz_constraint") == "aware" or any(bound.tzinfo is not None for bound in said)
    some_day = {
        keyword: dt.datetime.combine(_LONG_AGO, core[keyword].replace(tzinfo=None)) for keyword in _BOUNDS if core.get(keyword) is not None
    }
    least, most = dt.datetime.combine(_LONG_AGO, dt.time.min), dt.datetime.combine(_LONG_AGO, dt.time.max)
    low, high = _range(some_day, _TICK, least, most)
    if low > high:
        return None
    zones = ["Z"] if aware else [""] if said or core.get("tz_constraint") == "naive" else ["Z", ""]
    return st.builds(lambda moment, zone: moment.isoformat() + zone, st.times(low.time(), high.time()), st.sampled_from(zones))


def durations(core: Core) -> SearchStrategy[Any] | None:
    """Durations within the bounds, up to some years where there are none; None where no duration is."""
    low, high = _range(core, _TICK, dt.timedelta.min, dt.timedelta.max)
    if low == dt.timedelta.min:
        low = min(-_LONGEST, high)
    if high == dt.timedelta.max:
        high = max(_LONGEST, low)
    if low > high:
        return None
    whole = st.integers(_seconds_up(low), high // dt.timedelta(seconds=1)).map(lambda seconds: dt.timedelta(seconds=seconds))
    broken = st.timedeltas(low, high)
    return (whole | broken if _seconds_up(low) <= high // dt.timedelta(seconds=1) else broken).map(duration_text)


def duration_text(duration: dt.timedelta) -> str:
    """The same in ISO 8601, such as `P1DT2H3M4.5S`, with a leading minus below zero."""
    sign, duration = ("-", -duration) if duration < dt.timedelta(0) else ("", duration)
    minutes, seconds = divmod(duration.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{duration.microseconds:06d}".rstrip("0") if duration.microseconds else ""
    day = f"{duration.days}D" if duration.days else ""
    time = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "") + (f"{seconds}{fraction}S" if seconds or fraction else "")
    return f"{sign}P{day}T{time}" if time else f"{sign}P{day}" if day else "PT0S"


def _seconds_up(duration: dt.timedelta) -> int:
    return -(-duration // dt.timedelta(seconds=1))


def _as_utc(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo is None else moment.astimezone(dt.UTC).replace(tzinfo=None)


def _range(core: Core, step: dt.timedelta, least: Any, most: Any) -> tuple[Any, Any]:
    low, high = least, most
    if core.get("ge") is not None:
        low = max(low, core["ge"])
    if core.get("gt") is not None:
        low = max(low, core["gt"] + step)
    if core.get("le") is not None:
        high = min(high, core["le"])
    if core.get("lt") is not None:
        high = min(high, core["lt"] - step)
    return low, high
