"""An answer while it is put together from what LiteLLM hands over, whole or in chunks. It does no I/O and judges no failure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from afk_es.llms.chat import parsed_arguments
from afk_es.llms.request import LLMRequest
from afk_es.llms.response import TextDelta, ToolCallDelta
from afk_es.machine.values import ToolCall, Usage, clean_text


class _Call:
    __slots__ = ("arguments", "id", "tool_name")

    def __init__(self, call_id: str, tool_name: str) -> None:
        self.id = call_id
        self.tool_name = tool_name
        self.arguments = ""


class Answer:
    """An answer while it is put together."""

    def __init__(self, request: LLMRequest) -> None:
        self.request = request
        self.text: str = ""
        self.calls: list[_Call] = []
        self.finish_reason: str | None = None
        self.model: str | None = None
        self.usage: Usage | None = None
        self.cache_read_tokens: int | None = None
        self._at: dict[int, int] = {}

    def take(self, chunk: Any) -> Iterator[TextDelta | ToolCallDelta]:
        """Take in a chunk of a stream, and say what it brought."""
        hidden = getattr(chunk, "_hidden_params", None) or {}
        self.model = hidden.get("provider_response_model") or getattr(chunk, "model", None) or self.model
        for choice in chunk.choices[:1]:
            self.finish_reason = choice.finish_reason or self.finish_reason
            if choice.delta.content:
                self.text += choice.delta.content
                yield TextDelta(choice.delta.content)
            for call in choice.delta.tool_calls or ():
                index = self.add_call(call.index or 0, call.id, call.function.name, call.function.arguments)
                yield ToolCallDelta(index, call.id, call.function.name, call.function.arguments or "")

    def add_call(self, index: int, call_id: str | None, tool_name: str | None, arguments: str | None) -> int:
        """Add a call or the next piece of one, and say which of the answer's calls it is.

        Some providers number every call 0: a new id under an old number is a new call.
        """
        position = self._at.get(index)
        if position is None or (call_id and call_id != self.calls[position].id and tool_name):
            position = self._at[index] = len(self.calls)
            self.calls.append(_Call(call_id or f"call_{position}", tool_name or ""))
        call = self.calls[position]
        call.tool_name = call.tool_name or tool_name or ""
        call.arguments += arguments or ""
        return position

    def add_usage(self, usage: Any) -> None:
        """Count what the provider said. Its counts within a stream are totals so far; zeros are LiteLLM's word for nothing said."""
        read = (getattr(usage, "prompt_tokens", None) or 0, getattr(usage, "completion_tokens", None) or 0)
        if not any(read):
            return
        before = self.usage or Usage()
        tokens_in, tokens_out = max(read[0], before.input_tokens), max(read[1], before.output_tokens)
        total = max(getattr(usage, "total_tokens", None) or 0, before.total_tokens, tokens_in + tokens_out)
        self.usage = Usage(tokens_in, tokens_out, total)
        cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None)
        if isinstance(cached, int) and 0 < cached <= tokens_in:
            self.cache_read_tokens = cached

    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(ToolCall(call.id, call.tool_name, parsed_arguments(call.arguments)) for call in self.calls)

    def structured(self) -> Any:
        """The text as JSON, where that was asked for and the model kept to it."""
        if self.request.response_format is None or not self.text:
            return None
        try:
            return msgspec.json.decode(clean_text(self.text))
        except msgspec.DecodeError:
            return None
