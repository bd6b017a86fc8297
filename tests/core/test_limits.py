"""Limits hold exactly: what was really asked of models and tools is counted, and not read from what the run says of itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from afk_es.agents import FailSafeConfig
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import Runner
from afk_es.errors import LLMRetryableError
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.testing import ScriptedModel
from tests.core.scenario import Counted, Stuck, StuckModel, agent, asks, limits, log_of, model_of, only, says, types


def tireless(cost: float | None = None) -> ScriptedModel:
    """A model that always wants one more tool call."""
    return ScriptedModel(lambda request: asks(("work", {}), text="one more", cost=cost))


def overloaded() -> ScriptedModel:
    """A model that always answers 503."""

    def fail(request: LLMRequest) -> LLMResponse:
        raise LLMRetryableError("overloaded")

    return ScriptedModel(fail)


# what limits                             model                   requests, executions   limit that is named
LIMITS: dict[str, tuple[dict[str, Any], Any, int, int, str]] = {
    "FailSafe.max_steps":                ({"max_steps": 3},           tireless,           3, 3, "max_steps"),
    "max_llm_calls, one a step":         ({"max_llm_calls": 3},       tireless,           3, 3, "max_llm_calls"),
    "max_llm_calls, all in one step":    ({"max_llm_calls": 2},       overloaded,         2, 0, "max_llm_calls"),
    "max_total_cost_usd":                ({"max_total_cost_usd": 1},  lambda: tireless(0.4), 3, 2, "max_total_cost_usd"),
    "max_total_cost_usd, exactly":       ({"max_total_cost_usd": 0.3}, lambda: tireless(0.1), 3, 2, "max_total_cost_usd"),
    "max_total_cost_usd of nothing":     ({"max_total_cost_usd": 0},  lambda: tireless(0.1), 0, 0, "max_total_cost_usd"),
}  # fmt: skip
"""A reply that crosses the cost limit is kept and counted, and the tools it asks for are not run."""


@pytest.mark.parametrize(("policy", "state"), [("retry_then_fail", "failed"), ("retry_then_degrade", "degraded")])
@pytest.mark.parametrize("row", LIMITS)
async def test_a_limit(row: str, policy: Any, state: str, runner: Runner) -> None:
    fields, model, requests, executions, limit = LIMITS[row]
    work = Counted()
    described = agent(model(), work.tool, fail_safe=limits(llm_failure_policy=policy, **fields))
    result = await runner.run(described, user_message="go")
    events = await log_of(runner, result.run_id)
    assert (len(model_of(described).requests), work.ran) == (requests, executions)
    assert (result.state_snapshot.llm_calls, result.state_snapshot.tool_calls) == (requests, executions)
    (reached,) = only(events, "limit_reached")
    assert reached.data["limit"] == limit
    assert limit in (result.error or "")
    assert result.state == state
    assert types(events)[-1] == ("run_failed" if state == "failed" else "run_completed")
    if state == "degraded":
        assert limit in result.final_text
        assert result.final_text.startswith("one more") or not result.llm_response


async def test_a_reply_that_crosses_the_cost_limit_is_kept_where_it_is_the_answer(runner: Runner) -> None:
    result = await runner.run(agent([says("dear", cost=5)], fail_safe=limits(max_total_cost_usd=1)))
    assert (result.state, result.final_text, result.total_cost_usd) == ("completed", "dear", 5)


@pytest.mark.parametrize(
    ("of_agent", "of_fail_safe", "steps"),
    [(2, None, 2), (None, 3, 3), (4, 2, 2), (2, 4, 2), (30, None, 30), (None, 30, 30), (None, None, 20)],
)
async def test_max_steps_of_agent_and_fail_safe(of_agent: int | None, of_fail_safe: int | None, steps: int, runner: Runner) -> None:
    """The lower one holds where both are set; where one is set, the other's default does not undercut it."""
    fields = {} if of_agent is None else {"max_steps": of_agent}
    fail_safe = limits() if of_fail_safe is None else limits(max_steps=of_fail_safe)
    described = agent(tireless(), Counted().tool, fail_safe=fail_safe, **fields)
    result = await runner.run(described)
    assert (result.state, len(model_of(described).requests)) == ("failed", steps)


@pytest.mark.parametrize(("policy", "state"), [("continue_with_error", "completed"), ("degrade", "degraded"), ("fail_run", "failed")])
async def test_a_batch_that_would_pass_max_tool_calls_runs_none_beyond_it(policy: Any, state: str, runner: Runner) -> None:
    work = Counted()
    batch = asks(*[("work", {"n": n}) for n in range(5)])
    described = agent([batch, says("enough")], work.tool, fail_safe=limits(max_tool_calls=3, tool_failure_policy=policy))
    result = await runner.run(described)
    assert sorted(work.arguments) == [0, 1, 2]
    assert (result.state, result.state_snapshot.tool_calls) == (state, 3)
    outcomes = [event.data["outcome"] for event in only(await log_of(runner, result.run_id), "tool_completed")]
    assert sorted(outcomes) == ["limited", "limited", "returned", "returned", "returned"]


