"""Lengths of time as people write them: 90, 90s, 10m, 1h30m, 2d."""

from __future__ import annotations

import re

from afk_es.errors import ConfigurationError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PIECE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([smhdw])")


def seconds_of(text: str, option: str) -> float:
    """The seconds that are meant; a number alone means seconds.

    Raises:
        ConfigurationError: it is no length of time.
    """
    written = text.strip().lower()
    pieces = _PIECE.findall(written)
    if pieces and "".join(number + unit for number, unit in pieces) == written:
        return sum(float(number) * _UNITS[unit] for number, unit in pieces)
    if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", written):
        return float(written)
    raise ConfigurationError(f"{option} is a length of time such as 30s, 10m, 1h30m or 2d, not {text!r:.80}")
