"""Goal: a person is asked, once, and what they say is what happens. Method: whole runs with a provider, or with nobody here to ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.clock import SimulatedClock
from afk_es.core import AgentResult, Runner, RunnerConfig
from afk_es.errors import ConfigurationError
from afk_es.interaction import (
    ApprovalDecision,
    ApprovalRequest,
    InMemoryInteraction,
    InputDecision,
    InputRequest,
    InteractionProvider,
)
from tests.core.scenario import Counted, agent, always, asks, log_of, only, says, types, until


def ruled(action: Any, work: Counted, *, calls: int = 1, **rule: Any) -> Agent:
    """An agent whose every tool call meets a rule of this action."""
    engine = PolicyEngine([PolicyRule(rule_id="four eyes", action=action, condition=always, subjects=("tool",), **rule)])
    script = [asks(*[("work", {"n": number}) for number in range(calls)]), says("ok")]
    return agent(script, work.tool, policy_engine=engine)


class Scripted:
    """A provider that answers what it is told to, and keeps what it was asked."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self.asked: list[ApprovalRequest | InputRequest] = []
        self._answer = answer

    async def request_approval(self, request: ApprovalRequest) -> ApprovalDecision:
        decision: ApprovalDecision = await self._answered(request)
        return decision

    async def request_input(self, request: InputRequest) -> InputDecision:
        decision: InputDecision = await self._answered(request)
        return decision

    async def _answered(self, request: Any) -> Any:
        self.asked.append(request)
        answer = self._answer(request)
        return await answer if isinstance(answer, Awaitable) else answer


def interactive(people: InteractionProvider, **settings: Any) -> Runner:
    """A runner that asks them."""
    clock = settings.pop("clock", None)
    config = RunnerConfig(interaction_mode="interactive", **settings)
    return Runner(log=":memory:", interaction_provider=people, config=config, clock=clock)


@pytest.mark.parametrize(
    ("outcome", "ran", "ends"), [("granted", 1, "completed"), ("denied", 0, "completed"), ("deferred", 0, "interrupted")]
)
async def test_a_persons_word_is_what_happens(outcome: Any, ran: int, ends: str) -> None:
    people = Scripted(lambda request: ApprovalDecision(outcome=outcome, by="ann", reason="because"))
    work = Counted()
    async with interactive(people) as runner:
        result = await runner.run(ruled("request_approval", work, reason="it costs", updated_tool_args={"n": 5}))
        (answer,) = only(await log_of(runner, result.run_id), "approval_resolved")
    assert (result.state, work.ran) == (ends, ran)
    assert (answer.data["outcome"], answer.data["by"], answer.data["reason"]) == (outcome, "ann", "because")
    (request,) = people.asked
    assert isinstance(request, ApprovalRequest)
    assert (request.tool_name, request.arguments, request.proposed_arguments) == ("work", {"n": 5}, {"n": 0})
    assert (request.rule, request.reason, request.agent_path, request.run_id) == ("four eyes", "it costs", ("agent",), result.run_id)
    assert request.expires_at is not None
    assert (request.expires_at - request.asked_at).total_seconds() == 300
    assert [(each.request_id, each.deferred) for each in result.pending] == ([("approval:1:0", True)] if outcome == "deferred" else [])
    if outcome == "denied":
        assert result.tool_executions[0].error == "because (by ann)"


@pytest.mark.parametrize(
    ("decision", "ran", "told"),
    [
        (InputDecision(outcome="answered", by="ann", value="7"), 1, None),
        (InputDecision(outcome="denied", by="ann", reason="ask Bob"), 0, "no input was given (by ann): ask Bob"),
    ],
)
async def test_a_persons_words_become_the_argument_the_rule_names(decision: InputDecision, ran: int, told: str | None) -> None:
    people = Scripted(lambda request: decision)
    work = Counted()
    async with interactive(people) as runner:
        result = await runner.run(ruled("request_user_input", work, request_payload={"argument": "n", "prompt": "How many?"}))
    assert (result.state, work.ran, result.tool_executions[0].error) == ("completed", ran, told)
    (request,) = people.asked
    assert isinstance(request, InputRequest)
    assert (request.prompt, request.arguments) == ("How many?", {"n": 0})


def _raises(request: Any) -> Any:
    raise ConnectionError("the pager is down\ud800")


