"""Numbers within the bounds of a JSON Schema, as JSON spells them. It knows nothing of tools."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from afk_es.testing.arguments.documents import Schema

LARGEST_INT = 2**63 - 1
"""Beyond it a decoder may make a float of the number, or refuse it."""

MOST_STEPS = 10**6
"""How far multiples go on either side of zero where no bound says it; small enough for any multiple to be exact enough for a validator."""

Bounds = tuple[Fraction | None, bool, Fraction | None, bool]
"""The lowest, whether it is excluded, the highest, whether it is excluded."""


def integers(schema: Schema, *, huge: bool = False) -> SearchStrategy[Any] | None:
    """Integers that the schema allows; None if there is none.

    Args:
        huge: also the ends of 64 bits.
    """
    low, high = _whole_bounds(schema)
    step = _step(schema) or Fraction(1)
    # A multiple of 1.5 that is whole is a multiple of 3.
    whole = step.numerator
    first, last = math.ceil(Fraction(low, whole)), math.floor(Fraction(high, whole))
    if first > last:
        return None
    counted = st.integers(first, last)
    values = counted if whole == 1 else counted.map(lambda count: count * whole)
    if huge:
        ends = sorted({first * whole, last * whole}, key=abs)
        return values | st.sampled_from(ends)
    return values


def numbers(schema: Schema, *, huge: bool = False) -> SearchStrategy[Any] | None:
    """Numbers that the schema allows, whole ones among them; None if there is none."""
    step = _step(schema)
    if step is not None and step.denominator != 1:
        return _multiples(schema, step)
    whole = integers(schema, huge=huge)
    if step is not None:
        return whole
    broken = _floats(schema)
    return broken if whole is None else whole if broken is None else whole | broken


def bounds(schema: Mapping[str, Any]) -> Bounds:
    """The bounds that JSON Schema's four keywords set, with the booleans that they were up to draft 4."""
    low, high = _exact(schema.get("minimum")), _exact(schema.get("maximum"))
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    over, under = above is True, below is True
    if above is not None and not isinstance(above, bool) and (low is None or Fraction(str(above)) >= low):
        low, over = _exact(above), True
    if below is not None and not isinstance(below, bool) and (high is None or Fraction(str(below)) <= high):
        high, under = _exact(below), True
    return low, over, high, under


def _exact(value: Any) -> Fraction | None:
    # As it is written: 0.1 is a tenth.
    return None if value is None else Fraction(str(value))


def _step(schema: Schema) -> Fraction | None:
    return _exact(schema.get("multipleOf"))


def _whole_bounds(schema: Schema) -> tuple[int, int]:
    low, over, high, under = bounds(schema)
    first = None if low is None else (math.floor(low) + 1 if over else math.ceil(low))
    last = None if high is None else (math.ceil(high) - 1 if under else math.floor(high))
    if first is None:
        first = -LARGEST_INT if last is None or last >= -LARGEST_INT else last - LARGEST_INT
    if last is None:
        last = max(LARGEST_INT, first + LARGEST_INT) if first > LARGEST_INT else LARGEST_INT
    return first, last


def _multiples(schema: Schema, step: Fraction) -> SearchStrategy[Any] | None:
    low, over, high, under = bounds(schema)
    first = -MOST_STEPS if low is None else math.ceil(low / step)
    last = MOST_STEPS if high is None else math.floor(high / step)
    if low is not None and over and first * step == low:
        first += 1
    if high is not None and under and last * step == high:
        last -= 1
    if low is not None and high is None:
        last = max(last, first + MOST_STEPS)
    if high is not None and low is None:
        first = min(first, last - MOST_STEPS)
    return None if first > last else st.integers(first, last).map(lambda count: float(count * step))


def _floats(schema: Schema) -> SearchStrategy[Any] | None:
    low, over, high, under = bounds(schema)
    least = None if low is None else _float_at(low, upwards=True)
    most = None if high is None else _float_at(high, upwards=False)
    if least is not None and over and Fraction(least) == low:
        least = math.nextafter(least, math.inf)
    if most is not None and under and Fraction(most) == high:
        most = math.nextafter(most, -math.inf)
    if least is not None and most is not None and least > most:
        return None
    return st.floats(least, most, allow_nan=False, allow_infinity=False)


def _float_at(bound: Fraction, *, upwards: bool) -> float:
    """The float nearest to a bound, and not beyond it."""
    nearest = float(bound)
    if (Fraction(nearest) < bound) if upwards else (Fraction(nearest) > bound):
        # A bound like 0.1 means the float that is written so, whatever lies between the two.
        return nearest if Fraction(str(nearest)) == bound else math.nextafter(nearest, math.inf if upwards else -math.inf)
    return nearest


def decimals(core: Mapping[str, Any]) -> SearchStrategy[Any] | None:
    """Decimals as text, or as a number where that is exact, within what Pydantic's validator of decimals was told.

    Args:
        core: `ge`, `gt`, `le`, `lt`, `multiple_of`, `max_digits` and `decimal_places`, each or none.
    """
    digits, step = core.get("max_digits"), core.get("multiple_of")
    places = core.get("decimal_places")
    if places is None:
        places = max(2 if digits is None else min(digits, 2), 0 if step is None else -int(Decimal(step).as_tuple().exponent))
    unit = Fraction(1, 10**places) if step is None else Fraction(step)
    # Steps of which none has more places than are allowed.
    unit *= Fraction(unit * 10**places).denominator
    low, high = (_tightest(core, keywords, unit) for keywords in (("ge", "gt"), ("le", "lt")))
    most = math.floor((Fraction(10 ** (12 if digits is None else digits)) - 1) / 10**places / unit)
    if digits is None:
        most += max(abs(low or 0), abs(high or 0))
    first, last = max(-most, -most if low is None else low), min(most, most if high is None else high)
    if first > last:
        return None
    exact = st.integers(first, last).map(lambda count: _decimal(count * unit, places))
    return exact.map(_number_if_exact) | exact.map(str)


def _tightest(core: Mapping[str, Any], keywords: tuple[str, str], unit: Fraction) -> int | None:
    """The bound, counted in units: the lowest count for `ge` and `gt`, the highest for `le` and `lt`."""
    sign = 1 if keywords[0] == "ge" else -1
    counts = [
        math.floor(sign * bound / unit) + 1 if exclusive else math.ceil(sign * bound / unit)
        for keyword, exclusive in zip(keywords, (False, True), strict=True)
        if core.get(keyword) is not None
        for bound in [Fraction(core[keyword])]
    ]
    return sign * max(counts) if counts else None


def _decimal(value: Fraction, places: int) -> Decimal:
    return Decimal(int(value * 10**places)).scaleb(-places)


def _number_if_exact(value: Decimal) -> Any:
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)
