"""Deadlines for model objects that know none: until an answer is there, and for the silence within a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from afk_es.errors import LLMTimeoutError
from afk_es.llms.port import ChatModel, PricedChatModel, streamed
from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse, StreamPart


class Timed:
    """A model whose calls are given up after a while. These are seconds of the event loop: a socket knows no simulated ones.

    Args:
        stream_idle_s: seconds without a part until a stream is given up. Its first part has the request's `timeout_s`.
    """

    def __init__(self, inner: ChatModel, stream_idle_s: float) -> None:
        self.inner = inner
        self._stream_idle_s = stream_idle_s

    @property
    def provider_id(self) -> str:
        """The model's."""
        return self.inner.provider_id

    def __repr__(self) -> str:
        return repr(self.inner)

    def prices(self, model: str) -> bool | None:
        """Whether the model knows the price."""
        return self.inner.prices(model) if isinstance(self.inner, PricedChatModel) else None

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """The answer, in time.

        Raises:
            LLMTimeoutError: it was not there within the request's `timeout_s`.
        """
        deadline = asyncio.timeout(request.timeout_s)
        try:
            async with deadline:
                return await self.inner.chat(request)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise LLMTimeoutError(f"{request.model} did not answer within {request.timeout_s:g} s") from error

    async def chat_stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """The same in parts.

        Raises:
            LLMTimeoutError: it did not begin in time, or fell silent.
        """
        stream = streamed(self.inner, request)
        limit_s, silence = request.timeout_s, f"{request.model} did not answer within {request.timeout_s or 0:g} s"
        try:
            while True:
                deadline = asyncio.timeout(limit_s)
                try:
                    async with deadline:
                        part = await anext(stream, None)
                except TimeoutError as error:
                    if not deadline.expired():
                        raise
                    raise LLMTimeoutError(silence) from error
                if part is None:
                    return
                yield part
                limit_s, silence = self._stream_idle_s, f"the stream of {request.model} fell silent for {self._stream_idle_s:g} s"
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
