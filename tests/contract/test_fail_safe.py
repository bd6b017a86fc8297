"""contract.md, "FailSafeConfig": the table, the policies, the classes of failure, and limits that hold exactly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from afk_es import FailSafeConfig, PolicyEngine, PolicyRule, Runner
from afk_es.clock import SimulatedClock
from afk_es.core import AgentRunEvent
from afk_es.errors import LLMConfigurationError, LLMRetryableError, LLMTimeoutError
from afk_es.llms import LLMRequest, LLMResponse, Usage
from afk_es.testing import ScriptedModel
from tests.contract.test_agent import hands_over, helper
from tests.core.scenario import Counted, Stuck, StuckModel, agent, asks, limits, log_of, model_of, only, says, types

DEFAULTS: dict[str, Any] = {
    "llm_failure_policy": "retry_then_fail",
    "tool_failure_policy": "continue_with_error",
    "subagent_failure_policy": "continue",
    "approval_denial_policy": "skip_action",
    "max_steps": 20,
    "max_wall_time_s": 300.0,
    "max_llm_calls": 50,
    "max_tool_calls": 200,
    "max_parallel_tools": 16,
    "max_subagent_depth": 3,
    "max_subagent_fanout_per_step": 4,
    "max_total_cost_usd": None,
    "fallback_model_chain": (),
    "breaker_failure_threshold": 5,
    "breaker_cooldown_s": 30.0,
}

POLICY_FIELDS = [field for field in DEFAULTS if field.endswith("_policy")]

POLICIES = [
    "retry_then_fail",
    "retry_then_degrade",
    "fail_fast",
    "continue_with_error",
    "retry_then_continue",
    "continue",
    "fail_run",
    "skip_action",
    "fail",
    "degrade",
]


@pytest.mark.parametrize("field", DEFAULTS)
def test_each_field_has_its_default(field: str) -> None:
    assert getattr(FailSafeConfig(), field) == DEFAULTS[field]


def test_it_has_the_fields_of_the_table_first() -> None:
    assert DEFAULTS.keys() <= FailSafeConfig.model_fields.keys()


# ------------------------------------------------------------------------------------------------------------------------ policies


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("field", POLICY_FIELDS)
def test_policies_and_the_short_forms_are_legal(field: str, policy: str) -> None:
    assert getattr(FailSafeConfig(**{field: policy}), field) == policy


@pytest.mark.parametrize("field", POLICY_FIELDS)
def test_an_unknown_string_is_a_validation_error_at_construction_naming_the_legal_ones(field: str) -> None:
    with pytest.raises(ValidationError) as raised:
        FailSafeConfig(**{field: "shrug"})
    assert all(f"'{policy}'" in str(raised.value) for policy in POLICIES)


@pytest.mark.parametrize(
    ("policy", "state"), [("retry_then_fail", "failed"), ("retry_then_degrade", "degraded"), ("retry_then_continue", "failed")]
)
async def test_retry_really_retries_bounded_and_each_attempt_is_an_event(policy: Any, state: str, runner: Runner) -> None:
    def busy(request: LLMRequest) -> LLMResponse:
        raise LLMRetryableError("busy", status_code=503)

    model = ScriptedModel(busy)
    result = await runner.run(agent(model, fail_safe=limits(llm_failure_policy=policy, max_steps=1)), user_message="go")
    events = await log_of(runner, result.run_id)
    assert result.state == state
    assert 1 < len(model.requests) < 10
    assert len(only(events, "llm_called")) == len(only(events, "llm_failed")) == len(model.requests)


@pytest.mark.parametrize("policy", ["fail_fast", "fail", "fail_run", "degrade"])
async def test_a_policy_without_retry_does_not_retry(policy: Any, runner: Runner) -> None:
    described = agent([LLMRetryableError("busy")], fail_safe=limits(llm_failure_policy=policy))
    result = await runner.run(described, user_message="go")
    assert (result.state, len(model_of(described).requests)) == ("degraded" if policy == "degrade" else "failed", 1)


async def test_exponential_backoff_with_jitter(runner: Runner) -> None:
    waits: list[tuple[float, float]] = []
    for _ in range(4):
        result = await runner.run(agent([LLMRetryableError("busy"), LLMRetryableError("busy"), says("ok")]), user_message="go")
        events = await log_of(runner, result.run_id)
        pairs = zip(only(events, "llm_failed"), only(events, "llm_called")[1:], strict=True)
        first, second = [(called.at - failed.at).total_seconds() for failed, called in pairs]
        assert 0 < first <= 0.5 <= second <= 1.0
        waits.append((first, second))
    assert len(set(waits)) > 1, "without jitter all clients of a provider that was down come back at once"


@pytest.mark.parametrize(("policy", "starts"), [("retry_then_continue", 3), ("continue_with_error", 1)])
async def test_a_failing_tool_that_may_be_repeated_is_retried_by_retry_policies(policy: Any, starts: int, runner: Runner) -> None:
    work = Counted(*[RuntimeError("broke")] * 5, idempotent=True)
    described = agent([asks(("work", {})), says("I could not")], work.tool, fail_safe=limits(tool_failure_policy=policy))
    result = await runner.run(described, user_message="go")
    assert (result.state, work.ran) == ("completed", starts)
    assert len(only(await log_of(runner, result.run_id), "tool_failed")) == starts


async def test_continue_with_error_is_the_default_and_the_model_is_told(runner: Runner) -> None:
    described = agent([asks(("work", {})), says("I could not")], Counted(RuntimeError("broke")).tool)
    result = await runner.run(described, user_message="go")
    assert result.state == "completed"
    assert "broke" in model_of(described).requests[1].messages[-1].content


@pytest.mark.parametrize(("policy", "state"), [("skip_action", "completed"), ("fail_run", "failed"), ("degrade", "degraded")])
async def test_approval_denial_policy(policy: Any, state: str, runner: Runner) -> None:
    work = Counted()
    ask = PolicyRule(action="request_approval", condition=lambda event: True, subjects=("tool",))
    described = agent(
        [asks(("work", {})), says("then not")],
        work.tool,
        policy_engine=PolicyEngine([ask]),
        fail_safe=limits(approval_denial_policy=policy),
    )
    result = await runner.run(described, user_message="go")
    assert (result.state, work.ran) == (state, 0)


@pytest.mark.parametrize(("policy", "state"), [("continue", "completed"), ("fail_run", "failed"), ("degrade", "degraded")])
async def test_subagent_failure_policy(policy: Any, state: str, runner: Runner) -> None:
    child = helper([LLMConfigurationError("the child is down")])
    parent = agent(ScriptedModel(hands_over), subagents=[child], fail_safe=limits(subagent_failure_policy=policy))
    result = await runner.run(parent, user_message="go")
    assert result.state == state
    assert [record.success for record in result.subagent_executions] == [False]


async def test_fallback_model_chain_is_asked_when_the_agents_own_model_fails(runner: Runner) -> None:
    spare = ScriptedModel([says("the spare one")], provider_id="spare", model="b")
    described = agent([LLMConfigurationError("down")], fail_safe=limits(fallback_model_chain=(spare,)))
    result = await runner.run(described, user_message="go")
    assert (result.state, result.final_text, result.provider_adapter) == ("completed", "the spare one", "spare")


# -------------------------------------------------------------------------------------------------------------- classes of failure


class Foreign(Exception):
    """An exception as a vendor's client raises it."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"HTTP {status_code}")
        self.status_code = status_code


