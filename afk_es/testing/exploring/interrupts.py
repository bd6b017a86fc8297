"""Ctrl-C while a run is simulated: it is held back until the simulation is over, and raised then. It refuses to know what is simulated.

A `KeyboardInterrupt` that comes in the middle is lost where Python cannot raise it (a callback of a weak reference, the garbage collector, both
frequent here), or is taken for what a run's process came to, which then looks like a bug of the agent.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Hold a Ctrl-C back until this is left; a second one comes through at once, for a tool that blocks.

    Does nothing beside the main thread, and where somebody else handles the signal.

    Raises:
        KeyboardInterrupt: on leaving, where there was one.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed = 0

    def press(_number: int, _frame: Any) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if pressed:
            raise KeyboardInterrupt
