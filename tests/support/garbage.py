"""Requests to a server over HTTP/1.1, byte for byte, and what must hold of its answer whatever was sent. It knows no protocol above HTTP."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.support.near_misses import NO_JSON, near_misses

PATIENCE_S = 5.0
"""Real seconds after which a server that does not answer hangs."""

_INNER = re.compile(rb"Traceback|site-packages|File \\?\"|afk_es/\w+\.|\.py\b|sqlite", re.IGNORECASE)
"""Words that are no business of a client's."""


@dataclass(frozen=True)
class Request:
    """A request as a client made it, or nearly so."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    def on_the_wire(self) -> bytes:
        """Its bytes."""
        fields = {**self.headers, "content-length": str(len(self.body)), "connection": "close"}
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace") + self.body


@dataclass
class Answer:
    """What a server said. No status where it closed the connection without a word."""

    status: int | None
    body: bytes = b""

    @property
    def messages(self) -> list[Any]:
        """The JSON values in it, as a page or as a stream of events."""
        texts = [line[5:] for line in self.body.splitlines() if line.startswith(b"data:")] or [self.body]
        found = []
        for text in texts:
            try:
                found.append(json.loads(text))
            except ValueError:
                continue
        return found

    @property
    def refused(self) -> bool:
        """Whether it says that nothing was done."""
        if self.status is None or self.status >= 300:
            return True
        return any(isinstance(message, dict) and "error" in message for message in self.messages)

    def problems(self) -> list[str]:
        """What no client should ever see."""
        found = [] if (said := _INNER.search(self.body)) is None else [f"it says {said.group()!r}: {self.body[:300]!r}"]
        return found + ([f"its status is 500: {self.body[:200]!r}"] if self.status == 500 and not self.messages else [])


@dataclass
class Server:
    """One that is sent garbage."""

    url: str
    problems: list[str] = field(default_factory=list)

    async def asked(self, sent: bytes, *, ends: bool = False) -> Answer:
        """Send bytes, and hear the answer to its end; `ends`: nothing more will come, which a server takes for a client that has gone."""
        parts = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            async with asyncio.timeout(PATIENCE_S):
                writer.write(sent)
                if ends:
                    writer.write_eof()
                try:
                    heard = await reader.read()
                except ConnectionError:
                    heard = b""
        except TimeoutError:
            self.problems.append(f"no answer to {sent[:200]!r}...")
            return Answer(None)
        finally:
            writer.close()
        head, _, body = heard.partition(b"\r\n\r\n")
        words = head.split(b" ", 2)
        return Answer(int(words[1]) if len(words) > 1 and words[1].isdigit() else None, body)

    async def judged(self, request: bytes, *, ends: bool = False) -> Answer:
        """As `asked`; what is wrong with the answer is noted."""
        answer = await self.asked(request, ends=ends)
        self.problems += [f"{problem}, to {request[-300:]!r}" for problem in answer.problems()]
        return answer


def garbled(right: list[Request], seed: int, number: int) -> Iterator[Request]:
    """Requests with a mistake or more in their bodies or their headers."""
    chance = random.Random(f"garbage {seed}")
    with_body = [request for request in right if request.body]
    for request in with_body[:1]:
        for body in NO_JSON:
            yield Request(request.method, request.path, request.headers, body)
    for index, request in enumerate(with_body):
        bodies = near_misses([json.loads(request.body)], seed + index, number // len(with_body))
        for body in list(bodies)[len(NO_JSON) :]:
            yield Request(request.method, request.path, request.headers, body)
    for _ in range(number // 4):
        yield _odd_head(chance.choice(right), chance)


def _odd_head(request: Request, chance: random.Random) -> Request:
    headers = dict(request.headers)
    name = chance.choice(sorted(headers))
    match chance.choice(["gone", "odd", "long", "method", "path"]):
        case "gone" if name.lower() != "host":
            del headers[name]
        case "odd" if name.lower() != "host":
            headers[name] = chance.choice(["", "x", "-1", "null", "text/xml", "2099-01-01", "../..", "é", "a" * 300])
        case "long":
            headers["x-long"] = "x" * 20_000
        case "method":
            return Request(chance.choice(["PUT", "PATCH", "OPTIONS", "HEAD", "BREW"]), request.path, headers, request.body)
        case _:
            path = chance.choice(
                ["/", "/../../etc/passwd", "/%00", "//", request.path + "/" + "a" * 3_000, request.path + "?x=%ff", "/mcp/../mcp"]
            )
            return Request(request.method, path, headers, request.body)
    return Request(request.method, request.path, headers, request.body)


def no_http(host: str, path: str) -> list[bytes]:
    """Bytes that are hardly HTTP, or HTTP with a lie in it."""
    begin = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n".encode()
    return [
        b"",
        b"\x00" * 64,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nHost: other\r\n\r\n".encode(),
        begin + b"Content-Length: 10\r\nContent-Length: 20\r\n\r\n{}",
        begin + b"Content-Length: -1\r\n\r\n{}",
        begin + b"Content-Length: 99999999999999999999\r\n\r\n{}",
        begin + b"Content-Length: 1000\r\n\r\n{}",
        begin + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        begin + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        begin + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
        begin + b"".join(b"X-%d: a\r\n" % number for number in range(5_000)) + b"\r\n",
        begin + b"Content-Length: 5000000\r\n\r\n" + b"[" * 5_000_000,
    ]
