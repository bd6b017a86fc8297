"""Models by LiteLLM, which knows most providers there are. It knows nothing of runs, and retries nothing: that is the loop's affair.

LiteLLM takes seconds to import, so that happens in a thread, at the first call. What it gives back is taken with care: usage that was
never sent arrives as zeros, and a stream that broke off in good form arrives with a made-up "stop".
"""

from __future__ import annotations

import asyncio
import copy
import math
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from afk_es.errors import ConfigurationError, LLMInvalidResponseError, LLMRetryableError, LLMTimeoutError
from afk_es.llms import litellm_clients
from afk_es.llms.chat import chat_messages, chat_tools
from afk_es.llms.litellm_answer import Answer
from afk_es.llms.litellm_errors import translated
from afk_es.llms.litellm_thinking import thinking
from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse, StreamPart
from afk_es.machine.values import clean_text

_OURS = frozenset({"model", "messages", "tools", "stream", "stream_options", "timeout", "num_retries", "max_retries", "fallbacks"})
_PRICE = ("input_cost_per_token", "output_cost_per_token")
_NOT_JSON_SCHEMA = frozenset({"json_schema", "json_object", "text"})


class LiteLLMModel:
    """Any model LiteLLM has a name for: "gpt-5.2-mini", "anthropic/...", "ollama/...", "openai/<name>" with an `api_base`.

    There is nothing to close: connections are kept for all calls of an event loop, and closed when the loop ends (`litellm_clients`).

    Keys and addresses that are not given come from the environment, by LiteLLM's own rules (OPENAI_API_KEY, OPENAI_BASE_URL, ...).

    Args:
        api_base: the server's address, for OpenAI-compatible ones with the `/v1`.
        api_key: the key; never shown in a repr, a message or a log.
        timeout_s: seconds until a call is given up, or, of a streamed one, until the stream must have begun; default 30. A request's own
            `timeout_s` goes before it.
        stream_idle_s: seconds without a chunk until a stream is given up; default 45.
        **settings: parameters of `litellm.acompletion` for every call; what a request says goes before them. With both
            `input_cost_per_token` and `output_cost_per_token` (US dollars) they are the price of a model LiteLLM does not know.

    Raises:
        ConfigurationError: a setting that belongs to the request, or to whoever retries.
    """

    provider_id = "litellm"

    __slots__ = ("_api_base", "_api_key", "_settings", "_stream_idle_s", "_timeout_s")

    def __init__(
        self,
        *,
        api_base: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        stream_idle_s: float = 45.0,
        **settings: Any,
    ) -> None:
        refused = sorted(_OURS & settings.keys())
        if refused:
            raise ConfigurationError(
                f"{', '.join(refused)}: not settings of LiteLLMModel. Model, messages and tools come with each request, the timeout is "
                f"timeout_s, and retries and fallbacks are the agent's FailSafeConfig, where each attempt is an event"
            )
        for name, seconds in (("timeout_s", timeout_s), ("stream_idle_s", stream_idle_s)):
            if not (seconds > 0 and math.isfinite(seconds)):
                raise ConfigurationError(f"{name} is a positive number of seconds; this is {seconds!r}")
        self._api_base = api_base
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._stream_idle_s = stream_idle_s
        self._settings = settings

    def __repr__(self) -> str:
        settings = "".join(f", {name}=..." for name in self._settings)
        return f"LiteLLMModel(api_base={_without_credentials(self._api_base)!r}, timeout_s={self._timeout_s}{settings})"

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """The model's answer, from exactly one HTTP request.

        Raises:
            LLMError: of the class that says what the failure means; its status_code and retry_after_s are the provider's.
        """
        litellm = await litellm_clients.ready()
        completion = await self._send(litellm, request, {})
        if not getattr(completion, "choices", None):
            raise LLMInvalidResponseError(f"{request.model} answered without any choices")
        choice = completion.choices[0]
        answer = Answer(request)
        answer.text = choice.message.content or ""
        answer.finish_reason = choice.finish_reason
        for index, call in enumerate(choice.message.tool_calls or ()):
            answer.add_call(index, call.id, call.function.name, call.function.arguments)
        answer.add_usage(getattr(completion, "usage", None))
        return self._response(litellm, answer, completion)

    async def chat_stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """The answer in deltas and then whole, from exactly one HTTP request.

        Raises:
            LLMError: as `chat`; a stream that breaks off is an LLMRetryableError, one that falls silent an LLMTimeoutError.
        """
        litellm = await litellm_clients.ready()
        stream = await self._send(litellm, request, {"stream": True, "stream_options": {"include_usage": True}})
        answer = Answer(request)
        try:
            while (chunk := await self._next_chunk(stream, request)) is not None:
                for part in answer.take(chunk):
                    yield part
        finally:
            await stream.aclose()
        _refuse_cut_off(stream, answer)
        # The chunks as they were kept, since those handed out carry usage that LiteLLM may have guessed.
        for chunk in stream.chunks:
            answer.add_usage(getattr(chunk, "usage", None))
        completion = litellm.stream_chunk_builder(stream.chunks) if answer.usage is not None else None
        yield self._response(litellm, answer, completion)

    def prices(self, model: str) -> bool:
        """Whether LiteLLM knows what the model costs, or the settings say it. Loads LiteLLM, so call it in a thread."""
        if self._custom_price() is not None:
            return True
        litellm = litellm_clients.load()
        try:
            info = litellm.get_model_info(model)
        except Exception:  # noqa: BLE001 - for an unknown model, LiteLLM raises a bare Exception
            return False
        return info.get("input_cost_per_token") is not None

    async def _send(self, litellm: Any, request: LLMRequest, mode: dict[str, Any]) -> Any:
        timeout_s = request.timeout_s or self._timeout_s
        parameters = {**self._parameters(litellm, request), **mode, "timeout": _client_timeout(max(timeout_s, self._stream_idle_s))}
        try:
            async with asyncio.timeout(timeout_s):
                return await litellm.acompletion(**parameters)
        except TimeoutError as error:
            raise LLMTimeoutError(f"{request.model} did not answer within {timeout_s:g} s") from error
        except Exception as error:
            raise translated(error, api_key=self._api_key) from error

    async def _next_chunk(self, stream: Any, request: LLMRequest) -> Any:
        try:
            async with asyncio.timeout(self._stream_idle_s):
                return await anext(stream, None)
        except TimeoutError as error:
            raise LLMTimeoutError(f"the stream of {request.model} fell silent for {self._stream_idle_s:g} s") from error
        except Exception as error:
            raise translated(error, api_key=self._api_key) from error

    def _parameters(self, litellm: Any, request: LLMRequest) -> dict[str, Any]:
        parameters = {**self._settings, **request.extra, **_asked(request), **thinking(litellm, request)}
        # LiteLLM writes into the metadata and, for some providers, into the tools' schemas.
        for name in ("metadata", "tools"):
            if name in parameters:
                parameters[name] = copy.deepcopy(parameters[name])
        if self._api_base is not None:
            parameters["api_base"] = self._api_base
        if self._api_key is not None:
            parameters["api_key"] = self._api_key
        if request.idempotency_key is not None:
            parameters["extra_headers"] = {**parameters.get("extra_headers", {}), "Idempotency-Key": request.idempotency_key}
        # A price sent along would become the model's price in the whole process.
        for name in _PRICE:
            parameters.pop(name, None)
        # With tools, LiteLLM would look for an MCP gateway among them, for which it imports its proxy and a package that is not there.
        return {**parameters, "num_retries": 0, "max_retries": 0, "_skip_mcp_handler": True}

    def _response(self, litellm: Any, answer: Answer, completion: Any) -> LLMResponse:
        return LLMResponse(
            text=clean_text(answer.text),
            tool_calls=answer.tool_calls(),
            finish_reason=answer.finish_reason,
            usage=answer.usage,
            cost_usd=self._cost(litellm, answer, completion),
            model=answer.model or getattr(completion, "model", None),
            structured_response=answer.structured(),
            cache_read_tokens=answer.cache_read_tokens,
            raw=completion,
        )

    def _cost(self, litellm: Any, answer: Answer, completion: Any) -> float | None:
        if answer.usage is None:
            return None
        try:
            cost = litellm.completion_cost(
                completion_response=completion, model=answer.request.model, custom_cost_per_token=self._custom_price()
            )
        except Exception:  # noqa: BLE001 - for an unknown model, LiteLLM raises a bare Exception
            return None
        return float(cost)

    def _custom_price(self) -> dict[str, float] | None:
        return {name: self._settings[name] for name in _PRICE} if all(name in self._settings for name in _PRICE) else None


