"""Limits hold exactly: what happens at each of them, by example."""

from __future__ import annotations

import datetime as dt

import pytest

from afk_es.machine import Draft, remembered
from afk_es.machine.effects import AskPerson, CallModel, EvaluatePolicy, ExecuteTool, Wait
from afk_es.machine.spec import ModelSpec
from tests.machine.simulation import (
    approval,
    control,
    llm_completed,
    llm_failed,
    policy,
    spec_of,
    tool_completed,
    tool_failed,
)
from tests.machine.situations import answer_model, asking_model, executing, fire_timers, gating, started, state_of


@pytest.mark.parametrize(("llm_failure", "ends"), [("fail", "failed"), ("degrade", "degraded"), ("continue", "failed")])
def test_a_run_that_needs_one_step_too_many_ends_by_its_policy(llm_failure: str, ends: str) -> None:
    run = executing(["look"], max_steps=1, llm_failure=llm_failure)
    run.answer_plainly()
    assert run.state.status == ends
    assert run.types.count("step_started") == 1
    assert run.events[-2].data == {"limit": "max_steps", "maximum": 1, "used": 1}


def test_the_model_is_asked_no_more_often_than_allowed_and_the_last_error_is_said() -> None:
    run = asking_model(max_llm_calls=1)
    answer_model(run, llm_failed("retryable"))
    fire_timers(run)
    assert run.types.count("llm_called") == 1
    assert (run.state.status, run.state.reason) == ("failed", "max_llm_calls reached: 1 of 1 used; the last attempt failed: no luck")


def test_calls_of_a_batch_beyond_the_limit_are_not_run() -> None:
    run = executing(["look", "pay", "scout"], max_tool_calls=2)
    run.answer_plainly(CallModel)
    assert run.types.count("tool_started") == 2
    assert [event.data["outcome"] for event in run.events if event.type == "tool_completed"] == ["returned", "returned", "limited"]
    assert run.types.count("limit_reached") == 1


@pytest.mark.parametrize(("tool_failure", "ends"), [("fail_run", "failed"), ("degrade", "degraded"), ("continue", "completed")])
def test_what_follows_from_too_many_tool_calls_is_the_tool_policys_affair(tool_failure: str, ends: str) -> None:
    run = executing(["look", "pay"], max_tool_calls=1, tool_failure=tool_failure)
    run.answer_plainly(CallModel)
    if state_of(run) == "running":
        answer_model(run, llm_completed("d"))
    assert run.state.status == ends


def test_a_retry_counts_as_a_tool_call() -> None:
    run = executing(["look"], max_tool_calls=1, tool_failure="retry_then_continue")
    (effect,) = run.wanted(ExecuteTool)
    run.answer(effect, tool_failed(effect.call, 1, "retryable"))
    fire_timers(run)
    assert run.types[-3:] == ["limit_reached", "tool_completed", "step_started"]
    assert run.events[-2].data["outcome"] == "failed"


def test_a_sibling_whose_place_a_retry_took_is_limited() -> None:
    run = executing(["look", "pay"], max_tool_calls=2, max_parallel_tools=1, tool_failure="retry_then_continue")
    (effect,) = run.wanted(ExecuteTool)
    run.answer(effect, tool_failed(effect.call, 1, "retryable"))
    fire_timers(run)
    run.answer_plainly(CallModel)
    assert [event.data["outcome"] for event in run.events if event.type == "tool_completed"] == ["returned", "limited"]


def test_no_more_tools_run_at_once_than_allowed_even_after_an_approval() -> None:
    run = gating(["look", "pay"], max_parallel_tools=1, mode="interactive")
    (gate,) = run.wanted(EvaluatePolicy)
    assert gate.call is not None
    run.answer(gate, policy("request_approval", gate.call))
    run.answer_plainly(ExecuteTool, AskPerson)
    (ask,) = run.wanted(AskPerson)
    run.answer(ask, approval(ask.request, "granted"))
    assert [effect.call.tool_name for effect in run.wanted(ExecuteTool)] == ["pay"]
    run.answer(run.wanted(ExecuteTool)[0], tool_completed(run.wanted(ExecuteTool)[0].call))
    assert [effect.call.tool_name for effect in run.wanted(ExecuteTool)] == ["look"]


@pytest.mark.parametrize(("llm_failure", "ends"), [("fail", "failed"), ("degrade", "degraded")])
def test_a_reply_that_crosses_the_cost_limit_is_kept_and_nothing_is_called_after_it(llm_failure: str, ends: str) -> None:
    run = asking_model(max_total_cost_usd=0.5, llm_failure=llm_failure)
    answer_model(run, llm_completed("c", ["look"], cost_usd=0.7))
    assert (run.state.status, float(run.state.cost_usd), run.state.answer) == (ends, 0.7, "an answer")
    assert "tool_batch_started" not in run.types
    assert [message.content for message in remembered(run.state)][-1] == "This call was not run: the run ended before it."


def test_an_answer_that_crosses_the_cost_limit_is_still_the_answer() -> None:
    run = asking_model(max_total_cost_usd=0.5)
    answer_model(run, llm_completed("c", cost_usd=0.7))
    assert run.state.status == "completed"


def test_costs_add_up_exactly() -> None:
    run = asking_model(max_steps=9)
    for number in range(3):
        answer_model(
            run, llm_completed(f"c{number}", ["look"], cost_usd=0.1, usage={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3})
        )
    assert str(run.state.cost_usd) == "0.3"
    assert run.state.usage.total_tokens == 9


def test_a_cost_limit_with_an_unpriced_model_fails_before_the_first_call() -> None:
    run = started(max_total_cost_usd=1.0, models=(ModelSpec("m", "p", priced=False),))
    assert state_of(run) == "failed"
    assert "remove the limit" in run.state.reason
    assert "llm_called" not in run.types


def test_a_cost_limit_with_an_answer_without_a_price_fails_at_once() -> None:
    run = asking_model(max_total_cost_usd=1.0)
    answer_model(run, llm_completed("c", ["look"]))
    assert run.state.status == "failed"
    assert "price of model 'm' is unknown" in run.state.reason


def test_wall_time_cuts_what_is_in_flight_and_a_resumed_run_without_time_starts_nothing() -> None:
    run = executing(["pay"], max_wall_time_s=2.0)
    deadline = run.state.deadline
    assert deadline is not None
    assert deadline in run.wanted(Wait)
    run.answer(deadline, Draft("timer_fired", {"timer": deadline.timer}))
    assert state_of(run) == "interrupted"
    assert run.types[-2:] == ["limit_reached", "run_interrupted"]
    run.resume()
    assert state_of(run) == "interrupted"
    assert "tool_completed" not in run.types
    run.resume(spec_of(max_wall_time_s=5.0))
    assert state_of(run) == "running"


def test_wall_time_excludes_pauses_and_the_time_without_a_process() -> None:
    run = asking_model(max_wall_time_s=100.0)
    run.now += dt.timedelta(seconds=10)
    run.put(control("pause"))
    before = run.state.elapsed
    run.now += dt.timedelta(hours=1)
    assert run.state.deadline is None
    run.put(control("resume"))
    assert run.state.elapsed == before
    run.now += dt.timedelta(hours=1)
    run.resume()
    assert run.state.elapsed == before
    assert run.state.deadline is not None
    assert (run.state.deadline.until - run.state.at).total_seconds() == pytest.approx(100.0 - before.total_seconds())


def test_a_run_without_a_wall_time_limit_has_no_deadline() -> None:
    run = asking_model(max_wall_time_s=None)
    assert run.state.deadline is None
    assert run.wanted(Wait) == []
