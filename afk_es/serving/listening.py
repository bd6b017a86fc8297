"""Where a server listens: an address of numbers, the socket bound to it, and the names it goes by. It asks no name server."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from collections.abc import Sequence
from typing import Final

from afk_es.errors import ConfigurationError
from afk_es.serving.intake import EVERY_HOST

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})

_ORIGIN: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/@\s]+")

_BACKLOG: Final = 2048

_REASONS: Final = {
    errno.EADDRINUSE: "something else listens there; choose another port, or 0 for any that is free",
    errno.EACCES: "this user may not; choose a port above 1023",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
}


def address_of(host: str) -> Address:
    """The address, of numbers or of "localhost", which is 127.0.0.1 here whatever a name server says.

    Raises:
        ConfigurationError: anything else.
    """
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise ConfigurationError(
            f"a server listens at an address such as '127.0.0.1' or '::1', or at 'localhost', not at {host!r}"
        ) from None


def hosts_of(address: Address, allow_hosts: Sequence[str]) -> frozenset[str]:
    """The names under which clients may call a server at that address.

    Raises:
        ConfigurationError: an address that stands for all, without names; or a name with a port or a scheme.
    """
    if isinstance(allow_hosts, str):
        raise ConfigurationError(f"allow_hosts is a sequence of names, such as ({allow_hosts!r},)")
    if wrong := [name for name in allow_hosts if not name or set(name) & set("/@[]") or (":" in name and name.count(":") == 1)]:
        raise ConfigurationError(f"allow_hosts names hosts without scheme and port, such as 'agents.example.com', not {wrong[0]!r}")
    if address.is_unspecified and not allow_hosts:
        raise ConfigurationError(
            f"{address} stands for every address of this machine: say in allow_hosts by which names clients call it, or ('{EVERY_HOST}',) for any"
        )
    own = LOOPBACK_NAMES | {str(address)} if address.is_loopback else frozenset({str(address)})
    return own | {name.lower() for name in allow_hosts}


def origins_of(allow_origins: Sequence[str]) -> frozenset[str]:
    """The origins of other sites whose pages may call.

    Raises:
        ConfigurationError: something else than a scheme, a host and perhaps a port.
    """
    if isinstance(allow_origins, str):
        raise ConfigurationError(f"allow_origins is a sequence of origins, such as ({allow_origins!r},)")
    if wrong := [origin for origin in allow_origins if not _ORIGIN.fullmatch(origin)]:
        raise ConfigurationError(f"allow_origins names sites as browsers do, such as 'https://app.example', not {wrong[0]!r}")
    return frozenset(origin.lower() for origin in allow_origins)


def bound(address: Address, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        ConfigurationError: the port is taken, or cannot be had.
    """
    # Of a socket that names its protocol asyncio switches off the waiting for more to send, which costs 40 ms an answer.
    listening = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # A port that a server of this machine has just left is free; elsewhere this would take it from one that runs.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.version == 6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((str(address), port))
        # Uvicorn listens once more, which changes nothing; a port that is taken shows here.
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise ConfigurationError(f"cannot listen at {address}, port {port}: {reason}") from None
    return listening
