"""A model that answers from a script. It never thinks, waits or calls out, so a test of an agent is exact and free.

A list answers in order, whoever asks; that suits one run. Concurrent runs, and runs that are resumed in another process, want a function
of the request instead: what it answers does not depend on how often it was asked before.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeAlias

from afk_es.errors import LLMConfigurationError
from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse, StreamPart, TextDelta, ToolCallDelta
from afk_es.machine.values import ToolCall, canonical_json

Answer: TypeAlias = LLMResponse | str | Exception
ScriptFunction: TypeAlias = Callable[[LLMRequest], Answer | Awaitable[Answer]]

_WORDS_A_PIECE = 3
_CHARACTERS_A_PIECE = 12
_QUOTED_CHARACTERS = 200


class ScriptExhaustedError(LLMConfigurationError):
    """The model was asked more often than its script has answers. Terminal, so a run that hits it fails and says so."""


class ScriptedModel:
    """A model that answers what it was told to.

    Args:
        script: the answers in order, each an LLMResponse, a str (the text of an answer), an Exception (raised), or a function of the
            request that returns one of those, sync or async. Or one such function alone, which is called for every request and never
            runs out.
        provider_id: who answers, as it stands in the log.
        model: the model's name in answers that are given as a str.

    Attributes:
        requests: every request so far, in the order they came.
    """

    def __init__(
        self, script: Iterable[Answer | ScriptFunction] | ScriptFunction, *, provider_id: str = "scripted", model: str = "scripted-1"
    ) -> None:
        if isinstance(script, str):
            raise LLMConfigurationError(f"a script is a list of answers; for this one answer write ScriptedModel([{script[:40]!r}])")
        self.provider_id = provider_id
        self.model = model
        self.requests: list[LLMRequest] = []
        self._function: ScriptFunction | None = script if callable(script) else None
        self._answers: tuple[Answer | ScriptFunction, ...] = () if callable(script) else tuple(script)
        # `next` on a counter is atomic, so runs in several threads never get the same answer.
        self._asked = itertools.count()

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """The next answer of the script.

        Raises:
            ScriptExhaustedError: there is none.
            Exception: whatever the script holds at this place.
        """
        self.requests.append(request)
        answer = self._next(request)
        if callable(answer):
            given = answer(request)
            answer = await given if inspect.isawaitable(given) else given
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            return LLMResponse(text=answer, finish_reason="stop", model=self.model)
        if not isinstance(answer, LLMResponse):
            raise LLMConfigurationError(f"a script holds LLMResponse, str, Exception or functions; it gave a {type(answer).__name__}")
        return answer

    async def chat_stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """The same answer in pieces of a few words, and then whole."""
        response = await self.chat(request)
        for part in _deltas(response):
            yield part
            # A stream that never lets go of the loop could not be cancelled.
            await asyncio.sleep(0)
        yield response

    def _next(self, request: LLMRequest) -> Answer | ScriptFunction:
        if self._function is not None:
            return self._function
        position = next(self._asked)
        if position < len(self._answers):
            return self._answers[position]
        raise ScriptExhaustedError(
            f"the script has {len(self._answers)} answers, and this is request {position + 1}; "
            f"the last user message was {_last_user_message(request)!r}"
        )

    def __repr__(self) -> str:
        script = "a function" if self._function is not None else f"{len(self._answers)} answers"
        return f"ScriptedModel({script}, provider_id={self.provider_id!r}, model={self.model!r})"


def _last_user_message(request: LLMRequest) -> str:
    for message in reversed(request.messages):
        if message.role == "user":
            return message.content[:_QUOTED_CHARACTERS]
    return ""


def _deltas(response: LLMResponse) -> Iterable[TextDelta | ToolCallDelta]:
    words = re.findall(r"\s*\S+|\s+$", response.text) or ([response.text] if response.text else [])
    for start in range(0, len(words), _WORDS_A_PIECE):
        yield TextDelta("".join(words[start : start + _WORDS_A_PIECE]))
    for index, call in enumerate(response.tool_calls):
        yield from _call_deltas(index, call)


def _call_deltas(index: int, call: ToolCall) -> Iterable[ToolCallDelta]:
    yield ToolCallDelta(index, call.id, call.tool_name)
    text = call.arguments if isinstance(call.arguments, str) else canonical_json(call.arguments).decode()
    for start in range(0, len(text), _CHARACTERS_A_PIECE):
        yield ToolCallDelta(index, arguments=text[start : start + _CHARACTERS_A_PIECE])
