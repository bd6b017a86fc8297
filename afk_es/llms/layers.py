"""One model with everything an LLMBuilder puts around it: a link of the chain that the builder makes. Like any model, it knows no run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

from afk_es.clock import Clock
from afk_es.errors import LLMInvalidResponseError
from afk_es.llms.caching import Cache, Coalescing
from afk_es.llms.circuit import Circuit
from afk_es.llms.pacing import Pacing
from afk_es.llms.port import CallNext, ChatModel, LLMMiddleware, PricedChatModel, streamed
from afk_es.llms.prices import ModelPrices
from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse, StreamPart, TextDelta, ToolCallDelta
from afk_es.llms.retrying import Retrying
from afk_es.machine.spec import Retry

_PENDING_PARTS = 64


@dataclass(frozen=True, eq=False)
class LayeredModel:
    """A model and its layers. From the outside in: middlewares, cache, coalescing, retries, breaker, rate limit, the model.

    Attributes:
        inner: the model itself.
        model: the name it asks for, or None where each request says it.
        defaults: of requests that leave a thing open.
    """

    inner: ChatModel
    model: str | None
    defaults: dict[str, Any]
    clock: Clock
    middlewares: tuple[LLMMiddleware, ...] = ()
    cache: Cache | None = None
    coalescing: Coalescing | None = None
    retry: Retry | None = None
    circuit: Circuit | None = None
    pacing: Pacing | None = None
    given_prices: ModelPrices | None = None

    @property
    def provider_id(self) -> str:
        """The adapter's."""
        return self.inner.provider_id

    def __repr__(self) -> str:
        return f"LayeredModel({self.inner!r}, model={self.model!r}, retry={self.retry!r})"

    def without_retries(self) -> LayeredModel:
        """The same, with the same cache, breaker and rate limit, for whoever retries by himself."""
        return replace(self, retry=None)

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """The answer, through all layers."""

        async def ask(asked: LLMRequest) -> LLMResponse:
            return self._priced(await self.inner.chat(asked))

        return await self._through(ask, lambda: True, (self.coalescing,))(self._completed(request))

    async def chat_stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """The same in parts. The last is what the layers made of the answer; the deltas are the model's, and shared with nobody."""
        parts: asyncio.Queue[TextDelta | ToolCallDelta | None] = asyncio.Queue(_PENDING_PARTS)
        seen = False

        async def ask(asked: LLMRequest) -> LLMResponse:
            nonlocal seen
            async with contextlib.aclosing(streamed(self.inner, asked)) as stream:
                async for part in stream:
                    if isinstance(part, LLMResponse):
                        return self._priced(part)
                    seen = True
                    await parts.put(part)
            raise LLMInvalidResponseError(f"the stream of {asked.model} ended without an LLMResponse")

        async def answer() -> LLMResponse:
            try:
                return await self._through(ask, lambda: not seen, ())(self._completed(request))
            finally:
                await parts.put(None)

        answering = asyncio.create_task(answer())
        try:
            while (part := await parts.get()) is not None:
                yield part
            response = await answering
            if response.text and not seen:
                # A cache or a middleware had the answer.
                yield TextDelta(response.text)
            yield response
        finally:
            answering.cancel()
            # Its failure, if it has one, was raised above or nobody is there to hear it.
            await asyncio.gather(answering, return_exceptions=True)

    def prices(self, model: str) -> bool | None:
        """Whether the price is known. May block: call it in a thread."""
        if self.given_prices is not None:
            return True
        return self.inner.prices(self.model or model) if isinstance(self.inner, PricedChatModel) else None

    def _priced(self, response: LLMResponse) -> LLMResponse:
        # What is no LLMResponse is complained of by whoever gets it.
        if self.given_prices is None or not isinstance(response, LLMResponse):
            return response
        return response.model_copy(update={"cost_usd": self.given_prices.cost_usd(response)})

    def _completed(self, request: LLMRequest) -> LLMRequest:
        """The request with the builder's model, and with its defaults where the request leaves a thing open."""
        changes: dict[str, Any] = {name: value for name, value in self.defaults.items() if getattr(request, name) in (None, ())}
        if self.model is not None:
            changes["model"] = self.model
        return request.model_copy(update=changes)

    def _through(self, ask: CallNext, may_repeat: Callable[[], bool], shared: tuple[LLMMiddleware | None, ...]) -> CallNext:
        layers: tuple[LLMMiddleware | None, ...] = (
            *self.middlewares,
            self.cache,
            *shared,
            None if self.retry is None else Retrying(self.retry, self.clock, may_repeat),
            # Before the queue of the rate limit, and after it: what was closed when a call began to wait may have opened meanwhile.
            None if self.circuit is None or self.pacing is None else self.circuit.turn_away,
            self.pacing,
            self.circuit,
        )
        for layer in reversed(layers):
            if layer is not None:
                ask = _wrapped(layer, ask)
        return ask


def _wrapped(layer: LLMMiddleware, ask: CallNext) -> CallNext:
    return lambda request: layer(request, ask)
