"""Arrays and objects of values that somebody else makes. It knows no tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from afk_es.testing.arguments.documents import Schema

Build = Callable[[Any], "SearchStrategy[Any] | None"]
"""Makes a strategy of a schema that is part of another one; None where it allows no value, or none small enough."""

LONGEST = 200
"""Items of the longest list that `huge` makes."""


def arrays(schema: Schema, build: Build, more: int, *, huge: bool = False) -> SearchStrategy[Any] | None:
    """Arrays that the schema allows; None if there is none.

    Args:
        schema: of the array.
        build: for its items.
        more: items beyond the least, at most, where the schema sets no limit.
        huge: also very long ones.
    """
    items = schema.get("items", True)
    # Up to draft 2019, `items` was a list where `prefixItems` is one now.
    first, rest = (items, schema.get("additionalItems", True)) if isinstance(items, list) else (schema.get("prefixItems", ()), items)
    least, most = schema.get("minItems", len(first)), schema.get("maxItems")
    if first:
        return _tuples([build(each) for each in first], rest, build, least, most)
    each = build(rest)
    if each is None or most == 0:
        return None if least else st.builds(list)
    if most is not None and most < least:
        return None
    unique = bool(schema.get("uniqueItems"))
    held = build(schema["contains"]) if "contains" in schema else None
    longest = least + more if most is None else min(most, least + max(more, 8))
    values: SearchStrategy[Any] = st.lists(each, min_size=least, max_size=longest, unique_by=identity if unique else None)
    if huge and not unique:
        repeats = max(least, LONGEST if most is None else min(most, LONGEST))
        values |= each.map(lambda item: [item] * repeats)
    return (
        values
        if held is None
        else st.builds(_with, values, st.lists(held, min_size=(count := schema.get("minContains", 1)), max_size=count))
    )


def _with(items: list[Any], held: list[Any]) -> list[Any]:
    return [*items[: len(items) - len(held)], *held] if len(items) > len(held) else held


def identity(value: Any) -> Any:
    """What makes two JSON values the same: 1 is 1.0, and is not true."""
    if isinstance(value, bool) or value is None:
        return (str(value),)
    if isinstance(value, (int, float, str)):
        return value
    return (json.dumps(value, sort_keys=True),)


def _tuples(
    first: Sequence[SearchStrategy[Any] | None], rest: Any, build: Build, least: int, most: int | None
) -> SearchStrategy[Any] | None:
    possible = next((index for index, each in enumerate(first) if each is None), len(first))
    following = build(rest) if rest is not False and (most is None or most > len(first)) and least > len(first) else None
    longest = max(least, len(first)) if following is not None else possible
    longest = longest if most is None else min(longest, most)
    if least > longest:
        return None
    full = [each if each is not None else st.nothing() for each in [*first, *[following] * (longest - len(first))][:longest]]
    if least == longest:
        return st.tuples(*full).map(list)
    return st.one_of(*(st.tuples(*full[:length]).map(list) for length in range(least, longest + 1)))


class Extras(NamedTuple):
    """Properties that a schema does not name: how their keys and values are made, and how many there are."""

    entries: SearchStrategy[tuple[str, Any]]
    most: int


def objects(
    required: Mapping[str, SearchStrategy[Any]],
    optional: Mapping[str, SearchStrategy[Any]],
    extras: Extras | None,
    least: int,
    most: int | None,
    *,
    sends_optional: bool = True,
) -> SearchStrategy[Any] | None:
    """Objects with these properties; None if there is none with as many.

    Args:
        required: the properties that each has.
        optional: those that it may have.
        extras: those that nobody named; None for no such.
        least, most: properties in all, at least and at most; None for no limit.
        sends_optional: whether optional ones are there for any other reason than that `least` asks for them.
    """
    if (most is not None and len(required) > most) or least > len(required) + len(optional) + (extras.most if extras else 0):
        return None
    sent = optional if sends_optional else {}
    if extras is None and least <= len(required) and (most is None or most >= len(required) + len(sent)):
        names = [*required, *sent]
        entries = st.tuples(*required.values(), *(_ABSENT | each for each in sent.values()))
        return entries.map(lambda values: {name: value for name, value in zip(names, values, strict=True) if value is not _NOTHING})
    return _counted(dict(required), dict(optional), extras, least, most, sends_optional)


_NOTHING = object()
_ABSENT: SearchStrategy[Any] = st.just(_NOTHING)
"""What stands for a property that is not there while an object is made; the simplest, so that values shrink towards it."""


@st.composite
def _counted(
    draw: DrawFn,
    required: dict[str, SearchStrategy[Any]],
    optional: dict[str, SearchStrategy[Any]],
    extras: Extras | None,
    least: int,
    most: int | None,
    sends_optional: bool,
) -> dict[str, Any]:
    value = {name: draw(each) for name, each in required.items()}
    for name, each in optional.items():
        if (most is None or len(value) < most) and sends_optional and draw(st.booleans()):
            value[name] = draw(each)
    if extras is not None:
        room = extras.most if most is None else max(0, min(extras.most, most - len(value)))
        lacking = max(0, least - len(value) - len(optional.keys() - value.keys()))
        entries = st.lists(extras.entries, min_size=min(lacking, room), max_size=room, unique_by=lambda entry: entry[0])
        value = {**dict(draw(entries)), **value} if room else value
    for name, each in optional.items():
        if len(value) < least and name not in value:
            value[name] = draw(each)
    return value
