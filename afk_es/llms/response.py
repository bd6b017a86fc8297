"""What a model answered, whatever vendor it came from. It knows nothing of how the answer was fetched."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from afk_es.machine.values import ToolCall, Usage


class LLMResponse(BaseModel):
    """A model's answer.

    Attributes:
        text: the text; empty where the model only calls tools.
        tool_calls: the tools it wants called, in its order.
        finish_reason: the provider's own word for why it stopped ("stop", "tool_calls", "length"), or None.
        usage: tokens used, or None where the provider did not say: unknown, not zero.
        cost_usd: the price in US dollars, or None where it is unknown.
        model: the model's name as the provider gave it.
        structured_response: the parsed JSON value, where the request had a `response_format` and the text satisfied JSON.
        cache_read_tokens: tokens of the request that the provider had in its prompt cache, where it says so; part of `usage`.
        cached: whether no model was asked for it, because `LLMBuilder.with_cache` or `with_coalescing` had it; then nothing was used.
        raw: the provider's own object; never stored.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = Field(default=None, ge=0)
    model: str | None = None
    structured_response: Any = None
    cache_read_tokens: int | None = Field(default=None, ge=0)
    cached: bool = False
    raw: Any = Field(default=None, repr=False, exclude=True)


class TextDelta(msgspec.Struct, frozen=True):
    """A piece of a streamed answer's text."""

    text: str


class ToolCallDelta(msgspec.Struct, frozen=True):
    """A piece of a streamed tool call.

    Attributes:
        index: which call of the answer, from 0.
        id: the call's id, where this piece carries it.
        tool_name: the tool's name, where this piece carries it.
        arguments: the next characters of the arguments' JSON text.
    """

    index: int
    id: str | None = None
    tool_name: str | None = None
    arguments: str = ""


StreamPart = TextDelta | ToolCallDelta | LLMResponse
"""What a streamed answer is made of: deltas, and at the very end the whole LLMResponse, once."""
