"""Approvals and input in the three modes, and what follows from a no."""

from __future__ import annotations

import pytest

from afk_es.errors import InvariantError
from afk_es.machine.effects import AskPerson, EvaluatePolicy, ExecuteTool
from tests.machine.simulation import (
    approval,
    given,
    policy,
)
from tests.machine.situations import asked, gating, state_of


@pytest.mark.parametrize(("fallback", "outcome"), [("allow", "granted"), ("deny", "denied"), ("defer", "deferred")])
def test_headless_the_fallback_answers_an_approval(fallback: str, outcome: str) -> None:
    run = asked("request_approval", mode="headless", approval_fallback=fallback)
    (answer,) = (event.data for event in run.events if event.type == "approval_resolved")
    assert (answer["outcome"], answer["by"]) == (outcome, "fallback")
    assert ("tool_started" in run.types) == (fallback == "allow")


@pytest.mark.parametrize(("fallback", "outcome"), [("allow", "answered"), ("deny", "denied"), ("defer", "deferred")])
def test_headless_the_fallback_answers_for_input(fallback: str, outcome: str) -> None:
    run = asked("request_user_input", mode="headless", input_fallback=fallback)
    (answer,) = (event.data for event in run.events if event.type == "input_resolved")
    assert (answer["outcome"], answer["value"]) == (outcome, None)
    assert ("tool_started" in run.types) == (fallback == "allow")


@pytest.mark.parametrize(("denial", "ends"), [("skip_action", "running"), ("fail_run", "failed"), ("degrade", "running")])
def test_what_follows_from_a_persons_no_is_a_policy_of_its_own(denial: str, ends: str) -> None:
    run = asked("request_approval", mode="interactive", approval_denial=denial)
    (ask,) = run.wanted(AskPerson)
    assert ask.request["arguments"] == {"n": 0}
    run.answer(ask, approval(ask.request, "denied"))
    assert state_of(run) == ends
    assert len(run.state.missing) == (denial == "degrade")


def test_external_a_run_is_laid_down_once_nothing_else_can_go_on_and_takes_the_answer_when_resumed() -> None:
    run = gating(["pay", "look"], mode="external")
    gates = run.wanted(EvaluatePolicy)
    assert gates[0].call is not None
    run.answer(gates[0], policy("request_approval", gates[0].call))
    assert state_of(run) == "running"
    run.answer_plainly()
    assert (run.state.status, run.state.reason) == ("interrupted", "waits for an answer from outside: pay (c-0)")
    run.resume()
    assert run.state.batch is not None
    request = run.state.batch.turns[0].request
    assert request is not None
    run.put(approval(request, "granted"))
    assert [effect.call.tool_name for effect in run.wanted(ExecuteTool)] == ["pay"]


def test_external_a_call_beyond_the_limit_does_not_keep_a_run_from_being_laid_down() -> None:
    run = gating(["pay", "look"], mode="external", max_tool_calls=1)
    (gate,) = run.wanted(EvaluatePolicy)
    assert gate.call is not None
    run.answer(gate, policy("request_approval", gate.call))
    assert state_of(run) == "interrupted"


def test_a_persons_words_become_the_argument_that_the_rule_names() -> None:
    run = asked("request_user_input", payload={"argument": "colour"}, mode="interactive")
    (ask,) = run.wanted(AskPerson)
    run.answer(ask, given(ask.request, "answered", "blue"))
    assert run.wanted(ExecuteTool)[0].call.arguments == {"n": 0, "colour": "blue"}


def test_a_persons_words_stand_in_for_the_result_where_the_rule_names_no_argument() -> None:
    run = asked("request_user_input", payload={"prompt": "Which?"}, mode="interactive")
    (ask,) = run.wanted(AskPerson)
    assert ask.request["prompt"] == "Which?"
    run.answer(ask, given(ask.request, "answered", "blue"))
    run.effects()
    assert "blue" in run.state.messages[-1].content
    assert "tool_started" not in run.types


def test_a_grant_holds_for_these_arguments_and_for_nothing_else() -> None:
    run = asked("request_approval", mode="interactive")
    (ask,) = run.wanted(AskPerson)
    with pytest.raises(InvariantError, match="not with these arguments"):
        run.put(approval({**ask.request, "arguments_hash": "other"}, "granted"))
    with pytest.raises(InvariantError, match="waits for approval"):
        run.put(given(ask.request, "answered", "yes"))
