"""A remote agent at the level of its bytes: what no server of the SDK would say can be said here, and each request is kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx
from google.protobuf.json_format import MessageToDict

from afk_es.a2a import A2AClient
from tests.a2a.client.servers import URL, card

WELL_KNOWN = "/.well-known/agent-card.json"


class Body(httpx.AsyncByteStream):
    """A body that comes piece by piece; an exception among the pieces is raised where it stands.

    Attributes:
        closed: whether the client let go of it.
    """

    def __init__(self, pieces: Sequence[bytes | Exception] | AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if isinstance(self._pieces, Sequence):
            for piece in self._pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        else:
            async for piece in self._pieces:
                yield piece

    async def aclose(self) -> None:
        """The client lets go."""
        self.closed = True


def event(**result: Any) -> bytes:
    """An event of a stream that carries a result."""
    return f"data: {json.dumps({'jsonrpc': '2.0', 'id': '1', 'result': result})}\n\n".encode()


def events(*pieces: bytes | Exception) -> httpx.Response:
    """A stream of these."""
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Body(pieces))


def task(state: str = "COMPLETED", text: str | None = None, *, id: str = "t1", message: str | None = None, **fields: Any) -> dict[str, Any]:
    """A task as JSON, with one artifact of this text, and this said about its state."""
    status: dict[str, Any] = {"state": f"TASK_STATE_{state}"}
    if message is not None:
        status["message"] = {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": message}]}
    artifacts = [] if text is None else [{"artifactId": "a", "parts": [{"text": text}]}]
    return {"id": id, "contextId": "c1", "status": status, "artifacts": artifacts, **fields}


def status(state: str, *, id: str = "t1") -> bytes:
    """An event that tells of a change of state."""
    return event(statusUpdate={"taskId": id, "contextId": "c1", "status": {"state": f"TASK_STATE_{state}"}})


def piece(text: str, *, id: str = "t1", artifact: str = "a", append: bool = True) -> bytes:
    """An event that brings more of an artifact."""
    return event(
        artifactUpdate={
            "taskId": id,
            "contextId": "c1",
            "append": append,
            "artifact": {"artifactId": artifact, "parts": [{"text": text}]},
        }
    )


def refusal(code: int, message: str) -> httpx.Response:
    """A JSON-RPC error."""
    return httpx.Response(200, json={"jsonrpc": "2.0", "id": "1", "error": {"code": code, "message": message}})


NOT_FOUND, NOT_CANCELABLE, UNSUPPORTED, INVALID, INTERNAL, NO_METHOD = -32001, -32002, -32004, -32602, -32603, -32601

Answer = httpx.Response | dict[str, Any] | Exception
Say = Answer | Sequence[Answer] | Callable[[dict[str, Any]], Answer]


class Wire:
    """The agent, as a transport.

    Args:
        streaming: what its card says.
        said: per method of JSON-RPC ("SendMessage", "GetTask", ...) a result, a response, an exception, several in order of which the last
            stays, or a function of the parameters. A method that is not here is none.

    Attributes:
        asked: method and parameters of each request, in order.
        transport: to go through instead of sockets.
        requests: the requests themselves, of cards too.
        cards: how often the card was fetched.
    """

    def __init__(self, *, streaming: bool = False, shown: Any = None, **said: Say) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.requests: list[httpx.Request] = []
        self.cards = 0
        self.shown: Any = MessageToDict(card(streaming=streaming)) if shown is None else shown
        self.transport = httpx.MockTransport(self._answer)
        self._said = said

    def says(self, **said: Say) -> None:
        """From now on it says this."""
        self._said.update(said)

    @property
    def methods(self) -> list[str]:
        """What was asked, in order."""
        return [method for method, _params in self.asked]

    def client(self, **options: Any) -> A2AClient:
        """A client of it."""
        return A2AClient(URL, transport=self.transport, **options)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path == WELL_KNOWN:
            self.cards += 1
            return self.shown if isinstance(self.shown, httpx.Response) else httpx.Response(200, json=self.shown)
        asked = json.loads(request.content)
        self.asked.append((asked["method"], asked.get("params", {})))
        said = self._said.get(asked["method"], refusal(NO_METHOD, "no such method"))
        if isinstance(said, Sequence):
            said = self._next(asked["method"], said)
        if callable(said):
            said = said(asked.get("params", {}))
        if isinstance(said, Exception):
            raise said
        if isinstance(said, httpx.Response):
            return said
        return httpx.Response(200, json={"jsonrpc": "2.0", "id": asked["id"], "result": said})

    def _next(self, method: str, answers: Sequence[Answer]) -> Answer:
        first, *rest = answers
        if rest:
            self._said[method] = rest
        return first
