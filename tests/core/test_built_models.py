"""Models made by an LLMBuilder in a Runner: who is asked, how often, what the log shows of it, and what it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from afk_es.clock import SimulatedClock
from afk_es.core import ModelUse, Runner
from afk_es.errors import LLMConfigurationError, LLMRetryableError
from afk_es.llms import BuiltModel, LLMBuilder, LLMRequest, LLMResponse, Usage
from afk_es.testing import ScriptedModel
from tests.core.scenario import Counted, agent, asks, limits, log_of, only, says, types

BUSY = LLMRetryableError("busy", status_code=503)


def built(script: Any, clock: SimulatedClock | None = None, name: str = "first") -> LLMBuilder:
    """A builder on a script, by the clock's time."""
    return LLMBuilder().provider(ScriptedModel(script)).model(name).with_clock(clock or SimulatedClock(autojump_threshold_s=0))


def scripted(model: BuiltModel) -> ScriptedModel:
    """The script behind a built model."""
    inner = model.links()[0].model
    found = getattr(inner, "inner", inner)
    assert isinstance(found, ScriptedModel)
    return found


async def test_a_chain_becomes_models_of_the_run_and_each_attempt_is_an_event(runner: Runner) -> None:
    second = built([LLMConfigurationError("unknown", status_code=404)], name="second").with_retry(5).build()
    chain = built([BUSY, BUSY, "not asked"]).with_retry(2).with_fallback(second, ScriptedModel([says("third")], model="third")).build()
    result = await runner.run(agent(chain), user_message="go")
    assert result.final_text == "third"
    events = await log_of(runner, result.run_id)
    asked = [(event.data["model"], event.data["model_index"], event.data["attempt"]) for event in only(events, "llm_called")]
    assert asked == [("first", 0, 1), ("first", 0, 2), ("second", 1, 1), ("third", 2, 1)]
    assert [event.data["classification"] for event in only(events, "llm_failed")] == ["retryable", "retryable", "terminal"]
    assert types(events).count("timer_fired") == 1, "the wait before the second attempt is in the log"


async def test_the_agents_own_fallbacks_come_after_the_builders(runner: Runner) -> None:
    chain = built([BUSY] * 2).with_retry(1).with_fallback(ScriptedModel([BUSY] * 3, model="second")).build()
    described = agent(chain, fail_safe=limits(fallback_model_chain=(ScriptedModel(["third"], model="third"),)))
    result = await runner.run(described, user_message="go")
    events = await log_of(runner, result.run_id)
    assert [event.data["model"] for event in only(events, "llm_called")] == ["first", "second", "second", "second", "third"]


async def test_retries_of_a_built_model_do_not_multiply_with_the_runners(runner: Runner) -> None:
    model = built([BUSY] * 30).build()
    result = await runner.run(agent(model), user_message="go")
    assert result.state == "failed"
    assert len(scripted(model).requests) == 3
    model = built([BUSY] * 30).build()
    await runner.run(agent(model, fail_safe=limits(llm_failure_policy="fail_fast")), user_message="go")
    assert len(scripted(model).requests) == 1


async def test_a_breaker_of_the_model_holds_for_the_next_run_and_hands_over_to_the_fallback_at_once(runner: Runner) -> None:
    model = built([BUSY] * 30, SimulatedClock()).with_circuit_breaker(3).with_fallback(ScriptedModel(lambda _: "plan b", model="b")).build()
    for _ in range(2):
        assert (await runner.run(agent(model), user_message="go")).final_text == "plan b"
    result = await runner.run(agent(model), user_message="go")
    events = await log_of(runner, result.run_id)
    (refused,) = only(events, "llm_failed")
    assert (refused.data["error_type"], refused.data["classification"]) == ("LLMCircuitOpenError", "terminal")
    assert len(scripted(model).requests) == 3


async def test_a_hit_is_marked_in_the_log_and_costs_nothing(runner: Runner) -> None:
    answer = LLMResponse(text="42", usage=Usage(10, 5, 15), cost_usd=0.25, cache_read_tokens=8)
    described = agent(built([answer]).with_cache().build(), fail_safe=limits(max_total_cost_usd=1.0))
    first, again = [await runner.run(described, user_message="What is it?") for _ in range(2)]
    assert (first.total_cost_usd, again.total_cost_usd, again.final_text) == (0.25, 0.0, "42")
    assert again.usage_aggregate == Usage()
    assert again.llm_response is not None
    assert again.llm_response.cached
    assert first.llm_response is not None
    assert (first.llm_response.cached, first.llm_response.cache_read_tokens) == (False, 8)
    data = [only(await log_of(runner, run.run_id), "llm_completed")[0].data for run in (first, again)]
    assert [each.get("cached") for each in data] == [None, True]
    assert data[0]["usage"] == {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "cache_read_tokens": 8}
    assert again.usage_by_model == {"first": ModelUse(1, 1, 1, Usage(), 0, 0.0)}


