"""`MCPServer`: tools and agents for MCP clients, in this process, over stdin and stdout, or over HTTP. Each call is a run in the log."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import anyio
from mcp.server import NotificationOptions, Server, ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.models import InitializationOptions
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    ListToolsResult,
    NotificationParams,
    PaginatedRequestParams,
)
from starlette.types import ASGIApp

from afk_es.agents import Agent, PolicyEngine
from afk_es.core import Runner, RunnerConfig
from afk_es.errors import AfkError, ConfigurationError, ToolArgumentsError, UsageError
from afk_es.log import EventLog
from afk_es.mcp.catalog import Catalog
from afk_es.mcp.http import application, caller_of, session_of
from afk_es.mcp.keys import Key, Keys
from afk_es.mcp.laid_down import LaidDown
from afk_es.mcp.listing import Served
from afk_es.mcp.owners import Owners
from afk_es.mcp.places import Place, Places
from afk_es.mcp.results import RETRY_AFTER_S, RUN_ID, WITHDRAWN, failure
from afk_es.mcp.served_call import DOOR, ServedCall, by_of
from afk_es.mcp.stdio import serve_stdio
from afk_es.mcp.straight import called_straight
from afk_es.serving import LOCAL, Authenticator, HttpServer, Limited, Principal, RateLimiter, run_id_of
from afk_es.tools import ToolRegistry

_LOGGER = logging.getLogger(__name__)


class MCPServer(Server[Place]):
    """Serves tools and agents by MCP.

    It is the SDK's low-level `Server`, so whatever drives one drives this: `mcp.Client(server)` in tests, `serve_stdio`, `serve_http`, `http_app`.

    Args:
        tools: tools, or functions to make them of; or a `ToolRegistry`.
        agents: each is a tool of its name that takes a task.
        name: the server's name, as clients see it; default "afk_es".
        instructions: how to use the server, for the model behind the client; default None.
        log: where calls are recorded, as of `Runner`; default the log of the user.
        runner: runs the calls as it is, with its own log and policies; not together with `log` or `policy_engine`.
        policy_engine: asked before each call; default None, all is allowed. What it has a person asked about is asked at the client where
            that shows forms, and may be answered from elsewhere in any case: `afk-es approve`.
        rate_limit: calls of each client; default None, as many as it likes.
        authenticator: who may call over HTTP, such as `afk_es.serving.ApiKeys`; default None, everybody who reaches it, which is this machine.
            Whose call it is stands in the run's context as `user_id`, and nobody has another's result.
        timeout_s: seconds for tools that have no timeout of their own; default 300, None for none.
        linger_s: seconds for which a call with a key goes on when its connection is lost; default 30.
        drain_s: seconds that such calls are given when the server ends, before they are laid down; default 5.
        ask_clients: whether the person at the client may answer what a call asks; default True. Where False only whoever has the log may,
            so that nobody approves a call of their own.
        page_size: tools of one page of `tools/list`; default 100.
        recorded: whether calls are runs in the log; default True. Where False there are none, and each tool has to be read_only: for what looks
            into a log and must not be found there itself.

    A call whose `_meta` has `afk_es/idempotency_key` (`IDEMPOTENCY_KEY`) is done once: the same call with the same key joins the first, goes on
    with it, or has its recorded result, after a crash of this process too. Other calls are new each time.

    Raises:
        ConfigurationError: two of one name, or arguments that do not go together.
    """

    def __init__(
        self,
        tools: Iterable[Callable[..., Any]] | ToolRegistry = (),
        *,
        agents: Iterable[Agent] = (),
        name: str = "afk_es",
        instructions: str | None = None,
        log: str | os.PathLike[str] | EventLog | None = None,
        runner: Runner | None = None,
        policy_engine: PolicyEngine | None = None,
        rate_limit: Limited | None = None,
        authenticator: Authenticator | None = None,
        timeout_s: float | None = 300.0,
        linger_s: float = 30.0,
        drain_s: float = 5.0,
        ask_clients: bool = True,
        page_size: int = 100,
        recorded: bool = True,
    ) -> None:
        if runner is not None and (log is not None or policy_engine is not None):
            raise ConfigurationError(
                "runner= has a log and policies of its own; leave log= and policy_engine= out, or make the Runner with them"
            )
        if not recorded and (log is not None or runner is not None or policy_engine is not None):
            raise ConfigurationError("recorded=False makes no runs; leave log=, runner= and policy_engine= out")
        self._catalog = Catalog(tools, agents, timeout_s=timeout_s, page_size=page_size, recorded=recorded)
        self._places = Places()
        super().__init__(
            name,
            version=_version(),
            instructions=instructions,
            lifespan=_lifespan,
            get_tool_input_schema=self._catalog.input_schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_subscriptions_listen=ListenHandler(self._places.bus),
        )
        self.middleware.append(self._watch)
        self.add_notification_handler("notifications/initialized", NotificationParams, self._connected)
        self.runner: Runner = runner or Runner(
            log=log if recorded else ":memory:", policy_engine=policy_engine, config=RunnerConfig(interaction_mode="external")
        )
        self._recorded = recorded
        self._laid_down = LaidDown(self.runner)
        self._owners = Owners(self.runner, linger_s, drain_s)
        self._limiter = RateLimiter(rate_limit) if rate_limit is not None else None
        self._authenticator = authenticator
        self._drain_s = drain_s
        self._stopping = False
        self._ask_clients = ask_clients
        self._keys = Keys()

    # ------------------------------------------------------------------------------------------------------------------- what it serves

    def names(self) -> tuple[str, ...]:
        """The names of what it serves, in the order in which clients see them."""
        return self._catalog.names()

    def add_tool(self, function: Callable[..., Any]) -> None:
        """Serve one more tool, or function to make one of. Clients are told that the list has changed.

        Raises:
            ConfigurationError: it is none, or there is one of its name.
        """
        self._catalog.add_tool(function)
        self._places.tell_of_change()

    def add_agent(self, agent: Agent) -> None:
        """Serve one more agent. As `add_tool`."""
        self._catalog.add_agent(agent)
        self._places.tell_of_change()

    def remove_tool(self, name: str) -> None:
        """Serve a tool, or an agent, no longer. Calls of it that are under way go on. Clients are told that the list has changed.

        Raises:
            UnknownToolError: there is none of that name.
        """
        self._catalog.remove(name)
        self._places.tell_of_change()

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """As the SDK's, and saying that the list of tools may change."""
        options = notification_options or NotificationOptions(tools_changed=True)
        return super().create_initialization_options(options, experimental_capabilities, extensions)

    # ------------------------------------------------------------------------------------------------------------------ what clients ask

    async def _list_tools(self, ctx: ServerRequestContext[Place], params: PaginatedRequestParams | None) -> ListToolsResult:
        return self._catalog.page(params.cursor if params is not None else None)

    async def _connected(self, ctx: ServerRequestContext[Place], params: NotificationParams | None) -> None:
        ctx.lifespan_context.connected(ctx.session, session_of(ctx))

    async def _call_tool(self, ctx: ServerRequestContext[Place], params: CallToolRequestParams) -> CallToolResult | InputRequiredResult:
        served = self._catalog.find(params.name)
        if self._stopping:
            raise MCPError(INTERNAL_ERROR, "the server is about to end; call the next one")
        principal = self._principal(ctx)
        if self._limiter is not None and (wait_s := self._limiter.admitted(principal.name)) is not None:
            return failure(f"too many calls; the next is let in after {wait_s:.1f} s", **{RETRY_AFTER_S: round(wait_s, 3)})
        try:
            message = served.message(params.arguments or {})
        except ToolArgumentsError as error:
            return failure(str(error))
        if not self._recorded:
            return await called_straight(served, params.arguments or {}, ctx)
        key = self._keys.key(params, principal, message)
        try:
            return await self._called(ctx, params, served, principal, message, key)
        except MCPError:
            raise
        except AfkError as error:
            # Where the log is, and which server of ours is down, is no business of a client's.
            _LOGGER.error("a call of %s failed: %s", params.name, error)
            raise MCPError(INTERNAL_ERROR, f"{params.name} cannot be run now; the server's own log says why") from error

    async def _called(
        self,
        ctx: ServerRequestContext[Place],
        params: CallToolRequestParams,
        served: Served,
        principal: Principal,
        message: str,
        key: Key,
    ) -> CallToolResult | InputRequiredResult:
        run_id = run_id_of(DOOR, principal.name, f"{self.name}\n{key.text}")
        if not key.given and params.request_state is not None and await self.runner.log.head(run_id) is None:
            # A state that we gave names a call that was begun; any other would begin one.
            raise MCPError(INVALID_PARAMS, "requestState is none of this server's")
        if key.given and (params.meta or {}).get(WITHDRAWN) is True:
            return await self._withdrawn(run_id, principal)
        call = ServedCall(
            self.runner,
            self._owners,
            self._laid_down,
            ctx,
            params,
            served,
            principal=principal,
            message=message,
            key=key,
            run_id=run_id,
            asks=self._ask_clients,
        )
        with self._owners.waiting(_identity(ctx), ctx.lifespan_context, run_id, named=key.known) as waiting:
            result = await call.result(waiting)
        self._keys.note(key, params, principal, message, waits=call.waits_for_people)
        return result

    async def _withdrawn(self, run_id: str, principal: Principal) -> CallToolResult:
        """Cancel what the caller does not want any more, which may lie in the log and wait for people."""
        if await self.runner.log.head(run_id) is None:
            return failure("no call was begun under that key")
        try:
            await (await self.runner.attach(run_id=run_id, by=by_of(principal))).cancel("the client cancelled the call")
        except UsageError as error:
            return failure(str(error), **{RUN_ID: run_id})
        return failure("the call was cancelled", **{RUN_ID: run_id})

    def _principal(self, ctx: ServerRequestContext[Place]) -> Principal:
        caller = caller_of(ctx)
        if caller is None and self._authenticator is not None and ctx.request is not None:
            # The application was mounted without the guard that it comes with.
            raise MCPError(INTERNAL_ERROR, "this server serves nobody whom it does not know")
        return caller or LOCAL

    # ----------------------------------------------------------------------------------------------------------------------- transports

    def serve_stdio_sync(self) -> None:
        """`serve_stdio`, for a program that does nothing else."""
        asyncio.run(self.serve_stdio())

    async def serve_stdio(self) -> None:
        """Serve whoever started this process, over its stdin and stdout, until the input ends or SIGTERM or SIGINT comes.

        Calls under way have `drain_s` when a signal comes; a second one ends them at once. Over stdio nobody is asked for a token: whoever can
        start the process can do all that it does.
        """

        async def serve(read: Any, write: Any) -> None:
            await self.run(read, write, self.create_initialization_options())

        async def stop() -> None:
            self._stopping = True
            self._owners.ends()
            await self._owners.quiet()

        try:
            await serve_stdio(serve, stop, lambda: self._owners.ends(at_once=True))
        finally:
            self._stopping = False

    def http_app(self, *, allow_hosts: Sequence[str] = (), allow_origins: Sequence[str] = (), max_sessions: int = 10_000) -> ASGIApp:
        """The server as an ASGI application, at `/mcp`, behind the authenticator; each can be started once.

        Args:
            allow_hosts: names by which clients call it beside those of loopback (their `Host` header), without a port; ("*",) for any.
            allow_origins: web pages that may call it; default none. There are no CORS headers in any case.
            max_sessions: clients of the protocol before 2026-07-28 at once; default 10,000.

        Raises:
            ConfigurationError: a host with a port or a scheme, or an origin without one.
        """
        return application(self, self._authenticator, hosts=allow_hosts, origins=allow_origins, max_sessions=max_sessions)

    def http_server(
        self, host: str = "127.0.0.1", port: int = 0, *, allow_hosts: Sequence[str] = (), allow_origins: Sequence[str] = ()
    ) -> HttpServer:
        """The server over HTTP, to be entered: `async with server.http_server() as served: served.url + "/mcp"`.

        Args:
            host: default "127.0.0.1". Another than loopback needs an authenticator.
            port: default 0, any that is free.
            allow_hosts, allow_origins: as of `http_app`.

        Raises:
            ConfigurationError: an address that cannot be listened at.
        """
        app = self.http_app(allow_hosts=(host, *allow_hosts), allow_origins=allow_origins)
        return HttpServer(
            app,
            host,
            port,
            allow_hosts=allow_hosts,
            allow_origins=allow_origins,
            authenticated=self._authenticator is not None,
            drain_s=self._drain_s,
            on_stop=self._owners.ends,
        )

    async def serve_http(self, host: str = "127.0.0.1", port: int = 8000, **options: Any) -> None:
        """Serve over HTTP until SIGTERM or SIGINT comes; arguments as of `http_server`. Calls under way have `drain_s` then;
        a second one ends them at once.
        """
        async with self.http_server(host, port, **options) as served:
            await served.until_stopped()

    async def _watch(self, ctx: ServerRequestContext[Place], call_next: CallNext) -> HandlerResult:
        """Notices which calls are unwanted: what the SDK does with such a request looks like a lost connection."""
        if ctx.method == "notifications/cancelled" and isinstance(request_id := (ctx.params or {}).get("requestId"), (str, int)):
            self._owners.unwanted(_identity(ctx, request_id))
        return await call_next(ctx)


@asynccontextmanager
async def _lifespan(server: Server[Place]) -> AsyncIterator[Place]:
    assert isinstance(server, MCPServer)
    async with server.runner:
        place, alone = server._places.open()
        if alone:
            server._owners.begin()
        try:
            yield place
        finally:
            server._places.close(place)
            # Whoever ends us, in whatever haste: the runs are ours to see to first, which takes no longer than `drain_s`.
            with anyio.CancelScope(shield=True):
                await server._owners.close(place)


def _identity(ctx: ServerRequestContext[Place], request_id: str | int | None = None) -> tuple[object, ...]:
    """Names a request among all that are under way. A client may name them by numbers that others use as well."""
    session = session_of(ctx)
    if ctx.request is not None and session is None:
        # By the stateless protocol every client counts from 1, and none can name a request later.
        return ctx.lifespan_context, object()
    return ctx.lifespan_context, session, str(ctx.request_id if request_id is None else request_id)


def _version() -> str:
    try:
        return version("afk-es")
    except PackageNotFoundError:
        return "unknown"  # Clients look for something.
