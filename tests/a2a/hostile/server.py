"""An honest A2A agent of a few lines, of whose answers any can be replaced by a lie."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.support.wire import Answer, Journal, Message, Wire, answer, head, nothing, on_http

CARD = "/.well-known/agent-card.json"

Lie = Callable[["Server", Answer, Message], Awaitable[None]]
"""What a server does about a request instead of what is right; about a fetched card the request is empty."""


def card(url: str, **more: Any) -> dict[str, Any]:
    """The card of an agent at an address."""
    return {
        "name": "hostile",
        "description": "Does as it is told.",
        "version": "1",
        "supportedInterfaces": [{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
        "capabilities": {"streaming": False, "pushNotifications": False},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "do", "name": "do", "description": "Does it.", "tags": []}],
        **more,
    }


def message(text: str, **more: Any) -> dict[str, Any]:
    """What the agent says."""
    return {"messageId": "m-1", "role": "ROLE_AGENT", "parts": [{"text": text}], **more}


def task(state: str = "COMPLETED", text: str = "", task_id: str = "task-1", **more: Any) -> dict[str, Any]:
    """A task, and its artifact where it has a text."""
    artifacts = [{"artifactId": "a-1", "parts": [{"text": text}]}] if text else []
    return {"id": task_id, "contextId": "context-1", "status": {"state": f"TASK_STATE_{state}"}, "artifacts": artifacts, **more}


class Server:
    """One agent.

    Args:
        lies: by method; `card` for the card, `*` before everything but the card.
        card: what its card has otherwise than `card` has it.
    """

    def __init__(self, lies: Mapping[str, Lie], journal: Journal, more: Mapping[str, Any] | None = None) -> None:
        self._lies = lies
        self._journal = journal
        self._more = dict(more or {})
        self.url = ""
        self.times: dict[str, int] = {}

    async def heard(self, wire: Wire, request: Message) -> None:
        """Answer a request of the client."""
        assert isinstance(wire, Answer)
        method = request["method"]
        self.times[method] = self.times.get(method, 0) + 1
        self._journal.note({"method": method, "params": request.get("params"), "headers": getattr(request, "headers", {})})
        lie = self._lies.get("*") or self._lies.get(method)
        if lie is not None:
            await lie(self, wire, request)
        elif method in ("SendMessage", "GetTask", "CancelTask"):
            done = task("CANCELED" if method == "CancelTask" else "COMPLETED", "done")
            await reply(wire, request, {"task": done} if method == "SendMessage" else done)
        else:
            error = {"code": -32601, "message": f"no method {method}"}
            await page(wire, json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}).encode())

    async def fetched(self, wire: Answer, method: str, path: str) -> None:
        """The card, or something that is not there."""
        self._journal.note({"fetched": [method, path]})
        if (lie := self._lies.get("card")) is not None:
            await lie(self, wire, {"path": path})
        elif path == CARD:
            await page(wire, json.dumps(card(self.url, **self._more)).encode())
        else:
            await wire.raw(nothing(404))

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serve the address that is yielded."""
        async with on_http(self.heard, self.fetched) as url:
            self.url = url
            yield url


async def page(wire: Answer, body: bytes, kind: str = "application/json") -> None:
    """A whole answer."""
    await wire.raw(head(200, {"content-type": kind, "content-length": str(len(body))}) + body)


async def reply(wire: Answer, request: Message, result: Any) -> None:
    """The result of a request, as JSON."""
    await page(wire, json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode())


async def streamed(wire: Answer, request: Message, *results: Any) -> None:
    """Results of a streamed request, one after the other."""
    for each in results:
        await answer(wire, request, each)
        await asyncio.sleep(0)