async def test_given_prices_make_a_cost_limit_hold_where_nobody_knows_the_price(runner: Runner) -> None:
    def answers(request: LLMRequest) -> LLMResponse:
        return asks(("work", {}))

    work = Counted()
    model = built(answers).with_prices(input_per_million_usd=10_000, output_per_million_usd=20_000).build()
    result = await runner.run(agent(model, work.tool, fail_safe=limits(max_total_cost_usd=0.5)), user_message="go")
    assert result.state == "failed"
    assert result.error == "max_total_cost_usd reached: 0.6 of 0.5 used"
    assert result.total_cost_usd == pytest.approx(0.6), (
        "10 and 5 tokens a call are 20 cents; the call that crosses the limit is kept and counted"
    )
    assert (len(scripted(model).requests), work.ran) == (3, 2)
    unpriced = built(answers).build()
    result = await runner.run(agent(unpriced, work.tool, fail_safe=limits(max_total_cost_usd=0.5)), user_message="go")
    assert "the price of model 'first' is unknown" in (result.error or "")


async def test_what_was_used_up_is_told_by_model(runner: Runner) -> None:
    first = ScriptedModel([asks(("work", {}), cost=0.1), *[BUSY] * 3], model="first")
    second = ScriptedModel([says("done", cost=0.02)], model="second")
    described = agent(first, Counted().tool, fail_safe=limits(fallback_model_chain=(second,)))
    result = await runner.run(described, user_message="go")
    assert result.usage_by_model == {
        "first": ModelUse(4, 1, 0, Usage(10, 5, 15), 0, 0.1),
        "second": ModelUse(1, 1, 0, Usage(20, 2, 22), 0, 0.02),
    }
    assert result.total_cost_usd == pytest.approx(0.12)
    assert (await runner.resume(described, run_id=result.run_id)).usage_by_model == result.usage_by_model


async def test_a_result_with_it_can_be_written_as_json(runner: Runner) -> None:
    result = await runner.run(agent([says("done", cost=0.02)]), user_message="go")
    usage = {"input_tokens": 20, "output_tokens": 2, "total_tokens": 22}
    expected = {"requests": 1, "answers": 1, "cached": 0, "usage": usage, "cache_read_tokens": 0, "cost_usd": 0.02}
    assert json.loads(result.model_dump_json())["usage_by_model"] == {"scripted-1": expected}


async def test_a_cost_limit_fails_at_once_where_only_the_price_of_a_fallback_is_unknown(runner: Runner) -> None:
    class Unpriced(ScriptedModel):
        def prices(self, model: str) -> bool:
            return False

    priced = built(["never asked"]).with_prices(input_per_million_usd=1, output_per_million_usd=1)
    chain = priced.with_fallback(Unpriced([], model="second")).build()
    result = await runner.run(agent(chain, fail_safe=limits(max_total_cost_usd=0.5)), user_message="go")
    assert (result.state, scripted(chain).requests) == ("failed", [])
    assert "the price of model 'second' is unknown" in (result.error or "")


async def test_a_model_that_says_nothing_of_tokens_or_price_has_requests_and_answers(runner: Runner) -> None:
    result = await runner.run(agent(["hello"]), user_message="go")
    assert result.usage_by_model == {"scripted-1": ModelUse(1, 1)}


async def test_a_model_resolver_may_answer_with_a_chain(runner: Runner) -> None:
    chain = built([BUSY], name="inner").with_retry(1).with_fallback(ScriptedModel(["b"], model="b")).build()
    described = agent(ScriptedModel([])).model_copy(update={"model": "house", "model_resolver": lambda name: chain})
    result = await runner.run(described, user_message="go")
    events = await log_of(runner, result.run_id)
    assert [event.data["model"] for event in only(events, "llm_called")] == ["house", "b"]
    assert result.requested_model == "house"
