"""Streams that tell news (the answers to GET) end when their server stops. They do no work, would hold it up, and their clients ask again elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def ended_with(app: ASGIApp, stopping: asyncio.Event) -> ASGIApp:
    """The application, to which the client of a GET seems to be gone when the event is set. What it then leaves open is ended for it."""

    async def ended(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await app(scope, receive, send)
            return
        unfinished = False

        async def received() -> Message:
            message = asyncio.ensure_future(receive())
            try:
                await either(message, stopping)
                return message.result() if message.done() else {"type": "http.disconnect"}
            finally:
                message.cancel()

        async def sent(message: Message) -> None:
            nonlocal unfinished
            unfinished = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        await app(scope, received, sent)
        if unfinished and stopping.is_set():
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return ended


async def either(task: asyncio.Future[Any], event: asyncio.Event) -> None:
    """Wait for one of them. The task is left to itself."""
    happened = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, happened}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        happened.cancel()
