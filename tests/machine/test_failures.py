"""Each cell of the failure policies, retries, fallback models, rejected answers: counts, ends and what is said."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest

from afk_es.machine import Draft, remembered
from afk_es.machine.effects import (
    CallModel,
    EvaluatePolicy,
    ExecuteTool,
    ResolveInstructions,
    RouteSubagents,
    RunSubagent,
    ValidateOutput,
    Wait,
)
from afk_es.machine.retries import backoff, delay_s
from afk_es.machine.spec import ModelSpec, Retry
from tests.machine.simulation import (
    llm_completed,
    llm_failed,
    policy,
    subagent_completed,
    tool_completed,
    tool_failed,
)
from tests.machine.situations import answer_model, asking_model, executing, fire_timers, gating, started, state_of

LLM_CELLS = [
    # policy, classification, requests to the model, terminal state
    ("retry_then_fail", "retryable", 3, "failed"),
    ("retry_then_fail", "terminal", 1, "failed"),
    ("retry_then_degrade", "retryable", 3, "degraded"),
    ("retry_then_degrade", "non_fatal", 1, "degraded"),
    ("retry_then_continue", "retryable", 6, "failed"),
    ("retry_then_continue", "terminal", 1, "degraded"),
    ("fail_fast", "retryable", 1, "failed"),
    ("fail_run", "retryable", 1, "failed"),
    ("fail", "terminal", 1, "failed"),
    ("degrade", "retryable", 1, "degraded"),
    ("continue_with_error", "retryable", 2, "failed"),
    ("continue", "terminal", 1, "degraded"),
    ("skip_action", "terminal", 1, "degraded"),
]


@pytest.mark.parametrize(("llm_failure", "classification", "requests", "ends"), LLM_CELLS)
def test_each_cell_of_the_model_failure_policy(llm_failure: str, classification: str, requests: int, ends: str) -> None:
    run = asking_model(llm_failure=llm_failure, max_steps=2)
    while not run.state.ended:
        answer_model(run, llm_failed(classification))
        if run.state.call is not None and run.state.call.status == "backoff":
            fire_timers(run)
    assert (run.types.count("llm_called"), run.state.status) == (requests, ends)
    assert run.events[-1].message == run.state.reason != ""
    if ends == "degraded":
        assert run.state.missing == ("the model call failed: no luck",)


def test_fallback_models_are_asked_in_order_each_with_its_own_attempts() -> None:
    run = asking_model(models=(ModelSpec("m", "p"), ModelSpec("backup", "q")), attempts=2)
    for _ in range(2):
        answer_model(run, llm_failed("retryable"))
        if run.types[-1] == "llm_failed":
            fire_timers(run)
    answer_model(run, llm_completed("c"))
    called = [event.data for event in run.events if event.type == "llm_called"]
    assert [(data["model"], data["attempt"], data["ordinal"]) for data in called] == [("m", 1, 1), ("m", 2, 2), ("backup", 1, 3)]
    assert run.state.status == "completed"


def test_a_model_call_that_the_policy_refuses_ends_the_run() -> None:
    for denial, ends in (("skip_action", "failed"), ("degrade", "degraded")):
        run = started(approval_denial=denial)
        (gate,) = run.wanted(EvaluatePolicy)
        run.answer(gate, policy("deny"))
        assert state_of(run) == ends
        assert "did not allow the model call (deny): rule 7" in run.state.reason


def test_an_instructions_function_that_fails_is_tried_again_and_the_policy_is_still_asked() -> None:
    run = started(dynamic_instructions=True)
    (resolve,) = run.wanted(ResolveInstructions)
    run.answer(resolve, llm_failed("retryable", model="none"))
    fire_timers(run)
    (resolve,) = run.wanted(ResolveInstructions)
    run.answer(resolve, Draft("instructions_resolved", {"instructions": "Be kind."}))
    assert len(run.wanted(EvaluatePolicy)) == 1
    run.answer_plainly(CallModel)
    assert run.wanted(CallModel)[0].instructions == "Be kind."


def test_delays_grow_jitter_their_upper_half_and_heed_the_provider_within_bounds() -> None:
    retry = Retry(attempts=9, base_s=1.0, cap_s=4.0, retry_after_cap_s=10.0)
    for failures, full in ((1, 1.0), (2, 2.0), (3, 4.0), (8, 4.0)):
        delays = {delay_s(retry, failures, f"salt{number}") for number in range(20)}
        assert len(delays) == 20
        assert all(full / 2 <= delay <= full for delay in delays)
    assert delay_s(retry, 1, "a") == delay_s(retry, 1, "a")
    assert delay_s(retry, 1, "a", 7.0) == 7.0
    assert delay_s(retry, 1, "a", 99.0) == 10.0


def test_a_final_answer_that_is_rejected_goes_back_to_the_model() -> None:
    run = asking_model(output_schema={"type": "object"})
    answer_model(run, llm_completed("c"))
    (check,) = run.wanted(ValidateOutput)
    run.answer(check, Draft("output_rejected", {"error": "age: missing"}))
    answer_model(run, llm_completed("d"))
    assert "age: missing" in run.state.messages[-2].content
    (check,) = run.wanted(ValidateOutput)
    run.answer(check, Draft("output_validated", {"output": {"age": 3}}))
    assert (state_of(run), run.state.output) == ("completed", {"age": 3})


TOOL_CELLS = [
    # policy, tool, classification, starts, terminal state
    ("continue_with_error", "look", "retryable", 1, "completed"),
    ("retry_then_continue", "look", "retryable", 3, "completed"),
    ("retry_then_continue", "pay", "retryable", 1, "completed"),
    ("retry_then_fail", "look", "retryable", 3, "failed"),
    ("retry_then_fail", "look", "terminal", 1, "failed"),
    ("retry_then_degrade", "look", "retryable", 3, "degraded"),
    ("fail_fast", "look", "retryable", 1, "failed"),
    ("degrade", "pay", "terminal", 1, "degraded"),
    ("skip_action", "pay", "terminal", 1, "completed"),
    ("continue", "strict", "terminal", 1, "failed"),
]


@pytest.mark.parametrize(("tool_failure", "name", "classification", "starts", "ends"), TOOL_CELLS)
def test_each_cell_of_the_tool_failure_policy(tool_failure: str, name: str, classification: str, starts: int, ends: str) -> None:
    run = executing([name], tool_failure=tool_failure)
    while run.wanted(ExecuteTool):
        (effect,) = run.wanted(ExecuteTool)
        run.answer(effect, tool_failed(effect.call, effect.attempt, classification))
        if run.state.batch is not None and run.state.batch.turns[0].status == "backoff":
            fire_timers(run)
    if state_of(run) == "running":
        answer_model(run, llm_completed("d"))
    assert (run.types.count("tool_started"), run.state.status) == (starts, ends)
    if ends == "degraded":
        assert run.state.missing == (f"tool '{name}' (c-0): {name} broke",)
        assert run.state.reason == run.state.missing[0]


def test_a_subagent_has_a_failure_policy_and_a_gate_of_its_own() -> None:
    run = gating(["scout"], tool_failure="continue", subagent_failure="fail")
    (gate,) = run.wanted(EvaluatePolicy)
    assert gate.event_type == "subagent_before_execute"
    run.answer_plainly(RunSubagent)
    (effect,) = run.wanted(RunSubagent)
    run.answer(effect, subagent_completed(effect, error="it broke", classification="terminal"))
    assert state_of(run) == "failed"


def test_bad_arguments_are_the_models_to_mend_whatever_the_policy() -> None:
    run = gating(["pay"], tool_failure="fail_run")
    (gate,) = run.wanted(EvaluatePolicy)
    assert gate.call is not None
    run.answer(gate, tool_failed(gate.call, 0, "non_fatal"))
    assert state_of(run) == "running"
    assert run.state.messages[-1].content.endswith("pay broke")


def test_a_failing_run_lets_running_siblings_end_and_starts_nothing_new() -> None:
    run = executing(["look", "pay", "strict"], max_parallel_tools=2, tool_failure="fail")
    first, second = run.wanted(ExecuteTool)
    run.answer(first, tool_failed(first.call, 1, "terminal"))
    assert run.effects() == (second, run.state.deadline)
    run.answer(second, tool_completed(second.call))
    assert state_of(run) == "failed"
    assert [event.data["tool_call_id"] for event in run.events if event.type == "tool_completed"] == ["c-0", "c-1"]
    assert [message.content for message in remembered(run.state)][-1].startswith("This call was not run")


def test_each_step_asks_the_router_and_the_instructions_in_its_own_name() -> None:
    run = started(routed=True, dynamic_instructions=True)
    assert run.wanted(RouteSubagents) == [RouteSubagents("route:1", 1)]
    run.answer_plainly(ResolveInstructions)
    assert run.wanted(ResolveInstructions) == [ResolveInstructions("instructions:1", 1)]
    run.answer_plainly(CallModel)
    answer_model(run, llm_completed("c", ["look"]))
    run.answer_plainly(RouteSubagents)
    assert run.wanted(RouteSubagents) == [RouteSubagents("route:2", 2)]
    run.answer_plainly(ResolveInstructions)
    assert run.wanted(ResolveInstructions) == [ResolveInstructions("instructions:2", 2)]


def test_delays_are_the_same_in_every_process_and_version() -> None:
    """Digests, worked out apart: blake2b of the salt with four bytes, as a number of 2**32. A resumed run waits for the same moment."""
    retry = Retry(attempts=9, base_s=1.0, cap_s=4.0, retry_after_cap_s=10.0)
    fraction = int(hashlib.blake2b(b"run_1:7", digest_size=4).hexdigest(), 16) / 4_294_967_296
    assert delay_s(retry, 2, "run_1:7") == 1.0 + fraction
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    due = at + dt.timedelta(seconds=1.0 + fraction)
    assert backoff(retry, 2, run_id="run_1", seq=7, at=at) == Wait("retry:7", "retry:7", due)
    asked = backoff(retry, 2, run_id="run_1", seq=7, at=at, retry_after_s=7.0)
    assert asked == Wait("retry:7", "retry:7", at + dt.timedelta(seconds=7))
