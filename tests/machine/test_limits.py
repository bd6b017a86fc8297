"""Limits hold exactly: what happens at each of them, by example."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from afk_es.machine import Draft, remembered
from afk_es.machine.effects import AskPerson, CallModel, EvaluatePolicy, ExecuteTool, Wait
from afk_es.machine.limits import Breach, before_call, before_effects, breached, ending, wall_time
from afk_es.machine.spec import ModelSpec
from afk_es.machine.state import Failure, ModelCall, RunState
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


# ------------------------------------------------------------------------------------------------------------------- what is said of each


def limited(**changes: Any) -> RunState:
    """Given the state of a run that has just begun its first model call."""
    return asking_model(**changes).states[-2]


def test_the_limit_on_steps_says_how_many_there_were() -> None:
    state = replace(limited(max_steps=2), step=2)
    assert breached(state) == Breach("max_steps", 2, 2, "max_steps reached: 2 of 2 used", "fail")
    assert breached(replace(state, step=1)) is None


def test_the_limit_on_requests_says_what_the_last_one_came_to_where_it_failed() -> None:
    state = replace(limited(max_llm_calls=3), llm_calls=3)
    plain = Breach("max_llm_calls", 3, 3, "max_llm_calls reached: 3 of 3 used", "fail")
    assert before_call(state) == before_call(replace(state, call=None)) == breached(state) == plain
    call = replace(state.call or ModelCall(), failure=Failure("no luck", "E"))
    assert before_call(replace(state, call=call)) == replace(plain, message=f"{plain.message}; the last attempt failed: no luck")
    assert before_call(replace(state, llm_calls=2)) is None


def test_money_is_spent_once_the_limit_is_reached_to_the_cent() -> None:
    state = limited(max_total_cost_usd=0.3, llm_failure="degrade")
    for cost, spent in (("0.29", False), ("0.3", True), ("0.31", True)):
        said = f"max_total_cost_usd reached: {cost} of 0.3 used"
        breach = Breach("max_total_cost_usd", 0.3, float(cost), said, "degrade")
        assert before_effects(replace(state, cost_usd=Decimal(cost))) == (breach if spent else None)
    assert before_call(replace(state, cost_usd=Decimal("0.3"))) is not None
    assert before_effects(replace(limited(), cost_usd=Decimal(10**9))) is None


@pytest.mark.parametrize(("limit_s", "said"), [(2.5, "2.5 s of 2.5"), (0.0, "0 s of 0")])
def test_the_limit_on_time_interrupts_and_says_how_to_go_on(limit_s: float, said: str) -> None:
    message = f"max_wall_time_s reached: {said} used; to go on, resume with an agent whose limit is higher and allow_agent_change=True"
    assert wall_time(limited(max_wall_time_s=limit_s)) == Breach("max_wall_time_s", limit_s, limit_s, message, "interrupt")


def test_a_limit_is_said_before_the_run_ends_by_it() -> None:
    state = replace(limited(), missing=("this",))
    breach = Breach("max_steps", 2, 2, "that is all", "fail")
    reached = Draft("limit_reached", {"limit": "max_steps", "maximum": 2, "used": 2}, "that is all")
    failed = Draft("run_failed", {"error": "that is all", "error_type": "LimitReached"}, "that is all")
    assert ending(state, breach) == (reached, failed)
    degraded = Draft("run_completed", {"state": "degraded", "missing": ["this", "that is all"]}, "this; that is all")
    assert ending(state, replace(breach, consequence="degrade")) == (reached, degraded)
    interrupted = Draft("run_interrupted", {"reason": "that is all"}, "that is all")
    assert ending(state, replace(breach, consequence="interrupt")) == (reached, interrupted)


def test_a_degrading_policy_makes_the_limit_on_requests_the_end_of_a_degraded_run() -> None:
    run = asking_model(max_llm_calls=1, llm_failure="retry_then_degrade")
    answer_model(run, llm_failed("retryable"))
    fire_timers(run)
    assert state_of(run) == "degraded"
    assert run.state.missing == ("max_llm_calls reached: 1 of 1 used; the last attempt failed: no luck",)
