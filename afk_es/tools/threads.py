"""Threads for synchronous tools: bounded, reused, and daemons.

The standard executor's threads are joined when an event loop closes and again when the interpreter ends. A tool that never returns would
keep its program from ending, long after its deadline cut the call. These threads are left behind instead.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

MAX_THREADS = 64
"""Synchronous calls of this process at once; more wait. One that never returns occupies its thread for good."""


class DaemonThreads:
    """Runs functions in daemon threads.

    Args:
        bound: threads at most.
    """

    def __init__(self, bound: int = MAX_THREADS) -> None:
        self._bound = bound
        self.forget()

    def forget(self) -> None:
        """Begin anew without any thread, as after a fork, where the child has the bookkeeping and not the threads."""
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    async def run(self, function: Callable[[], T]) -> T:
        """What the function returns or raises. Cancelling this leaves a running function to itself, and drops a waiting one."""
        future: Future[T] = Future()
        self._work.put((future, function))
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._threads < self._bound:
                self._threads += 1
                threading.Thread(target=self._serve, name=f"afk_es tool {self._threads}", daemon=True).start()
        return await asyncio.wrap_future(future)

    def _serve(self) -> None:
        while True:
            future, function = self._work.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever awaits the future, SystemExit included
                    future.set_exception(error)
            del future, function
            with self._lock:
                # Work that is queued beyond the bound is this thread's next; otherwise it is free for whoever comes.
                if self._work.empty():
                    self._idle += 1


THREADS = DaemonThreads()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=THREADS.forget)
