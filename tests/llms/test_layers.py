"""What an LLMBuilder puts around a model, layer by layer: what goes out, when, and what comes back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from afk_es.clock import SimulatedClock
from afk_es.errors import ConfigurationError
from afk_es.llms import (
    LinkedChatModel,
    LLMBuilder,
    LLMCircuitOpenError,
    LLMConfigurationError,
    LLMRequest,
    LLMResponse,
    LLMRetryableError,
    LLMTimeoutError,
    Message,
    Messages,
    ModelPrices,
    PricedChatModel,
    TextDelta,
    ToolCall,
    ToolSpec,
    Usage,
    classify,
)
from afk_es.llms.caching import request_hash
from afk_es.llms.layers import LayeredModel
from afk_es.testing import ScriptedModel

BUSY = LLMRetryableError("busy", status_code=503)
WRONG = LLMConfigurationError("no such model", status_code=404)
PAID = LLMResponse(text="answer", usage=Usage(10, 5, 15), cost_usd=0.5)


def request(text: str = "hello", **fields: Any) -> LLMRequest:
    return LLMRequest(**{"model": "m", "messages": Messages([Message("user", text)]), **fields})


def bare(model: Any, clock: SimulatedClock | None = None) -> LLMBuilder:
    """A builder of nothing but the model."""
    return LLMBuilder().provider(model).profile("development").with_clock(clock or SimulatedClock(autojump_threshold_s=0))


class Gated:
    """A model that answers when it is told to, and says how often it was asked and cancelled."""

    provider_id = "gated"

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked = 0
        self.cancelled = 0

    async def chat(self, asked: LLMRequest) -> LLMResponse:
        self.asked += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return PAID


async def turns() -> None:
    """Let every task come to where it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def paced(clock: SimulatedClock, *calls: Any) -> None:
    """Make these calls at once, and let time pass in halves of a second until they are over."""
    asking = asyncio.gather(*calls)
    await turns()
    while not asking.done():
        clock.advance(0.5)
        await turns()
    await asking


# ------------------------------------------------------------------------------------------------------------------------------ rate limit


async def test_a_burst_goes_out_at_once_and_then_one_at_a_time_in_order() -> None:
    clock, sent = SimulatedClock(), []

    def note(asked: LLMRequest) -> str:
        sent.append((asked.messages[0].content, round(clock.monotonic(), 6)))
        return "x"

    built = bare(ScriptedModel(note), clock).with_rate_limit(2, burst=3).build()
    await paced(clock, *(built.chat(request(str(number))) for number in range(6)))
    assert sent == [("0", 0.0), ("1", 0.0), ("2", 0.0), ("3", 0.5), ("4", 1.0), ("5", 1.5)]
    clock.advance(60)
    sent.clear()
    began = clock.monotonic()
    await paced(clock, *(built.chat(request(str(number))) for number in range(4)))
    assert [moment - began for _, moment in sent] == [0, 0, 0, 0.5], "a pause allows a burst, and no more than one"


async def test_while_a_provider_asks_to_wait_nobody_goes_out() -> None:
    clock, sent = SimulatedClock(autojump_threshold_s=0), []

    def note(asked: LLMRequest) -> Any:
        sent.append(round(clock.monotonic(), 6))
        return "x" if len(sent) > 1 else LLMRetryableError("slow down", status_code=429, retry_after_s=7.0)

    built = bare(ScriptedModel(note), clock).with_rate_limit(1000).build()
    with pytest.raises(LLMRetryableError):
        await built.chat(request())
    await asyncio.gather(built.chat(request()), built.chat(request()))
    assert sent == [0.0, 7.0, 7.0]


# ----------------------------------------------------------------------------------------------------------------------------- the breaker


async def test_a_model_that_keeps_failing_is_left_alone_and_then_probed_by_one_call() -> None:
    clock, model = SimulatedClock(), Gated()
    failing = ScriptedModel([BUSY, BUSY])
    script: list[Any] = [failing, failing, model]

    class Switched:
        provider_id = "switched"

        async def chat(self, asked: LLMRequest) -> LLMResponse:
            response: LLMResponse = await (script.pop(0) if len(script) > 1 else script[0]).chat(asked)
            return response

    built = bare(Switched(), clock).with_circuit_breaker(2, cooldown_s=30).build()
    for _ in range(2):
        with pytest.raises(LLMRetryableError):
            await built.chat(request())
    with pytest.raises(LLMCircuitOpenError, match=r"2 failures in a row.*another 30 s") as refused:
        await built.chat(request())
    assert refused.value.retry_after_s == 30
    assert classify(refused.value).classification == "terminal"
    clock.advance(30)
    probe = asyncio.create_task(built.chat(request()))
    await turns()
    with pytest.raises(LLMCircuitOpenError, match="finding out"):
        await built.chat(request())
    model.open.set()
    assert (await probe).text == "answer"
    assert (await built.chat(request())).text == "answer"
    assert model.asked == 2


