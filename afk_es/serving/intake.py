"""What every request passes before an application sees it: it is for this server, comes from no page of another site, and is of a bounded size. It
knows no callers.

A page that a browser has open can send requests to this machine, and by a name whose address changes ("DNS rebinding") even read the answers. Such
a request carries the page's name in `Host`, or in `Origin`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from afk_es.serving.answers import answer

EVERY_HOST = "*"

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_LENGTH_DIGITS = 18
"""Of a declared length. Python refuses to read thousands."""


def checked_intake(
    app: ASGIApp, *, hosts: Collection[str], origins: Collection[str] = (), max_body_bytes: int, body_timeout_s: float
) -> ASGIApp:
    """The application, for requests that name one of these hosts and whose body comes whole, in time and in bounds.

    Refused are another `Host` (421), an `Origin` that is neither this server itself nor one of these origins (403), a body that is too long (413) or too slow
    (408), JSON with half a character in it (400), and everything that is not plain HTTP. There are no CORS headers: no page of another site reads an answer.
    """

    async def intake(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        named = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
        if len(named) != 1 or not (EVERY_HOST in hosts or _name(named[0]) in hosts):
            await answer(send, 421, {"error": "this server is not known by that name"})
            return
        from_pages = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"origin"]
        if any(origin not in origins and _site(origin) != named[0] for origin in from_pages):
            await answer(send, 403, {"error": "pages of other sites are not served"})
            return
        try:
            async with asyncio.timeout(body_timeout_s):
                body = await _body(scope, receive, max_body_bytes)
        except TimeoutError:
            await answer(send, 408, {"error": "the request took too long to come"}, (b"connection", b"close"))
            return
        if body is None:
            await answer(send, 413, {"error": f"a request has at most {max_body_bytes} bytes"})
            return
        if _has_half_characters(body[0]["body"]):
            await answer(send, 400, {"error": "the request has half a character in it, a surrogate alone, which is no text"})
            return
        await app(scope, _again(body, receive), send)

    return intake


async def _body(scope: Scope, receive: Receive, max_body_bytes: int) -> list[Message] | None:
    """All that the application would have received up to the end of the body; None where that is too long."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if not declared.isdigit() or len(declared) > _LENGTH_DIGITS or int(declared) > max_body_bytes:
        return None
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            # The client has gone; the application may want to know.
            return [{"type": "http.request", "body": b"".join(chunks), "more_body": True}, message]
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > max_body_bytes:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return [{"type": "http.request", "body": b"".join(chunks), "more_body": False}]


def _has_half_characters(body: bytes) -> bool:
    """Whether it is JSON with a text that cannot be written as UTF-8, and so neither be kept nor answered with."""
    if _SURROGATE.search(body) is None:
        return False
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        # It is no JSON, or none that is read: the application says so in its own way.
        return False
    return False


def _again(messages: list[Message], receive: Receive) -> Receive:
    async def received() -> Message:
        return messages.pop(0) if messages else await receive()

    return received


def _name(host: str) -> str:
    """The host without its port; empty for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _site(origin: str) -> str:
    """The host and port of an origin; empty for "null" and for what is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
