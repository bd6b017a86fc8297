"""The formats of JSON Schema, and those that Pydantic adds: which texts each has. An unknown format says nothing, as the standard has it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from afk_es.testing.arguments import addresses, moments
from afk_es.testing.arguments.texts import PLAIN, words

_AWARE = {"tz_constraint": "aware"}

_NOT_NEGATIVE = {"ge": timedelta(0)}


def formatted(name: str, shortest: int, longest: int | None) -> SearchStrategy[Any] | None:
    """Texts of a format, of the length asked for as far as a format leaves a choice; None for an unknown format."""
    made = _FORMATS.get(name)
    return None if made is None else made(shortest, longest)


def uuids(version: int | None = None) -> SearchStrategy[str]:
    """UUIDs of a version, or of any."""
    versions = st.just(version) if version is not None else st.sampled_from([4, 1, 7])
    return st.builds(_uuid, st.integers(0, 2**128 - 1), versions)


def _uuid(bits: int, version: int) -> str:
    bits = bits & ~(0xF000 << 64) & ~(0xC000 << 48) | version << 76 | 0x8000 << 48
    return str(UUID(int=bits))


def _base64(encode: Callable[[bytes], bytes]) -> Callable[[int, int | None], SearchStrategy[str]]:
    def made(shortest: int, longest: int | None) -> SearchStrategy[str]:
        # Four characters stand for three bytes.
        most = 30 if longest is None else longest // 4 * 3
        return st.binary(min_size=min(-(-shortest // 4) * 3, most), max_size=most).map(lambda data: encode(data).decode())

    return made


def _fixed(values: Callable[[], SearchStrategy[Any] | None]) -> Callable[[int, int | None], SearchStrategy[Any] | None]:
    return lambda shortest, longest: values()


def _plain(shortest: int, longest: int | None) -> SearchStrategy[str]:
    return st.text(PLAIN, min_size=shortest, max_size=longest)


_REGEXES = ("a", "^a+$", r"\d{3}", "[a-z]*", "a|b", "(a)?b", "")
_POINTERS = ("", "/a", "/a/0", "/a~1b", "/0/b")

_FORMATS: Mapping[str, Callable[[int, int | None], SearchStrategy[Any] | None]] = {
    "date": _fixed(lambda: moments.dates({})),
    "date-time": _fixed(lambda: moments.datetimes(_AWARE)),
    "time": _fixed(lambda: moments.times(_AWARE)),
    "duration": _fixed(lambda: moments.durations(_NOT_NEGATIVE)),
    "uuid": _fixed(uuids),
    **{f"uuid{version}": _fixed(lambda version=version: uuids(version)) for version in range(1, 9)},  # type: ignore[misc]
    "email": _fixed(addresses.emails),
    "idn-email": _fixed(addresses.emails),
    "name-email": _fixed(lambda: addresses.emails() | st.builds("{} <{}>".format, words(), addresses.emails())),
    "hostname": _fixed(addresses.hosts),
    "idn-hostname": _fixed(addresses.hosts),
    "uri": lambda shortest, longest: addresses.uris((), shortest, longest),
    "iri": lambda shortest, longest: addresses.uris((), shortest, longest),
    "multi-host-uri": lambda shortest, longest: addresses.uris((), shortest, longest),
    "uri-reference": lambda shortest, longest: addresses.uris((), shortest, longest) | addresses.paths(),
    "ipv4": _fixed(lambda: addresses.ip_addresses(4)),
    "ipv6": _fixed(lambda: addresses.ip_addresses(6)),
    "ipv4network": _fixed(lambda: addresses.ip_networks(4)),
    "ipv6network": _fixed(lambda: addresses.ip_networks(6)),
    "ipv4interface": _fixed(lambda: addresses.ip_interfaces(4)),
    "ipv6interface": _fixed(lambda: addresses.ip_interfaces(6)),
    "ipvanyaddress": _fixed(addresses.ip_addresses),
    "ipvanynetwork": _fixed(addresses.ip_networks),
    "ipvanyinterface": _fixed(addresses.ip_interfaces),
    "binary": _plain,
    "password": _plain,
    "base64": _base64(base64.b64encode),
    "byte": _base64(base64.b64encode),
    "base64url": _base64(base64.urlsafe_b64encode),
    "path": _fixed(addresses.paths),
    "file-path": _fixed(addresses.paths),
    "directory-path": _fixed(addresses.paths),
    "regex": _fixed(lambda: st.sampled_from(_REGEXES)),
    "json-pointer": _fixed(lambda: st.sampled_from(_POINTERS)),
}
