"""LLMBuilder: what a built model asks, how often, and what may be wrapped around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from afk_es.clock import SimulatedClock
from afk_es.errors import ConfigurationError
from afk_es.llms import (
    ChatModel,
    LLMBuilder,
    LLMConfigurationError,
    LLMInvalidResponseError,
    LLMMiddleware,
    LLMRequest,
    LLMResponse,
    LLMRetryableError,
    Message,
    Messages,
    StreamPart,
    TextDelta,
)
from afk_es.llms.litellm import LiteLLMModel
from afk_es.testing import ScriptedModel

_BUSY = LLMRetryableError("busy", status_code=503)


def _request(**fields: Any) -> LLMRequest:
    return LLMRequest(**{"model": "asked", "messages": Messages([Message("user", "hello")]), **fields})


class _Impatient(SimulatedClock):
    """A clock on which every wait is over at once, and noted."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


def test_it_is_immutable_so_a_builder_can_be_branched() -> None:
    common = LLMBuilder().provider(ScriptedModel([]))
    assert (common.model("a").build().model, common.model("b").build().model, common.build().model) == ("a", "b", None)


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [("litellm", "gpt-5.2-mini", "gpt-5.2-mini"), ("ollama", "llama3", "ollama/llama3"), ("openai", "openai/x", "openai/x")],
)
def test_a_providers_name_leads_the_models(provider: str, model: str, name: str) -> None:
    built = LLMBuilder().provider(provider).model(model).build()
    assert (built.provider_id, built.model) == ("litellm", name)
    assert isinstance(built, ChatModel)


async def test_defaults_fill_what_a_request_leaves_open_and_the_history_is_not_copied() -> None:
    inner = ScriptedModel(["x", "x"])
    built = LLMBuilder().provider(inner).model("mine").settings(temperature=0.2, stop="END").with_timeout(9).build()
    request = _request(temperature=0.0)
    await built.chat(request)
    await built.chat(_request(timeout_s=1.0))
    first, second = inner.requests
    assert (first.model, first.temperature, first.stop, first.timeout_s) == ("mine", 0.0, ("END",), 9)
    assert (second.temperature, second.timeout_s) == (0.2, 1.0)
    assert first.messages is request.messages


def test_profiles_and_settings_reach_litellm() -> None:
    built = LLMBuilder().profile("low_latency").settings(api_base="http://localhost/v1", api_key="sk-secret").build()
    assert repr(built).startswith("BuiltModel(LiteLLMModel(api_base='http://localhost/v1', timeout_s=10.0), model=None, retry=Retry(")
    assert "sk-secret" not in repr(LLMBuilder().settings(api_key="sk-secret"))
    assert "timeout_s=7" in repr(LLMBuilder().with_timeout(7).profile("development").build())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: LLMBuilder().profile("fast"),  # type: ignore[arg-type]
        lambda: LLMBuilder().with_timeout(0),
        lambda: LLMBuilder().with_retry(0),
        lambda: LLMBuilder().with_retry(base_s=-1),
        lambda: LLMBuilder().with_rate_limit(0),
        lambda: LLMBuilder().with_rate_limit(float("inf")),
        lambda: LLMBuilder().with_rate_limit(burst=0),
        lambda: LLMBuilder().with_circuit_breaker(0),
        lambda: LLMBuilder().with_circuit_breaker(cooldown_s=-1),
        lambda: LLMBuilder().with_cache(0),
        lambda: LLMBuilder().with_cache(max_entries=0),
        lambda: LLMBuilder().with_prices(input_per_million_usd=-1, output_per_million_usd=1),
        lambda: LLMBuilder().provider(LLMBuilder().build()).build(),
        lambda: LLMBuilder().with_fallback(""),
        lambda: LLMBuilder().with_fallback(7),  # type: ignore[arg-type]
        lambda: LLMBuilder().settings(num_retries=2).build(),
        lambda: LLMBuilder().provider(ScriptedModel([])).settings(api_key="x").build(),
    ],
)
def test_what_cannot_work_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        wrong()


async def test_with_retry_asks_three_times_and_waits_longer_each_time() -> None:
    clock, inner = _Impatient(), ScriptedModel([_BUSY, _BUSY, "at last"])
    built = LLMBuilder().provider(inner).with_clock(clock).build()
    assert (await built.chat(_request(idempotency_key="k"))).text == "at last"
    first, second = clock.waits
    assert 0.25 <= first <= 0.5 <= second <= 1.0
    assert [request.attempt for request in inner.requests] == [1, 2, 3]


async def test_the_last_failure_is_raised_and_a_terminal_one_at_once() -> None:
    clock = _Impatient()
    with pytest.raises(LLMRetryableError):
        await LLMBuilder().provider(ScriptedModel([_BUSY] * 3)).with_clock(clock).build().chat(_request())
    assert len(clock.waits) == 2
    with pytest.raises(LLMConfigurationError):
        await LLMBuilder().provider(ScriptedModel([LLMConfigurationError("no")])).with_clock(clock).build().chat(_request())
    assert len(clock.waits) == 2


