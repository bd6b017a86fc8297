"""The model port: what the loop needs of a model, and nothing about who it is or how it is reached.

Any object with `provider_id` and `chat` is a model. One that can stream adds `chat_stream`, and one that knows prices adds `prices`; whoever
drives it looks whether they are there. Nobody closes a model but its maker: it may be at work for somebody else as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse, StreamPart


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