RETRYABLE = [
    Foreign(408),
    Foreign(429),
    Foreign(500),
    Foreign(502),
    Foreign(503),
    Foreign(529),
    TimeoutError("slow"),
    ConnectionError("reset"),
]
TERMINAL = [Foreign(400), Foreign(401), Foreign(403), Foreign(404), Foreign(422), LLMConfigurationError("no such model")]


def classes(events: list[AgentRunEvent]) -> set[str]:
    return {event.data["classification"] for event in events if "classification" in event.data}


@pytest.mark.parametrize("error", [*RETRYABLE, LLMTimeoutError("slow"), LLMRetryableError("busy")], ids=repr)
async def test_408_429_5xx_timeout_and_connection_are_retryable_and_the_event_says_so(error: Exception, runner: Runner) -> None:
    result = await runner.run(agent([error, says("at last")]), user_message="go")
    assert (result.state, result.final_text) == ("completed", "at last")
    assert classes(await log_of(runner, result.run_id)) == {"retryable"}


@pytest.mark.parametrize("error", TERMINAL, ids=repr)
async def test_auth_bad_request_and_unknown_model_are_terminal_and_the_event_says_so(error: Exception, runner: Runner) -> None:
    described = agent([error, says("never asked")])
    result = await runner.run(described, user_message="go")
    assert (result.state, len(model_of(described).requests)) == ("failed", 1)
    assert classes(await log_of(runner, result.run_id)) == {"terminal"}


