"""Asks the model. Whatever it does, answering, failing, hanging up or answering nonsense, becomes `llm_completed` or `llm_failed`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from typing import Any

from afk_es.errors import LLMCancelledError, LLMInvalidResponseError
from afk_es.handlers.binding import Binding, Emit
from afk_es.llms import ChatModel, LLMRequest, LLMResponse, StreamingChatModel, TextDelta, ToolCall, classify
from afk_es.machine import Draft, RunState
from afk_es.machine.effects import CallModel
from afk_es.machine.values import Message, clean_text, plain


class ModelHandler:
    """Performs `CallModel`.

    Args:
        emit: takes pieces of text as they come; with it, models that can stream do.
    """

    def __init__(self, binding: Binding, emit: Emit | None = None) -> None:
        self._binding = binding
        self._emit = emit

    async def __call__(self, effect: CallModel, state: RunState) -> Draft:
        """Ask, and say how it went."""
        model = self._binding.models[effect.model_index]
        began = self._binding.clock.monotonic()
        try:
            response = await self._response(model, request_of(effect, state))
            if not isinstance(response, LLMResponse):
                raise LLMInvalidResponseError(f"{type(model).__name__}.chat returned a {type(response).__name__}; return an LLMResponse")
            data = _completed(response, state)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return self._failed(effect, LLMCancelledError("the model adapter cancelled the call"), began)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a model adapter is the user's or a vendor's code; its failure is a fact of the run
            return self._failed(effect, error, began)
        data["latency_ms"] = self._latency_ms(began)
        return Draft("llm_completed", data)

    async def _response(self, model: ChatModel, request: LLMRequest) -> LLMResponse:
        if self._emit is None or not isinstance(model, StreamingChatModel):
            return await model.chat(request)
        response: LLMResponse | None = None
        stream = model.chat_stream(request)
        try:
            # To its end, even after the response: there may be something to be cleared away behind it.
            async for part in stream:
                if isinstance(part, TextDelta):
                    await self._emit(clean_text(part.text))
                elif isinstance(part, LLMResponse):
                    response = part
        finally:
            # It holds a connection, which is let go here and now also where the call is cut, and not when the garbage is collected.
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
        if response is None:
            raise LLMInvalidResponseError("the stream ended without an LLMResponse")
        return response

    def _failed(self, effect: CallModel, error: BaseException, began: float) -> Draft:
        failure = classify(error)
        data: dict[str, Any] = {
            "error": clean_text(failure.message),
            "error_type": failure.error_type,
            "classification": failure.classification,
            "model": effect.model,
            "attempt": effect.attempt,
            "status_code": failure.status_code,
            "retry_after_s": failure.retry_after_s,
            "latency_ms": self._latency_ms(began),
        }
        return Draft("llm_failed", data, data["error"])

    def _latency_ms(self, began: float) -> float:
        return round((self._binding.clock.monotonic() - began) * 1000, 3)


def request_of(effect: CallModel, state: RunState) -> LLMRequest:
    """What a model is asked."""
    spec = state.spec
    system = Message("system", effect.instructions) if effect.instructions else None
    return LLMRequest(
        model=effect.model,
        messages=effect.messages.led_by(system),
        tools=spec.tools,
        response_format=spec.output_schema,
        idempotency_key=effect.idempotency_key,
        attempt=effect.attempt,
        metadata={"run_id": state.run_id, "thread_id": state.thread_id},
        **spec.parameters,
    )


def _completed(response: LLMResponse, state: RunState) -> dict[str, Any]:
    calls = _distinct(response.tool_calls, state)
    cost = response.cost_usd
    data: dict[str, Any] = {
        "tool_call_count": len(calls),
        "finish_reason": clean_text(response.finish_reason) if response.finish_reason is not None else None,
        "text": clean_text(response.text),
        "tool_calls": calls,
        "usage": usage_data(response),
        "cost_usd": cost if cost is not None and math.isfinite(cost) and cost >= 0 else None,
    }
    if response.cached:
        data["cached"] = True
    if response.model is not None:
        data["model"] = clean_text(response.model)
    if response.structured_response is not None:
        data["structured_response"] = plain(response.structured_response)
    return data


def usage_data(response: LLMResponse) -> dict[str, int] | None:
    """The tokens, or None where they are unknown: not said, or not to be believed."""
    usage = response.usage
    if usage is None or min(usage.input_tokens, usage.output_tokens, usage.total_tokens) < 0:
        return None
    # Some adapters leave the sum out; others count in it what is neither input nor output.
    total = usage.total_tokens or usage.input_tokens + usage.output_tokens
    said = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, "total_tokens": total}
    if response.cache_read_tokens:
        said["cache_read_tokens"] = response.cache_read_tokens
    return said


def _distinct(calls: tuple[ToolCall, ...], state: RunState) -> list[dict[str, Any]]:
    """The calls with ids that are there and differ: models have been seen to send none, or the same one twice in a batch."""
    seen: set[str] = set()
    distinct: list[dict[str, Any]] = []
    for index, call in enumerate(calls, start=1):
        call_id = clean_text(call.id or f"call_{state.tool_requests + index}")
        while call_id in seen:
            call_id = f"{call_id}_{index}"
        seen.add(call_id)
        distinct.append({"id": call_id, "tool_name": clean_text(call.tool_name), "arguments": plain(call.arguments)})
    return distinct