def _asked(request: LLMRequest) -> dict[str, Any]:
    """The request in the words of `litellm.acompletion`, without what it leaves to the provider."""
    asked = {
        "model": request.model,
        "messages": chat_messages(request.messages),
        "tools": chat_tools(request.tools) or None,
        "tool_choice": request.tool_choice,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop) or None,
        "response_format": _response_format(request.response_format),
        "metadata": request.metadata or None,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _response_format(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    if schema is None or schema.get("type") in _NOT_JSON_SCHEMA:
        return schema
    name = re.sub(r"[^\w-]", "_", str(schema.get("title") or "answer"))[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}


def _client_timeout(seconds: float) -> float:
    """The timeout for the HTTP client, rounded up to a power of two: LiteLLM keeps one client per timeout, and ours cuts exactly."""
    return float(2 ** math.ceil(math.log2(seconds) + 0.01))


def _refuse_cut_off(stream: Any, answer: Answer) -> None:
    """A stream is whole once the provider has said why it stopped; LiteLLM says "stop" for it where it has not."""
    if getattr(stream, "received_finish_reason", None) or getattr(stream, "intermittent_finish_reason", None):
        return
    if answer.text or answer.calls:
        raise LLMRetryableError(f"the stream of {answer.request.model} broke off before its end")
    raise LLMInvalidResponseError(f"{answer.request.model} answered with a stream that holds no chat completion")


def _without_credentials(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
