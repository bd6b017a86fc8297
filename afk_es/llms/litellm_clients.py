"""LiteLLM itself, loaded once, and the HTTP clients it keeps per event loop. Nothing here knows what is sent through them.

All models of an event loop share them, so no model and no Runner can tell when the last call through them is over: only the loop's end
can. That is when they are closed, by an async generator that waits for nothing else: `asyncio.run`, `asyncio.Runner` and whoever else ends
a loop in good form calls its `shutdown_asyncgens`, after the last task and before the loop is closed.

LiteLLM finds a client by the `id()` of the running event loop, which Python gives again to a later loop. So clients of a loop that did not
end in good form are forgotten when a loop with its id is first seen.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import warnings
from collections.abc import AsyncGenerator
from typing import Any

_loaded: Any = None
_lock = threading.Lock()

_ends: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}
"""For each loop in which LiteLLM is in use, the generator whose end closes the loop's clients."""

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
    if loop not in _ends:
        _forget(litellm, loop)
        end = _at_the_end_of(loop, litellm)
        with _lock:
            for gone in [other for other in _ends if other.is_closed()]:
                del _ends[gone]
            _ends[loop] = end
        await anext(end)
    return litellm


async def _at_the_end_of(loop: asyncio.AbstractEventLoop, litellm: Any) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await _close(loop, litellm)


async def _close(loop: asyncio.AbstractEventLoop, litellm: Any) -> None:
    with _lock:
        del _ends[loop]
        last = all(other.is_closed() for other in _ends)
    for client in _forget(litellm, loop):
        closing = (getattr(client, "aclose", None) or client.close)()
        if inspect.isawaitable(closing):
            await closing
    # Some providers go through a client that all loops share. Closing it, as closing all, is for the last loop to do.
    if last:
        await litellm.close_litellm_async_clients()


def _forget(litellm: Any, loop: asyncio.AbstractEventLoop) -> list[Any]:
    cache = litellm.in_memory_llm_clients_cache
    suffix = f"-{id(loop)}"
    keys = [key for key in cache.cache_dict if key.endswith(suffix)]
    for key in keys:
        cache.ttl_dict.pop(key, None)
    return [cache.cache_dict.pop(key) for key in keys]