async def test_a_probe_that_is_cut_or_wrong_leaves_its_place_to_the_next() -> None:
    clock, gated = SimulatedClock(), Gated()
    answers: list[Any] = [BUSY, WRONG, "back"]
    scripted = ScriptedModel(answers)

    class Cut:
        provider_id = "cut"
        hang = False

        async def chat(self, asked: LLMRequest) -> LLMResponse:
            return await (gated if self.hang else scripted).chat(asked)

    model = Cut()
    built = bare(model, clock).with_circuit_breaker(1, cooldown_s=5).build()
    with pytest.raises(LLMRetryableError):
        await built.chat(request())
    clock.advance(5)
    model.hang = True
    probe = asyncio.create_task(built.chat(request()))
    await turns()
    probe.cancel()
    await asyncio.wait([probe])
    model.hang = False
    with pytest.raises(LLMConfigurationError):
        await built.chat(request())
    assert (await built.chat(request())).text == "back"


async def test_nobody_queues_for_a_model_that_is_not_asked() -> None:
    clock = SimulatedClock()
    built = bare(ScriptedModel([BUSY]), clock).with_circuit_breaker(1).with_rate_limit(0.001, burst=1).build()
    with pytest.raises(LLMRetryableError):
        await built.chat(request())
    with pytest.raises(LLMCircuitOpenError):
        await built.chat(request())
    assert clock.monotonic() == 0


async def test_retries_stop_where_the_breaker_opens() -> None:
    model = ScriptedModel([BUSY] * 9)
    built = bare(model).with_retry(9, base_s=0.1).with_circuit_breaker(3).build()
    with pytest.raises(LLMCircuitOpenError):
        await built.chat(request())
    assert len(model.requests) == 3


# ------------------------------------------------------------------------------------------------------------------------- what is answered


async def test_an_equal_request_gets_the_kept_answer_marked_and_for_nothing() -> None:
    clock, model = SimulatedClock(), ScriptedModel([PAID, PAID, PAID])
    built = bare(model, clock).with_cache().build()
    first = await built.chat(request(idempotency_key="1"))
    hit = await built.chat(request(idempotency_key="2", metadata={"run_id": "r"}, timeout_s=3))
    assert (first.cached, first.cost_usd) == (False, 0.5)
    assert (hit.text, hit.cached, hit.cost_usd, hit.usage) == ("answer", True, 0.0, Usage())
    clock.advance(30)
    assert not (await built.chat(request())).cached
    assert len(model.requests) == 2
    parts = [part async for part in built.chat_stream(request())]
    assert parts[0] == TextDelta("answer")
    assert isinstance(parts[1], LLMResponse)
    assert parts[1].cached


async def test_the_cache_is_bounded_and_forgets_what_was_used_longest_ago() -> None:
    model = ScriptedModel(lambda asked: asked.messages[0].content)
    built = bare(model).with_cache(max_entries=2).build()
    for text in ("a", "b", "a", "c", "a", "b"):
        await built.chat(request(text))
    assert [asked.messages[0].content for asked in model.requests] == ["a", "b", "c", "b"]


async def test_what_a_caller_does_to_an_answer_is_not_in_the_next_ones() -> None:
    def calls(asked: LLMRequest) -> LLMResponse:
        return LLMResponse(tool_calls=(ToolCall("c1", "pay", {"amount": 1}),), raw=object())

    built = bare(ScriptedModel(calls)).with_cache().build()
    for _ in range(3):
        (call,) = (await built.chat(request())).tool_calls
        assert call.arguments == {"amount": 1}
        assert isinstance(call.arguments, dict)
        call.arguments["amount"] = 1_000_000


async def test_failures_are_not_kept() -> None:
    built = bare(ScriptedModel([BUSY, "x"])).with_cache().build()
    with pytest.raises(LLMRetryableError):
        await built.chat(request())
    assert not (await built.chat(request())).cached


