"""LiteLLM itself, loaded once, and the HTTP clients it keeps per event loop. Nothing here knows what is sent through them.

LiteLLM finds a client by the `id()` of the running event loop, which Python gives again to a later loop. So clients of loops that are
gone must go as well: on close, and, where nobody closed, when a loop is first seen.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import warnings
import weakref
from typing import Any

_loaded: Any = None
_loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
_lock = threading.Lock()

# LiteLLM silences these of its own when it is imported. A program that sets its filters anew, as pytest does for each test, has them
# back, and where warnings are errors a model's answer would be lost to one.
_ITS_WARNINGS = ("Accessing the .* attribute on the instance is deprecated", ".*`ReadOnly` qualifier", "Pydantic serializer warnings")


def load() -> Any:
    """The module litellm. The first call takes seconds; from an event loop use `ready`."""
    global _loaded
    with _lock:
        if _loaded is None:
            # Without this it fetches a price list over the network.
            os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            import litellm

            # LiteLLM would import this, and build these, with the first call: in the event loop, for half a second.
            import openai.resources  # noqa: F401
            from litellm.types.utils import ModelResponse, ModelResponseStream

            ModelResponse()
            ModelResponseStream()
            litellm.suppress_debug_info = True
            litellm.telemetry = False
            # It would guess the usage that a provider did not send, in the event loop, and for some names with a tokenizer from a hub.
            litellm.disable_token_counter = True
            _loaded = litellm
        return _loaded


async def ready() -> Any:
    """The module litellm, fit for use in this event loop."""
    litellm = _loaded if _loaded is not None else await asyncio.to_thread(load)
    loop = asyncio.get_running_loop()
    for message in _ITS_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    if loop not in _loops:
        _forget(litellm, loop)
        _loops.add(loop)
    return litellm


async def close() -> None:
    """Close this loop's clients and forget them. Does nothing if litellm was never used in it."""
    loop = asyncio.get_running_loop()
    if _loaded is None or loop not in _loops:
        return
    for client in _forget(_loaded, loop):
        closing = (getattr(client, "aclose", None) or client.close)()
        if inspect.isawaitable(closing):
            await closing
    _loops.discard(loop)
    # Some providers go through a client that all loops share. Closing it, as closing all, is for the last loop to do.
    if all(other.is_closed() for other in _loops):
        await _loaded.close_litellm_async_clients()


def _forget(litellm: Any, loop: asyncio.AbstractEventLoop) -> list[Any]:
    cache = litellm.in_memory_llm_clients_cache
    suffix = f"-{id(loop)}"
    keys = [key for key in cache.cache_dict if key.endswith(suffix)]
    for key in keys:
        cache.ttl_dict.pop(key, None)
    return [cache.cache_dict.pop(key) for key in keys]
