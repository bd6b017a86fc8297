"""The card of a remote agent: fetched once, kept for a while, and believed only as far as the hosts that it was asked of reach."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
from a2a.client.card_resolver import A2ACardResolver
from a2a.types import a2a_pb2 as pb

from afk_es.a2a.client.connections import origin_of
from afk_es.a2a.client.reading import card_of
from afk_es.a2a.client.tasks import RemoteCard
from afk_es.clock import Clock
from afk_es.errors import LLMConfigurationError

BINDINGS = ("JSONRPC", "HTTP+JSON")
"""The forms of the protocol that go over plain HTTP."""

_NAMED = 3


@dataclass(frozen=True, slots=True)
class KnownCard:
    """A card that may be used.

    Attributes:
        card: as the SDK wants it, with the interfaces that may be used and no other.
        told: as users are shown it.
    """

    card: pb.AgentCard
    told: RemoteCard


class Cards:
    """The card of one agent.

    Args:
        url: the agent's address.
        path: where the card is below it; None for the well-known place.
        origins: the hosts that an interface may be at.
        ttl_s: for how long a card is good.
    """

    def __init__(self, url: httpx.URL, path: str | None, origins: frozenset[str], ttl_s: float, clock: Clock) -> None:
        self._url = url
        self._path = path
        self._origins = origins
        self._ttl_s = ttl_s
        self._clock = clock
        self._kept: tuple[float, KnownCard] | None = None

    async def card(self, http: httpx.AsyncClient, *, refresh: bool = False) -> KnownCard:
        """The card, fetched where it is not known, or not for certain any more.

        Raises:
            LLMConfigurationError: no interface on it may be used.
            Exception: whatever the SDK raises.
        """
        if self._kept is not None and not refresh and self._clock.monotonic() < self._kept[0]:
            return self._kept[1]
        fetched = await A2ACardResolver(http, str(self._url)).get_agent_card(relative_card_path=self._path)
        known = self._judged(fetched)
        self._kept = (self._clock.monotonic() + self._ttl_s, known)
        return known

    def forget(self) -> None:
        """Fetch it anew before the next request."""
        self._kept = None

    def _judged(self, card: pb.AgentCard) -> KnownCard:
        spoken = [each for each in card.supported_interfaces if each.protocol_binding in BINDINGS]
        if not spoken:
            offered = ", ".join(sorted({each.protocol_binding for each in card.supported_interfaces})) or "none"
            raise LLMConfigurationError(f"{self._url} offers no interface that is spoken here ({' or '.join(BINDINGS)}): {offered:.200}")
        trusted = [each for each in spoken if self._trusts(each.url)]
        if not trusted:
            elsewhere = ", ".join(f"{each.url:.200}" for each in spoken[:_NAMED])
            raise LLMConfigurationError(
                f"the card of {self._url} sends us elsewhere: {elsewhere}. If that is right, pass trusted_hosts= with that host to A2AClient"
            )
        kept = pb.AgentCard()
        kept.CopyFrom(card)
        del kept.supported_interfaces[:]
        kept.supported_interfaces.extend(trusted)
        return KnownCard(kept, card_of(kept, trusted[0]))

    def _trusts(self, url: str) -> bool:
        try:
            return origin_of(httpx.URL(url)) in self._origins
        except (httpx.InvalidURL, ValueError):
            return False
