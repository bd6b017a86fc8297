"""Where things are: URIs, mail and network addresses, host names, paths. It knows no schema."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from afk_es.testing.arguments.texts import words

_DOMAINS = ("example.com", "example.org", "example.net")
"""Reserved by RFC 2606: whoever gets such an address by mistake reaches nobody."""

_WEB = frozenset({"http", "https", "ws", "wss", "ftp"})


_HOSTS = st.sampled_from(_DOMAINS) | st.builds("{}.{}".format, words(1, 8), st.sampled_from(_DOMAINS))
_LOCALS = words(1, 8) | st.builds("{}{}{}".format, words(1, 8), st.sampled_from(".+-_"), words(1, 8))
_EMAILS = st.builds("{}@{}".format, _LOCALS, _HOSTS)
_TAILS = ((), ("/{}",), ("/{}", "/{}"), (":8080", "/{}"), ("/{}", "?q={}"), ("/{}", "#{}"), ("/%20{}", "?a=1&b={}"))


def hosts() -> SearchStrategy[str]:
    """Host names, all of them beneath domains that nobody has."""
    return _HOSTS


def emails() -> SearchStrategy[str]:
    """Mail addresses."""
    return _EMAILS


def uris(schemes: Sequence[str] = (), shortest: int = 0, longest: int | None = None) -> SearchStrategy[str]:
    """URIs with an authority.

    Args:
        schemes: of these; default those of the web.
        shortest, longest: characters, at least and at most; None for no limit.
    """
    scheme = st.sampled_from(list(schemes) or ["https", "http", "ftp"])
    tail = st.tuples(st.sampled_from(_TAILS), words(1, 6))
    return st.builds(_uri, scheme, _HOSTS, st.sampled_from(["", "user@", "user:word@"]), tail, st.just((shortest, longest)))


def _uri(scheme: str, host: str, person: str, tail: tuple[Sequence[str], str], lengths: tuple[int, int | None]) -> str:
    shortest, longest = lengths
    # A database is reached with a name and a password, which the web no longer has.
    uri = f"file:///{host}" if scheme == "file" else f"{scheme}://{'' if scheme in _WEB else person}{host}"
    # A URI without a path is given one by those who read it: a slash.
    if longest is not None and len(uri) >= longest:
        uri = f"{scheme}://a.{'b' * max(2, min(3, longest - len(scheme) - 6))}"
    parts, word = tail
    for part in parts:
        longer = uri + part.format(word)
        # A port cannot follow a file's path.
        if (longest is None or len(longer) <= longest) and not (scheme == "file" and part.startswith(":")):
            uri = longer
    return uri + "/" + "a" * (shortest - len(uri) - 1) if len(uri) < shortest else uri


def ip_addresses(version: Literal[4, 6] | None = None) -> SearchStrategy[str]:
    """Addresses of one version, or of both."""
    return st.ip_addresses(v=version).map(str)


def ip_networks(version: Literal[4, 6] | None = None) -> SearchStrategy[str]:
    """Networks, with no bit set beyond the prefix."""
    return st.builds(_network, st.ip_addresses(v=version), st.integers(0, 128))


def ip_interfaces(version: Literal[4, 6] | None = None) -> SearchStrategy[str]:
    """Addresses with the length of their network's prefix."""
    return st.builds(
        lambda address, prefix: f"{address}/{prefix % (address.max_prefixlen + 1)}", st.ip_addresses(v=version), st.integers(0, 128)
    )


def _network(address: Any, prefix: int) -> str:
    return str(ipaddress.ip_network((address, prefix % (address.max_prefixlen + 1)), strict=False))


def paths() -> SearchStrategy[str]:
    """Paths of files, most of them relative."""
    steps = st.lists(words(1, 8), min_size=1, max_size=3).map("/".join)
    return st.builds("{}{}{}".format, st.sampled_from(["", "", "/", "./"]), steps, st.sampled_from(["", ".txt", ".tar.gz"]))
