"""What follows from a failure, for every policy there is: each cell of these tables is a run, and what was really done is counted."""

from __future__ import annotations

from typing import Any

import pytest

from afk_es.agents import FailSafeConfig, PolicyEngine, PolicyRule
from afk_es.core import Runner
from afk_es.errors import LLMConfigurationError, LLMRetryableError, ToolError
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.machine.spec import POLICIES
from afk_es.testing import ScriptedModel
from tests.core.scenario import Counted, agent, always, asks, limits, log_of, model_of, only, says, types

ATTEMPTS = 3
"""How often a retryable failure is tried in all."""

BREAKER = 5
"""After how many failures in a row a model is left alone."""

# policy                    retryable: requests, state      terminal: requests, state        (with two steps at most)
MODEL_FAILURES = {
    "retry_then_fail":     ((ATTEMPTS, "failed"),           (1, "failed")),
    "retry_then_degrade":  ((ATTEMPTS, "degraded"),         (1, "degraded")),
    "retry_then_continue": ((BREAKER, "degraded"),          (1, "degraded")),
    "fail_fast":           ((1, "failed"),                  (1, "failed")),
    "fail_run":            ((1, "failed"),                  (1, "failed")),
    "fail":                ((1, "failed"),                  (1, "failed")),
    "degrade":             ((1, "degraded"),                (1, "degraded")),
    "continue_with_error": ((2, "failed"),                  (1, "degraded")),
    "continue":            ((2, "failed"),                  (1, "degraded")),
    "skip_action":         ((2, "failed"),                  (1, "degraded")),
}  # fmt: skip
"""To continue is to take the next step, so it is max_steps that ends such a run, under its failing policy, or the circuit breaker, which
says that asking again cannot help: what is there is what there will be."""

# policy                    starts of a repeatable tool, state
TOOL_FAILURES = {
    "retry_then_fail":     (ATTEMPTS, "failed"),
    "retry_then_degrade":  (ATTEMPTS, "degraded"),
    "retry_then_continue": (ATTEMPTS, "completed"),
    "fail_fast":           (1, "failed"),
    "fail_run":            (1, "failed"),
    "fail":                (1, "failed"),
    "degrade":             (1, "degraded"),
    "continue_with_error": (1, "completed"),
    "continue":            (1, "completed"),
    "skip_action":         (1, "completed"),
}  # fmt: skip
"""A tool that is neither read-only nor idempotent is started once, whatever the policy says."""


def test_the_tables_have_every_policy() -> None:
    assert MODEL_FAILURES.keys() == TOOL_FAILURES.keys() == POLICIES.keys()


@pytest.mark.parametrize("kind", ["retryable", "terminal"])
@pytest.mark.parametrize("policy", MODEL_FAILURES)
async def test_a_failing_model(policy: Any, kind: str, runner: Runner) -> None:
    requests, state = MODEL_FAILURES[policy][kind == "terminal"]
    error = LLMRetryableError("overloaded", status_code=503) if kind == "retryable" else LLMConfigurationError("bad key", status_code=401)

    def fail(request: LLMRequest) -> LLMResponse:
        raise error

    described = agent(ScriptedModel(fail), fail_safe=limits(llm_failure_policy=policy, max_steps=2))
    result = await runner.run(described, user_message="go")
    events = await log_of(runner, result.run_id)
    assert len(model_of(described).requests) == requests
    assert len(only(events, "llm_called")) == len(only(events, "llm_failed")) == requests, "each attempt is an event"
    assert {event.data["classification"] for event in only(events, "llm_failed")} == {kind}
    assert result.state == state
    assert events[-1].type == ("run_failed" if state == "failed" else "run_completed")
    assert str(error) in (result.error or "") or "max_steps" in (result.error or "")
    assert result.error is not None
    assert result.error in result.final_text


FAILURES: dict[str, tuple[BaseException, str]] = {
    "exception": (RuntimeError("broke"), "retryable"),
    "timeout": (TimeoutError("too slow"), "retryable"),
    "ToolError": (ToolError("no such customer"), "terminal"),
}