def _cancels(request: Any) -> Any:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (_raises, "ConnectionError: the pager is down"),
        (_cancels, "cancelled from inside"),
        (lambda request: True, "must answer a ApprovalDecision, not True"),
        (lambda request: InputDecision(outcome="denied", by="ann"), "must answer a ApprovalDecision"),
    ],
)
@pytest.mark.parametrize(("fallback", "ran"), [("deny", 0), ("allow", 1)])
async def test_a_provider_that_fails_is_stood_in_for_and_a_warning_says_why(answer: Any, why: str, fallback: Any, ran: int) -> None:
    work = Counted()
    async with interactive(Scripted(answer), approval_fallback=fallback) as runner:
        result = await runner.run(ruled("request_approval", work))
        events = await log_of(runner, result.run_id)
    assert (result.state, work.ran) == ("completed", ran)
    (warning,) = only(events, "warning")
    assert why in warning.message
    (resolved,) = only(events, "approval_resolved")
    assert (resolved.data["by"], resolved.data["reason"]) == ("fallback", warning.message)


async def test_what_a_provider_does_to_its_request_changes_nothing() -> None:
    def answer(request: ApprovalRequest) -> ApprovalDecision:
        request.arguments["n"] = 99
        return ApprovalDecision(outcome="granted", by="ann")

    work = Counted()
    async with interactive(Scripted(answer)) as runner:
        await runner.run(ruled("request_approval", work))
    assert work.arguments == [0]


@pytest.mark.parametrize(("fallback", "ends", "ran"), [("deny", "completed", 0), ("allow", "completed", 1), ("defer", "interrupted", 0)])
@pytest.mark.parametrize("action", ["request_approval", "request_user_input"])
async def test_nobody_answers_in_time(action: str, fallback: Any, ends: str, ran: int) -> None:
    people = InMemoryInteraction()
    clock = SimulatedClock(autojump_threshold_s=0.01)
    settings = {"approval_timeout_s": 60.0, "input_timeout_s": 60.0, "approval_fallback": fallback, "input_fallback": fallback}
    work = Counted()
    async with interactive(people, clock=clock, **settings) as runner:
        result = await runner.run(ruled(action, work))
        events = await log_of(runner, result.run_id)
    assert (result.state, work.ran) == (ends, ran)
    asked, answered = (event for event in events if event.type.endswith(("_requested", "_resolved")))
    assert (answered.data["by"], (answered.at - asked.at).total_seconds()) == ("fallback", 60.0)
    assert "within 60 s" in answered.data["reason"]
    assert people.pending() == ()
    assert [request.deferred for request in result.pending] == ([True] if fallback == "defer" else [])


async def test_a_letter_that_is_there_wins_over_the_end_of_the_term(tmp_path: Path) -> None:
    """The inbox would look at it too late; the loop looks before it lets the term end."""
    people = InMemoryInteraction()
    clock = SimulatedClock()
    config = RunnerConfig(interaction_mode="interactive", background_tool_poll_interval_s=3600.0)
    work = Counted()
    path = tmp_path / "runs.db"
    async with Runner(log=path, interaction_provider=people, config=config, clock=clock) as runner, Runner(log=path) as other:
        handle = await runner.run_handle(ruled("request_approval", work))
        await people.next_request()
        delivery = await other.approve(run_id=handle.run_id, by="ann")
        assert delivery.status == "posted"
        clock.advance(300.0)
        result = await handle.await_result()
    assert (result.state, work.ran) == ("completed", 1)


async def test_an_answer_from_outside_withdraws_the_question_here() -> None:
    people = InMemoryInteraction()
    work = Counted()
    async with interactive(people) as runner:
        handle = await runner.run_handle(ruled("request_approval", work))
        request = await people.next_request()
        delivery = await asyncio.wait_for(runner.approve(run_id=handle.run_id, request_id=request.request_id, by="bob", wait_s=10), 0.4)
        result = await handle.await_result()
    assert delivery.status == "taken_in"
    assert (result.state, work.ran, people.pending()) == ("completed", 1, ())


async def test_what_is_asked_at_once_is_answered_in_any_order() -> None:
    people = InMemoryInteraction()
    work = Counted()
    async with interactive(people) as runner:
        handle = await runner.run_handle(ruled("request_approval", work, calls=3))
        await until(lambda: len(people.pending()) == 3)
        people.deny("approval:3:0", by="ann")
        people.approve("approval:2:0", by="ann")
        people.defer("approval:1:0", by="ann")
        result = await handle.await_result()
        assert (result.state, work.arguments) == ("interrupted", [1])
        assert [request.request_id for request in result.pending] == ["approval:1:0"]
        assert "waits for an answer from outside" in (result.error or "")


