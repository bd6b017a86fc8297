"""An honest MCP server of a few lines, of whose answers any can be replaced by a lie."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.support.wire import Answer, Journal, Message, Wire, answer, nothing, refuse, send

OBJECT: dict[str, Any] = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
ECHO: dict[str, Any] = {"name": "echo", "description": "Says it again.", "inputSchema": OBJECT}


def said(text: str, **more: Any) -> dict[str, Any]:
    """A tool's result."""
    return {"content": [{"type": "text", "text": text}], **more}


class Server:
    """What one server knows of what happened to it.

    Args:
        lies: what it does about a method instead of what is right; `*` comes before everything.
    """

    def __init__(self, lies: Mapping[str, Lie], journal: Journal) -> None:
        self._lies = lies
        self._journal = journal
        self._asked: dict[Any, asyncio.Future[Message]] = {}
        self.times: dict[str, int] = {}

    async def heard(self, wire: Wire, message: Message) -> None:
        """Answer a message of the client."""
        method = message.get("method")
        if method is None:
            self._journal.note({"answered": message})
            if (waiting := self._asked.pop(message.get("id"), None)) is not None:
                waiting.set_result(message)
            return
        self.times[method] = self.times.get(method, 0) + 1
        self._journal.note({"method": method, "params": message.get("params"), "headers": getattr(message, "headers", {})})
        lie = self._lies.get("*") or self._lies.get(method)
        if lie is not None:
            await lie(self, wire, message)
        elif "id" in message:
            await self.honest(wire, message)

    async def honest(self, wire: Wire, request: Message) -> None:
        """What is right."""
        match request["method"]:
            case "initialize":
                await answer(wire, request, {"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}}, **IDENTITY})
            case "tools/list":
                await answer(wire, request, {"tools": [ECHO]})
            case "tools/call":
                await answer(wire, request, said(str(request["params"]["arguments"].get("text"))))
            case "ping":
                await answer(wire, request, {})
            case other:
                await refuse(wire, request, -32601, f"no method {other}")

    async def ask(self, wire: Wire, method: str, params: Any) -> Message:
        """Ask the client something, and wait for what it answers."""
        request = f"ask-{len(self._asked) + 1}"
        waiting = self._asked[request] = asyncio.get_running_loop().create_future()
        await send(wire, {"jsonrpc": "2.0", "id": request, "method": method, "params": params})
        got: Message = await waiting
        return got

    async def fetched(self, wire: Answer, method: str, path: str) -> None:
        """Something else than a message came."""
        self._journal.note({"fetched": [method, path]})
        await wire.raw(nothing(405))


IDENTITY = {"serverInfo": {"name": "hostile", "version": "1"}}

Lie = Callable[[Server, Wire, Message], Awaitable[None]]
