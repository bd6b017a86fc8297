"""An OpenAI-compatible server on 127.0.0.1 that answers what a function tells it to. It knows nothing of any client.

In a test, in a thread of its own:

    with OpenAIServer(lambda body: {"content": "hello"}) as server:
        ...  # server.url, server.requests

As a process of its own, for tests that kill the client; the first line it prints is its URL, and it serves recorded conversations:

    python -m tests.support.openai_server --recording fixtures/tau_airline --port 0
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Turn = dict[str, Any]
"""An assistant turn in chat format. Beside content and tool_calls it may say finish_reason, model, and usage (None: leave it out)."""

Ending = Literal["done", "eof", "cut", "idle"]


@dataclasses.dataclass(frozen=True)
class HttpAnswer:
    """An answer that is no chat completion: an error, or garbage."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class NoAnswer:
    """No answer at all, until the client hangs up."""


@dataclasses.dataclass(frozen=True)
class BrokenStream:
    """A stream that ends badly after so many chunks: "eof" closes it in good form, "cut" drops the connection, "idle" falls silent."""

    turn: Turn
    chunks: int
    ending: Ending


@dataclasses.dataclass(frozen=True)
class SlowStream:
    """A stream that takes its time before each chunk, in seconds."""

    turn: Turn
    pause_s: float


Reply = Turn | HttpAnswer | NoAnswer | BrokenStream | SlowStream
Responder = Callable[[dict[str, Any]], Reply]


@dataclasses.dataclass(frozen=True)
class Received:
    """A request as it came in."""

    body: dict[str, Any]
    headers: Mapping[str, str]


class _SignallingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


class OpenAIServer:
    """The server, as a context manager. `url` is the api_base to give to a client; `requests` are what it was asked, in order.

    `kept` is released once for every client that is kept waiting, `hang_ups` once for each of them that closed its connection.

    Args:
        responder: gives the answer to a request's body.
        port: 0 takes a free one.
        piece: characters of text, or of a call's arguments, in a chunk of a stream.
    """

    def __init__(self, responder: Responder, *, port: int = 0, piece: int = 5) -> None:
        self.requests: list[Received] = []
        self.kept = threading.Semaphore(0)
        self.hang_ups = threading.Semaphore(0)
        self._responder = responder
        self._piece = piece
        # With the protocol named, asyncio sets TCP_NODELAY; without it each answer waits 40 ms for the client's acknowledgement.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        # From here on a client may connect; it is served once the server runs.
        self._socket.listen(128)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        routes = [
            Route("/v1/chat/completions", self._complete, methods=["POST"]),
            Route("/v1/requests", self._list_requests, methods=["GET"]),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), log_level="critical", lifespan="off", ws="none", access_log=False, timeout_graceful_shutdown=1
        )
        self._server = _SignallingServer(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, name="openai-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._server.ready.wait(timeout=30):
            raise RuntimeError("the local OpenAI server did not start within 30 s")
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=30)
        self._socket.close()

    def serve_forever(self) -> None:
        """Serve in this thread until the process is told to stop."""
        self._server.run(sockets=[self._socket])

    async def _list_requests(self, _request: Request) -> Response:
        return JSONResponse([received.body for received in self.requests])

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(Received(body, dict(request.headers)))
        reply = self._responder(body)
        if isinstance(reply, HttpAnswer):
            return _http_response(reply)
        if isinstance(reply, NoAnswer):
            await self._hang_up(request)
            return Response(status_code=499)
        if not body.get("stream"):
            turn = reply.turn if isinstance(reply, (BrokenStream, SlowStream)) else reply
            return JSONResponse(_completion(turn, body))
        return StreamingResponse(self._events(reply, body, request), media_type="text/event-stream")

    async def _events(self, reply: Turn | BrokenStream | SlowStream, body: dict[str, Any], request: Request) -> AsyncIterator[str]:
        turn = reply.turn if isinstance(reply, (BrokenStream, SlowStream)) else reply
        broken = reply if isinstance(reply, BrokenStream) else None
        pause_s = reply.pause_s if isinstance(reply, SlowStream) else 0
        for chunk in _chunks(turn, body, self._piece)[: broken.chunks if broken else None]:
            await asyncio.sleep(pause_s)
            yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
        if broken is None or broken.ending == "done":
            yield "data: [DONE]\n\n"
        elif broken.ending == "cut":
            raise ConnectionResetError("the server drops the connection, as it was told to")
        elif broken.ending == "idle":
            await self._hang_up(request)

    async def _hang_up(self, request: Request) -> None:
        self.kept.release()
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.hang_ups.release()


def _http_response(answer: HttpAnswer) -> Response:
    if isinstance(answer.body, str):
        return Response(answer.body, answer.status, dict(answer.headers), media_type="text/plain")
    return JSONResponse(answer.body, answer.status, dict(answer.headers))


def error(status: int, message: str, *, headers: Mapping[str, str] | None = None) -> HttpAnswer:
    """An error in the shape the chat APIs give it."""
    return HttpAnswer(status, {"error": {"message": message, "type": "error", "code": status}}, headers or {})


_USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


def _finish_reason(turn: Turn) -> str:
    return str(turn.get("finish_reason") or ("tool_calls" if turn.get("tool_calls") else "stop"))


def _completion(turn: Turn, body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": turn.get("content")}
    if turn.get("tool_calls"):
        message["tool_calls"] = turn["tool_calls"]
    completion = {
        "id": "chatcmpl-local",
        "object": "chat.completion",
        "created": 0,
        "model": turn.get("model", body["model"]),
        "choices": [{"index": 0, "message": message, "finish_reason": _finish_reason(turn)}],
    }
    usage = turn.get("usage", _USAGE)
    return completion if usage is None else {**completion, "usage": usage}


def _chunks(turn: Turn, body: dict[str, Any], piece: int) -> list[dict[str, Any]]:
    base = {"id": "chatcmpl-local", "object": "chat.completion.chunk", "created": 0, "model": turn.get("model", body["model"])}

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}

    chunks = [chunk({"role": "assistant", "content": None if turn.get("tool_calls") else ""})]
    chunks += [chunk({"content": part}) for part in _pieces(turn.get("content") or "", piece)]
    for index, call in enumerate(turn.get("tool_calls") or ()):
        function = call["function"]
        head = {"index": index, "id": call["id"], "type": "function", "function": {"name": function["name"], "arguments": ""}}
        chunks.append(chunk({"tool_calls": [head]}))
        chunks += [
            chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]}) for part in _pieces(function["arguments"], piece)
        ]
    chunks.append(chunk({}, _finish_reason(turn)))
    usage = turn.get("usage", _USAGE)
    if usage is not None and (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**base, "choices": [], "usage": usage})
    return chunks


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def main() -> None:
    """Serve recorded conversations until the process is told to stop."""
    from tests.support.tau import Recording, recorded_turns

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--recording", type=Path, required=True, help="a directory in the format of fixtures/tau_airline")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--closing", help="what to answer where the recording has no more turns; without it, HTTP 409")
    arguments = parser.parse_args()
    responder = recorded_turns(Recording.load(arguments.recording), closing=arguments.closing)
    server = OpenAIServer(responder, port=arguments.port)
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
