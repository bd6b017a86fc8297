"""Requests that are almost right, and bytes that are not: seeded, so that what a server stumbles over comes again. It knows no protocol."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    10**400,
    "",
    "\x00",
    "\ud800",
    "../../etc/passwd",
    "x" * 10_000,
    [],
    {},
    [None],
    {"": {}},
    [[[[[[[[]]]]]]]],
    "'; DROP TABLE events; --",
    "{{7*7}}${jndi:ldap://127.0.0.1:9/x}",
)
"""Values that stand where others are expected."""

NO_JSON: tuple[bytes, ...] = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{",
    b'"',
    b"nonsense",
    b'{"a":1}{"b":2}',
    b"[" * 100_000,
    b'{"a":' * 20_000,
    b"1" * 5_000,
    b'{"jsonrpc":"2.0","id":NaN}',
    b'{"jsonrpc":"2.0","id":"\\ud800"}',
    b"\xef\xbb\xbf{}",
)
"""Bodies that are no request."""


def near_misses(right: list[Any], seed: int, number: int) -> Iterator[bytes]:
    """Bodies made of right ones with one to three mistakes in them, and some that are no JSON at all."""
    chance = random.Random(f"near miss {seed}")
    yield from NO_JSON
    for _ in range(number):
        value = copy.deepcopy(chance.choice(right))
        for _ in range(chance.randint(1, 3)):
            value = _mistaken(value, chance)
        # As JSON writes it, with what it could not encode spelled out.
        body = json.dumps(value).encode()
        yield _broken(body, chance) if chance.random() < 0.2 else body


def _mistaken(value: Any, chance: random.Random) -> Any:
    """With one mistake somewhere in it."""
    place = chance.choice(list(_places(value)))
    if not place:
        return chance.choice([[value], {"wrapped": value}, *ODD[:2], value])
    holder = value
    for step in place[:-1]:
        holder = holder[step]
    last = place[-1]
    match chance.choice(["odd", "odd", "gone", "renamed", "more"]):
        case "gone":
            del holder[last]
        case "renamed" if isinstance(holder, dict):
            holder[str(last).upper()] = holder.pop(last)
        case "more" if isinstance(holder, dict):
            holder[f"{last}_"] = copy.deepcopy(chance.choice(ODD))
        case _:
            holder[last] = copy.deepcopy(chance.choice(ODD))
    return value


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in below:
        yield from _places(each, (*at, key))


def _broken(body: bytes, chance: random.Random) -> bytes:
    """With bytes missing or turned."""
    at = chance.randrange(len(body)) if body else 0
    if chance.random() < 0.5:
        return body[:at]
    return body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]