def test_the_hash_is_of_all_that_an_answer_may_depend_on() -> None:
    led = Messages([Message("user", "hello")]).led_by(Message("system", "Be brief."))
    tools = [ToolSpec("t", "d", {})]
    different = [
        request(),
        request("hello!"),
        request(model="n"),
        request(messages=led),
        request(messages=[Message("system", "Be rude."), Message("user", "hello")]),
        request(tools=tools),
        request(temperature=0.5),
        request(extra={"seed": 1}),
        request(reasoning_effort="low"),
        request(response_format={"type": "json_object"}),
    ]
    assert len({request_hash(each) for each in different}) == len(different)
    assert request_hash(request()) == request_hash(request(messages=[{"role": "user", "content": "hello"}], metadata={"a": 1}))
    assert request_hash(request(extra={"client": object()})) is None


async def test_a_request_that_cannot_be_hashed_is_asked_every_time() -> None:
    model = ScriptedModel(["x", "y"])
    built = bare(model).with_cache().with_coalescing().build()
    odd = request(extra={"client": object()})
    assert [(await built.chat(odd)).text for _ in range(2)] == ["x", "y"]


async def test_equal_requests_at_the_same_time_share_one_call_and_one_of_them_pays() -> None:
    model = Gated()
    built = bare(model).with_coalescing().build()
    asking = [asyncio.create_task(built.chat(request())) for _ in range(5)]
    other = asyncio.create_task(built.chat(request("something else")))
    await turns()
    assert model.asked == 2
    model.open.set()
    answers = await asyncio.gather(*asking)
    assert sorted(answer.cost_usd or 0 for answer in answers) == [0, 0, 0, 0, 0.5]
    assert sum(answer.cached for answer in answers) == 4
    assert not (await other).cached
    assert not (await built.chat(request())).cached, "it is over, and nothing is kept"


async def test_a_shared_call_goes_on_while_anybody_waits_and_is_cut_when_nobody_does() -> None:
    model = Gated()
    built = bare(model).with_coalescing().build()
    first, second = (asyncio.create_task(built.chat(request())) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    assert model.cancelled == 0
    second.cancel()
    await asyncio.wait([first, second])
    assert model.cancelled == 1
    model.open.set()
    assert not (await built.chat(request())).cached, "and it is asked anew"


async def test_a_failure_is_shared_too() -> None:
    model = ScriptedModel([BUSY, "x"])
    built = bare(model).with_coalescing().build()
    ends = await asyncio.gather(built.chat(request()), built.chat(request()), return_exceptions=True)
    assert [type(end) for end in ends] == [LLMRetryableError] * 2
    assert len(model.requests) == 1


# --------------------------------------------------------------------------------------------------------------------------- what it costs


async def test_given_prices_go_before_the_adapters_and_cached_tokens_have_their_own() -> None:
    answer = LLMResponse(text="x", usage=Usage(1_000_000, 500_000, 1_500_000), cost_usd=99.0, cache_read_tokens=400_000)
    builder = bare(ScriptedModel([answer, answer, LLMResponse(text="no usage", cost_usd=99.0)]))
    plain = builder.with_prices(input_per_million_usd=2, output_per_million_usd=8).build()
    assert (await plain.chat(request())).cost_usd == pytest.approx(2 + 4)
    cached = builder.with_prices(input_per_million_usd=2, output_per_million_usd=8, cached_input_per_million_usd=0.5).build()
    assert (await cached.chat(request())).cost_usd == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 4)
    assert (await cached.chat(request())).cost_usd is None
    assert isinstance(plain, PricedChatModel)
    assert (plain.prices("m"), builder.build().prices("m")) == (True, None)
    assert plain.prices("m")
    assert (
        builder.with_prices(input_per_million_usd=1, output_per_million_usd=1).with_fallback(ScriptedModel([])).build().prices("m") is None
    )


def test_prices_are_numbers_of_dollars() -> None:
    with pytest.raises(ConfigurationError, match="output_per_million_usd"):
        ModelPrices(input_per_million_usd=1, output_per_million_usd=float("nan"))


# --------------------------------------------------------------------------------------------------------------------------- the chain


@pytest.mark.parametrize("streaming", [False, True])
async def test_the_next_model_is_asked_where_one_has_failed_for_good(streaming: bool) -> None:
    first, second, third = ScriptedModel([BUSY, BUSY]), ScriptedModel([WRONG], model="two"), ScriptedModel(["third"], model="three")
    built = bare(first).with_retry(2, base_s=0.1).with_fallback(second, third).build()
    if streaming:
        *_, last = [part async for part in built.chat_stream(request())]
        assert isinstance(last, LLMResponse)
    else:
        last = await built.chat(request())
    assert last.text == "third"
    assert [len(model.requests) for model in (first, second, third)] == [2, 1, 1]