async def test_cancelling_the_run_withdraws_the_question() -> None:
    people = InMemoryInteraction()
    async with interactive(people) as runner:
        handle = await runner.run_handle(ruled("request_approval", Counted()))
        await people.next_request()
        await handle.cancel("enough")
        result = await handle.await_result()
    assert (result.state, people.pending(), result.pending) == ("cancelled", (), ())


async def test_pausing_the_run_withdraws_the_question_until_it_goes_on() -> None:
    people = InMemoryInteraction()
    async with interactive(people) as runner:
        handle = await runner.run_handle(ruled("request_approval", Counted()))
        first = await people.next_request()
        await handle.pause()
        await until(lambda: not people.pending())
        await handle.resume()
        assert await people.next_request() == first
        people.approve(first.request_id, by="ann")
        result = await handle.await_result()
        events = await log_of(runner, result.run_id)
    assert result.state == "completed"
    assert types(events).count("approval_requested") == 1


async def test_external_the_result_says_what_is_waited_for_and_a_resumed_run_does_it_once() -> None:
    work = Counted()
    described = ruled("request_approval", work, calls=2, request_payload={"amount": 3})
    async with Runner(log=":memory:", config=RunnerConfig(interaction_mode="external")) as runner:
        parked = await runner.run(described)
        assert (parked.state, work.ran) == ("interrupted", 0)
        assert parked.pending == await runner.pending_requests()
        assert [(each.kind, each.request_id, each.payload, each.run_id) for each in parked.pending] == [
            ("approval", "approval:1:0", {"amount": 3}, parked.run_id),
            ("approval", "approval:2:0", {"amount": 3}, parked.run_id),
        ]
        await runner.approve(run_id=parked.run_id, request_id="approval:2:0", by="ann")
        again = await runner.resume(described, run_id=parked.run_id)
        assert (again.state, work.arguments) == ("interrupted", [1])
        assert [each.request_id for each in again.pending] == ["approval:1:0"]
        await runner.deny(run_id=parked.run_id, by="ann", reason="no")
        result = await runner.resume(described, run_id=parked.run_id)
        events = await log_of(runner, parked.run_id)
    assert (result.state, work.arguments, result.pending) == ("completed", [1], ())
    assert types(events).count("approval_requested") == 2


async def test_a_result_with_pending_requests_is_json_and_back() -> None:
    async with Runner(log=":memory:", config=RunnerConfig(interaction_mode="external")) as runner:
        for action in ("request_approval", "request_user_input"):
            parked = await runner.run(ruled(action, Counted()))
            assert AgentResult.model_validate_json(parked.model_dump_json()).pending == parked.pending


async def test_headless_a_call_that_was_put_off_is_answered_from_outside() -> None:
    work = Counted()
    described = ruled("defer", work)
    async with Runner(log=":memory:") as runner:
        parked = await runner.run(described)
        assert (parked.state, [each.deferred for each in parked.pending]) == ("interrupted", [True])
        again = await runner.resume(described, run_id=parked.run_id)
        assert (again.state, work.ran, again.pending) == ("interrupted", 0, parked.pending)
        await runner.approve(run_id=parked.run_id, by="ann")
        result = await runner.resume(described, run_id=parked.run_id)
    assert (result.state, work.ran) == ("completed", 1)


def test_interactive_mode_needs_somebody_who_asks_and_the_other_modes_have_no_use_for_one(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with pytest.raises(ConfigurationError, match="somebody has to ask"):
        Runner(log=path, config=RunnerConfig(interaction_mode="interactive"))
    for mode in ("headless", "external"):
        with pytest.raises(ConfigurationError, match=f"interaction_mode is '{mode}', in which it is never asked"):
            Runner(log=path, interaction_provider=InMemoryInteraction(), config=RunnerConfig(interaction_mode=mode))
    for wrong in (object(), InMemoryInteraction):
        with pytest.raises(ConfigurationError, match="request_approval and request_input"):
            Runner(log=path, interaction_provider=wrong, config=RunnerConfig(interaction_mode="interactive"))  # type: ignore[arg-type]
    assert not path.exists()
