"""Uvicorn's HTTP/1.1 with a deadline for what a client owes: the head of a request, and the rest of one that was answered already. A client that opens
connections and says nothing, or a byte a minute, does not keep them. It knows nothing of bodies that are still wanted (see `intake`).
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT_S = 10.0
"""From the connection, or the end of the request before, to the end of the headers. Between two requests Uvicorn's own timeout is shorter."""


class PunctualProtocol(H11Protocol):
    """One connection."""

    head_timeout_s = HEAD_TIMEOUT_S

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Paths and queries are data of the callers'. Uvicorn's own switch for this would silence its logger for everybody in this process.
        self.access_log = False
        self._due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Whether it is the client's turn."""
        owes_head = self.conn.their_state is h11.IDLE
        # It is read on, so that a client which does not look before it has sent all gets its answer.
        owes_rest = self.conn.their_state is h11.SEND_BODY and self.cycle.response_complete
        if not (owes_head or owes_rest):
            self._forget()
        elif self._due is None:
            self._due = self.loop.call_later(self.head_timeout_s, self.transport.abort)

    def _forget(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
