"""The model an LLMBuilder makes: a chain of models, of which the next is asked where the one before has failed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from afk_es.errors import text_of
from afk_es.llms.layers import LayeredModel
from afk_es.llms.port import ChatModel, Link, LinkedChatModel, PricedChatModel, streamed
from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse, StreamPart


class BuiltModel:
    """What `LLMBuilder.build` gives: good for any number of calls at once, and for one event loop after another.

    In a Runner each model of the chain is a model of the run, and the retries are the Runner's: every attempt is an event.

    Attributes:
        provider_id: of the chain's first model.
        model: the name that one asks for, or None where each request says it.
    """

    __slots__ = ("_fallbacks", "_first")

    def __init__(self, first: LayeredModel, fallbacks: tuple[ChatModel, ...] = ()) -> None:
        self._first = first
        self._fallbacks = fallbacks

    @property
    def provider_id(self) -> str:
        """The first adapter's."""
        return self._first.provider_id

    @property
    def model(self) -> str | None:
        """The name it was built for, if any."""
        return self._first.model

    def __repr__(self) -> str:
        chain = "".join(f", {model!r}" for model in self._fallbacks)
        return f"BuiltModel({self._first.inner!r}, model={self.model!r}, retry={self._first.retry!r}{chain})"

    @property
    def _chain(self) -> tuple[ChatModel, ...]:
        return (self._first, *self._fallbacks)

    def links(self) -> tuple[Link, ...]:
        """The models of the chain without their retries, in order; of a fallback that is itself a chain, its links."""
        links = [Link(self._first.without_retries(), self._first.retry)]
        for model in self._fallbacks:
            links += model.links() if isinstance(model, LinkedChatModel) else [Link(model, None)]
        return tuple(links)

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """The answer of the first model of the chain that has one.

        Raises:
            Exception: the last model's failure; in its notes, those before it.
        """
        failures: list[Exception] = []
        for model in self._chain:
            try:
                return await model.chat(request)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next model may fare better; the last failure is raised
                failures.append(error)
        raise _told(failures)

    async def chat_stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """The same in parts. Once a model has brought something, no other is asked in its place."""
        failures: list[Exception] = []
        for model in self._chain:
            seen = False
            try:
                async with contextlib.aclosing(streamed(model, request)) as stream:
                    async for part in stream:
                        seen = True
                        yield part
                return
            except Exception as error:
                if seen:
                    raise
                failures.append(error)
        raise _told(failures)

    def prices(self, model: str) -> bool | None:
        """Whether the price of every model of the chain is known. May block: call it in a thread."""
        known = [link.prices(model) if isinstance(link, PricedChatModel) else None for link in self._chain]
        return False if False in known else None if None in known else True


def _told(failures: list[Exception]) -> Exception:
    *before, last = failures
    for error in before:
        last.add_note(f"a model before it in the chain failed with {type(error).__name__}: {text_of(error)}")
    return last
