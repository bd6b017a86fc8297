"""Reopening a run that failed: with a world that is well again it completes, in one that is not it fails as it did, and nothing is repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.clock import SimulatedClock
from afk_es.core import AgentResult, Runner, recorded_agent
from afk_es.core.replays import spec_of
from afk_es.errors import LLMConfigurationError, LLMRetryableError, ToolError, UsageError
from afk_es.tools import ToolDeferredHandle, tool
from tests.core.replayed import divergence
from tests.core.scenario import Counted, StuckModel, agent, always, asks, limits, log_of, model_of, only, says, turns, types

DONE = says("done", cost=0.1)


class Answer(BaseModel):
    text: str


@dataclass(frozen=True)
class Way:
    """A way to fail.

    Attributes:
        agent: in a world that is well, or not.
        error_type: what the run fails by.
        retryable: whether the failure says that it may go better another time.
        changed: what has to be well is the agent itself.
        told: what the model sees of it where it goes on.
    """

    agent: Callable[[bool], Agent]
    error_type: str
    retryable: bool = False
    changed: bool = False
    told: str | None = None


def model_call(*failures: Exception, **policy: Any) -> Callable[[bool], Agent]:
    return lambda well: agent([DONE] if well else [*failures], fail_safe=limits(**policy))


def refusing(well: bool) -> Agent:
    rule = PolicyRule(rule_id="r", action="deny", subjects=("llm",), condition=lambda event: not well)
    return agent([DONE] if well else [], policy_engine=PolicyEngine(rules=[rule]))


def instructed(well: bool) -> Agent:
    def instructions(context: dict[str, Any]) -> str:
        return ["Be brief."][0 if well else 1]

    return agent([DONE], instructions=instructions)


def routed(well: bool) -> Agent:
    def router(asked: Any) -> None:
        if not well:
            raise OSError("no way")

    return agent([DONE], subagents=(agent([], name="helper"),), subagent_router=router, fail_safe=limits(subagent_failure_policy="fail"))


def tool_that(*failures: Exception, **policy: Any) -> Callable[[bool], Agent]:
    def described(well: bool) -> Agent:
        work = Counted(*([] if well else failures))
        return agent([DONE] if well else [asks(("work", {}))], work.tool, fail_safe=limits(**policy))

    return described


def asked_of_a_person(well: bool) -> Agent:
    rule = PolicyRule(rule_id="ask", action="request_approval", subjects=("tool",), condition=always)
    script = [DONE] if well else [asks(("work", {}))]
    engine = PolicyEngine(rules=[rule])
    return agent(script, Counted().tool, policy_engine=engine, fail_safe=limits(approval_denial_policy="fail"))


def delegating(failure: Exception) -> Callable[[bool], Agent]:
    def described(well: bool) -> Agent:
        helper = agent([failure], name="helper", fail_safe=limits(llm_failure_policy="fail"))
        script = [DONE] if well else [asks(("transfer_to_helper", {"task": "help"}))]
        return agent(script, subagents=(helper,), fail_safe=limits(subagent_failure_policy="fail"))

    return described


def limited(*script: Any, more: dict[str, Any], **less: Any) -> Callable[[bool], Agent]:
    """An agent that runs into a limit, and one of the same kind that has more."""
    last = says('{"text": "done"}', cost=0.1)
    return lambda well: agent(
        [last] if well else [*script], Counted().tool, output_type=Answer, fail_safe=limits(**({**less, **more} if well else less))
    )


AWAY = LLMRetryableError("away")
WAYS = {
    "model away": Way(model_call(AWAY, AWAY, AWAY), "LLMRetryableError", retryable=True),
    "model refuses": Way(model_call(LLMConfigurationError("who are you?")), "LLMConfigurationError"),
    "circuit open": Way(model_call(AWAY, AWAY, breaker_failure_threshold=2), "CircuitOpen", retryable=True),
    "policy refuses": Way(refusing, "PolicyDenied"),
    "instructions raise": Way(instructed, "IndexError"),
    "router raises": Way(routed, "OSError", retryable=True),
    "tool raises": Way(tool_that(OSError("gone"), tool_failure_policy="fail_run"), "ToolFailed", retryable=True, told="gone"),
    "tool refuses": Way(tool_that(ToolError("not that"), tool_failure_policy="fail_run"), "ToolFailed", told="not that"),
    "person refuses": Way(asked_of_a_person, "ApprovalDenied", told="(by fallback)"),
    "subagent fails": Way(delegating(AWAY), "SubagentFailed", retryable=True, told="away"),
    "subagent is refused": Way(delegating(LLMConfigurationError("no")), "SubagentFailed", told="the model call failed: no"),
    "max_steps": Way(limited(says("none"), says("none"), max_steps=2, more={"max_steps": 3}), "LimitReached", changed=True),
    "max_llm_calls": Way(limited(says("none"), max_llm_calls=1, more={"max_llm_calls": 2}), "LimitReached", changed=True),
    "max_total_cost_usd": Way(
        limited(asks(("work", {}), cost=0.5), max_total_cost_usd=0.5, more={"max_total_cost_usd": 1.0}), "LimitReached", changed=True
    ),
    "max_tool_calls": Way(
        limited(asks(("work", {}), ("work", {})), max_tool_calls=1, tool_failure_policy="fail", more={"max_tool_calls": 2}),
        "LimitReached",
        changed=True,
        told="max_tool_calls reached",
    ),
    "unknown price": Way(
        limited(asks(("work", {})), max_total_cost_usd=1.0, more={"max_total_cost_usd": None}), "UnknownPrice", changed=True
    ),
}


async def failed(runner: Runner, way: Way) -> AgentResult:
    result = await runner.run(way.agent(False), user_message="go")
    assert (result.state, result.failure and result.failure.error_type) == ("failed", way.error_type)
    return result


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_reopened_in_a_world_that_is_well_it_completes(way: Way, runner: Runner, clock: SimulatedClock) -> None:
    first = await failed(runner, way)
    before = await log_of(runner, first.run_id)
    clock.advance(3600)
    mended = way.agent(True)
    result = await runner.resume(mended, run_id=first.run_id, reopen=True, allow_agent_change=way.changed)
    assert (result.state, result.failure, result.error) == ("completed", None, None)
    events = await log_of(runner, first.run_id)
    assert events[: len(before)] == before
    started = events[len(before)]
    assert (started.type, started.data["resumed"], started.data["reopened"], started.data["epoch"]) == ("run_started", True, True, 2)
    assert result.state_snapshot.elapsed_s < 60, "the time between the stretches is nobody's"
    if way.told is not None:
        assert any(way.told in text for _role, text in turns(model_of(mended).requests[0]))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_reopened_in_a_world_that_is_not_it_fails_by_the_same_again(way: Way, runner: Runner) -> None:
    first = await failed(runner, way)
    length = len(await log_of(runner, first.run_id))
    for stretch in (2, 3):
        again = await runner.resume(way.agent(False), run_id=first.run_id, reopen=True)
        assert (again.state, again.failure) == ("failed", first.failure)
        events = await log_of(runner, first.run_id)
        assert len(events) <= stretch * (length + 2)
        if way.changed:
            assert len(only(events, "llm_called")) == len(only(events[:length], "llm_called")), "a limit that holds is hit at once"
            assert len(only(events, "tool_started")) == len(only(events[:length], "tool_started"))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_the_failure_says_whether_it_may_go_better_another_time(way: Way, runner: Runner) -> None:
    failure = (await failed(runner, way)).failure
    assert failure is not None
    assert failure.retryable is way.retryable
    assert failure.retry_after_s is None or way.error_type == "CircuitOpen"


async def test_without_being_asked_to_a_failed_run_is_not_reopened(runner: Runner) -> None:
    way = WAYS["model away"]
    first = await failed(runner, way)
    assert await runner.resume(way.agent(True), run_id=first.run_id) == first
    attached = await runner.run_once(way.agent(True), run_id=first.run_id, by="test", user_message="go")
    assert (await attached.await_result()).state == "failed"


async def test_once_means_that_a_failed_run_goes_on_where_that_is_asked_for(runner: Runner) -> None:
    way = WAYS["model away"]
    first = await failed(runner, way)
    attached = await runner.run_once(way.agent(True), run_id=first.run_id, by="test", user_message="go", reopen=True)
    assert [event.type async for event in attached.events].count("run_started") == 2
    assert (await attached.await_result()).final_text == "done"


@pytest.mark.parametrize("script", [[DONE], [LLMConfigurationError("no")]], ids=["completed", "degraded"])
async def test_only_a_failed_run_is_reopened(script: Any, runner: Runner) -> None:
    described = agent(script, fail_safe=limits(llm_failure_policy="degrade"))
    result = await runner.run(described)
    assert await runner.resume(described, run_id=result.run_id, reopen=True) == result


async def test_what_had_not_begun_beside_the_call_that_failed_goes_on(runner: Runner) -> None:
    fails, waits = Counted(OSError("gone"), name="fails"), Counted(name="waits")
    config = limits(tool_failure_policy="fail_run", max_parallel_tools=1)
    described = agent([asks(("fails", {}), ("waits", {})), DONE], fails.tool, waits.tool, fail_safe=config)
    first = await runner.run(described)
    assert (first.state, waits.ran) == ("failed", 0)
    result = await runner.resume(described, run_id=first.run_id, reopen=True)
    assert (result.state, fails.ran, waits.ran) == ("completed", 1, 1)
    assert [record.success for record in result.tool_executions] == [False, True]


async def test_a_subagents_run_is_reopened_by_nobody_but_its_parent_goes_on(runner: Runner) -> None:
    way = WAYS["subagent fails"]
    first = await failed(runner, way)
    child = first.subagent_executions[0].run_id
    with pytest.raises(UsageError, match=f"reopen the run that a caller started, {first.run_id}"):
        await runner.resume(way.agent(True).subagents[0], run_id=child, reopen=True)
    before = await log_of(runner, child)
    assert (await runner.resume(way.agent(True), run_id=first.run_id, reopen=True)).state == "completed"
    assert await log_of(runner, child) == before


async def test_a_handle_of_a_reopened_run_has_its_new_stretch(runner: Runner) -> None:
    way = WAYS["model away"]
    first = await failed(runner, way)
    handle = await runner.resume_handle(way.agent(True), run_id=first.run_id, reopen=True)
    seen = [event async for event in handle.events]
    assert (types(seen)[0], types(seen)[-1]) == ("run_started", "run_completed")
    assert (await handle.await_result()).usage_by_model["scripted-1"].requests == 4


@pytest.mark.parametrize("name", ["model away", "tool raises", "subagent fails", "router raises"])
async def test_a_reopened_run_is_replayed_with_its_reopening(name: str, runner: Runner) -> None:
    """The reopening is a decision from outside, which the record holds; today's agent fails and is reopened where it was."""
    first = await failed(runner, WAYS[name])
    result = await runner.resume(WAYS[name].agent(True), run_id=first.run_id, reopen=True)
    recorded = await log_of(runner, first.run_id)
    replayed = await runner.replay(recorded_agent(spec_of(recorded[0])), run_id=first.run_id)
    assert (replayed.result.state, replayed.unanswered, replayed.leftovers) == ("completed", (), ())
    assert replayed.result.final_text == result.final_text
    events = await log_of(runner, replayed.run_id)
    assert types(events) == types(recorded)
    assert [event.data.get("reopened") for event in only(events, "run_started")] == [None, True]
    assert await divergence(runner.log, first.run_id, replayed.run_id) is None


