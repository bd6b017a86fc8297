"""Goal: what people and other functions said is said again where it was, and none of them is asked. Method: runs of every way to ask, replayed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.clock import SimulatedClock
from afk_es.core import RecordedPeople, RetentionPolicy, Runner, RunnerConfig
from afk_es.errors import UsageError
from afk_es.interaction import ApprovalDecision, ApprovalRequest, InputDecision, InputRequest
from afk_es.llms import Message
from tests.core.replayed import Exploding, assert_same
from tests.core.scenario import Counted, agent, always, asks, log_of, only, says


class Ann:
    """Approves and answers, and counts how often."""

    def __init__(self, outcome: Any = "granted") -> None:
        self.asked = 0
        self._outcome = outcome

    async def request_approval(self, request: ApprovalRequest) -> ApprovalDecision:
        self.asked += 1
        return ApprovalDecision(outcome=self._outcome, by="ann", reason="because")

    async def request_input(self, request: InputRequest) -> InputDecision:
        self.asked += 1
        return InputDecision(outcome="answered", by="ann", value="7")


def ruled(action: Any, work: Counted, calls: int = 1, **rule: Any) -> Agent:
    """An agent whose every tool call meets a rule of this action."""
    engine = PolicyEngine([PolicyRule(rule_id="four eyes", action=action, condition=always, subjects=("tool",), **rule)])
    return agent([asks(*[("work", {"n": n}) for n in range(calls)]), says("ok")], work.tool, policy_engine=engine)


@pytest.mark.parametrize("outcome", ["granted", "denied", "deferred"])
@pytest.mark.parametrize("action", ["request_approval", "request_user_input"])
async def test_in_interactive_mode_nobody_is_asked_again(action: str, outcome: str) -> None:
    ann, work = Ann(outcome), Counted()
    config = RunnerConfig(interaction_mode="interactive")
    async with Runner(log=":memory:", interaction_provider=ann, config=config) as runner:
        result = await runner.run(ruled(action, work, calls=2), user_message="go")
        ran, asked = work.ran, ann.asked
        async with Runner(log=runner.log, interaction_provider=RecordedPeople(), config=config) as later:
            await assert_same(later, ruled(action, work, calls=2), result.run_id)
    assert (work.ran, ann.asked) == (ran, 2)
    assert asked == 2


async def test_a_person_who_did_not_answer_in_time(clock: SimulatedClock) -> None:
    class Nobody(Ann):
        async def request_approval(self, request: ApprovalRequest) -> ApprovalDecision:
            await clock.sleep(1e6)
            raise AssertionError("too late")

    config = RunnerConfig(interaction_mode="interactive", approval_timeout_s=30.0)
    async with Runner(log=":memory:", interaction_provider=Nobody(), config=config, clock=clock) as runner:
        result = await runner.run(ruled("request_approval", Counted()), user_message="go")
        replayed = await assert_same(runner, ruled("request_approval", Counted()), result.run_id)
        (answer,) = only(await log_of(runner, replayed.run_id), "approval_resolved")
    assert answer.data["by"] == "fallback"


async def test_a_provider_that_failed() -> None:
    dead, config = Exploding(), RunnerConfig(interaction_mode="interactive")
    async with Runner(log=":memory:", interaction_provider=dead, config=config) as runner:
        result = await runner.run(ruled("request_approval", Counted()), user_message="go")
        await assert_same(runner, ruled("request_approval", Counted()), result.run_id)
    assert dead.reached == ["a person"], "once, live"


async def test_in_headless_mode_the_fallback_answers_again(runner: Runner) -> None:
    result = await runner.run(ruled("request_approval", Counted()), user_message="go")
    await assert_same(runner, ruled("request_approval", Counted()), result.run_id)


async def test_answers_from_outside_come_when_the_run_was_resumed_with_them() -> None:
    config = RunnerConfig(interaction_mode="external")
    work = Counted()
    async with Runner(log=":memory:", config=config) as runner:
        described = ruled("request_approval", work, calls=2)
        result = await runner.run(described, user_message="go")
        while result.pending:
            request = result.pending[0]
            await runner.approve(run_id=result.run_id, by="ann", request_id=request.request_id)
            result = await runner.resume(described, run_id=result.run_id)
        assert result.state == "completed"
        replayed = await assert_same(runner, described, result.run_id)
        answers = only(await log_of(runner, replayed.run_id), "approval_resolved")
    assert [answer.data["by"] for answer in answers] == ["ann", "ann"]
    assert work.ran == 2


async def test_a_question_that_was_never_put_has_no_answer() -> None:
    config = RunnerConfig(interaction_mode="interactive")
    work, dead = Counted(), Exploding()
    async with Runner(log=":memory:", interaction_provider=dead, config=config) as runner:
        result = await runner.run(agent([asks(("work", {})), says("ok")], work.tool), user_message="go")
        replayed = await runner.replay(ruled("request_approval", work), run_id=result.run_id)
    assert [missing.what for missing in replayed.unanswered] == ["approval for work"]
    assert {left.type for left in replayed.leftovers} == {"tool_completed", "llm_completed"}
    assert (dead.reached, work.ran, replayed.result.state) == ([], 1, "interrupted")


async def test_a_question_that_was_never_put_has_no_answer_from_outside_either() -> None:
    async with Runner(log=":memory:", config=RunnerConfig(interaction_mode="external")) as runner:
        result = await runner.run(agent([asks(("work", {})), says("ok")], Counted().tool), user_message="go")
        replayed = await runner.replay(ruled("request_approval", Counted()), run_id=result.run_id)
    assert [missing.what for missing in replayed.unanswered] == ["approval for work"]


async def test_who_is_given_a_provider_of_replays_live_is_told_so() -> None:
    config = RunnerConfig(interaction_mode="interactive")
    async with Runner(log=":memory:", interaction_provider=RecordedPeople(), config=config) as runner:
        result = await runner.run(ruled("request_approval", Counted()), user_message="go")
        (warning,) = only(await log_of(runner, result.run_id), "warning")
    assert "UsageError: RecordedPeople is for replays" in warning.message
    with pytest.raises(UsageError, match="RecordedPeople"):
        await RecordedPeople().request_input(None)  # type: ignore[arg-type]


class Order(BaseModel):
    """What is ordered."""

    item: str
    amount: int


async def test_an_answer_that_was_refused_by_its_type_is_refused_again(runner: Runner) -> None:
    described = agent(['{"item": "lamp"}', '{"item": "lamp", "amount": 2}'], output_type=Order)
    result = await runner.run(described, user_message="go")
    replayed = await assert_same(runner, described, result.run_id)
    assert replayed.result.final_structured == Order(item="lamp", amount=2)
    assert len(only(await log_of(runner, replayed.run_id), "output_rejected")) == 1


async def test_a_type_of_today_judges_the_recorded_answer(runner: Runner) -> None:
    result = await runner.run(agent(['{"item": "lamp"}']), user_message="go")
    replayed = await runner.replay(agent([], output_type=Order), run_id=result.run_id)
    assert [missing.what for missing in replayed.unanswered] == ["model scripted-1"]
    assert len(only(await log_of(runner, replayed.run_id), "output_rejected")) == 1


@pytest.mark.parametrize("summary", ["function", "dropped"])
async def test_a_conversation_is_summed_up_with_the_recorded_words(summary: str) -> None:
    asked: list[int] = []

    def sum_up(messages: list[Message]) -> str:
        asked.append(len(messages))
        return f"{len(messages)} messages"

    def script() -> list[Any]:
        return [asks(("work", {"n": 1})), asks(("work", {"n": 2})), asks(("work", {"n": 3})), says("ok")]

    retention = RetentionPolicy(max_messages=4, summariser=sum_up if summary == "function" else None)
    async with Runner(log=":memory:", config=RunnerConfig(thread_retention=retention)) as runner:
        described = agent(script(), Counted().tool)
        result = await runner.run(described, user_message="go")
        times = len(asked)
        replayed = await assert_same(runner, described, result.run_id)
        assert only(await log_of(runner, replayed.run_id), "thread_compacted")
    assert (len(asked), times > 0) == (times, summary == "function")
