"""Who calls, and the port that tells it from a token. It knows neither where the token came from nor what is done for its bearer."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from afk_es.errors import ConfigurationError

LONGEST_NAME: Final = 256
"""Characters of a principal's name."""

LONGEST_TOKEN: Final = 8192
"""Characters of a token that is looked at. Servers of HTTP take no longer headers than that."""


class Principal(msgspec.Struct, frozen=True):
    """Somebody who may call: a person, or another program.

    Args:
        name: what the log records as the `user_id` of the runs that this caller starts, and what decides whose a run is: two tokens of one name
            are one caller. 1 to 256 printable characters.
        scopes: what the caller may do, in words of the door's; default: none.

    Raises:
        ConfigurationError: a name that is empty, too long or not printable.
    """

    name: str
    scopes: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        name: object = self.name  # claims of tokens come here as they are
        if not (isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()):
            raise ConfigurationError(f"the name of a principal has 1 to {LONGEST_NAME} printable characters")


LOCAL: Final = Principal("local user")
"""Whoever reaches a door that asks for no token: over stdin, or from this machine. No token makes anybody this one, since its runs would be theirs."""


class Authenticator(Protocol):
    """Tells who bears a token."""

    async def authenticate(self, token: str) -> Principal | None:
        """The bearer, or None for every token that is not to be let in, whatever is wrong with it. A door says the same to all of those.

        Args:
            token: as the caller sent it; anything at all.
        """
        ...
