"""The model an LLMBuilder makes: a model with defaults, middlewares and retries around it. Like any model, it knows no run."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from afk_es.clock import Clock
from afk_es.errors import LLMInvalidResponseError
from afk_es.llms.port import ChatModel, PricedChatModel, StreamingChatModel
from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse, StreamPart, TextDelta, ToolCallDelta
from afk_es.llms.retrying import with_retries
from afk_es.machine.spec import Retry

CallNext: TypeAlias = Callable[[LLMRequest], Awaitable[LLMResponse]]
LLMMiddleware: TypeAlias = Callable[[LLMRequest, CallNext], Awaitable[LLMResponse]]
"""Wraps a call: may look at the request or send another, look at the answer or give another, or not call on at all."""

_PENDING_PARTS = 64


class BuiltModel:
    """What `LLMBuilder.build` gives: immutable, and good for any number of calls at once.

    Attributes:
        provider_id: of the model inside.
        model: the name it asks for, or None where each request says it.
    """

    __slots__ = ("_clock", "_defaults", "_inner", "_middlewares", "_model", "_retry")

    def __init__(
        self,
        *,
        inner: ChatModel,
        model: str | None,
        defaults: LLMRequest,
        retry: Retry | None,
        clock: Clock,
        middlewares: tuple[LLMMiddleware, ...],
    ) -> None:
        self._inner = inner
        self._model = model
        self._defaults = {name: getattr(defaults, name) for name in defaults.model_fields_set - {"model", "messages"}}
        self._retry = retry
        self._clock = clock
        self._middlewares = middlewares

    @property
    def provider_id(self) -> str:
        """The adapter's."""
        return self._inner.provider_id

    @property
    def model(self) -> str | None:
        """The name it was built for, if any."""
        return self._model

    def __repr__(self) -> str:
        return f"BuiltModel({self._inner!r}, model={self._model!r}, retry={self._retry!r})"

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """The answer, through the middlewares and, where the builder had `with_retry`, after as many attempts as it takes."""
        return await self._through(self._inner.chat, lambda: True)(self._completed(request))

    async def chat_stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """The same in parts. The last is what the middlewares made of the answer; the deltas are the model's."""
        parts: asyncio.Queue[TextDelta | ToolCallDelta | None] = asyncio.Queue(_PENDING_PARTS)
        seen = False

        async def ask(asked: LLMRequest) -> LLMResponse:
            nonlocal seen
            async with contextlib.aclosing(self._stream(asked)) as stream:
                async for part in stream:
                    if isinstance(part, LLMResponse):
                        return part
                    seen = True
                    await parts.put(part)
            raise LLMInvalidResponseError(f"the stream of {asked.model} ended without an LLMResponse")

        async def answer() -> LLMResponse:
            try:
                return await self._through(ask, lambda: not seen)(self._completed(request))
            finally:
                await parts.put(None)

        answering = asyncio.create_task(answer())
        try:
            while (part := await parts.get()) is not None:
                yield part
            yield await answering
        finally:
            answering.cancel()
            # Its failure, if it has one, was raised above or nobody is there to hear it.
            await asyncio.gather(answering, return_exceptions=True)

    def prices(self, model: str) -> bool | None:
        """Whether the model inside knows the price. May block: call it in a thread."""
        return self._inner.prices(self._model or model) if isinstance(self._inner, PricedChatModel) else None

    async def _stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
        if isinstance(self._inner, StreamingChatModel):
            stream = self._inner.chat_stream(request)
            try:
                async for part in stream:
                    yield part
            finally:
                # A stream holds a connection; it is let go here and now, not when the garbage is collected.
                if isinstance(stream, AsyncGenerator):
                    await stream.aclose()
            return
        response = await self._inner.chat(request)
        if response.text:
            yield TextDelta(response.text)
        yield response

    def _completed(self, request: LLMRequest) -> LLMRequest:
        """The request with the builder's model, and with its defaults where the request leaves a thing open."""
        changes: dict[str, Any] = {name: value for name, value in self._defaults.items() if getattr(request, name) in (None, ())}
        if self._model is not None:
            changes["model"] = self._model
        return request.model_copy(update=changes)

    def _through(self, ask: CallNext, may_repeat: Callable[[], bool]) -> CallNext:
        if self._retry is not None:
            ask = functools.partial(with_retries, ask, retry=self._retry, clock=self._clock, may_repeat=may_repeat)
        for middleware in reversed(self._middlewares):
            ask = _wrapped(middleware, ask)
        return ask


def _wrapped(middleware: LLMMiddleware, ask: CallNext) -> CallNext:
    return lambda request: middleware(request, ask)