async def test_bad_tool_arguments_are_non_fatal_and_the_event_says_so(runner: Runner) -> None:
    result = await runner.run(agent([asks(("work", {"n": "many"})), says("sorry")], Counted().tool), user_message="go")
    assert result.state == "completed"
    assert classes(await log_of(runner, result.run_id)) == {"non_fatal"}


async def test_a_policy_denial_is_non_fatal_and_the_event_says_so(runner: Runner) -> None:
    deny = PolicyRule(action="deny", condition=lambda event: True, subjects=("tool",), reason="not today")
    described = agent([asks(("work", {})), says("then not")], Counted().tool, policy_engine=PolicyEngine([deny]))
    result = await runner.run(described, user_message="go")
    assert result.state == "completed"
    assert classes(await log_of(runner, result.run_id)) == {"non_fatal"}


async def test_telemetry_that_fails_is_non_fatal(clock: SimulatedClock) -> None:
    class Broken:
        def export(self, event: AgentRunEvent) -> None:
            raise OSError("the collector is gone")

        def flush(self) -> None:
            raise OSError("the collector is gone")

        def close(self) -> None:
            raise OSError("the collector is gone")

    async with Runner(log=":memory:", clock=clock, telemetry=Broken()) as runner:
        result = await runner.run(agent([says("ok")]), user_message="go")
    assert result.state == "completed"


async def test_breaker_open_with_no_fallback_is_terminal(runner: Runner) -> None:
    def busy(request: LLMRequest) -> LLMResponse:
        raise LLMRetryableError("busy", status_code=503)

    model = ScriptedModel(busy)
    described = agent(model, fail_safe=limits(breaker_failure_threshold=2, breaker_cooldown_s=60.0))
    result = await runner.run(described, user_message="go")
    assert (result.state, len(model.requests)) == ("failed", 2)
    assert only(await log_of(runner, result.run_id), "circuit_open")[-1].data["classification"] == "terminal"


async def test_breaker_cooldown_s_passes_and_the_model_is_asked_again(runner: Runner) -> None:
    busy = [LLMRetryableError("busy", status_code=503)] * 2
    described = agent([*busy, says("back again")], fail_safe=limits(breaker_failure_threshold=2, breaker_cooldown_s=0.01))
    result = await runner.run(described, user_message="go")
    assert (result.state, result.final_text) == ("completed", "back again")


# ------------------------------------------------------------------------------------------------------------- "limits hold exactly"


async def test_with_max_llm_calls_3_the_model_is_asked_at_most_three_times(runner: Runner) -> None:
    model = ScriptedModel(lambda request: asks(("work", {})))
    result = await runner.run(agent(model, Counted().tool, fail_safe=limits(max_llm_calls=3)), user_message="go")
    assert (result.state, len(model.requests), result.state_snapshot.llm_calls) == ("failed", 3, 3)


async def test_attempts_and_fallbacks_count_for_max_llm_calls(runner: Runner) -> None:
    asked = 0

    def busy(request: LLMRequest) -> LLMResponse:
        nonlocal asked
        asked += 1
        raise LLMRetryableError("busy")

    described = agent(ScriptedModel(busy), fail_safe=limits(max_llm_calls=4, fallback_model_chain=(ScriptedModel(busy),)))
    result = await runner.run(described, user_message="go")
    assert (result.state, asked) == ("failed", 4)


@pytest.mark.parametrize("room", [0, 1, 3, 4])
async def test_a_batch_that_would_pass_max_tool_calls_runs_none_of_those_beyond_it(room: int, runner: Runner) -> None:
    work = Counted()
    batch = asks(*[("work", {"n": n}) for n in range(4)])
    described = agent([batch, says("ok")], work.tool, fail_safe=limits(max_tool_calls=room))
    result = await runner.run(described, user_message="go")
    assert sorted(work.arguments) == list(range(room))
    assert [record.success for record in sorted(result.tool_executions, key=lambda record: record.tool_call_id)] == [
        n < room for n in range(4)
    ]


async def test_a_reply_that_crosses_the_cost_limit_is_kept_and_counted_and_no_further_call_is_made(runner: Runner) -> None:
    work = Counted()
    described = agent(
        [asks(("work", {}), text="half an answer", cost=0.30), says("never asked", cost=0.1)],
        work.tool,
        fail_safe=limits(max_total_cost_usd=0.25),
    )
    result = await runner.run(described, user_message="go")
    assert (result.state, len(model_of(described).requests), work.ran) == ("failed", 1, 0)
    assert result.total_cost_usd == pytest.approx(0.30)
    assert result.usage_aggregate == Usage(10, 5, 15)
    assert result.llm_response is not None
    assert result.llm_response.text == "half an answer"


