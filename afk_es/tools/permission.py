"""Whether a tool's function may still start, asked at the last moment: in its own thread, right before it is called. It knows no leases.

Between the moment at which a call is dispatched and that at which its function starts lie hooks, middlewares and the wait for a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

PERMISSION: ContextVar[Callable[[], None] | None] = ContextVar("afk_es.tools.permission", default=None)
"""Raises where nothing may start any more; None: everything may. Set in the task that performs a call."""


def require_permission() -> None:
    """Raise what the permission of this call raises, if it has one."""
    asked = PERMISSION.get()
    if asked is not None:
        asked()
