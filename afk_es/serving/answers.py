"""Answers that a door gives before its application is asked: a status and a small JSON object. They tell nothing of the request."""

from __future__ import annotations

import json

from starlette.types import Send


async def answer(send: Send, status: int, body: dict[str, str], *headers: tuple[bytes, bytes]) -> None:
    """Send all of it."""
    encoded = json.dumps(body).encode()
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(encoded)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": encoded})