async def test_an_agent_that_does_not_fail_today_is_not_reopened_in_its_replay(runner: Runner) -> None:
    way = WAYS["tool raises"]
    first = await failed(runner, way)
    await runner.resume(way.agent(True), run_id=first.run_id, reopen=True)
    lenient = agent([], Counted().tool)
    replayed = await runner.replay(lenient, run_id=first.run_id)
    assert replayed.result.state == "completed", "the model is told of the failure, as its policy says today"
    assert types(await log_of(runner, replayed.run_id)).count("run_started") == 1


async def test_a_fork_shares_the_reopening_and_may_be_reopened_itself(runner: Runner) -> None:
    way = WAYS["model away"]
    first = await failed(runner, way)
    await runner.resume(way.agent(True), run_id=first.run_id, reopen=True)
    events = await log_of(runner, first.run_id)
    reopening = only(events, "run_started")[1].seq
    fork = await runner.fork(way.agent(False), run_id=first.run_id, at=reopening, edits=[])
    assert fork.state == "completed", "what was answered behind the reopening is reused"
    other = agent([LLMConfigurationError("no")], instructions="Be quick.")
    lost = await runner.fork(other, run_id=first.run_id, at=reopening)
    assert lost.state == "failed"
    found = await runner.resume(agent([DONE], instructions="Be quick."), run_id=lost.run_id, reopen=True)
    assert (found.state, found.final_text) == ("completed", "done")