async def test_retries_can_be_left_out_and_paced() -> None:
    for builder in (LLMBuilder().profile("development"), LLMBuilder().with_retry(1)):
        inner = ScriptedModel([_BUSY, "not asked"])
        with pytest.raises(LLMRetryableError):
            await builder.provider(inner).build().chat(_request())
        assert len(inner.requests) == 1
    clock = _Impatient()
    await LLMBuilder().provider(ScriptedModel([_BUSY, "x"])).with_retry(base_s=10).with_clock(clock).build().chat(_request())
    assert 4.0 <= clock.waits[0] <= 8.0, "ten seconds, capped at eight"


async def test_the_wait_spreads_by_call_is_the_same_for_the_same_call_and_heeds_the_provider_within_bounds() -> None:
    async def waited(key: str, busy: LLMRetryableError = _BUSY) -> float:
        clock = _Impatient()
        builder = LLMBuilder().provider(ScriptedModel([busy, "x"])).with_rate_limit(None).with_clock(clock)
        await builder.build().chat(_request(idempotency_key=key))
        return clock.waits[0]

    assert len({await waited(str(key)) for key in range(20)}) == 20
    assert await waited("1") == await waited("1")
    assert await waited("1", LLMRetryableError("busy", retry_after_s=20.0)) == 20.0
    assert await waited("1", LLMRetryableError("busy", retry_after_s=9999.0)) == 60.0


def _marking(mark: str, order: list[str]) -> LLMMiddleware:
    async def middleware(request: LLMRequest, call_next: Callable[[LLMRequest], Awaitable[LLMResponse]]) -> LLMResponse:
        order.append(mark)
        response = await call_next(request)
        return response.model_copy(update={"text": f"{mark}({response.text})"})

    return middleware


async def test_middlewares_wrap_the_first_outermost_around_all_attempts() -> None:
    order: list[str] = []
    builder = LLMBuilder().provider(ScriptedModel([_BUSY, "x y", "x y"])).with_clock(_Impatient())
    built = builder.with_middlewares(_marking("a", order)).with_middlewares(_marking("b", order)).build()
    assert (await built.chat(_request())).text == "a(b(x y))"
    assert order == ["a", "b"]
    *deltas, last = [part async for part in built.chat_stream(_request())]
    assert deltas == [TextDelta("x y")]
    assert isinstance(last, LLMResponse)
    assert last.text == "a(b(x y))"


class _Breaking:
    """A model whose stream brings a word and breaks off."""

    provider_id = "breaking"

    def __init__(self, words: int) -> None:
        self.words = words
        self.asked = 0

    async def chat(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(text="whole")

    async def chat_stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        self.asked += 1
        for _ in range(self.words):
            yield TextDelta("word ")
        raise LLMRetryableError("broke off")


@pytest.mark.parametrize(("words", "asked"), [(0, 3), (1, 1)])
async def test_a_stream_is_asked_again_only_while_it_has_brought_nothing(words: int, asked: int) -> None:
    inner = _Breaking(words)
    stream = LLMBuilder().provider(inner).with_clock(_Impatient()).build().chat_stream(_request())
    assert [await anext(stream) for _ in range(words)] == [TextDelta("word ")] * words
    with pytest.raises(LLMRetryableError, match="broke off"):
        await anext(stream)
    assert inner.asked == asked


async def test_a_stream_that_is_left_early_stops_the_model() -> None:
    stopped = asyncio.Event()

    class Endless:
        provider_id = "endless"

        async def chat(self, request: LLMRequest) -> LLMResponse:
            return LLMResponse()

        async def chat_stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
            try:
                while True:
                    yield TextDelta("on ")
            finally:
                stopped.set()

    stream = LLMBuilder().provider(Endless()).build().chat_stream(_request())
    assert await anext(stream) == TextDelta("on ")
    await stream.aclose()  # type: ignore[attr-defined]
    assert stopped.is_set()


async def test_a_model_that_cannot_stream_brings_its_text_in_one_piece_and_one_that_ends_without_an_answer_is_wrong() -> None:
    class Plain:
        provider_id = "plain"

        async def chat(self, request: LLMRequest) -> LLMResponse:
            return LLMResponse(text="all")

    class Mute(Plain):
        async def chat_stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
            yield TextDelta("a")

    parts = [part async for part in LLMBuilder().provider(Plain()).build().chat_stream(_request())]
    assert parts == [TextDelta("all"), LLMResponse(text="all")]
    with pytest.raises(LLMInvalidResponseError, match="without an LLMResponse"):
        _ = [part async for part in LLMBuilder().provider(Mute()).build().chat_stream(_request())]


async def test_prices_are_those_of_the_model_inside() -> None:
    scripted = LLMBuilder().provider(ScriptedModel([])).build()
    assert scripted.prices("x") is None
    priced = LLMBuilder().model("house-blend").settings(input_cost_per_token=1e-6, output_cost_per_token=2e-6).build()
    assert priced.prices("ignored") is True
    assert LiteLLMModel().provider_id == priced.provider_id
