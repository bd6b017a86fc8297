"""A message and what comes of it: sent, watched, and gone on with where the connection broke off, until the task is settled.

Every wait in here is bounded: one request by `timeout_s`, the whole by the deadline of whoever asks, tries that fail by a number.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

from a2a.client import Client
from a2a.client.client import ClientCallContext
from a2a.types import a2a_pb2 as pb

from afk_es.a2a.client.failures import RemoteTaskError, UnsupportedByAgentError, translated
from afk_es.a2a.client.reading import Unfolding, task_of
from afk_es.a2a.client.scrubbing import Scrubber
from afk_es.a2a.client.tasks import WAITING, RemoteTask, RemoteUpdate
from afk_es.clock import Clock
from afk_es.errors import LLMConfigurationError, LLMError, LLMInvalidResponseError, LLMTimeoutError
from afk_es.llms.failure import classify

T = TypeVar("T")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
PAUSE_GROWTH = 1.6
"""How often a task is asked for that cannot be watched."""

MOST_FAILURES = 5
"""Requests about a known task that may fail in a row."""

MOST_PAGES = 20
"""Pages of a listing that are looked through for a message."""

PAGE_SIZE = 50


class Exchange:
    """What is said to one remote agent in one event loop, within a deadline.

    Args:
        client: the SDK's.
        streaming: whether the agent's work is watched.
        agent: where it is, for messages.
        scrubber: takes secrets out of what is told.
        timeout_s: seconds until a request about a task, or the silence of a stream whose task is known, is given up.
        deadline: when all is given up, by the event loop's time; None for never.
        max_bytes: of the results of a task.
        doubt: called where the agent refuses what its card promises.
    """

    def __init__(
        self,
        client: Client,
        *,
        streaming: bool,
        agent: str,
        scrubber: Scrubber,
        timeout_s: float,
        deadline: float | None,
        max_bytes: int,
        clock: Clock,
        doubt: Callable[[], None],
    ) -> None:
        self._client = client
        self._streaming = streaming
        self._agent = agent
        self._scrubber = scrubber
        self._timeout_s = timeout_s
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._clock = clock
        self._doubt = doubt
        self._cuts = _cuts()

    # ------------------------------------------------------------------------------------------------------------- with a message

    async def sent(self, message: pb.Message) -> AsyncGenerator[RemoteUpdate, None]:
        """Send a message, and tell what comes of it until the task is settled; the last update has the task.

        Raises:
            LLMError: it cannot be sent, or what comes back cannot be taken. Where the task is known, a lost connection is no failure.
        """
        request = pb.SendMessageRequest(message=message)
        # What a task that waits answers at once may be how it stood before this message, and is believed when the agent is done with it.
        continuing = message.task_id != ""
        # Who does not watch does not wait in the request either: how the task stands is asked for.
        request.configuration.return_immediately = not self._streaming and not continuing
        unfolding = Unfolding(message.task_id or None, self._max_bytes, self._scrubber)
        known = False
        text = ""
        news = self._news(self._client.send_message(request, context=self._long()), lambda: known)
        try:
            async for each in news:
                update = unfolding.take(each)
                known = unfolding.task_id is not None
                if unfolding.settled and not (continuing and update.state in WAITING):
                    text = update.text
                    break
                yield update
        except LLMError as error:
            if isinstance(error, LLMConfigurationError):
                # The agent may have moved, or speak otherwise by now.
                self._doubt()
            # Until something has come back, nobody knows whether the message has arrived: whoever asked has to ask again.
            if not known or unfolding.task() is None or not _may_pass(error):
                raise
        finally:
            await news.aclose()
        if unfolding.settled:
            yield self._last(unfolding, text)
            return
        if unfolding.task_id is None:
            raise LLMInvalidResponseError(f"{self._agent} answered neither with a message nor with a task")
        async for update in self._asked_for(unfolding, unfolding.task_id):
            yield update

    async def followed(self, task_id: str, *, through_waiting: bool = False) -> AsyncGenerator[RemoteUpdate, None]:
        """Tell how a task goes on until it is settled; the last update has the task.

        Args:
            through_waiting: go on where it waits for authorisation, which may be given elsewhere.

        Raises:
            LLMError: it is not known, or cannot be asked for any more.
        """
        async for update in self._asked_for(Unfolding(task_id, self._max_bytes, self._scrubber), task_id, through_waiting=through_waiting):
            yield update

    async def _asked_for(self, unfolding: Unfolding, task_id: str, *, through_waiting: bool = False) -> AsyncGenerator[RemoteUpdate, None]:
        """Ask how the task stands, and watch it from there on where it can be watched, as often as it takes."""
        pause, failures = FIRST_PAUSE_S, 0
        watched = self._streaming and not through_waiting
        while True:
            try:
                update = unfolding.take_task(await self._task(task_id))
                failures = 0
                if unfolding.settled and not (through_waiting and update.state == "auth-required"):
                    yield self._last(unfolding, update.text)
                    return
                yield update
                if watched:
                    news = self._news(self._client.subscribe(pb.SubscribeToTaskRequest(id=task_id), context=self._long()), lambda: True)
                    try:
                        async for each in news:
                            update = unfolding.take(each)
                            if unfolding.settled:
                                yield self._last(unfolding, update.text)
                                return
                            yield update
                    finally:
                        await news.aclose()
            except UnsupportedByAgentError:
                if not watched:
                    raise
                # It may have ended meanwhile, or cannot be watched a second time.
                watched = False
                continue
            except LLMError as error:
                failures += 1
                if failures >= MOST_FAILURES or not _may_pass(error):
                    raise
            await self._wait(pause)
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_S)

    # ----------------------------------------------------------------------------------------------------------- without a message

    async def task(self, task_id: str) -> RemoteTask:
        """The task as it stands."""
        return self._told(await self._task(task_id))

    async def cancelled(self, task_id: str) -> RemoteTask:
        """Ask for the task to be cancelled, and answer what the agent says of it then."""
        request = pb.CancelTaskRequest(id=task_id)
        return self._told(self._same(task_id, await self._asked(lambda: self._client.cancel_task(request, context=self._short()))))

    async def found(self, message: pb.Message) -> RemoteTask | None:
        """The task that a message was for, if the agent has taken it in; None where it has not, or cannot say.

        A message that continues a task is looked for in that task, and any other in the tasks of its context.
        """
        try:
            if message.task_id:
                task = await self._task(message.task_id, history=True)
                return self._told(task) if _has(task, message.message_id) else None
            if not message.context_id:
                return None
            return await self._listed(message)
        except (LLMConfigurationError, RemoteTaskError):
            return None

    async def _listed(self, message: pb.Message) -> RemoteTask | None:
        token = ""
        for _ in range(MOST_PAGES):
            request = pb.ListTasksRequest(context_id=message.context_id, page_size=PAGE_SIZE, page_token=token)
            page = await self._asked(partial(self._client.list_tasks, request, context=self._short()))
            for task in page.tasks:
                if _has(task, message.message_id):
                    return self._told(task)
            token = page.next_page_token
            if not token:
                return None
        return None

    async def _task(self, task_id: str, *, history: bool = False) -> pb.Task:
        request = pb.GetTaskRequest(id=task_id)
        if not history:
            request.history_length = 0
        return self._same(task_id, await self._asked(lambda: self._client.get_task(request, context=self._short())))

    def _same(self, task_id: str, task: pb.Task) -> pb.Task:
        if task.id != task_id:
            raise LLMInvalidResponseError(
                f"{self._agent} told of task {self._scrubber.text(task.id)!r:.100}, and was asked about {task_id!r:.100}"
            )
        return task

    # ------------------------------------------------------------------------------------------------------------------ the inside

    async def _asked(self, asking: Callable[[], Awaitable[T]]) -> T:
        """The answer to one request, which is not made where all time is used up."""
        try:
            async with asyncio.timeout_at(self._by(self._timeout_s)):
                return await asking()
        except TimeoutError as error:
            raise LLMTimeoutError(f"{self._agent} did not answer in time") from error
        except Exception as error:  # the SDK has no class for what it raises over a body that is no A2A
            raise translated(error, self._agent, self._scrubber.text) from error

    async def _news(self, stream: AsyncIterator[pb.StreamResponse], known: Callable[[], bool]) -> AsyncGenerator[pb.StreamResponse, None]:
        """The events of a stream.

        Args:
            known: whether the task is known, so that a stream that falls silent can be left for another way.
        """
        try:
            while True:
                try:
                    async with asyncio.timeout_at(self._by(self._timeout_s if known() else None)):
                        each = await anext(stream, None)
                except TimeoutError as error:
                    raise LLMTimeoutError(f"{self._agent} has fallen silent") from error
                except Exception as error:  # as above
                    raise translated(error, self._agent, self._scrubber.text) from error
                if each is None:
                    return
                yield each
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._clock.sleep(seconds)
        except TimeoutError as error:
            raise LLMTimeoutError(f"the task at {self._agent} has not ended in time") from error
        self._by(None)

    def _by(self, seconds: float | None) -> float | None:
        """The moment at which a wait of so many seconds ends, by the event loop's time.

        Raises:
            LLMTimeoutError: all time is used up.
            CancelledError: this task was cancelled, and something in between has swallowed it, as the SDK's server does in memory.
        """
        if _cuts() > self._cuts:
            raise asyncio.CancelledError
        now = asyncio.get_running_loop().time()
        if self._deadline is not None and now >= self._deadline:
            raise LLMTimeoutError(f"the task at {self._agent} has not ended in time")
        ends = [end for end in (self._deadline, None if seconds is None else now + seconds) if end is not None]
        return min(ends, default=None)

    def _last(self, unfolding: Unfolding, text: str = "") -> RemoteUpdate:
        task = unfolding.task()
        assert task is not None
        return RemoteUpdate(text=text, state=task.state, message=task.message, task_id=task.id, task=task)

    def _told(self, task: pb.Task) -> RemoteTask:
        return self._scrubber.value(task_of(task))

    def _short(self) -> ClientCallContext:
        return ClientCallContext(timeout=self._timeout_s)

    def _long(self) -> ClientCallContext:
        """For requests whose answer comes when the work is done: httpx has its own timeout, and ours cuts before it."""
        deadline = self._deadline
        remaining = deadline - asyncio.get_running_loop().time() if deadline is not None else 86_400.0
        return ClientCallContext(timeout=max(remaining, 0.0) + self._timeout_s)


def _cuts() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def _has(task: pb.Task, message_id: str) -> bool:
    return any(message.message_id == message_id for message in task.history)


def _may_pass(error: LLMError) -> bool:
    return classify(error).classification == "retryable" and not isinstance(error, LLMInvalidResponseError)
