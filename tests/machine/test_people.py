"""Approvals and input in the three modes, and what follows from a no."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from msgspec.structs import replace

from afk_es.errors import InvariantError
from afk_es.machine import Draft
from afk_es.machine.admission import admitted
from afk_es.machine.effects import AskPerson, EvaluatePolicy, ExecuteTool, Wait
from afk_es.machine.inquiries import Inquiry, inquiries
from afk_es.machine.values import digest_json
from tests.machine.simulation import (
    Simulation,
    approval,
    control,
    given,
    policy,
    spec_of,
    tool_completed,
    unasked,
)
from tests.machine.situations import asked, executing, gating, started, state_of

KINDS = ("request_approval", "request_user_input")
FALLBACKS = [
    ("request_approval", "allow", "granted"),
    ("request_approval", "deny", "denied"),
    ("request_approval", "defer", "deferred"),
    ("request_user_input", "allow", "answered"),
    ("request_user_input", "deny", "denied"),
    ("request_user_input", "defer", "deferred"),
]


def with_fallback(fallback: str) -> dict[str, Any]:
    """The same fallback for both kinds of question."""
    return {"approval_fallback": fallback, "input_fallback": fallback}


def term_of(run: Simulation) -> Wait:
    """The term of the one question."""
    (wait,) = (effect for effect in run.wanted(Wait) if effect.id.startswith("answer:"))
    return wait


def answers(run: Simulation) -> list[tuple[str, str]]:
    """Who answered what, in order."""
    return [(event.data["outcome"], event.data["by"]) for event in run.events if event.type.endswith("_resolved")]


def request_of(run: Simulation) -> dict[str, Any]:
    """The data of the one question."""
    (inquiry,) = inquiries(run.state)
    return inquiry.request


def what_follows(run: Simulation, outcome: str) -> None:
    """What must have become of the call after such an answer by the fallback."""
    ends = {"granted": "running", "answered": "running", "denied": "running", "deferred": "interrupted"}[outcome]
    assert state_of(run) == ends
    assert ("tool_started" in run.types) == (outcome in ("granted", "answered"))
    assert bool(inquiries(run.state)) == (outcome == "deferred")


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


@pytest.mark.parametrize("kind", KINDS)
def test_a_term_counts_from_the_asking_and_is_the_same_for_whoever_takes_the_run_over(kind: str) -> None:
    run = asked(kind, mode="interactive", approval_timeout_s=40.0, input_timeout_s=40.0)
    (event,) = (event for event in run.events if event.type.endswith("_requested"))
    before = term_of(run)
    assert before.until == event.at + dt.timedelta(seconds=40)
    run.now += dt.timedelta(seconds=30)
    run.resume()
    assert term_of(run) == before
    (inquiry,) = inquiries(run.state)
    assert (inquiry.asked_at, inquiry.expires_at) == (event.at, before.until)


def test_a_term_of_a_thousand_years_is_a_year() -> None:
    run = asked("request_approval", mode="interactive", approval_timeout_s=1e12)
    assert term_of(run).until.year == run.now.year + 1


@pytest.mark.parametrize(("kind", "fallback", "outcome"), FALLBACKS)
def test_interactive_the_fallback_answers_when_the_term_is_over(kind: str, fallback: str, outcome: str) -> None:
    run = asked(kind, mode="interactive", **with_fallback(fallback))
    run.answer(term_of(run), Draft("timer_fired", {"timer": term_of(run).timer}))
    run.effects()
    assert answers(run) == [(outcome, "fallback")]
    what_follows(run, outcome)


@pytest.mark.parametrize(("kind", "fallback", "outcome"), FALLBACKS)
def test_external_the_fallback_answers_when_the_run_is_resumed_after_the_term(kind: str, fallback: str, outcome: str) -> None:
    run = asked(kind, mode="external", **with_fallback(fallback))
    assert run.state.status == "interrupted"
    run.now += dt.timedelta(seconds=299)
    run.resume()
    assert (state_of(run), answers(run)) == ("interrupted", [])
    run.now += dt.timedelta(seconds=1)
    run.resume()
    run.effects()
    assert answers(run) == [(outcome, "fallback")]
    what_follows(run, outcome)
    assert run.types.count("approval_requested") + run.types.count("input_requested") == 1


def test_external_the_term_runs_while_something_else_goes_on() -> None:
    run = gating(["pay", "look"], mode="external")
    gate, _ = run.wanted(EvaluatePolicy)
    assert gate.call is not None
    run.answer(gate, policy("request_approval", gate.call))
    wait = term_of(run)
    run.answer(wait, Draft("timer_fired", {"timer": wait.timer}))
    run.effects()
    assert answers(run) == [("denied", "fallback")]


@pytest.mark.parametrize(("kind", "fallback", "outcome"), FALLBACKS)
def test_a_person_who_cannot_be_asked_is_stood_in_for_and_the_log_says_why(kind: str, fallback: str, outcome: str) -> None:
    run = asked(kind, mode="interactive", **with_fallback(fallback))
    (ask,) = run.wanted(AskPerson)
    run.answer(ask, unasked(ask.request))
    run.effects()
    (answer,) = (event.data for event in run.events if event.type.endswith("_resolved"))
    assert (answer["outcome"], answer["by"], answer["reason"]) == (outcome, "fallback", "nobody is at the desk")
    what_follows(run, outcome)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_found_together_with_the_end_of_the_term_counts(kind: str) -> None:
    run = asked(kind, mode="interactive", **with_fallback("deny"))
    answer = approval(request_of(run), "granted") if kind == "request_approval" else given(request_of(run), "answered", "blue")
    run.put(Draft("timer_fired", {"timer": term_of(run).timer}))
    run.put(admitted(run.state, answer, 1))
    run.effects()
    assert [by for _outcome, by in answers(run)] == ["ann"]


def test_an_answer_that_waited_while_nobody_ran_the_run_counts_however_late_it_is_read() -> None:
    run = asked("request_approval", mode="external")
    letter = approval(request_of(run), "granted")
    run.now += dt.timedelta(days=3)
    run.resume()
    run.put(admitted(run.state, letter, 1))
    assert [effect.call.tool_name for effect in run.wanted(ExecuteTool)] == ["pay"]
    assert answers(run) == [("granted", "ann")]


@pytest.mark.parametrize("mode", ["headless", "interactive", "external"])
def test_a_rule_that_puts_a_call_off_leaves_it_open_and_lays_the_run_down(mode: str) -> None:
    run = asked("defer", mode=mode)
    assert state_of(run) == "interrupted"
    (inquiry,) = inquiries(run.state)
    assert (inquiry.deferred, inquiry.expires_at, inquiry.request["tool_name"]) == (True, None, "pay")
    run.now += dt.timedelta(days=3)
    run.resume()
    run.put(admitted(run.state, approval(inquiry.request, "granted"), 1))
    assert len(run.wanted(ExecuteTool)) == 1
    assert run.types.count("approval_requested") == 1


def test_a_subagent_can_be_put_off_too() -> None:
    run = gating(["scout"])
    (gate,) = run.wanted(EvaluatePolicy)
    assert gate.call is not None
    run.answer(gate, policy("defer", gate.call))
    assert state_of(run) == "interrupted"
    assert request_of(run)["tool_name"] == "scout"


@pytest.mark.parametrize(("mode", "asked_again"), [("headless", False), ("external", False), ("interactive", True)])
def test_what_was_put_off_is_put_before_a_person_again_where_one_is_asked_here_and_has_no_term(mode: str, asked_again: bool) -> None:
    run = asked("defer", mode="headless")
    run.resume(spec_of(mode=mode))
    assert (len(run.wanted(AskPerson)) == 1) == asked_again
    assert not [effect for effect in run.wanted(Wait) if effect.id.startswith("answer:")]
    assert run.state.status == ("running" if asked_again else "interrupted")
    assert run.types.count("approval_requested") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_person_may_put_a_question_off_while_siblings_go_on(kind: str) -> None:
    run = gating(["pay", "look"], mode="interactive")
    first, second = run.wanted(EvaluatePolicy)
    assert first.call is not None
    assert second.call is not None
    run.answer(first, policy(kind, first.call))
    run.answer(second, policy("allow", second.call))
    (ask,) = run.wanted(AskPerson)
    run.answer(ask, approval(ask.request, "deferred") if kind == "request_approval" else given(ask.request, "deferred", None))
    assert state_of(run) == "running"
    (look,) = run.wanted(ExecuteTool)
    run.answer(look, tool_completed(look.call, output=1))
    assert state_of(run) == "interrupted"
    assert request_of(run)["tool_name"] == "pay"


@pytest.mark.parametrize("outcome", ["granted", "denied"])
def test_an_answer_to_what_was_put_off_before_is_taken(outcome: str) -> None:
    run = asked("defer", mode="headless")
    run.resume()
    run.put(approval(request_of(run), "deferred"), approval(request_of(run), outcome))
    assert state_of(run) == "running"
    assert ("tool_started" in run.types) == (outcome == "granted")


@pytest.mark.parametrize("kind", KINDS)
def test_both_versions_of_rewritten_arguments_are_shown(kind: str) -> None:
    run = gating(["pay"], mode="interactive")
    (gate,) = run.wanted(EvaluatePolicy)
    assert gate.call is not None
    run.answer(gate, policy(kind, gate.call, updated_tool_args={"n": 7}))
    run.effects()
    request = request_of(run)
    assert (request["arguments"], request["proposed_arguments"]) == ({"n": 7}, {"n": 0})


def test_arguments_that_no_rule_changed_are_shown_once() -> None:
    assert "proposed_arguments" not in request_of(asked("request_approval", mode="interactive"))


def test_nothing_is_asked_twice_however_often_the_run_is_taken_over() -> None:
    run = asked("request_approval", mode="interactive")
    (ask,) = run.wanted(AskPerson)
    for _ in range(3):
        run.resume()
        assert run.wanted(AskPerson) == [ask]
    assert run.types.count("approval_requested") == 1


@pytest.mark.parametrize("fault", [True, False])
@pytest.mark.parametrize("outcome", [None, "deferred"])
def test_a_call_in_doubt_about_which_a_person_is_asked_is_unknown_when_the_run_ends(outcome: str | None, fault: bool) -> None:
    run = executing(["pay", "look"], mode="interactive", in_doubt="ask", tool_failure="fail")
    run.resume()
    (ask,) = run.wanted(AskPerson)
    if outcome is not None:
        run.answer(ask, approval(ask.request, outcome))
    if fault:
        (look,) = run.wanted(ExecuteTool)
        run.answer(look, tool_completed(look.call, error="it broke"))
    else:
        run.put(control("cancel"))
    assert state_of(run) == ("failed" if fault else "cancelled")
    ends = {event.data["tool_name"]: event.data["outcome"] for event in run.events if event.type == "tool_completed"}
    assert ends["pay"] == "unknown"
    assert inquiries(run.state) == ()


def test_a_question_of_a_run_that_is_to_fail_does_not_keep_it() -> None:
    run = gating(["pay", "strict"], mode="interactive")
    pay, strict = run.wanted(EvaluatePolicy)
    assert pay.call is not None
    assert strict.call is not None
    run.answer(pay, policy("defer", pay.call))
    run.answer(strict, policy("allow", strict.call))
    (effect,) = run.wanted(ExecuteTool)
    run.answer(effect, tool_completed(effect.call, error="it broke"))
    assert state_of(run) == "failed"
    assert inquiries(run.state) == ()


def test_a_question_is_let_be_while_the_siblings_of_a_run_that_is_to_fail_come_to_their_end() -> None:
    run = gating(["pay", "strict", "look"], mode="interactive")
    gates = run.wanted(EvaluatePolicy)
    for gate, action in zip(gates, ("request_approval", "allow", "allow"), strict=True):
        assert gate.call is not None
        run.answer(gate, policy(action, gate.call))
    strict, look = run.wanted(ExecuteTool)
    run.answer(strict, tool_completed(strict.call, error="it broke"))
    assert (run.wanted(AskPerson), run.wanted(ExecuteTool)) == ([], [look])
    run.answer(look, tool_completed(look.call, output=1))
    assert state_of(run) == "failed"


def test_a_person_who_could_not_be_asked_about_what_was_answered_meanwhile_changes_nothing() -> None:
    run = asked("request_approval", mode="interactive")
    request = request_of(run)
    run.put(approval(request, "granted"), unasked(request), unasked({**request, "tool_call_id": "c-9"}))
    assert len(run.wanted(ExecuteTool)) == 1


def test_a_grant_to_run_again_what_is_in_doubt_does_not_lift_the_limit_on_calls() -> None:
    run = executing(["pay"], mode="interactive", in_doubt="ask", max_tool_calls=1)
    run.resume()
    (ask,) = run.wanted(AskPerson)
    run.answer(ask, approval(ask.request, "granted"))
    run.effects()
    assert [event.data["outcome"] for event in run.events if event.type == "tool_completed"] == ["unknown"]
    assert run.types.count("tool_started") == 1


FORGED = [
    {"request_id": "approval:9:0"},
    {"arguments_hash": "0" * 64},
    {"tool_call_id": "c-9"},
]


@pytest.mark.parametrize("forged", FORGED)
def test_a_letter_that_is_no_answer_to_this_very_question_is_a_warning(forged: dict[str, Any]) -> None:
    run = asked("request_approval", mode="interactive")
    genuine = approval(request_of(run), "granted")
    letter = admitted(run.state, Draft(genuine.type, {**genuine.data, **forged}), 1)
    assert (letter.type, letter.data["kind"]) == ("warning", "letter_refused")
    run.put(letter)
    assert len(run.wanted(AskPerson)) == 1


def test_a_second_answer_is_a_warning() -> None:
    run = asked("request_approval", mode="interactive")
    genuine = approval(request_of(run), "denied")
    run.put(admitted(run.state, genuine, 1))
    assert admitted(run.state, approval({**genuine.data}, "granted"), 2).type == "warning"


def test_what_version_0_1_wrote_about_a_call_put_off_still_folds() -> None:
    run = gating(["pay", "look"], mode="interactive")
    pay, look = run.wanted(EvaluatePolicy)
    assert pay.call is not None
    assert look.call is not None
    run.put(policy("defer", pay.call), policy("request_approval", look.call))
    run.effects()
    second = inquiries(run.state)[-1].request
    run.put(approval(second, "deferred"))
    for call in (pay.call, look.call):
        run.put(Draft("tool_completed", {**tool_completed(call, error="put off").data, "outcome": "denied"}))
    assert run.state.phase == "between"


# ------------------------------------------------------------------------------------------------------------------ questions, word by word


def test_an_approval_is_asked_for_with_all_that_it_is_about() -> None:
    run = asked("request_approval", payload={"amount": 3}, mode="interactive", agent_path=("boss",), approval_timeout_s=9.0)
    event = run.events[-1]
    assert (event.type, event.message) == ("approval_requested", "rule 7")
    assert event.data == {
        "request_id": "approval:1:0",
        "tool_name": "pay",
        "tool_call_id": "c-0",
        "payload": {"amount": 3},
        "agent_path": ["boss", "agent"],
        "arguments": {"n": 0},
        "policy_id": None,
        "purpose": "policy",
        "arguments_hash": digest_json({"n": 0}),
        "reason": "rule 7",
        "timeout_s": 9.0,
    }
    assert run.wanted(AskPerson) == [AskPerson(f"ask:{event.seq}", event.seq, "approval", event.data)]
    until = event.at + dt.timedelta(seconds=9)
    (open_one,) = inquiries(run.state)
    assert open_one == Inquiry("run_1", "thread_1", event.seq, "approval", event.data, event.at, until, False)


def test_a_rule_without_a_reason_asks_without_one() -> None:
    run = gating(["pay"], mode="interactive")
    (gate,) = run.wanted(EvaluatePolicy)
    assert gate.call is not None
    run.answer(gate, policy("request_approval", gate.call, reason=None))
    run.effects()
    assert (run.events[-1].message, run.events[-1].data["reason"]) == ("", None)


@pytest.mark.parametrize(
    ("payload", "reason", "prompt"),
    [({"prompt": "Which?"}, "rule 7", "Which?"), ({}, "rule 7", "rule 7"), ({}, None, "pay needs your input")],
)
def test_words_are_asked_for_with_the_rules_prompt_or_its_reason_or_the_tools_name(
    payload: dict[str, Any], reason: str | None, prompt: str
) -> None:
    run = gating(["pay"], mode="interactive", input_timeout_s=9.0)
    (gate,) = run.wanted(EvaluatePolicy)
    assert gate.call is not None
    run.answer(gate, policy("request_user_input", gate.call, reason=reason, request_payload=payload))
    run.effects()
    event = run.events[-1]
    assert (event.type, event.message) == ("input_requested", prompt)
    assert event.data == {
        "request_id": "input:1:0",
        "tool_name": "pay",
        "tool_call_id": "c-0",
        "payload": payload,
        "agent_path": ["agent"],
        "arguments": {"n": 0},
        "policy_id": None,
        "prompt": prompt,
        "reason": reason,
        "timeout_s": 9.0,
    }
    assert run.wanted(AskPerson) == [AskPerson(f"ask:{event.seq}", event.seq, "input", event.data)]


@pytest.mark.parametrize(
    ("action", "more"), [("request_approval", {"arguments_hash": digest_json({"n": 0})}), ("request_user_input", {"value": None})]
)
def test_where_nobody_can_be_asked_the_fallback_says_so(action: str, more: dict[str, Any]) -> None:
    run = asked(action)
    (answer,) = [event for event in run.events if event.type in ("approval_resolved", "input_resolved")]
    kind = "approval" if action == "request_approval" else "input"
    said = {"by": "fallback", "reason": "nobody answered (headless mode)", "outcome": "denied"}
    assert answer.data == {"request_id": f"{kind}:1:0", "tool_call_id": "c-0", **said, **more}


def test_a_run_that_has_ended_for_good_asks_nobody_and_one_that_was_laid_down_does() -> None:
    run = asked("request_approval", mode="external")
    assert run.state.status == "interrupted"
    assert [each.kind for each in inquiries(run.state)] == ["approval"]
    assert inquiries(replace(run.state, status="failed")) == ()
    assert inquiries(started().state) == ()
