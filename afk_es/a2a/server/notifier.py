"""Calls clients back about their tasks: at least once for each change, in order, and never in the way of a run.

A callback goes to an address that a client names. It must be a public one, when it is given, when it is resolved before each call, and when the connection
is made: a name may stand for another address a moment later. Nothing is followed to elsewhere, and nothing of the answer is read but its status.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import sqlite3
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import httpx
from a2a.server.events import Event
from a2a.server.tasks.push_notification_config_store import normalize_push_notification_config
from a2a.types.a2a_pb2 import TaskPushNotificationConfig, TaskStatusUpdateEvent
from a2a.utils.errors import InvalidParamsError, TaskNotFoundError
from a2a.utils.proto_utils import to_stream_response
from a2a.utils.push_url_validator import validate_push_notification_url
from google.protobuf.json_format import MessageToDict

from afk_es.a2a.server.desk import Desk
from afk_es.a2a.server.following import changes
from afk_es.a2a.server.notification_book import Callback, NotificationBook
from afk_es.a2a.server.tasks import FINAL, SETTLED, folded
from afk_es.errors import AfkError
from afk_es.serving import Principal

_LOGGER = logging.getLogger("afk_es.a2a")

MOST_CALLBACKS = 8
"""Of one task."""

MOST_AT_ONCE = 32
"""Calls under way at once."""

MOST_TAKEN_UP = 10_000
"""Callbacks that a server takes up as it starts."""

PAUSES_S = (0.5, 2.0, 8.0, 30.0)
"""Between the attempts at one notification; after the last it is given up, and the next one is tried."""

_TIMEOUT_S = 10.0
_LONGEST_URL = 2048
_LONGEST_HEADER = 4096
_TOKEN_HEADER = "X-A2A-Notification-Token"


class Notifier:
    """Calls back.

    Args:
        book: who wants to be told of what.
        allow_private: also call addresses of this machine and of private networks; default False.
        pauses_s: seconds between the attempts at one notification.
    """

    def __init__(self, book: NotificationBook, *, allow_private: bool = False, pauses_s: tuple[float, ...] = PAUSES_S) -> None:
        self._book = book
        self._allow_private = allow_private
        self._pauses_s = pauses_s
        self._client: httpx.AsyncClient | None = None
        self._calls = asyncio.Semaphore(MOST_AT_ONCE)
        self._telling: dict[tuple[str, str], asyncio.Task[None]] = {}
        # Whose task went on while they were being told: what tells them may have come to its end before that.
        self._once_more: dict[tuple[str, str], Desk] = {}

    async def start(self, desks: dict[str, Desk]) -> None:
        """Open the book, and go on with what the last server did not come to.

        Raises:
            ConfigurationError: the book cannot be opened.
        """
        await self._book.open()
        # No proxy of the environment's: it would resolve names for us.
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False)
        for callback in await self._book.unfinished(MOST_TAKEN_UP):
            if callback.agent_name in desks:
                self._tell(desks[callback.agent_name], callback)

    async def stop(self) -> None:
        """Stop calling; what was not told is told by the next server."""
        self._once_more.clear()
        tasks = list(self._telling.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            if self._client is not None:
                await self._client.aclose()
        finally:
            await self._book.close()

    # -------------------------------------------------------------------------------------------------------------------------- the wishes

    async def check(self, config: TaskPushNotificationConfig) -> None:
        """Refuse an address that is not to be called, and what cannot be a header.

        Raises:
            InvalidParamsError: so.
        """
        if len(config.url) > _LONGEST_URL or not config.url.isprintable() or not await self._may_call(config.url):
            raise InvalidParamsError("the url of a push notification is an http or https address of a public host")
        for value in (config.id, config.token, config.authentication.scheme, config.authentication.credentials):
            if len(value) > _LONGEST_HEADER or not (value.isascii() and (value.isprintable())):
                raise InvalidParamsError(
                    f"id, token and authentication of a push notification are at most {_LONGEST_HEADER} ASCII characters"
                )

    async def configure(
        self, principal: Principal, desk: Desk, task_id: str, config: TaskPushNotificationConfig, *, begun: bool = False
    ) -> TaskPushNotificationConfig:
        """Keep a wish that was checked. It is told what happens from now on; of a task that has ended or waits, how it stands.

        Args:
            begun: the task has begun just now: it is told everything.

        Raises:
            InvalidParamsError: the task has too many.
        """
        own = normalize_push_notification_config(task_id, config)
        callbacks = await self._book.of(task_id)
        same = next((each for each in callbacks if each.config_id == own.id), None)
        if same is None and len(callbacks) >= MOST_CALLBACKS:
            raise InvalidParamsError(f"a task has at most {MOST_CALLBACKS} push notification configs")
        if same is not None and same.config == own:
            # A message that came again brings its wish again.
            await self.follow(desk, task_id)
            return own
        fold = folded(await desk.events(principal, task_id))
        now = fold.seq - 1 if fold.state in SETTLED else fold.seq
        callback = Callback(task_id, own.id, desk.offer.name, own, 1 if begun else now)
        await self._book.put(callback)
        before = self._telling.get((task_id, own.id))
        self._tell(desk, callback)
        if before is not None:
            # It goes by the address and the token that were replaced.
            before.cancel()
        return own

    async def configs(self, task_id: str) -> list[TaskPushNotificationConfig]:
        """The wishes about a task."""
        return [each.config for each in await self._book.of(task_id)]

    async def config(self, task_id: str, config_id: str) -> TaskPushNotificationConfig:
        """One of them.

        Raises:
            TaskNotFoundError: it is not there.
        """
        for each in await self._book.of(task_id):
            if each.config_id == config_id:
                return each.config
        raise TaskNotFoundError

    async def forget(self, task_id: str, config_id: str) -> None:
        """Call no more for this wish."""
        await self._book.delete(task_id, config_id)
        self._once_more.pop((task_id, config_id), None)
        telling = self._telling.get((task_id, config_id))
        if telling is not None:
            telling.cancel()

    async def follow(self, desk: Desk, task_id: str) -> None:
        """The task goes on: tell those who want to know. Where the book cannot be read, the task goes on all the same."""
        try:
            callbacks = await self._book.of(task_id)
        except sqlite3.Error as error:
            _LOGGER.error("task %s: nobody is called back about it", task_id, exc_info=error)
            return
        for callback in callbacks:
            self._tell(desk, callback)

    # --------------------------------------------------------------------------------------------------------------------------- the calls

    def _tell(self, desk: Desk, callback: Callback) -> None:
        key = (callback.task_id, callback.config_id)
        if key in self._telling:
            # One after the other, or changes would overtake one another; and once for all that came meanwhile.
            self._once_more[key] = desk
            return
        self._telling[key] = task = asyncio.create_task(self._told(desk, callback), name=f"{callback.task_id}:notify")
        task.add_done_callback(lambda done: self._done(callback, done))

    def _done(self, callback: Callback, task: asyncio.Task[None]) -> None:
        key = (callback.task_id, callback.config_id)
        del self._telling[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOGGER.error("task %s: the notifier failed", callback.task_id, exc_info=error)
        desk = self._once_more.pop(key, None)
        if desk is not None:
            self._tell(desk, callback)

    async def _told(self, desk: Desk, callback: Callback) -> None:
        try:
            current = next((each for each in await self._book.of(callback.task_id) if each.config_id == callback.config_id), None)
            if current is None:
                return
            run = await desk.runner.attach(run_id=callback.task_id, by="push notifications")
            async with aclosing(changes(desk, run, current.delivered)) as told_of:
                async for seq, event in told_of:
                    await self._notify(current, event)
                    if isinstance(event, TaskStatusUpdateEvent):
                        # What one event of the run has changed ends with the status.
                        await self._noted(current, seq, event)
        except AfkError as error:
            _LOGGER.warning("task %s: push notifications have stopped until it goes on: %s", callback.task_id, error)

    async def _noted(self, callback: Callback, seq: int, told: TaskStatusUpdateEvent) -> None:
        """Also what was given up is done with: the book keeps a client's secrets no longer than it has a use for them."""
        if told.status.state in FINAL:
            await self._book.done(callback)
        else:
            await self._book.note(callback, seq)

    async def _notify(self, callback: Callback, event: Event) -> None:
        for pause_s in (*self._pauses_s, None):
            try:
                async with self._calls:
                    again = await self._call(callback.config, event)
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                _LOGGER.info("task %s: a push notification failed: %s", callback.task_id, type(error).__name__)
                again = True
            if not again:
                return
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        _LOGGER.warning("task %s: a push notification was given up after %s attempts", callback.task_id, len(self._pauses_s) + 1)

    async def _call(self, config: TaskPushNotificationConfig, event: Event) -> bool:
        """Call once; whether it should be tried again."""
        if not await self._may_call(config.url):
            return False
        assert self._client is not None
        headers = {"User-Agent": "afk-es"}
        if config.token:
            headers[_TOKEN_HEADER] = config.token
        if config.authentication.scheme and config.authentication.credentials:
            headers["Authorization"] = f"{config.authentication.scheme} {config.authentication.credentials}"
        request = self._client.build_request(
            "POST", config.url, json=MessageToDict(to_stream_response(event)), headers=headers, extensions={"trace": self._connected}
        )
        response = await self._client.send(request, stream=True)
        try:
            status = response.status_code
        finally:
            await response.aclose()
        if status >= 300:
            _LOGGER.info("task %s: a push notification was answered %s", config.task_id, status)
        return status in (408, 429) or status >= 500

    async def _may_call(self, url: str) -> bool:
        if not self._allow_private:
            return bool(await validate_push_notification_url(url))
        try:
            parts = urlsplit(url)
            return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            return False

    async def _connected(self, event: str, info: dict[str, Any]) -> None:
        """Look at whom a connection was made to, before anything is sent through it (httpcore's trace extension)."""
        if event != "connection.connect_tcp.complete" or self._allow_private:
            return
        stream = info["return_value"]
        address = ipaddress.ip_address(str(stream.get_extra_info("server_addr")[0]).partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        if not mapped.is_global or mapped.is_multicast:
            await stream.aclose()
            raise httpx.ConnectError("the name stands for an address that is not public")
