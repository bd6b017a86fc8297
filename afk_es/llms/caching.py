"""Answers that were given before, and answers that somebody else is waiting for already. Both go by the request's hash.

Neither asks whether the model would answer the same again: who turns this on says that the answer is good enough.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from afk_es.clock import Clock
from afk_es.llms.port import CallNext
from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse
from afk_es.machine.values import Messages, Usage, canonical_json, digest

_NOT_THE_QUESTION = frozenset({"messages", "tools", "timeout_s", "idempotency_key", "attempt", "metadata"})
"""What may differ between two requests that ask the same; the first two are digested in a form of their own."""


def request_hash(request: LLMRequest) -> str | None:
    """The digest of all that an answer may depend on; None for a request that cannot be JSON, which is like no other."""
    messages = request.messages if isinstance(request.messages, Messages) else Messages(request.messages)
    # The digest of a Messages is of the list without the system message that leads it.
    system = messages[0].content if len(messages) and messages[0].role == "system" else None
    tools = [(tool.name, tool.description, tool.parameters) for tool in request.tools]
    rest = {name: value for name, value in request if name not in _NOT_THE_QUESTION}
    try:
        return digest(canonical_json([rest, system, messages.digest(), tools]))
    except (TypeError, UnicodeEncodeError):
        return None


def without_cost(response: LLMResponse) -> LLMResponse:
    """The answer for whoever gets it without a call: a copy of his own, which says that nothing was used."""
    changes = {"cached": True, "cost_usd": 0.0, "usage": Usage(), "cache_read_tokens": None, "raw": None}
    return response.model_copy(update=changes).model_copy(deep=True)


class Cache:
    """Keeps answers for a while, and the most recently used ones at most.

    Args:
        ttl_s: how long an answer is good.
        max_entries: how many are kept.
    """

    def __init__(self, ttl_s: float, max_entries: int, clock: Clock) -> None:
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, LLMResponse]] = OrderedDict()

    async def __call__(self, request: LLMRequest, call_next: CallNext) -> LLMResponse:
        """The kept answer to the same question, or a new one, which is kept."""
        key = request_hash(request)
        if key is None:
            return await call_next(request)
        found = self._kept.get(key)
        if found is not None and self._clock.monotonic() < found[0]:
            self._kept.move_to_end(key)
            return without_cost(found[1])
        response = await call_next(request)
        # A copy: whoever has the answer may change what is in it.
        kept = response.model_copy(update={"raw": None}).model_copy(deep=True)
        self._kept[key] = (self._clock.monotonic() + self._ttl_s, kept)
        self._kept.move_to_end(key)
        if len(self._kept) > self._max_entries:
            self._kept.popitem(last=False)
        return response


_LEAVING_S = 1.0
"""How long whoever leaves waits for a call that nobody wants any more to clean up."""


class _Shared:
    """A call that is under way, and who waits for it."""

    def __init__(self, task: asyncio.Task[LLMResponse]) -> None:
        self.task = task
        self.waiting = 0
        self.told = False


class Coalescing:
    """One call for all who ask the same at the same time. It goes on for as long as one of them waits."""

    def __init__(self) -> None:
        self._under_way: dict[str, _Shared] = {}

    async def __call__(self, request: LLMRequest, call_next: CallNext) -> LLMResponse:
        """The answer, of a call of one's own or of another's. The first who gets it pays for it."""
        key = request_hash(request)
        if key is None:
            return await call_next(request)
        shared = self._under_way.get(key)
        if shared is None or shared.task.done() or shared.task.get_loop() is not asyncio.get_running_loop():
            shared = self._begun(key, request, call_next)
        shared.waiting += 1
        try:
            response = await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting and not shared.task.done():
                shared.task.cancel()
                # Whoever left closes the connection: it is let go here and now.
                await asyncio.wait([shared.task], timeout=_LEAVING_S)
        if shared.told:
            return without_cost(response)
        shared.told = True
        return response

    def _begun(self, key: str, request: LLMRequest, call_next: CallNext) -> _Shared:
        async def ask() -> LLMResponse:
            return await call_next(request)

        shared = self._under_way[key] = _Shared(asyncio.create_task(ask()))

        def over(task: asyncio.Task[LLMResponse]) -> None:
            if self._under_way.get(key) is shared:
                del self._under_way[key]
            if not task.cancelled():
                task.exception()  # Whoever waits hears of it; where nobody does any more, asyncio need not complain.

        shared.task.add_done_callback(over)
        return shared
