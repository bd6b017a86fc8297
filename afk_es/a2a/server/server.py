"""`A2AServer`: agents that other programs can ask over the A2A protocol. It puts the parts together, and starts and ends them in order."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from a2a.types.a2a_pb2 import AgentCard
from starlette.applications import Starlette
from starlette.types import ASGIApp

from afk_es.a2a.server.application import MayUse, application, prefix_of
from afk_es.a2a.server.cards import ServedAgent, card_of, offers_of
from afk_es.a2a.server.desk import Desk
from afk_es.a2a.server.notification_book import NotificationBook
from afk_es.a2a.server.notifier import Notifier
from afk_es.a2a.server.recovery import keep_going, lay_down
from afk_es.a2a.server.requests import Requests
from afk_es.agents import Agent, PolicyEngine
from afk_es.core import Runner, RunnerConfig
from afk_es.errors import ConfigurationError, UsageError
from afk_es.log import EventLog
from afk_es.log.location import file_beside
from afk_es.serving import Authenticator, HttpServer, Limited, RateLimiter
from afk_es.serving.http_server import BODY_TIMEOUT_S, MAX_BODY_BYTES
from afk_es.serving.intake import checked_intake
from afk_es.serving.listening import address_of, hosts_of, origins_of

_LOGGER = logging.getLogger("afk_es.a2a")

ANSWERS_AWAITED_S = 86_400.0
"""How long a task of a server's own Runner waits for a client's answer: a day. After that the answer is no."""

_NOWHERE_YET = "http://127.0.0.1"
"""What stands in a card until the server listens, which nobody can have asked by then."""


class A2AServer:
    """Serves agents over A2A 1.0, as JSON-RPC and as REST.

    Args:
        agents: an agent, or several, each an `Agent` or a `ServedAgent`. A single one answers at the root, several each under /NAME.
        log: where their runs are kept, as for `Runner`; default: the user's log. Not together with `runner`.
        runner: runs them, with its own log and settings. Default: one in "external" mode, in which a task that needs an approval or an input waits for
            its client, for a day at most. In another mode the client is not asked: the Runner's provider is, or its fallbacks answer.
        policy_engine: asked before each call of the agents, beside the policies of their own; default None. Not together with `runner`.
        authenticator: who tells callers by their tokens, such as `ApiKeys` or `JWTs`. Default None: everybody is the same local user.
        rate_limit: how often each caller may call; default None, as often as it likes.
        may_use: whether a caller may use an agent, by name; for those who may not there is no such agent, save its public card. Default: everybody may.
        url: where clients reach the server from outside, without a slash at the end; it stands in the cards. Default: where `serve` listens.
        push: whether clients may ask to be called back; default True.
        push_to_private: whether also at addresses of this machine or of private networks; default False.
        push_file: where callbacks are kept; default: beside a log that is a file, in this user's state directory for one on PostgreSQL, and
            in memory otherwise.
        allow_agent_change: go on with tasks that another version of an agent began; default False.

    Enter it (`async with`) around the use of `http_app()` in a server of your own that has no lifespan; `serve` and a lifespan do it themselves. As it starts,
    it goes on with the tasks that a server before it left; as it ends, it lays down those that are under way, for the next.

    Raises:
        ConfigurationError: arguments that do not go together.
    """

    def __init__(
        self,
        agents: Agent | ServedAgent | Sequence[Agent | ServedAgent],
        *,
        log: str | os.PathLike[str] | EventLog | None = None,
        runner: Runner | None = None,
        policy_engine: PolicyEngine | None = None,
        authenticator: Authenticator | None = None,
        rate_limit: Limited | None = None,
        may_use: MayUse | None = None,
        url: str | None = None,
        push: bool = True,
        push_to_private: bool = False,
        push_file: str | os.PathLike[str] | None = None,
        allow_agent_change: bool = False,
    ) -> None:
        if runner is not None and (log is not None or policy_engine is not None):
            raise ConfigurationError(
                "runner= has a log and policies of its own: leave log= and policy_engine= out, or make the Runner with them"
            )
        self._offers = offers_of(agents)
        self.runner: Runner = runner or Runner(log=log, policy_engine=policy_engine, config=_waiting_for_clients())
        self._authenticator, self._may_use = authenticator, may_use
        self._limiter = RateLimiter(rate_limit) if rate_limit is not None else None
        self._url = url.rstrip("/") if url is not None else None
        self._desks = {name: Desk(self.runner, offer, allow_agent_change=allow_agent_change) for name, offer in self._offers.items()}
        book = NotificationBook(Path(push_file) if push_file is not None else file_beside(self.runner.log, "-push.db"))
        self._notifier = Notifier(book, allow_private=push_to_private) if push else None
        self._served: HttpServer | None = None
        self._door = asyncio.Lock()
        self._entered = 0
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the log, and go on with what was left. It may be entered more than once.

        Raises:
            LogError: the log cannot be opened.
            ConfigurationError: the file of callbacks cannot.
        """
        async with self._door:
            if not self._entered:
                await self._open()
            self._entered += 1
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Lay down what is under way, and let go of the log."""
        async with self._door:
            self._entered -= 1
            if not self._entered:
                await self._opened.aclose()

    async def _open(self) -> None:
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(self.runner)
            if self._notifier is not None:
                opened.push_async_callback(self._notifier.stop)
                await self._notifier.start(self._desks)
            opened.push_async_callback(lay_down, self.runner, self._desks)
            going = asyncio.create_task(keep_going(self.runner, self._desks, self._follow), name="afk_es a2a recovery")
            going.add_done_callback(_told)
            opened.push_async_callback(_ended, going)
            self._opened = opened.pop_all()

    async def _follow(self, desk: Desk, task_id: str) -> None:
        if self._notifier is not None:
            await self._notifier.follow(desk, task_id)

    # ---------------------------------------------------------------------------------------------------------------------------- serving

    def http_app(
        self, *, allow_hosts: Sequence[str] = (), allow_origins: Sequence[str] = (), max_body_bytes: int = MAX_BODY_BYTES
    ) -> ASGIApp:
        """The ASGI application, for a server of your own; its lifespan enters this server. Behind a proxy, `url` says where that is.

        Args:
            allow_hosts: names by which clients call it (their `Host` header) beside that of `url` and those of loopback, without a port; ("*",) for any.
            allow_origins: pages of other sites that may call it, such as "https://app.example"; default none. There are no CORS headers in any case.
            max_body_bytes: of a request; default 4 MiB.

        Raises:
            ConfigurationError: the server has no `url`, and so no agent could say in its card where it is.
        """
        own = self._own_host()
        if own is None:
            raise ConfigurationError("where clients reach it has to be known: A2AServer(..., url='https://...'), or use serve()")
        hosts = hosts_of(address_of("127.0.0.1"), (own, *allow_hosts))
        return checked_intake(
            self._application(),
            hosts=hosts,
            origins=origins_of(allow_origins),
            max_body_bytes=max_body_bytes,
            body_timeout_s=BODY_TIMEOUT_S,
        )

    @asynccontextmanager
    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        allow_hosts: Sequence[str] = (),
        allow_origins: Sequence[str] = (),
        open_to_anyone: bool = False,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> AsyncIterator[HttpServer]:
        """Listen while the context is entered: `async with server.serve() as served: ... served.url ... await served.until_stopped()`.

        Args:
            host, port, allow_hosts, allow_origins, open_to_anyone, max_body_bytes: as for `afk_es.serving.HttpServer`. The host of this server's `url` is allowed too.
        """
        own = self._own_host()
        served = HttpServer(
            self._application(),
            host,
            port,
            allow_hosts=(*allow_hosts, own) if own else allow_hosts,
            allow_origins=allow_origins,
            authenticated=self._authenticator is not None,
            open_to_anyone=open_to_anyone,
            max_body_bytes=max_body_bytes,
        )
        self._served = served
        try:
            async with served:
                yield served
        finally:
            self._served = None

    def _own_host(self) -> str | None:
        return urlsplit(self._url).hostname if self._url is not None else None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its agents."""
        return tuple(self._offers)

    def card(self, name: str | None = None) -> AgentCard:
        """The public card of an agent; of the only one where no name is given.

        Raises:
            UsageError: there is no such agent, or several and it is not said which.
        """
        return self._card(self._named(name))

    def _named(self, name: str | None) -> str:
        if name is None and len(self._offers) == 1:
            return next(iter(self._offers))
        if name not in self._offers:
            raise UsageError(f"say whose card: {', '.join(self._offers)}")
        return name

    def _card(self, name: str, *, extended: bool = False) -> AgentCard:
        listens = self._served.url if self._served is not None and self._entered else _NOWHERE_YET
        url = f"{self._url or listens}{prefix_of(name, self._offers)}"
        return card_of(
            self._offers[name], url, authenticated=self._authenticator is not None, push=self._notifier is not None, extended=extended
        )

    def _application(self) -> ASGIApp:
        handlers = {name: Requests(desk, self._notifier, self._extended(name)) for name, desk in self._desks.items()}
        return application(
            handlers, self._card, authenticator=self._authenticator, limiter=self._limiter, may_use=self._may_use, lifespan=self._lifespan
        )

    def _extended(self, name: str) -> Callable[[], AgentCard] | None:
        return (lambda: self._card(name, extended=True)) if self._authenticator is not None else None

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with self:
            yield


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


def _told(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOGGER.error("tasks that were left are not taken up any more", exc_info=error)


def _waiting_for_clients() -> RunnerConfig:
    return RunnerConfig(interaction_mode="external", approval_timeout_s=ANSWERS_AWAITED_S, input_timeout_s=ANSWERS_AWAITED_S)
