"""Where a server is being served, and who there is told when the list of what it serves has changed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ToolsListChanged

_NOTIFIED: Final = 1_000
"""Connections of the older protocol that are told of a change; beyond it the oldest is not. Nothing tells when one has ended."""


class Place:
    """A connection, or an HTTP application: what lasts as long as the SDK's lifespan."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sessions: OrderedDict[str | None, ServerSession] = OrderedDict()
        self._telling: set[asyncio.Task[None]] = set()

    def connected(self, session: ServerSession, session_id: str | None) -> None:
        """A client of the older protocol is there, and wants to be told: once, however often it says so.

        Args:
            session_id: names its connection among those of an HTTP application; None where there is one only.
        """
        self._sessions[session_id] = session
        if len(self._sessions) > _NOTIFIED:
            self._sessions.popitem(last=False)

    def tell(self, bus: InMemorySubscriptionBus | None) -> None:
        """Tell whoever is here that the list has changed, from any thread.

        Args:
            bus: has the clients of the newer protocol, wherever they are.
        """
        self._loop.call_soon_threadsafe(self._begin, bus)

    def _begin(self, bus: InMemorySubscriptionBus | None) -> None:
        task = asyncio.create_task(self._told(bus))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _told(self, bus: InMemorySubscriptionBus | None) -> None:
        if bus is not None:
            await bus.publish(ToolsListChanged())
        for session in tuple(self._sessions.values()):
            await session.send_tool_list_changed()


class Places:
    """All places of a server.

    Attributes:
        bus: the SDK's, by which clients of the newer protocol listen.
    """

    def __init__(self) -> None:
        self.bus: InMemorySubscriptionBus = InMemorySubscriptionBus()
        self._places: dict[Place, None] = {}

    def open(self) -> tuple[Place, bool]:
        """A new place, and whether it is the only one."""
        place = Place()
        self._places[place] = None
        return place, len(self._places) == 1

    def close(self, place: Place) -> None:
        """It is no more."""
        self._places.pop(place, None)

    def tell_of_change(self) -> None:
        """Tell all clients that the list of tools has changed."""
        for number, place in enumerate(tuple(self._places)):
            place.tell(self.bus if number == 0 else None)
