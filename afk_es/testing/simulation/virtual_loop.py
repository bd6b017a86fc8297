"""An event loop whose time is virtual and whose turns are counted: nothing waits, nothing happens beside it, and equal programs go equally.

It has no sockets, no signals and no threads: what would run in a thread runs at once, in the loop. So a program in it is a function of what
it is fed, which is what lets a failure be found again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple, Unpack

from afk_es.errors import UsageError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
"""The time of day at second 0 of every simulation."""

_TURNS = 200_000
"""Turns of the loop after which a program that never waits counts as hung."""


class HungError(RuntimeError):
    """What runs in the loop goes round and round without waiting for anything."""


def check_no_loop_runs() -> None:
    """Two event loops do not go at once in one thread.

    Raises:
        UsageError: one runs here.
    """
    __tracebackhide__ = True
    if asyncio._get_running_loop() is not None:
        raise UsageError(
            "a simulation has an event loop of its own and cannot run inside another: call this from a plain `def`, as a test that is not "
            "async, or in a thread: `await asyncio.to_thread(...)`"
        )


class _Idle:
    """Stands where a loop has its selector: asked when nothing is ready, it lets time pass or ends the turn."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        """Nothing ever comes from outside."""
        self._loop.idle(timeout)
        return []

    def close(self) -> None:
        """There is nothing to close."""


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """An asyncio event loop on virtual time.

    Args:
        moment: seconds at which its time begins.
    """

    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, moment: float = 0.0) -> None:
        super().__init__()
        self._moment = moment
        self._until = moment
        self._turns = 0
        self._selector = _Idle(self)

    def time(self) -> float:
        """The virtual time, in seconds."""
        return self._moment

    def settle(self, until: float | None = None) -> None:
        """Run what is ready until everybody waits, letting time pass from timer to timer up to this moment; default: no time passes.

        Raises:
            HungError: it never comes to that.
        """
        self._until = self._moment if until is None else max(until, self._moment)
        self._turns = 0
        self.run_forever()
        self._moment = self._until

    def next_timer(self) -> float | None:
        """The moment at which the next timer is due; None where there is none."""
        due = [handle.when() for handle in self._scheduled if not handle.cancelled()]
        return min(due) if due else None

    def idle(self, timeout: float | None) -> None:
        """Called once a turn; `timeout` is 0 where something is ready, and None where not even a timer is set."""
        self._turns += 1
        if self._turns > _TURNS:
            raise HungError(f"something goes round without waiting: {_TURNS:,} turns of the event loop at second {self._moment:g}")
        if timeout == 0:
            return
        due = self.next_timer()
        if due is not None and due <= self._until:
            self._moment = max(self._moment, due)
        else:
            self.stop()

    def run_in_executor(self, executor: Any, func: Callable[[Unpack[Ts]], T], *args: *Ts) -> asyncio.Future[T]:
        """Call it at once."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits the future
            future.set_exception(error)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing ever comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""


class LoopClock:
    """The virtual time of the running loop, as a Runner's clock."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def now(self) -> dt.datetime:
        """The simulated time of day."""
        return START + dt.timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        """The loop's seconds."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await asyncio.sleep(seconds)
