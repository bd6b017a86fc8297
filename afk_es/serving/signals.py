"""SIGINT and SIGTERM for as long as a server serves. What they mean is the server's affair."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def on_signals(heard: Callable[[], None]) -> Iterator[None]:
    """While this lasts, SIGINT and SIGTERM call this in the running event loop; then they mean again what they did before. In another thread than
    the main one, and where there are no such signals, they are somebody else's.
    """
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, Any] = {}
    try:
        for each in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(each)
            try:
                loop.add_signal_handler(each, heard)
            except (NotImplementedError, ValueError, RuntimeError):
                break
            before[each] = handler
        yield
    finally:
        for each, handler in before.items():
            loop.remove_signal_handler(each)
            signal.signal(each, handler)