@pytest.mark.parametrize("streaming", [False, True])
async def test_where_all_have_failed_the_last_says_why_and_what_was_before(streaming: bool) -> None:
    built = bare(ScriptedModel([BUSY])).with_fallback(ScriptedModel([LLMConfigurationError("no such model")])).build()
    asking = anext(built.chat_stream(request())) if streaming else built.chat(request())
    with pytest.raises(LLMConfigurationError, match="no such model") as raised:
        await asking
    assert raised.value.__notes__ == ["a model before it in the chain failed with LLMRetryableError: busy"]


async def test_a_stream_that_has_brought_something_is_not_continued_by_another_model() -> None:
    class Breaking:
        provider_id = "breaking"

        async def chat(self, asked: LLMRequest) -> LLMResponse:
            raise BUSY

        async def chat_stream(self, asked: LLMRequest) -> Any:
            yield TextDelta("half ")
            raise LLMRetryableError("broke off")

    fallback = ScriptedModel(["whole"])
    stream = bare(Breaking()).with_fallback(fallback).build().chat_stream(request())
    assert await anext(stream) == TextDelta("half ")
    with pytest.raises(LLMRetryableError, match="broke off"):
        await anext(stream)
    assert fallback.requests == []


def test_a_chain_has_its_links_without_retries_for_whoever_retries_himself() -> None:
    inner = bare(ScriptedModel([]), SimulatedClock()).model("b").with_retry(7).with_fallback(ScriptedModel([], model="c")).build()
    built = LLMBuilder().model("a").settings(api_base="http://localhost/v1", temperature=0.5).with_fallback("groq/d", inner).build()
    assert isinstance(built, LinkedChatModel)
    links = built.links()
    assert [getattr(link.model, "model", None) for link in links] == ["a", "groq/d", "b", "c"]
    assert [link.retry.attempts if link.retry else None for link in links] == [3, 3, 7, None]
    assert "localhost" in repr(links[0].model)
    assert "localhost" not in repr(links[1].model), "an address of the first model's server is not the fallback's"


# -------------------------------------------------------------------------------------------------------------------------- the deadline


async def test_a_model_object_that_hangs_is_given_up() -> None:
    class Silent:
        provider_id = "silent"

        async def chat(self, asked: LLMRequest) -> LLMResponse:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

        async def chat_stream(self, asked: LLMRequest) -> Any:
            if asked.messages[0].content == "speak":
                yield TextDelta("so ")
            await asyncio.Event().wait()

        def prices(self, model: str) -> bool:
            return True

    built = bare(Silent()).with_timeout(0.2, stream_idle_s=0.3).build()
    assert built.prices("m")
    with pytest.raises(LLMTimeoutError, match=r"did not answer within 0\.2 s"):
        await built.chat(request())
    with pytest.raises(LLMTimeoutError, match=r"did not answer within 0\.2 s"):
        _ = [part async for part in built.chat_stream(request())]
    stream = built.chat_stream(request("speak"))
    assert await anext(stream) == TextDelta("so ")
    with pytest.raises(LLMTimeoutError, match=r"fell silent for 0\.3 s"):
        await anext(stream)


async def test_a_timeout_of_the_models_own_is_told_as_it_came() -> None:
    class Own:
        provider_id = "own"

        async def chat(self, asked: LLMRequest) -> LLMResponse:
            raise TimeoutError("mine")

        async def chat_stream(self, asked: LLMRequest) -> Any:
            yield TextDelta("so ")
            raise TimeoutError("mine")

    built = bare(Own()).with_timeout(5).build()
    with pytest.raises(TimeoutError, match="mine"):
        await built.chat(request())
    stream = built.chat_stream(request())
    assert await anext(stream) == TextDelta("so ")
    with pytest.raises(TimeoutError, match="mine"):
        await anext(stream)
    assert "Own object" in repr(built)
    whole = bare(ScriptedModel(["a b c d e"])).with_timeout(5).build()
    *deltas, last = [part async for part in whole.chat_stream(request())]
    assert isinstance(last, LLMResponse)
    assert "".join(part.text for part in deltas if isinstance(part, TextDelta)) == last.text == "a b c d e"


def test_rate_limit_and_breaker_can_be_turned_off() -> None:
    built = LLMBuilder().provider(ScriptedModel([])).with_rate_limit(None).with_circuit_breaker(None).build()
    layered = built.links()[0].model
    assert isinstance(layered, LayeredModel)
    assert (layered.pacing, layered.circuit) == (None, None)
    default = LLMBuilder().provider(ScriptedModel([])).build().links()[0].model
    assert isinstance(default, LayeredModel)
    assert default.pacing is not None
    assert default.circuit is not None
    assert default.cache is None
