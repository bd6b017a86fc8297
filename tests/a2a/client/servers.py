"""Remote agents for tests: servers of the official SDK with executors of the test's own, in memory or over HTTP on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import uvicorn
from a2a.helpers import new_task_from_user_message, new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import a2a_pb2 as pb
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from afk_es.a2a import A2AClient

URL = "http://agent.test"
"""The address of servers in memory."""

Act = Callable[[RequestContext, TaskUpdater], Awaitable[None]]


def said(updater: TaskUpdater, text: str) -> pb.Message:
    """What the agent says of how its task stands."""
    return updater.new_agent_message([pb.Part(text=text)])


async def echo(context: RequestContext, updater: TaskUpdater) -> None:
    """Answers with what was said, in one artifact."""
    await updater.start_work()
    await updater.add_artifact([pb.Part(text=f"you said: {context.get_user_input()}")], name="answer")
    await updater.complete()


class Remote(AgentExecutor):
    """An agent that does what a test tells it to, and keeps account of it.

    Attributes:
        messages: ids of the messages that it worked on, in order; each is an effect on the world.
        heard: their texts.
        contexts: their contexts.
        tasks: their tasks.
        cancelled: ids of tasks that it was told to cancel.
    """

    def __init__(self, act: Act = echo) -> None:
        self.act = act
        self.messages: list[str] = []
        self.heard: list[str] = []
        self.contexts: list[str] = []
        self.tasks: list[str] = []
        self.cancelled: list[str] = []

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Keep account, and do as told."""
        assert context.message is not None
        self.messages.append(context.message.message_id)
        self.heard.append(context.get_user_input())
        self.contexts.append(context.context_id or "")
        self.tasks.append(context.task_id or "")
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        if context.current_task is None:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
        await self.act(context, updater)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Note it, and say that it is cancelled."""
        self.cancelled.append(context.task_id or "")
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


class Plain(AgentExecutor):
    """An agent that answers at once, without a task."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """One message."""
        await event_queue.enqueue_event(new_text_message(f"at once: {context.get_user_input()}", context_id=context.context_id))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """There is nothing to cancel."""


def card(url: str = URL, *, streaming: bool = True, binding: str = "JSONRPC", name: str = "Remote one") -> pb.AgentCard:
    """The card of an agent that is at one address."""
    return pb.AgentCard(
        name=name,
        description="Does what a test says.",
        version="1.0",
        supported_interfaces=[pb.AgentInterface(url=url, protocol_binding=binding, protocol_version="1.0")],
        capabilities=pb.AgentCapabilities(streaming=streaming),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[pb.AgentSkill(id="all", name="Everything", description="It can do it all.", tags=["test"])],
    )


def app_of(executor: AgentExecutor, shown: pb.AgentCard) -> Starlette:
    """The SDK's server."""
    handler = DefaultRequestHandler(agent_executor=executor, task_store=InMemoryTaskStore(), agent_card=shown)
    old = create_jsonrpc_routes(handler, "/old", enable_v0_3_compat=True)
    routes = [
        *create_agent_card_routes(shown),
        *create_jsonrpc_routes(handler, "/"),
        *old,
        *create_rest_routes(handler, path_prefix="/rest"),
    ]
    return Starlette(routes=routes)


def in_memory(executor: AgentExecutor, *, streaming: bool = False, **options: Any) -> A2AClient:
    """A client of an agent in this process. httpx hands over a response when it is whole, so streams come at their end."""
    transport = httpx.ASGITransport(app_of(executor, card(streaming=streaming)))
    return A2AClient(URL, transport=transport, **options)


class _Signalling(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextlib.contextmanager
def bound() -> Iterator[tuple[socket.socket, str]]:
    """A socket on loopback, and its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        yield listening, f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def over_http(executor: AgentExecutor, *, streaming: bool = True, binding: str = "JSONRPC") -> Iterator[str]:
    """The SDK's server over HTTP, in a thread with an event loop of its own; its address."""
    path = "/rest" if binding == "HTTP+JSON" else "/"
    with served(lambda url: app_of(executor, card(f"{url}{path}", streaming=streaming, binding=binding))) as url:
        yield url


class Many:
    """One agent per name, each at the first part of the path and begun when it is first asked: as many worlds as there are trials.

    Attributes:
        agents: by name.
    """

    def __init__(self, act: Act = echo, *, streaming: bool = True) -> None:
        self.agents: dict[str, Remote] = {}
        self.url = ""
        self._act = act
        self._streaming = streaming
        self._apps: dict[str, Starlette] = {}

    def at(self, url: str) -> Many:
        """The application that is served there."""
        self.url = url
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        _, name, *rest = scope["path"].split("/")
        if name not in self._apps:
            self.agents[name] = Remote(self._act)
            self._apps[name] = app_of(self.agents[name], card(f"{self.url}/{name}/", streaming=self._streaming))
        await self._apps[name]({**scope, "path": f"/{'/'.join(rest)}"}, receive, send)


@contextlib.contextmanager
def served(app_at: Callable[[str], ASGIApp]) -> Iterator[str]:
    """An application over HTTP, in a thread with an event loop of its own; its address."""
    with bound() as (listening, url):
        app = app_at(url)
        config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none", access_log=False, timeout_graceful_shutdown=1)
        server = _Signalling(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="a2a-server", daemon=True)
        thread.start()
        try:
            assert server.ready.wait(timeout=30)
            yield url
        finally:
            server.should_exit = True
            thread.join(timeout=30)


async def collected(updates: AsyncIterator[Any]) -> list[Any]:
    """All of them."""
    return [update async for update in updates]
