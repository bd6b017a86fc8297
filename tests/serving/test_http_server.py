"""A server on loopback: where it listens, what it refuses, and how it ends. All of it over real sockets."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from afk_es.errors import ConfigurationError, UsageError
from afk_es.serving import ApiKeys, HttpServer, JWTs, Principal, guarded, punctual
from afk_es.serving.listening import address_of, bound
from tests.serving.test_jwts import RSA, signed
from tests.serving.test_signing_keys import published

ROOT = Path(__file__).resolve().parents[2]
KEY = "alice-0123456789abcdef"


class Shop:
    """An application that notes what happens to it, with requests that last until they are let go."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/", self.hello, methods=["GET", "POST"]),
                Route("/slow", self.slow, methods=["POST"]),
                Route("/news", self.news),
                Route("/news", self.news, methods=["POST"]),
                Route("/keys", self.keys),
                Route("/who", self.who),
                Route("/broken", self.broken),
            ],
            lifespan=self.lifespan,
        )

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.told.append("started")
        yield
        self.told.append("ended")

    async def hello(self, request: Request) -> Response:
        return PlainTextResponse("hello " + (await request.body()).decode())

    async def slow(self, request: Request) -> Response:
        self.asked.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.told.append("cut")
            raise
        self.told.append("answered")
        return PlainTextResponse("done")

    async def news(self, request: Request) -> Response:
        async def lines() -> AsyncIterator[bytes]:
            yield b"data: first\n\n"
            self.asked.set()
            await self.go.wait()
            yield b"data: last\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    async def keys(self, request: Request) -> Response:
        return JSONResponse({"keys": [published(RSA, "one")]})

    async def who(self, request: Request) -> Response:
        assert request.client is not None
        return PlainTextResponse(f"{request.client.host} by {request.url.scheme}")

    async def broken(self, request: Request) -> Response:
        raise RuntimeError("the application is broken")


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def get(url: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.get(url, **options)


async def post(url: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.post(url, **options)


# ---------------------------------------------------------------------------------------------------------------------------- where it listens


async def test_it_listens_at_a_free_port_of_this_machine_and_says_nothing_of_itself(shop: Shop) -> None:
    async with HttpServer(shop.app) as served:
        assert served.url.startswith("http://127.0.0.1:")
        answer = await post(served.url, content=b"you")
        assert answer.text == "hello you"
        assert set(answer.headers) == {"date", "content-type", "content-length"}
        assert not any(name.startswith("access-control") for name in (await get(served.url)).headers)
    assert shop.told == ["started", "ended"]
    with pytest.raises(httpx.ConnectError):
        await get(served.url)


async def test_answers_are_sent_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the second part of an answer waits for the client to acknowledge the first, which takes 40 ms."""
    delays: list[int] = []
    made = punctual.PunctualProtocol.connection_made

    def seen(self: punctual.PunctualProtocol, transport: asyncio.Transport) -> None:
        delays.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        made(self, transport)

    monkeypatch.setattr(punctual.PunctualProtocol, "connection_made", seen)
    async with HttpServer(shop.app) as served:
        await get(served.url)
    assert delays == [1]


async def test_it_listens_at_the_loopback_of_ipv6(shop: Shop) -> None:
    try:
        served = await HttpServer(shop.app, "::1").__aenter__()
    except ConfigurationError as error:
        pytest.skip(f"no IPv6 here: {error}")
    async with served_already(served):
        assert served.url.startswith("http://[::1]:")
        assert (await get(served.url)).text == "hello "
    with bound(address_of("::1"), 0) as listening:
        # Otherwise "::" would listen at all addresses of IPv4 as well.
        assert listening.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


@asynccontextmanager
async def served_already(served: HttpServer) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await served.stop()


async def test_localhost_is_this_machine_whatever_a_name_server_says(shop: Shop) -> None:
    async with HttpServer(shop.app, "localhost") as served:
        assert served.url.startswith("http://127.0.0.1:")


async def test_a_port_that_is_taken_is_an_error_before_anything_starts(shop: Shop) -> None:
    async with HttpServer(Shop().app) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=rf"cannot listen at 127.0.0.1, port {port}: something else listens there"):
            await HttpServer(shop.app, port=port).__aenter__()
    assert shop.told == []
    async with HttpServer(shop.app, port=port) as again:
        assert again.url == first.url


async def test_an_address_of_another_machine_is_an_error(shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match="does not have that address"):
        await HttpServer(shop.app, "192.0.2.1", open_to_anyone=True).__aenter__()
    assert shop.told == []


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "::", "10.1.2.3", "::ffff:192.0.2.1"])
def test_only_an_application_that_knows_its_callers_is_reached_from_elsewhere(host: str, shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match="give it an authenticator"):
        HttpServer(shop.app, host, allow_hosts=["agents.example.com"])
    HttpServer(shop.app, host, allow_hosts=["agents.example.com"], authenticated=True)
    HttpServer(shop.app, host, allow_hosts=["agents.example.com"], open_to_anyone=True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"host": "agents.example.com"}, "listens at an address"),
        ({"host": ""}, "listens at an address"),
        ({"host": "0.0.0.0", "authenticated": True}, "say in allow_hosts"),
        ({"host": "::", "authenticated": True}, "say in allow_hosts"),
        ({"allow_hosts": "agents.example.com"}, "a sequence of names"),
        ({"allow_hosts": ["https://agents.example.com"]}, "without scheme and port"),
        ({"allow_hosts": ["agents.example.com:80"]}, "without scheme and port"),
        ({"allow_hosts": [""]}, "without scheme and port"),
        ({"allow_origins": "https://app.example"}, "a sequence of origins"),
        ({"allow_origins": ["https://app.example/"]}, "as browsers do"),
        ({"allow_origins": ["*"]}, "as browsers do"),
        ({"port": 65536}, "0 to 65535"),
        ({"port": -1}, "0 to 65535"),
        ({"drain_s": -1}, "drain_s"),
        ({"drain_s": float("nan")}, "drain_s"),
        ({"max_body_bytes": 0}, "max_body_bytes"),
        ({"max_connections": 0}, "max_connections"),
        ({"body_timeout_s": 0}, "body_timeout_s"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(options: dict[str, Any], told: str, shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match=told):
        HttpServer(shop.app, **options)


async def test_it_is_entered_once(shop: Shop) -> None:
    served = HttpServer(shop.app)
    with pytest.raises(UsageError, match="when it is entered"):
        _ = served.url
    with pytest.raises(UsageError, match="not entered"):
        await served.until_stopped()
    await served.stop()
    async with served:
        with pytest.raises(UsageError, match="once"):
            await served.__aenter__()
    with pytest.raises(UsageError, match="once"):
        await served.__aenter__()


async def test_an_application_that_cannot_start_says_why_and_leaves_the_port() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    served = HttpServer(Starlette(lifespan=lifespan))
    with pytest.raises(RuntimeError, match="no database"):
        await served.__aenter__()
    with socket.socket() as free:
        free.bind(("127.0.0.1", int(served.url.rpartition(":")[2])))


async def test_to_give_up_while_it_starts_leaves_the_port() -> None:
    began = asyncio.Event()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        began.set()
        await asyncio.Event().wait()
        yield

    served = HttpServer(Starlette(lifespan=lifespan))
    entering = asyncio.create_task(served.__aenter__())
    await began.wait()
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    with socket.socket() as free:
        free.bind(("127.0.0.1", int(served.url.rpartition(":")[2])))


# ------------------------------------------------------------------------------------------------------------------------------- what it refuses


async def test_hosts_origins_and_bodies_are_looked_at_before_the_application(shop: Shop) -> None:
    async with HttpServer(shop.app, max_body_bytes=10) as served:
        assert (await get(served.url, headers={"Host": "evil.example"})).status_code == 421
        assert (await get(served.url, headers={"Origin": "http://evil.example"})).status_code == 403
        assert (await get(served.url, headers={"Origin": served.url})).status_code == 200
        assert (await post(served.url, content=b"x" * 11)).status_code == 413

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(1000):
                yield b"x" * 1000

        assert (await post(served.url, content=chunks())).status_code == 413
        assert (await post(served.url, content=b"x" * 10)).status_code == 200


async def test_where_a_request_comes_from_is_not_what_it_says(shop: Shop) -> None:
    async with HttpServer(shop.app) as served:
        said = {"X-Forwarded-For": "10.1.2.3", "X-Forwarded-Proto": "https", "Forwarded": "for=10.1.2.3;proto=https"}
        assert (await get(f"{served.url}/who", headers=said)).text == "127.0.0.1 by http"


async def test_pages_that_the_user_names_may_call(shop: Shop) -> None:
    async with HttpServer(shop.app, allow_origins=["https://App.example"]) as served:
        assert (await get(served.url, headers={"Origin": "https://app.example"})).status_code == 200
        for origin in ("http://app.example", "https://app.example:8443", "https://app.example.evil.example", "null"):
            assert (await get(served.url, headers={"Origin": origin})).status_code == 403


async def test_no_page_of_another_site_may_ask_what_it_may(shop: Shop) -> None:
    """A preflight gets no CORS headers, so the browser sends nothing after it."""
    asks = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    async with HttpServer(shop.app) as served, httpx.AsyncClient() as client:
        answer = await client.options(served.url, headers=asks)
    assert answer.status_code == 403
    assert not any(name.startswith("access-control") for name in answer.headers)


async def test_a_client_that_says_nothing_or_little_is_hung_up_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(punctual.PunctualProtocol, "head_timeout_s", 0.05)
    async with HttpServer(shop.app, body_timeout_s=0.05) as served:
        port = int(served.url.rpartition(":")[2])
        ask = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
        refused = b"POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000\r\n\r\nhe"
        for said in (b"", ask[:10], ask + b"\r\n" + ask, ask + b"\r\n", refused):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            async with asyncio.timeout(5):
                with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                    await reader.readexactly(100_000)
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe")
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 408")
        writer.close()
        assert (await get(served.url)).text == "hello "


async def test_a_request_may_take_longer_than_its_head(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(punctual.PunctualProtocol, "head_timeout_s", 0.01)
    async with HttpServer(shop.app) as served:
        answering = asyncio.create_task(post(f"{served.url}/slow"))
        await shop.asked.wait()
        await asyncio.sleep(0.05)
        shop.go.set()
        assert (await answering).text == "done"


async def test_there_are_not_more_connections_than_agreed(shop: Shop) -> None:
    async with HttpServer(shop.app, max_connections=2, drain_s=0) as served:
        answering = asyncio.create_task(post(f"{served.url}/slow"))
        await shop.asked.wait()
        assert (await get(served.url)).status_code == 503
        shop.go.set()
        assert (await answering).status_code == 200
        assert (await get(served.url)).status_code == 200


# -------------------------------------------------------------------------------------------------------------------------------- how it ends


async def test_requests_in_flight_end_and_no_new_ones_begin(shop: Shop) -> None:
    async with HttpServer(shop.app) as served, httpx.AsyncClient() as idle:
        await idle.get(served.url)
        answering = asyncio.create_task(post(f"{served.url}/slow"))
        await shop.asked.wait()
        stopping = asyncio.create_task(served.stop())
        await until_refused(served.url)
        assert not stopping.done()
        shop.go.set()
        assert (await answering).text == "done"
        await stopping
    assert shop.told == ["started", "answered", "ended"]


async def until_refused(url: str) -> None:
    """Until the server takes no more connections."""
    async with asyncio.timeout(5):
        while True:
            try:
                _reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            except (ConnectionRefusedError, ConnectionResetError):
                return
            writer.close()


async def test_what_does_not_end_in_time_is_cut(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    async with HttpServer(shop.app, drain_s=0.05) as served:
        answering = asyncio.create_task(post(f"{served.url}/slow"))
        await shop.asked.wait()
    assert shop.told == ["started", "cut", "ended"]
    answer = await answering
    assert (answer.status_code, answer.json()) == (503, {"error": "the server stops"})
    assert "Traceback" not in caplog.text


async def test_an_answer_that_is_cut_does_not_look_whole(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    async with httpx.AsyncClient() as client:
        async with HttpServer(shop.app, drain_s=0.05) as served:
            answering = client.stream("POST", f"{served.url}/news")
            answer = await answering.__aenter__()
            await shop.asked.wait()
            assert not served.stopping.is_set()
        assert served.stopping.is_set()
        with pytest.raises(httpx.RemoteProtocolError):
            await answer.aread()
        await answering.__aexit__(None, None, None)
    assert "Traceback" not in caplog.text


async def test_being_cancelled_while_it_stops_cuts_at_once(shop: Shop) -> None:
    async with HttpServer(shop.app, drain_s=1000) as served:
        answering = asyncio.create_task(post(f"{served.url}/slow"))
        await shop.asked.wait()
        stopping = asyncio.create_task(served.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert shop.told == ["started", "cut", "ended"]
        await answering


MUCH = 50_000_000
"""More than all buffers hold."""


async def test_a_client_that_does_not_read_does_not_hold_it_up(shop: Shop) -> None:
    async def much(request: Request) -> Response:
        shop.asked.set()
        return PlainTextResponse("x" * MUCH)

    async with HttpServer(Starlette(routes=[Route("/", much)]), drain_s=0.05) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]), limit=1)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await shop.asked.wait()
    async with asyncio.timeout(20):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(MUCH)
    writer.close()


async def test_streams_of_news_end_when_it_stops_and_answers_are_finished_first(shop: Shop) -> None:
    """A GET does no work: its stream would hold the server up for nothing. The stream of a POST is somebody's answer."""
    before = asyncio.all_tasks()
    async with HttpServer(shop.app, drain_s=1000) as served, httpx.AsyncClient() as client:
        async with client.stream("GET", f"{served.url}/news") as news, client.stream("POST", f"{served.url}/news") as answer:
            await shop.asked.wait()
            stopping = asyncio.create_task(served.stop())
            assert [line async for line in news.aiter_lines() if line] == ["data: first"]
            shop.go.set()
            assert [line async for line in answer.aiter_lines() if line] == ["data: first", "data: last"]
        await stopping
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_until_stopped_is_ended_by_stop(shop: Shop) -> None:
    async with HttpServer(shop.app) as served:
        before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
        waiting = asyncio.create_task(served.until_stopped())
        assert (await get(served.url)).text == "hello "
        await served.stop()
        await waiting
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


async def test_in_another_thread_signals_are_left_to_the_main_one(shop: Shop) -> None:
    async def serve() -> None:
        async with HttpServer(Shop().app) as served:
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(served.stop()))
            await served.until_stopped()

    await asyncio.to_thread(asyncio.run, serve())


async def test_signals_end_it_in_order_and_a_second_one_cuts(shop: Shop) -> None:
    async with HttpServer(shop.app, drain_s=1000) as served:
        waiting = asyncio.create_task(served.until_stopped())
        answering = asyncio.create_task(post(f"{served.url}/slow"))
        await shop.asked.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await until_refused(served.url)
        assert not waiting.done()
        os.kill(os.getpid(), signal.SIGINT)
        await waiting
        assert shop.told == ["started", "cut", "ended"]
        await answering


SCRIPT = """
import asyncio
from starlette.applications import Starlette
from afk_es.serving import HttpServer

async def main():
    async with HttpServer(Starlette()) as served:
        await served.until_stopped(lambda: print(served.url, flush=True))
    print("in order", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_told_to_ends_in_order(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(number)
        told, wrong = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, told, wrong) == (0, "in order\n", "")


# ------------------------------------------------------------------------------------------------------------------------- what it tells of tokens


@pytest.mark.parametrize(
    ("level", "paths"), [(logging.DEBUG, ("/", "/absent", "/broken", "/?token={}", "/{}")), (logging.NOTSET, ("/", "/absent", "/broken"))]
)
async def test_no_token_is_in_any_log_whatever_happens(
    level: int,
    paths: tuple[str, ...],
    shop: Shop,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of any logger, Uvicorn's and its access log included. Below DEBUG it tells the paths that were asked for, and still no header."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        # A server of another test, configured by Uvicorn's own settings, keeps them from everybody else.
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
        caplog.set_level(level, name)
    caplog.set_level(level)
    wrong = "wrong-0123456789abcdef"
    keys = ApiKeys({KEY: "alice"})
    async with HttpServer(guarded(shop.app, keys), authenticated=True) as served, httpx.AsyncClient() as client:
        caplog.clear()
        for token in (KEY, wrong):
            for headers in ({"Authorization": f"Bearer {token}"}, {"X-API-Key": token}):
                for path in paths:
                    await client.get(f"{served.url}{path.format(token)}", headers=headers)
        raw = f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nno header\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
        writer.write(raw.encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
        told = "\n".join(logging.Formatter().format(each) for each in caplog.records if not each.name.startswith(("httpx", "httpcore")))
    assert "the application is broken" in told
    out = capfd.readouterr()
    for token in (KEY, wrong):
        assert token not in told + out.out + out.err


async def test_the_logger_of_ones_own_servers_is_left_as_it_was(shop: Shop) -> None:
    access = logging.getLogger("uvicorn.access")
    before = (access.handlers[:], access.propagate, access.level, access.disabled)
    async with HttpServer(shop.app) as served:
        await get(served.url)
    assert (access.handlers, access.propagate, access.level, access.disabled) == before


async def test_keys_of_an_issuer_are_fetched_over_http(shop: Shop) -> None:
    async with HttpServer(shop.app) as served:
        tokens = JWTs(jwks=f"{served.url}/keys", algorithms=("RS256",), audience="orders")
        assert await tokens.authenticate(signed(kid="one")) == Principal("alice", frozenset({"read", "refund"}))
        assert await tokens.authenticate(signed(kid="two")) is None
        lost = JWTs(jwks=f"{served.url}/absent", algorithms=("RS256",), audience="orders")
        assert await lost.authenticate(signed(kid="one")) is None