@pytest.mark.parametrize("repeatable", [True, False], ids=["idempotent", "not idempotent"])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("policy", TOOL_FAILURES)
async def test_a_failing_tool(policy: Any, failure: str, repeatable: bool, runner: Runner) -> None:
    starts, state = TOOL_FAILURES[policy]
    error, classification = FAILURES[failure]
    if not repeatable or classification == "terminal":
        starts = 1
    work = Counted(*[error] * 9, idempotent=repeatable)
    described = agent([asks(("work", {})), says("I could not")], work.tool, fail_safe=limits(tool_failure_policy=policy))
    result = await runner.run(described, user_message="go")
    events = await log_of(runner, result.run_id)
    assert work.ran == starts
    assert len(only(events, "tool_started")) == len(only(events, "tool_failed")) == starts
    assert {event.data["classification"] for event in only(events, "tool_failed")} == {classification}
    (completed,) = only(events, "tool_completed")
    assert (completed.data["success"], completed.data["outcome"]) == (False, "failed")
    assert str(error) in completed.data["error"]
    assert result.state == state
    assert len(model_of(described).requests) == (1 if state == "failed" else 2)
    if state == "completed":
        assert result.final_text == "I could not"
    else:
        assert "tool 'work' (c1)" in (result.error or "")
        assert str(error) in (result.error or "")


@pytest.mark.parametrize("policy", TOOL_FAILURES)
@pytest.mark.parametrize(
    "call", [("work", {"n": "many"}), ("work", {"m": 1}), ("wrok", {})], ids=["wrong type", "unknown name", "unknown tool"]
)
async def test_what_the_model_got_wrong_is_told_to_the_model_and_no_policy_is_asked(policy: Any, call: Any, runner: Runner) -> None:
    work = Counted()
    described = agent([asks(call), says("sorry")], work.tool, fail_safe=limits(tool_failure_policy=policy))
    result = await runner.run(described)
    events = await log_of(runner, result.run_id)
    assert (result.state, work.ran) == ("completed", 0)
    assert "tool_started" not in types(events)
    assert only(events, "tool_failed")[0].data["classification"] == "non_fatal"
    assert only(events, "tool_completed")[0].data["outcome"] == "invalid"
    told = model_of(described).requests[1].messages[-1]
    assert (told.role, told.tool_call_id) == ("tool", "c1")
    assert "work" in told.content


@pytest.mark.parametrize("policy", TOOL_FAILURES)
async def test_raise_on_error_fails_the_run_under_any_policy(policy: Any, runner: Runner) -> None:
    work = Counted(*[RuntimeError("broke")] * 9, raise_on_error=True)
    result = await runner.run(agent([asks(("work", {}))], work.tool, fail_safe=limits(tool_failure_policy=policy)))
    assert (result.state, work.ran) == ("failed", 1)
    assert "broke" in result.final_text


@pytest.mark.parametrize("policy", TOOL_FAILURES)
async def test_an_approval_that_is_not_given(policy: Any, runner: Runner) -> None:
    _starts, state = TOOL_FAILURES[policy]
    work = Counted()
    described = agent(
        [asks(("work", {})), says("then not")],
        work.tool,
        policy_engine=PolicyEngine([PolicyRule(rule_id="ask", action="request_approval", condition=always, subjects=("tool",))]),
        fail_safe=limits(approval_denial_policy=policy),
    )
    result = await runner.run(described)
    events = await log_of(runner, result.run_id)
    assert (result.state, work.ran) == (state, 0)
    assert [event.data["by"] for event in only(events, "approval_resolved")] == ["fallback"]
    assert only(events, "tool_completed")[0].data["outcome"] == "denied"


async def test_a_denial_by_a_rule_is_the_models_to_mend_under_any_policy(runner: Runner) -> None:
    work = Counted()
    described = agent(
        [asks(("work", {})), says("I may not")],
        work.tool,
        policy_engine=PolicyEngine([PolicyRule(action="deny", condition=always, subjects=("tool",), reason="not on Fridays")]),
        fail_safe=limits(approval_denial_policy="fail_run", tool_failure_policy="fail_run"),
    )
    result = await runner.run(described)
    assert (result.state, work.ran) == ("completed", 0)
    assert "not on Fridays" in model_of(described).requests[1].messages[-1].content


