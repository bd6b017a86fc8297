"""A2AClient: a remote agent that speaks A2A, to be asked directly or used as an agent of one's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Any

import httpx
from a2a.types import a2a_pb2 as pb
from pydantic import BaseModel

from afk_es.a2a.client.connections import Secret
from afk_es.a2a.client.model import AskedAgain, RemoteModel
from afk_es.a2a.client.questions import answer_tool, asks_a_person
from afk_es.a2a.client.remote import Remote
from afk_es.a2a.client.tasks import RemoteCard, RemoteTask, RemoteUpdate
from afk_es.a2a.client.writing import data_part, message_of, text_part
from afk_es.agents import Agent, FailSafeConfig
from afk_es.clock import Clock, Ids, RandomIds
from afk_es.errors import ConfigurationError

_ASKED_AGAIN = ("look", "send", "never")


class A2AClient:
    """A remote agent.

    client = A2AClient("https://agents.example.com/billing", token=lambda: os.environ["BILLING_TOKEN"])
    task = await client.send("What did we pay in May?")
    team = Agent(model="...", subagents=[client.agent(name="billing", description="Knows invoices.")])

    All that comes back is a stranger's: it is bounded, never followed to another host, and believed in nothing. There is nothing to close:
    connections are kept for all calls of an event loop, and closed when the loop ends, or by `aclose()`.

    Args:
        url: the agent's address, below which its card is.
        token: goes into each request as a bearer token; or a function, sync or async, that is asked for it each time. Never shown.
        api_key: the same, in the header `api_key_header`. Not together with a token.
        api_key_header: default "X-API-Key".
        timeout_s: seconds until a connection, a request about a task, or a stream that has fallen silent is given up; default 30.
        task_timeout_s: seconds that a task is waited for; default 300. None waits for as long as the run has time.
        max_bytes: of one answer of the agent, a stream as a whole; default 8 MiB. More is a failure.
        trusted_hosts: other hosts that the card may name, as "host", "host:port" or "https://host". Requests go to them with the token.
        allow_cleartext: let the token go over plain http to another machine; default False.
        card_path: where the card is below the address; default the well-known place.
        card_ttl_s: seconds for which a card is good; default 300.
        transport: what to go through instead of sockets, such as `httpx.ASGITransport(app)` or a proxy's; it is not closed.
        clock: whose time passes between two questions about a task; default `SystemClock()`. Timeouts go by the event loop's.
        ids: where ids of messages come from that are given none; default `RandomIds()`.

    Raises:
        ConfigurationError: arguments that cannot work.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Secret | None = None,
        api_key: Secret | None = None,
        api_key_header: str = "X-API-Key",
        timeout_s: float = 30.0,
        task_timeout_s: float | None = 300.0,
        max_bytes: int = 8 * 1024 * 1024,
        trusted_hosts: Iterable[str] = (),
        allow_cleartext: bool = False,
        card_path: str | None = None,
        card_ttl_s: float = 300.0,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        self._remote = Remote(
            url,
            token=token,
            api_key=api_key,
            api_key_header=api_key_header,
            timeout_s=timeout_s,
            task_timeout_s=task_timeout_s,
            max_bytes=max_bytes,
            trusted_hosts=trusted_hosts,
            allow_cleartext=allow_cleartext,
            card_path=card_path,
            card_ttl_s=card_ttl_s,
            transport=transport,
            clock=clock,
        )
        self._ids = ids or RandomIds()

    def __repr__(self) -> str:
        return f"A2AClient({str(self._remote)!r})"

    async def card(self, *, refresh: bool = False) -> RemoteCard:
        """What the agent says of itself; kept for `card_ttl_s`.

        Raises:
            LLMError: it cannot be fetched, or names no host that is trusted.
        """
        return (await self._remote.card(refresh=refresh)).told

    async def send(
        self,
        text: str = "",
        *,
        data: Any = None,
        message_id: str | None = None,
        context_id: str | None = None,
        task_id: str | None = None,
        timeout_s: float | None = None,
    ) -> RemoteTask:
        """Send a message, and wait until its task is over or waits for somebody.

        Args:
            text: what is said.
            data: a JSON value beside it, or instead of it.
            message_id: the message's name; default a new one. An agent that keeps account of them does the work of each once.
            context_id: the conversation to go on with; default a new one.
            task_id: the task that the message answers, where that waits for input.
            timeout_s: seconds to wait; default `task_timeout_s`.

        Raises:
            ConfigurationError: there is nothing to send.
            LLMError: of the class that says whether asking again can help. A task that failed is no error: its state says so.
        """
        task: RemoteTask | None = None
        async with aclosing(
            self.stream(text, data=data, message_id=message_id, context_id=context_id, task_id=task_id, timeout_s=timeout_s)
        ) as updates:
            async for update in updates:
                task = update.task
        assert task is not None
        return task

    async def stream(
        self,
        text: str = "",
        *,
        data: Any = None,
        message_id: str | None = None,
        context_id: str | None = None,
        task_id: str | None = None,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[RemoteUpdate, None]:
        """As `send`, with the news as they come; the last has the task. An agent that cannot be watched is asked now and then.

        A connection that breaks off is no failure once the task is known: the task is gone on with, and the message not sent again. Leaving
        early leaves the task alone; `cancel` ends it.
        """
        message = self._message(text, data, message_id, context_id, task_id)
        exchange = await self._remote.exchange(timeout_s)
        async with aclosing(exchange.sent(message)) as updates:
            async for update in updates:
                yield update

    async def follow(self, task_id: str, *, timeout_s: float | None = None) -> AsyncGenerator[RemoteUpdate, None]:
        """The news of a task from now on; the last has the task.

        Raises:
            LLMError: as `send`.
        """
        exchange = await self._remote.exchange(timeout_s)
        async with aclosing(exchange.followed(task_id)) as updates:
            async for update in updates:
                yield update

    async def get(self, task_id: str) -> RemoteTask:
        """A task as it stands.

        Raises:
            RemoteTaskError: the agent knows no such task.
            LLMError: as `send`.
        """
        return await (await self._remote.exchange()).task(task_id)

    async def cancel(self, task_id: str) -> RemoteTask:
        """Have a task cancelled.

        Raises:
            LLMError: as `send`; also where it is over already, or cannot be cancelled.
        """
        return await (await self._remote.exchange()).cancelled(task_id)

    def agent(
        self,
        *,
        name: str,
        description: str | None = None,
        contexts: bool = True,
        asked_again: AskedAgain = "look",
        fail_safe: FailSafeConfig | None = None,
        output_type: type[BaseModel] | None = None,
    ) -> Agent:
        """The remote agent as an agent of one's own: for `subagents=[...]`, or to be run by itself.

        Its runs are runs like any other: limits, deadlines, retries, events and recovery are ours. A question of the remote agent's is put to
        a person by the tool `answer_remote_agent`, as `request_user_input` of a policy would; where nobody answers, the run fails with the
        question. A run that is cancelled, or cut by its deadline, has the remote task cancelled, also where it waits for a person; one that
        is laid down does not, and neither does one that is cancelled from outside while no process drives it.

        Args:
            name: its name among one's agents. With the log, it is what the agent is known by; the address may change.
            description: what other agents are told of it. What its card says is a stranger's words, and is not taken.
            contexts: let the messages of a thread share a context at the remote agent, so that it remembers. Needed to look for a task by
                its context; some agents refuse contexts that they have not named themselves, and need False. Default True.
            asked_again: what is done with a message that may have been sent before, by an attempt that failed or a process that died. "look"
                (the default): the remote task is looked for, and the message sent again, with the same id, where it is not found or the
                agent cannot list. "send": sent again at once, which is enough for an agent that keeps account of message ids, as ours
                does. "never": looked for, and the run fails where it is not found.
            fail_safe: limits and failure policies; default `FailSafeConfig()`, 300 s in all.
            output_type: a Pydantic model that the answer's data must satisfy; default None.

        Raises:
            ConfigurationError: arguments that cannot work.
        """
        if asked_again not in _ASKED_AGAIN:
            raise ConfigurationError(f"asked_again is one of {', '.join(_ASKED_AGAIN)}; this is {asked_again!r}")
        return Agent(
            name=name,
            description=description,
            model=RemoteModel(self._remote, name, contexts=contexts, asked_again=asked_again),
            tools=[answer_tool()],
            policy_roles=[asks_a_person(name)],
            fail_safe=fail_safe or FailSafeConfig(),
            output_type=output_type,
        )

    async def aclose(self) -> None:
        """Close the connections of the running event loop; they open again when they are needed."""
        await self._remote.aclose()

    async def __aenter__(self) -> A2AClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def _message(self, text: str, data: Any, message_id: str | None, context_id: str | None, task_id: str | None) -> pb.Message:
        parts = [text_part(text)] if text else []
        if data is not None:
            parts.append(data_part(data))
        if not parts:
            raise ConfigurationError("there is nothing to send; give a text, or data")
        return message_of(parts, message_id=message_id or self._ids.new("message"), context_id=context_id, task_id=task_id)