async def test_no_tool_at_all_with_max_tool_calls_0(runner: Runner) -> None:
    work = Counted()
    result = await runner.run(agent([asks(("work", {})), says("ok")], work.tool, fail_safe=limits(max_tool_calls=0)))
    assert (work.ran, result.state) == (0, "completed")


async def test_retries_of_tools_count_as_tool_calls(runner: Runner) -> None:
    work = Counted(*[RuntimeError("broke")] * 9, idempotent=True)
    fail_safe = limits(max_tool_calls=2, tool_failure_policy="retry_then_continue")
    result = await runner.run(agent([asks(("work", {})), says("ok")], work.tool, fail_safe=fail_safe))
    assert (work.ran, result.state) == (2, "completed")


@pytest.mark.parametrize(
    ("max_parallel_tools", "tool_parallelism", "at_once"), [(16, None, 6), (2, None, 2), (16, 3, 3), (2, 3, 2), (16, 1, 1)]
)
async def test_tools_at_once(max_parallel_tools: int, tool_parallelism: int | None, at_once: int, runner: Runner) -> None:
    running = most = ran = 0

    async def work(n: int) -> int:
        nonlocal running, most, ran
        running += 1
        most = max(most, running)
        for _ in range(20):
            await asyncio.sleep(0)
        running -= 1
        ran += 1
        return n

    batch = asks(*[("work", {"n": n}) for n in range(6)])
    fail_safe = limits(max_parallel_tools=max_parallel_tools)
    result = await runner.run(agent([batch, says("ok")], work, fail_safe=fail_safe, tool_parallelism=tool_parallelism))
    assert (most, ran, result.state) == (at_once, 6, "completed")


# --------------------------------------------------------------------------------------------------------------------- unknown prices


class Priced(ScriptedModel):
    def __init__(self, known: bool | None) -> None:
        super().__init__([says("hello")])
        self._known = known

    def prices(self, model: str) -> bool | None:
        return self._known


async def test_a_cost_limit_with_a_price_known_to_be_unknown_fails_before_the_first_call(runner: Runner) -> None:
    described = agent(Priced(False), fail_safe=limits(max_total_cost_usd=1))
    result = await runner.run(described)
    assert (result.state, len(model_of(described).requests)) == ("failed", 0)
    assert "price of model 'scripted-1' is unknown" in result.final_text
    assert "set LLMResponse.cost_usd" in result.final_text


@pytest.mark.parametrize("known", [True, None])
async def test_a_cost_limit_with_an_answer_that_carries_no_price_fails_after_it(known: bool | None, runner: Runner) -> None:
    described = agent(Priced(known), fail_safe=limits(max_total_cost_usd=1))
    result = await runner.run(described)
    assert (result.state, len(model_of(described).requests)) == ("failed", 1)
    assert "is unknown" in result.final_text


async def test_without_a_cost_limit_an_unknown_price_is_no_trouble(runner: Runner) -> None:
    result = await runner.run(agent(Priced(False)))
    assert (result.state, result.total_cost_usd) == ("completed", None)


# ------------------------------------------------------------------------------------------------------------------------- wall time


async def test_wall_time_cuts_a_model_in_flight_and_the_run_can_go_on_with_more_time() -> None:
    clock = SimulatedClock(autojump_threshold_s=0.01)
    async with Runner(log=":memory:", clock=clock, ids=SeededIds()) as runner:
        stuck = StuckModel()
        result = await runner.run(agent(stuck, fail_safe=FailSafeConfig(max_wall_time_s=60)))
        assert (result.state, stuck.requests) == ("interrupted", 1)
        assert result.state_snapshot.elapsed_s == pytest.approx(60)
        assert "max_wall_time_s reached" in (result.error or "")
        assert types(await log_of(runner, result.run_id))[-3:] == ["timer_fired", "limit_reached", "run_interrupted"]

        clock.advance(86_400)  # Nobody runs the run meanwhile, so the day does not count.
        stuck.let_go.set()
        longer = agent(stuck, fail_safe=FailSafeConfig(max_wall_time_s=90))
        again = await runner.resume(longer, run_id=result.run_id, allow_agent_change=True)
        assert (again.state, again.final_text) == ("completed", "late")
        assert again.state_snapshot.elapsed_s < 61


async def test_wall_time_cuts_a_tool_in_flight() -> None:
    async with Runner(log=":memory:", clock=SimulatedClock(autojump_threshold_s=0.01)) as runner:
        stuck = Stuck()
        result = await runner.run(agent([asks(("stuck", {}))], stuck.tool, fail_safe=FailSafeConfig(max_wall_time_s=5)))
        assert (result.state, stuck.cancelled) == ("interrupted", True)


async def test_wall_time_that_is_used_up_stays_used_up() -> None:
    async with Runner(log=":memory:", clock=SimulatedClock(autojump_threshold_s=0.01)) as runner:
        stuck = StuckModel()
        described = agent(stuck, fail_safe=FailSafeConfig(max_wall_time_s=5))
        result = await runner.run(described)
        again = await runner.resume(described, run_id=result.run_id)
        assert (again.state, stuck.requests) == ("interrupted", 1), "the model is not asked again"