@pytest.mark.parametrize(("policy", "state"), [("skip_action", "failed"), ("degrade", "degraded"), ("fail_run", "failed")])
async def test_a_denied_model_call_leaves_nothing_to_do(policy: Any, state: str, runner: Runner) -> None:
    described = agent(
        [says("never")],
        policy_engine=PolicyEngine([PolicyRule(rule_id="quiet", action="deny", condition=always, subjects=("llm",), reason="after hours")]),
        fail_safe=limits(approval_denial_policy=policy),
    )
    result = await runner.run(described)
    assert (result.state, len(model_of(described).requests)) == (state, 0)
    assert "quiet" in (result.error or "")
    assert "after hours" in (result.error or "")


async def test_a_retry_that_succeeds_is_a_success(runner: Runner) -> None:
    work = Counted(RuntimeError("once"), RuntimeError("twice"), idempotent=True)
    script = [LLMRetryableError("busy"), asks(("work", {"n": 4})), LLMRetryableError("busy"), LLMRetryableError("busy"), says("done")]
    described = agent(script, work.tool, fail_safe=limits(tool_failure_policy="retry_then_fail"))
    result = await runner.run(described)
    assert (result.state, work.ran, len(model_of(described).requests)) == ("completed", 3, 5)
    (record,) = result.tool_executions
    assert (record.success, record.output, record.error) == (True, "done 4", None)
    assert result.error is None


async def test_attempts_are_spaced_further_and_further_apart_and_share_their_idempotency_key(runner: Runner) -> None:
    busy = [LLMRetryableError("busy"), LLMRetryableError("busy")]
    described = agent([*busy, asks(("work", {})), says("ok")], Counted().tool)
    result = await runner.run(described)
    events = await log_of(runner, result.run_id)
    called = only(events, "llm_called")
    failed = only(events, "llm_failed")
    waits = [(after.at - before.at).total_seconds() for before, after in zip(failed, called[1:3], strict=True)]
    assert 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1.0
    assert [event.data["attempt"] for event in called] == [1, 2, 3, 1]
    keys = [request.idempotency_key for request in model_of(described).requests]
    assert keys[0] == keys[1] == keys[2] != keys[3]


async def test_a_provider_that_asks_for_a_longer_wait_gets_it_up_to_a_minute(runner: Runner) -> None:
    described = agent([LLMRetryableError("slow down", retry_after_s=17), LLMRetryableError("slow down", retry_after_s=1e6), says("ok")])
    result = await runner.run(described)
    events = await log_of(runner, result.run_id)
    waits = [
        (after.at - before.at).total_seconds()
        for before, after in zip(only(events, "llm_failed"), only(events, "llm_called")[1:], strict=True)
    ]
    assert waits == pytest.approx([17, 60])


async def test_fallback_models_are_asked_in_turn_each_with_its_own_attempts(runner: Runner) -> None:
    first = ScriptedModel([LLMRetryableError("busy")] * 3, provider_id="first", model="a")
    second = ScriptedModel([LLMConfigurationError("no such model")], provider_id="second", model="b")
    third = ScriptedModel([says("at last"), says("again")], provider_id="third", model="c")
    described = agent(first, fail_safe=FailSafeConfig(max_wall_time_s=None, fallback_model_chain=(second, third)))
    result = await runner.run(described)
    events = await log_of(runner, result.run_id)
    asked = [(event.data["model"], event.data["provider"], event.data["attempt"]) for event in only(events, "llm_called")]
    assert asked == [("a", "first", 1), ("a", "first", 2), ("a", "first", 3), ("b", "second", 1), ("c", "third", 1)]
    assert (result.state, result.final_text) == ("completed", "at last")
    assert (result.requested_model, result.provider_adapter, result.normalized_model) == ("a", "third", "scripted-1-0613")
    assert [request.model for request in third.requests] == ["c"]


async def test_when_every_fallback_has_failed_the_last_error_is_the_runs(runner: Runner) -> None:
    spare = ScriptedModel([LLMConfigurationError("spare is down too")])
    described = agent([LLMConfigurationError("down")], fail_safe=FailSafeConfig(max_wall_time_s=None, fallback_model_chain=(spare,)))
    result = await runner.run(described)
    assert result.state == "failed"
    assert "spare is down too" in result.final_text