async def test_the_next_run_on_the_thread_sees_what_the_reopened_one_came_to(runner: Runner) -> None:
    way = WAYS["tool raises"]
    first = await failed(runner, way)
    between = await runner.run(agent([says("between")]), user_message="and?", thread_id=first.thread_id)
    await runner.resume(way.agent(True), run_id=first.run_id, reopen=True)
    last = agent([says("last")])
    result = await runner.run(last, user_message="so?", thread_id=first.thread_id)
    shown = [text for _role, text in turns(model_of(last).requests[0])]
    assert "done" in shown
    assert "between" in shown
    assert (between.state, result.state) == ("completed", "completed")


async def test_a_letter_that_the_failing_run_did_not_take_in_is_taken_in_when_it_is_reopened(runner: Runner) -> None:
    model = StuckModel()
    described = agent(model, fail_safe=limits(llm_failure_policy="fail", max_llm_calls=1), output_type=Answer)
    handle = await runner.run_handle(described, user_message="go")
    await model.asked.wait()
    attached = await runner.attach(run_id=handle.run_id, by="ann")
    post = runner.log.post

    async def overtaken(run_id: str, draft: Any, *, at: Any) -> Any:
        model.let_go.set()
        assert (await handle.await_result()).state == "failed"
        return await post(run_id, draft, at=at)

    runner.log.post = overtaken  # type: ignore[method-assign]
    receipt = await attached.cancel("enough", wait_s=10)
    assert (receipt.status, receipt.reason) == (
        "posted",
        "the run had ended before it was taken in (failed); it is, if the run is reopened",
    )
    result = await runner.resume(described, run_id=handle.run_id, reopen=True)
    assert (result.state, result.error) == ("cancelled", "enough")


async def test_tickets_of_a_run_that_failed_are_open_again_when_it_is_reopened(runner: Runner) -> None:
    @tool
    def order() -> ToolDeferredHandle:
        """Order it."""
        return ToolDeferredHandle(ticket_id="t1")

    def described(well: bool) -> Agent:
        script = [says("waits"), says("it came")] if well else [asks(("order", {})), LLMConfigurationError("no")]
        return agent(script, order)

    first = await runner.run(described(False), user_message="go")
    about: dict[str, Any] = {"thread_id": first.thread_id, "run_id": first.run_id}
    assert [each["status"] for each in await runner.list_background_tools(**about, include_resolved=True)] == ["abandoned"]
    with pytest.raises(UsageError, match="has ended"):
        await runner.resolve_background_tool(**about, ticket_id="t1", output="here")
    handle = await runner.resume_handle(described(True), run_id=first.run_id, reopen=True)
    assert [each["status"] for each in await runner.list_background_tools(**about)] == ["pending"]
    await runner.resolve_background_tool(**about, ticket_id="t1", output="here")
    assert (await handle.await_result()).final_text == "it came"
