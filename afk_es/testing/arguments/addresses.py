"""Where things are: URIs, mail and network addresses, host names, paths. It knows no schema."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from afk_es.testing.arguments.texts import words

_DOMAINS = ("example.com", "example.org", "example.net")
"""Reserved by RFC 2606: whoever gets such an address by mistake reaches nobody."""

_WEB = frozenset({"http", "https", "ws", "wss", "ftp"})


def hosts() -> SearchStrategy[str]:
    """Host names, all of them beneath domains that nobody has."""
    domains = st.sampled_from(_DOMAINS)
    return domains | st.builds("{}.{}".format, words(1, 8), domains)


def emails() -> SearchStrategy[str]:
    """Mail addresses."""
    local = words(1, 8)
    return st.builds("{}@{}".format, local | st.builds("{}{}{}".format, local, st.sampled_from(".+-_"), local), hosts())


def uris(schemes: Sequence[str] = (), shortest: int = 0, longest: int | None = None) -> SearchStrategy[str]:
    """URIs with an authority.

    Args:
        schemes: of these; default those of the web.
        shortest, longest: characters, at least and at most; None for no limit.
    """
    return _uris(st.sampled_from(list(schemes) or ["https", "http", "ftp"]), shortest, longest)


@st.composite
def _uris(draw: DrawFn, schemes: SearchStrategy[str], shortest: int, longest: int | None) -> str:
    scheme = draw(schemes)
    if scheme == "file":
        uri = "file:///" + draw(words())
    else:
        # A database is reached with a name and a password, which the web no longer has.
        person = draw(st.just("") if scheme in _WEB else st.sampled_from(["", "user@", "user:word@"]))
        uri = f"{scheme}://{person}{draw(hosts())}"
    for part in draw(st.sampled_from(_TAILS)):
        longer = uri + part.format(draw(words(1, 6)))
        uri = longer if longest is None or len(longer) <= longest else uri
    if longest is not None and len(uri) > longest:
        uri = f"{scheme}://a.{'b' * max(2, min(3, longest - len(scheme) - 5))}"
    return uri if len(uri) >= shortest else uri.rstrip("/") + "/" + "a" * (shortest - len(uri.rstrip("/")) - 1)


_TAILS = ((), ("/{}",), ("/{}", "/{}"), (":8080", "/{}"), ("/{}", "?q={}"), ("/{}", "#{}"), ("/%20{}", "?a=1&b={}"))


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
