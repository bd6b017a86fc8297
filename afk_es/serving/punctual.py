"""Uvicorn's HTTP/1.1 with a deadline for the head of a request: a client that opens connections and says nothing, or a byte a minute, does not
keep them. It knows nothing of bodies (see `intake`).
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT_S = 10.0
"""From the connection, or from the first byte of a later request, to the end of its headers."""


class PunctualProtocol(H11Protocol):
    """One connection. Between two requests it is Uvicorn's own timeout that counts."""

    head_timeout_s = HEAD_TIMEOUT_S

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Paths and queries are data of the callers'. Uvicorn's own switch for this would silence its logger for everybody in this process.
        self.access_log = False
        self._head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._expect_head()
        else:
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._head_due is None:
            self._head_due = self.loop.call_later(self.head_timeout_s, self.transport.abort)

    def _forget(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