async def test_an_answer_that_crosses_the_cost_limit_is_an_answer(runner: Runner) -> None:
    described = agent([says("the answer", cost=0.30)], fail_safe=limits(max_total_cost_usd=0.25))
    result = await runner.run(described, user_message="go")
    assert (result.state, result.final_text) == ("completed", "the answer")


async def test_a_cost_limit_with_an_unknown_price_fails_at_once_with_the_way_out_in_the_message(runner: Runner) -> None:
    described = agent([asks(("work", {})), says("never asked")], Counted().tool, fail_safe=limits(max_total_cost_usd=1.0))
    result = await runner.run(described, user_message="go")
    assert (result.state, len(model_of(described).requests)) == ("failed", 1)
    assert "max_total_cost_usd" in result.final_text
    assert "price" in result.final_text

    class Unpriced(ScriptedModel):
        def prices(self, model: str) -> bool:
            return False

    told = agent(Unpriced([says("never asked")]), fail_safe=limits(max_total_cost_usd=1.0))
    result = await runner.run(told, user_message="go")
    assert (result.state, len(model_of(told).requests)) == ("failed", 0)
    assert "max_total_cost_usd" in result.final_text


async def test_wall_time_is_a_hard_deadline_that_also_cuts_an_effect_in_flight(runner: Runner) -> None:
    stuck_model, stuck = StuckModel(), Stuck()
    for described in (
        agent(stuck_model, fail_safe=FailSafeConfig(max_wall_time_s=5)),
        agent([asks(("stuck", {}))], stuck.tool, fail_safe=FailSafeConfig(max_wall_time_s=5)),
    ):
        result = await runner.run(described, user_message="go")
        assert result.state == "interrupted"
        assert result.state_snapshot.elapsed_s == pytest.approx(5)
    assert stuck.cancelled


async def test_time_during_which_no_process_ran_the_run_does_not_count() -> None:
    clock = SimulatedClock()
    async with Runner(log=":memory:", clock=clock) as runner:
        stuck = StuckModel()
        described = agent(stuck, fail_safe=FailSafeConfig(max_wall_time_s=10))
        handle = await runner.run_handle(described, user_message="go")
        await stuck.asked.wait()
        clock.advance(4)
        await handle.interrupt()
        assert (await handle.await_result()).state_snapshot.elapsed_s == pytest.approx(4)
        clock.advance(3600)
        stuck.let_go.set()
        result = await runner.resume(described, run_id=handle.run_id)
        assert (result.state, result.final_text) == ("completed", "late")
        assert result.state_snapshot.elapsed_s == pytest.approx(4)


async def test_max_steps_holds_exactly(runner: Runner) -> None:
    model = ScriptedModel(lambda request: asks(("work", {})))
    result = await runner.run(agent(model, Counted().tool, fail_safe=limits(max_steps=4)), user_message="go")
    assert (result.state, result.state_snapshot.step, len(model.requests)) == ("failed", 4, 4)


async def test_max_parallel_tools_holds_exactly(runner: Runner) -> None:
    running, peak = 0, 0

    async def work() -> str:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.002)
        running -= 1
        return "done"

    described = agent([asks(*[("work", {})] * 7), says("ok")], work, fail_safe=limits(max_parallel_tools=3))
    assert (await runner.run(described, user_message="go")).state == "completed"
    assert peak == 3


async def test_max_subagent_fanout_per_step_holds_exactly(runner: Runner) -> None:
    children = [helper([says("helped")], name=f"helper{n}") for n in range(4)]
    parent = agent(ScriptedModel(hands_over), subagents=children, fail_safe=limits(max_subagent_fanout_per_step=2))
    result = await runner.run(parent, user_message="go")
    assert sum(len(model_of(child).requests) for child in children) == 2
    assert types(await log_of(runner, result.run_id)).count("subagent_started") == 2


@pytest.mark.parametrize(("depth", "asked"), [(0, 0), (1, 1), (2, 2), (3, 3)])
async def test_max_subagent_depth_holds_exactly(depth: int, asked: int, runner: Runner) -> None:
    fail_safe = limits(max_subagent_depth=depth)
    third = helper([says("deep")], name="third", fail_safe=fail_safe)
    second = helper(ScriptedModel(hands_over), name="second", subagents=[third], fail_safe=fail_safe)
    first = helper(ScriptedModel(hands_over), name="first", subagents=[second], fail_safe=fail_safe)
    await runner.run(agent(ScriptedModel(hands_over), subagents=[first], fail_safe=fail_safe), user_message="go")
    assert sum(1 for child in (first, second, third) if model_of(child).requests) == asked
