"""From a run to a sink, so that the run never feels it: a bounded queue, a thread of its own, and nothing that can reach the run.

A sink may raise, be slow, or hang for good. The loop only ever appends to a list: what does not fit is dropped, counted and said. The
thread is a daemon, so a sink that hangs cannot keep the program from ending, and every wait for it is bounded.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from afk_es.errors import text_of
from afk_es.machine.events import EVENT_TYPES, AgentRunEvent
from afk_es.redaction import MOST_VALUES, Redaction
from afk_es.telemetry.port import TelemetrySink
from afk_es.views import redacted_event

CAPACITY = 8_192
"""Events that wait for a sink at most."""

PATIENCE_S = 2.0
"""How long the end of a program, or of its last run, waits for a sink."""

IDLE_S = 5.0
"""After so long without an event, what the sink has kept is flushed."""

_log = logging.getLogger("afk_es.telemetry")
_TRANSIENT = frozenset(name for name, row in EVENT_TYPES.items() if not row.stored)

Told = Callable[[], None]


class Delivery:
    """Hands events to one sink.

    Args:
        sink: where they go.
        redaction: what is kept back of them; None for nothing.
        capacity: events that wait for the sink at most; further ones are dropped until there is room again.
        patience_s: how long `flush` waits, in seconds.

    Attributes:
        delivered: events the sink has taken.
        dropped: events that found the queue full.
        failed: events of which the sink raised something.
    """

    def __init__(
        self, sink: TelemetrySink, redaction: Redaction | None, *, capacity: int = CAPACITY, patience_s: float = PATIENCE_S
    ) -> None:
        self.delivered: int = 0
        self.dropped: int = 0
        self.failed: int = 0
        self._sink = sink
        self._redaction = redaction
        self._capacity = capacity
        self._patience_s = patience_s
        self._queue: deque[AgentRunEvent | Told] = deque()
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._hangs = False
        """Somebody's patience ended, and the sink has not moved since."""
        self._said: set[str] = set()
        self._secrets: dict[str, None] = {}

    def publish(self, event: AgentRunEvent) -> None:
        """Have an event told, some time. Never blocks and never raises."""
        if event.type in _TRANSIENT:
            return
        with self._news:
            if len(self._queue) >= self._capacity:
                self.dropped += 1
                return
            self._put(event)

    def register(self, secrets: Iterable[object]) -> None:
        """Keep these values back from now on, wherever they stand; also of events that are still waiting."""
        if self._redaction is None:
            return
        fresh = [value for value in secrets if isinstance(value, str) and value not in self._secrets]
        if fresh:
            self._redaction = self._redaction.with_values(fresh)
            self._secrets.update(dict.fromkeys(fresh))
            for forgotten in list(self._secrets)[:-MOST_VALUES]:
                del self._secrets[forgotten]

    def registering(self, secrets_for: Callable[[Any], Mapping[str, str]]) -> Callable[[Any], Mapping[str, str]]:
        """The provider of secrets, whose values are registered before anybody has them."""

        def scope(context: Any) -> Mapping[str, str]:
            secrets = secrets_for(context)
            # What the user's mapping raises here, it raises for the tool as well, whose affair it is.
            with suppress(Exception):
                self.register(list(secrets.values()))
            return secrets

        return scope

    async def flush(self) -> bool:
        """Wait until everything so far is told, or patience ends; whether it is told."""
        loop = asyncio.get_running_loop()
        told = asyncio.Event()

        def tell() -> None:
            # The event loop may be gone by the time the sink is done.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(told.set)

        if not self._ask(tell):
            return False
        try:
            await asyncio.wait_for(told.wait(), self._patience_s)
        except TimeoutError:
            self._give_up()
            return False
        self._say_what_is_missing()
        return True

    def wait(self) -> bool:
        """As `flush`, for whoever has no event loop."""
        told = threading.Event()
        if not self._ask(told.set):
            return False
        if not told.wait(self._patience_s):
            self._give_up()
            return False
        self._say_what_is_missing()
        return True

    # --------------------------------------------------------------------------------------------------------------------- the inside

    def _ask(self, told: Told) -> bool:
        with self._news:
            if self._hangs:
                return False
            self._put(told)
        return True

    def _put(self, item: AgentRunEvent | Told) -> None:
        self._queue.append(item)
        if self._thread is not None:
            self._news.notify()
            return
        _live.add(self)
        self._thread = threading.Thread(target=self._work, name="afk_es.telemetry", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            # The machine has no thread left, or the program is ending. The queue is bounded, and the next event tries again.
            self._thread = None

    def _work(self) -> None:
        kept = False
        while (item := self._next(kept)) is not None:
            if isinstance(item, AgentRunEvent):
                self._export(item)
                kept = True
            else:
                self._guarded(self._sink.flush)
                item()
                kept = False
            self._hangs = False

    def _next(self, kept: bool) -> AgentRunEvent | Told | None:
        """What is to be done next. Where nothing comes: a flush, if anything was kept; None for the end of the thread."""
        with self._news:
            if not self._queue and kept:
                self._news.wait(IDLE_S)
            if self._queue:
                return self._queue.popleft()
            if kept:
                return _nobody
            self._thread = None
            return None

    def _export(self, event: AgentRunEvent) -> None:
        def export() -> None:
            self._sink.export(redacted_event(event, self._redaction))

        if self._guarded(export):
            self.delivered += 1
        else:
            self.failed += 1

    def _guarded(self, call: Callable[[], None]) -> bool:
        """Call the sink; whatever it raises stays here."""
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - a sink is the user's or a vendor's code, in a thread that nobody else is in
            self._say("raised", f"raised {type(error).__name__}: {text_of(error)}; the run goes on, and this is said once")
            return False
        return True

    def _give_up(self) -> None:
        self._hangs = True
        waiting = sum(isinstance(item, AgentRunEvent) for item in list(self._queue))
        self._say(
            "hangs", f"did not take everything within {self._patience_s:g} s; {waiting} events wait, and are lost when the program ends"
        )

    def _say_what_is_missing(self) -> None:
        if self.dropped:
            self._say("dropped", f"was too slow: {self.dropped} events did not fit into its queue of {self._capacity} and were dropped")

    def _say(self, kind: str, text: str) -> None:
        if kind in self._said:
            return
        self._said.add(kind)
        shown = self._redaction.text(text) if self._redaction is not None else text
        _log.warning("telemetry sink %s %s", type(self._sink).__name__, shown)


def _nobody() -> None:
    """Whoever is told of a flush that nobody asked for."""


_live: weakref.WeakSet[Delivery] = weakref.WeakSet()


def _wait_for_all() -> None:
    """At the end of the program: what is on its way gets its time, each sink no more than its delivery's patience."""
    for delivery in list(_live):
        if delivery._thread is not None:
            delivery.wait()


atexit.register(_wait_for_all)
