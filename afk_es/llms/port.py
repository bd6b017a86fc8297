"""The model port: what the loop needs of a model, and nothing about who it is or how it is reached.

Any object with `provider_id` and `chat` is a model. One that can stream adds `chat_stream`, one that knows prices adds `prices`, one
that is made of several adds `links`, and one whose work goes on without its asker adds `withdraw`; whoever drives it looks whether they are there. Nobody closes a model but its maker: it may be at work for somebody else as well.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse, StreamPart, TextDelta
from afk_es.machine.spec import Retry

CallNext: TypeAlias = Callable[[LLMRequest], Awaitable[LLMResponse]]
LLMMiddleware: TypeAlias = Callable[[LLMRequest, CallNext], Awaitable[LLMResponse]]
"""Wraps a call: may look at the request or send another, look at the answer or give another, or not call on at all."""


@runtime_checkable
class ChatModel(Protocol):
    """A model that can be asked."""

    @property
    def provider_id(self) -> str:
        """Who answers, as it is to stand in the log: "litellm", "scripted"."""
        ...

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """The answer to the request.

        Raises:
            LLMError: of the class that says whether asking again can help; any other exception counts as terminal, unless it is
                plainly a timeout or a lost connection (`classify`).
        """
        ...


@runtime_checkable
class StreamingChatModel(ChatModel, Protocol):
    """A model whose answer can be watched as it comes."""

    def chat_stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """Deltas as they arrive, then the whole LLMResponse, last and once. A stream that breaks off raises instead."""
        ...


@runtime_checkable
class PricedChatModel(ChatModel, Protocol):
    """A model that can say beforehand whether its price is known, so that a cost limit it cannot keep fails at once."""

    def prices(self, model: str) -> bool | None:
        """Whether answers of this model will carry their cost; None where only the answers will tell. May block: call it in a thread."""
        ...


@runtime_checkable
class WithdrawableChatModel(ChatModel, Protocol):
    """A model that goes on working after its asker has hung up, and can be told to stop."""

    async def withdraw(self, request: LLMRequest) -> None:
        """Stop working on this request; nobody wants its answer any more, now or later.

        A Runner calls it, once and without minding a failure, after it has cut a call because the run was cancelled or has used up its time.
        It also does where a run ends, without an answer, after a turn of the model's that asks for tools: say while a person is asked. Then
        there is no call to name: the request has no `idempotency_key`, and its messages are the whole conversation, which ends with that
        turn, or with results of its tools.

        It does not where the run was laid down, by an interrupt or with its process: the call is made again when the run is resumed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Link:
    """One model of a chain, as a Runner asks it: by itself, without retries or fallbacks that its log would not show.

    Attributes:
        retry: how the Runner is to try again; None as it does by itself.
    """

    model: ChatModel
    retry: Retry | None


@runtime_checkable
class LinkedChatModel(ChatModel, Protocol):
    """A model that retries, or asks others in its place: a Runner takes both over, so that each attempt is an event."""

    def links(self) -> tuple[Link, ...]:
        """The models of the chain, in the order in which they are asked."""
        ...


async def streamed(model: ChatModel, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
    """The model's stream; of one that cannot stream the text in one piece, and then the answer."""
    if isinstance(model, StreamingChatModel):
        stream = model.chat_stream(request)
        try:
            async for part in stream:
                yield part
        finally:
            # A stream holds a connection; it is let go here and now, not when the garbage is collected.
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
        return
    response = await model.chat(request)
    if response.text:
        yield TextDelta(response.text)
    yield response
