"""What is known after a fact, exactly: the part of the state it is about, field by field.

The laws say what must never happen and the other examples what follows in the end; a field that is wrong in between would show there late
or, in a run that is resumed, forked or debugged just then, nowhere else.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from afk_es.errors import InvariantError
from afk_es.machine import Draft
from afk_es.machine.delegation import Child, Node, child_run_id
from afk_es.machine.effects import AskPerson, CallModel, EvaluatePolicy, ExecuteTool, RunSubagent, ValidateOutput, Wait, tool_key
from afk_es.machine.requests import facets_of
from afk_es.machine.retries import backoff
from afk_es.machine.spec import BreakerRule, ModelSpec, Retry
from afk_es.machine.state import Control, Failure, ModelCall, ToolTurn
from afk_es.machine.values import Message, ToolCall, Usage, digest_json
from tests.machine.simulation import (
    Simulation,
    approval,
    control,
    given,
    llm_completed,
    llm_failed,
    node,
    policy,
    spec_of,
    subagent_completed,
    subagent_waiting,
    tool_failed,
    unasked,
)
from tests.machine.situations import answer_model, asked, asking_model, executing, fire_timers, gating, started
from tests.machine.test_delegation import delegating, planned

PAY = ToolCall("c-0", "pay", {"n": 0})


def turn_of(run: Simulation, place: int = 0) -> ToolTurn:
    assert run.state.batch is not None
    return run.state.batch.turns[place]


def call_of(run: Simulation) -> ModelCall:
    assert run.state.call is not None
    return run.state.call


def wait_of(run: Simulation, failures: int, retry: Retry | None = None, **more: Any) -> Wait:
    """The wait that follows from the last event, which was a failure."""
    last = run.events[-1]
    return backoff(retry or run.spec.retry, failures, run_id="run_1", seq=last.seq, at=last.at, **more)


# -------------------------------------------------------------------------------------------------------------------------- the model call


def test_a_model_call_from_its_step_to_its_answer() -> None:
    run = started(models=(ModelSpec("m", "p"), ModelSpec("backup", "q")))
    run.effects()
    assert run.state.call == ModelCall()
    run.put(policy("allow"))
    assert run.state.call == ModelCall("allowed")
    run.effects()
    called = run.events[-1].seq
    assert run.state.call == ModelCall("called", attempt=1, intent_seq=called)
    run.put(llm_failed("retryable", retry_after_s=7.0))
    failure, wait = Failure("no luck", "E", "retryable"), wait_of(run, 1, retry_after_s=7.0)
    assert run.state.call == ModelCall("backoff", attempt=1, failures=1, intent_seq=called, wait=wait, failure=failure)
    run.answer(wait, Draft("timer_fired", {"timer": wait.timer}))
    assert run.state.call == ModelCall("allowed", attempt=1, failures=1, intent_seq=called, failure=failure)
    run.effects()
    called = run.events[-1].seq
    run.put(llm_failed("terminal"))
    failure = Failure("no luck", "E", "terminal")
    assert run.state.call == ModelCall("allowed", model_index=1, intent_seq=called, failure=failure)
    run.effects()
    called = run.events[-1].seq
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    run.put(llm_completed("c", ["look"], usage=usage, cost_usd=0.1, structured_response={"a": 1}))
    state = run.state
    wanted = ToolCall("c-0", "look", {"n": 0})
    assert (state.call, state.phase, state.requested, state.answer, state.output) == (None, "requested", (wanted,), "an answer", {"a": 1})
    assert (state.usage, state.cost_usd, state.cost_known, state.llm_calls) == (Usage(3, 2, 5), Decimal("0.1"), True, 3)
    assert state.messages[-1] == Message("assistant", "an answer", (wanted,))


def test_a_model_with_delays_of_its_own_is_asked_after_these() -> None:
    own = Retry(attempts=2, base_s=60.0, cap_s=60.0)
    run = asking_model(models=(ModelSpec("m", "p", retry=own),))
    run.put(llm_failed("retryable"))
    assert call_of(run).wait == wait_of(run, 1, own)
    run = started(models=(ModelSpec("m", "p", retry=own),), dynamic_instructions=True)
    run.effects()
    run.put(llm_failed("retryable", model="none", attempt=0))
    assert call_of(run).wait == wait_of(run, 1), "what failed before the model was asked is none of its affairs"


def test_the_last_failure_of_the_last_model_is_the_calls() -> None:
    run = asking_model()
    run.put(llm_failed("terminal"))
    assert run.state.call == replace(call_of(run), status="failed", failures=1, failure=Failure("no luck", "E", "terminal"))


def test_resolved_instructions_are_those_of_the_step_and_their_failures_are_forgotten() -> None:
    run = started(dynamic_instructions=True)
    run.effects()
    run.put(llm_failed("retryable", model="none", attempt=0))
    fire_timers(run)
    assert run.state.call == ModelCall(failures=1, failure=Failure("no luck", "E", "retryable"))
    run.put(Draft("instructions_resolved", {"instructions": "Be kind."}))
    assert run.state.call == ModelCall(instructions_ready=True, failure=Failure("no luck", "E", "retryable"))
    assert (run.state.instructions, run.state.facets.instructions) == ("Be kind.", digest_json("Be kind."))


def test_a_model_that_was_left_alone_hands_over_to_the_next_with_why() -> None:
    run = asking_model(models=(ModelSpec("m", "p"), ModelSpec("backup", "q")), breaker=BreakerRule(1, 3600.0))
    run.put(llm_failed("retryable"))
    run.effects()
    left_alone = next(event for event in run.events if event.type == "circuit_open")
    after = run.states[left_alone.seq]
    assert after.call is not None
    assert (after.call.status, after.call.model_index, after.call.attempt, after.call.failures) == ("allowed", 1, 0, 0)
    assert after.call.failure == Failure(left_alone.message, "CircuitOpen")
    run.state = run.states[left_alone.seq - 1]
    with pytest.raises(InvariantError, match="model 1 is not the one that is to be asked"):
        run.put(Draft("circuit_open", {**left_alone.data, "model_index": 1}))


def test_a_rejected_answer_is_told_to_the_model_and_kept_by_nobody() -> None:
    run = asking_model(output_schema={"type": "object"})
    answer_model(run, llm_completed("c", structured_response={"a": 1}))
    assert len(run.wanted(ValidateOutput)) == 1
    assert (run.state.phase, run.state.output) == ("output", {"a": 1})
    run.put(Draft("output_rejected", {"error": "a: too small"}))
    said = "Your answer does not have the required form. Answer again, with JSON that satisfies the schema.\na: too small"
    assert (run.state.phase, run.state.output, run.state.messages[-1]) == ("between", None, Message("user", said))


def test_a_refused_model_call_says_by_which_rule() -> None:
    run = started()
    run.effects()
    run.put(policy("deny", policy_id="r1"))
    why = "policy r1 did not allow the model call (deny): rule 7"
    assert run.state.call == ModelCall("denied", failure=Failure(why, "PolicyDenied", "non_fatal"))


# -------------------------------------------------------------------------------------------------------------------------- the tool call


def test_a_tool_call_from_its_gate_through_a_retry_to_its_failure() -> None:
    run = gating(["look"], tool_failure="retry_then_continue", attempts=2)
    call = ToolCall("c-0", "look", {"n": 0})
    assert turn_of(run) == ToolTurn(1, call)
    run.put(policy("allow", call))
    assert turn_of(run) == ToolTurn(1, call, "allowed")
    run.effects()
    began, key = run.events[-1].seq, tool_key("run_1", 1)
    running = ToolTurn(1, call, "running", attempt=1, intent_seq=began, idempotency_key=key)
    assert (turn_of(run), run.state.tool_calls) == (running, 1)
    run.put(tool_failed(call, 1, "retryable"))
    failure, wait = Failure("look broke", "E", "retryable"), wait_of(run, 1)
    assert turn_of(run) == replace(running, status="backoff", failures=1, wait=wait, failure=failure)
    run.answer(wait, Draft("timer_fired", {"timer": wait.timer}))
    assert turn_of(run) == replace(running, status="allowed", failures=1, failure=failure)
    run.effects()
    again = replace(running, attempt=2, failures=1, failure=failure, intent_seq=run.events[-1].seq)
    assert (turn_of(run), run.state.tool_calls) == (again, 2)
    run.put(tool_failed(call, 2, "retryable"))
    assert turn_of(run) == replace(again, status="failed", failures=2)


@pytest.mark.parametrize(
    ("action", "status", "asks"),
    [
        ("deny", "denied", "approval"),
        ("defer", "put_off", "approval"),
        ("request_approval", "approval", "approval"),
        ("request_user_input", "approval", "input"),
    ],
)
def test_what_a_rule_says_of_a_call_is_kept_with_it(action: str, status: Any, asks: Any) -> None:
    run = gating(["pay"])
    run.put(policy(action, PAY, policy_id="r1", updated_tool_args={"n": 7}, request_payload={"amount": 3}))
    assert turn_of(run) == ToolTurn(
        1,
        PAY,
        status,
        arguments={"n": 7},
        policy_id="r1",
        reason="rule 7",
        payload={"amount": 3},
        asks=asks,
    )


def test_a_batch_gives_each_call_its_ordinal_and_marks_those_beyond_the_limit() -> None:
    run = gating(["look", "pay", "pay"], max_tool_calls=2)
    assert run.state.batch is not None
    assert [(turn.ordinal, turn.status) for turn in run.state.batch.turns] == [(1, "waiting"), (2, "waiting"), (3, "limited")]
    assert (run.state.requested, run.state.tool_requests, run.state.phase, run.state.delegated) == ((), 3, "tools", 0)


def test_results_join_the_conversation_with_what_the_policies_make_of_failures() -> None:
    run = executing(["look", "pay"], tool_failure="degrade")
    look, pay = run.wanted(ExecuteTool)
    run.put(tool_failed(pay.call, 1, "terminal"))
    run.effects()
    sentence = "tool 'pay' (c-1): pay broke"
    assert turn_of(run, 1).failure == Failure(sentence, "ToolFailed")
    assert (turn_of(run, 1).consequence, turn_of(run, 1).status, run.state.missing) == ("degrade", "done", ())
    run.put(tool_failed(look.call, 1, "terminal"))
    run.effects()
    assert run.state.missing == ("tool 'look' (c-0): look broke", sentence)
    assert run.state.batch is None
    assert [(message.role, message.tool_call_id) for message in list(run.state.messages)[-2:]] == [("tool", "c-0"), ("tool", "c-1")]


def test_a_failing_policy_remembers_the_first_failure_the_model_asked_for() -> None:
    run = executing(["look", "pay"], tool_failure="fail")
    look, pay = run.wanted(ExecuteTool)
    run.put(tool_failed(pay.call, 1, "terminal"))
    run.effects()
    assert run.state.fault == Failure("tool 'pay' (c-1): pay broke", "ToolFailed")
    run.put(tool_failed(look.call, 1, "terminal"))
    run.effects()
    assert run.state.fault == Failure("tool 'look' (c-0): look broke", "ToolFailed")


def test_a_deferred_tool_says_under_which_ticket_it_goes_on() -> None:
    run = executing(["pay"])
    (pay,) = run.wanted(ExecuteTool)
    told = {"tool_name": "pay", "tool_call_id": "c-0", "ticket_id": "t1", "status": "pending", "summary": "soon", "resume_hint": None}
    run.answer(pay, Draft("tool_deferred", told))
    said = "Accepted; it goes on in the background as ticket t1, and its result will follow. soon"
    assert run.state.messages[-1].content.endswith(said)
    ended = {"tool_name": "pay", "tool_call_id": "c-0", "ticket_id": "t1"}
    run.put(Draft("tool_background_failed", {**ended, "error": "no funds"}))
    (notice,) = run.state.notices
    assert notice.role == "user"
    assert notice.content.startswith("The background tool pay (ticket t1) has ended.\n")
    assert notice.content.endswith("Error: no funds")
    assert run.state.tickets == ()
    before = run.state
    run.put(Draft("tool_background_resolved", {**ended, "output": "late"}))
    assert run.state == replace(before, seq=run.state.seq, at=run.state.at), "the first word holds"


# ------------------------------------------------------------------------------------------------------------------------------ people


def test_a_question_is_known_with_its_time_and_its_term_until_it_is_answered() -> None:
    run = asked("request_approval", mode="interactive", approval_timeout_s=60.0)
    event = run.events[-1]
    wait = Wait(f"answer:{event.seq}", f"answer:{event.seq}", event.at + dt.timedelta(seconds=60))
    assert turn_of(run) == ToolTurn(
        1, PAY, "asking", intent_seq=event.seq, wait=wait, reason="rule 7", request=event.data, asked_at=event.at
    )
    question = turn_of(run)
    run.put(unasked(event.data))
    nobody = Failure("nobody is at the desk", "InteractionFailed", "non_fatal")
    assert turn_of(run) == replace(question, status="overdue", wait=None, failure=nobody)
    run.put(approval(event.data, "granted"))
    assert turn_of(run) == replace(question, status="allowed", wait=None)


@pytest.mark.parametrize(("reason", "said"), [(None, "denied (by ann)"), ("too dear", "too dear (by ann)")])
def test_a_refusal_says_who_refused_and_why(reason: str | None, said: str) -> None:
    run = asked("request_approval", mode="interactive")
    (ask,) = run.wanted(AskPerson)
    answer = approval(ask.request, "denied")
    run.answer(ask, replace(answer, data={**answer.data, "reason": reason}))
    assert (turn_of(run).status, turn_of(run).reason, turn_of(run).wait) == ("denied", said, None)


@pytest.mark.parametrize(("reason", "said"), [(None, "no input was given (by ann)"), ("busy", "no input was given (by ann): busy")])
def test_words_that_were_not_given_are_refused_with_why(reason: str | None, said: str) -> None:
    run = asked("request_user_input", mode="interactive")
    (ask,) = run.wanted(AskPerson)
    answer = given(ask.request, "denied", None)
    more = {} if reason is None else {"reason": reason}
    run.answer(ask, replace(answer, data={**answer.data, **more}))
    assert (turn_of(run).status, turn_of(run).reason, turn_of(run).wait) == ("denied", said, None)


@pytest.mark.parametrize(("arguments", "after"), [({"n": 0}, {"n": 0, "which": "blue"}), ({"which": "red"}, {"which": "blue"})])
def test_words_become_the_argument_beside_those_that_the_call_has(arguments: Any, after: dict[str, Any]) -> None:
    run = asking_model(mode="interactive")
    wanted = [{"id": "c-0", "tool_name": "pay", "arguments": arguments}]
    run.put(replace(llm_completed("c"), data={**llm_completed("c").data, "tool_calls": wanted, "tool_call_count": 1}))
    (gate,) = run.wanted(EvaluatePolicy)
    assert gate.call is not None
    run.answer(gate, policy("request_user_input", gate.call, request_payload={"argument": "which"}))
    (ask,) = run.wanted(AskPerson)
    run.put(given(ask.request, "answered", "blue"))
    assert (turn_of(run).status, turn_of(run).arguments, turn_of(run).wait) == ("allowed", after, None)


@pytest.mark.parametrize("action", ["request_approval", "request_user_input"])
def test_an_answer_to_another_question_is_a_log_that_cannot_be(action: str) -> None:
    run = asked(action, mode="interactive")
    (ask,) = run.wanted(AskPerson)
    answer = approval(ask.request, "granted") if action == "request_approval" else given(ask.request, "answered", "blue")
    for key in {"request_id", "arguments_hash"} & answer.data.keys():
        with pytest.raises(InvariantError, match="which was not asked, or not with these arguments"):
            run.put(replace(answer, data={**answer.data, key: "another"}))


def test_a_warning_changes_nothing_where_nobody_is_being_asked() -> None:
    run = asked("request_approval", mode="interactive")
    request = run.events[-1].data
    run.put(approval(request, "granted"))
    before = run.state
    run.put(unasked(request))
    assert run.state == replace(before, seq=run.state.seq, at=run.state.at)
    idle = asking_model()
    before = idle.state
    idle.put(unasked(request))
    assert idle.state == replace(before, seq=idle.state.seq, at=idle.state.at)


# --------------------------------------------------------------------------------------------------------------------------- subagents


def test_a_subagents_call_from_its_start_through_a_retry_to_its_failure() -> None:
    run = delegating("scout", subagent_failure="retry_then_continue", attempts=2)
    call = ToolCall("c-0", "scout", {"n": 0})
    running = ToolTurn(
        1, call, "running", attempt=1, intent_seq=run.events[-1].seq, child=Child("scout", run_id=child_run_id("run_1", 1, 1))
    )
    assert turn_of(run) == running
    (effect,) = run.wanted(RunSubagent)
    run.put(subagent_completed(effect, error="no line", classification="retryable", error_type="Cut"))
    failure, wait = Failure("no line", "Cut", "retryable"), wait_of(run, 1)
    assert turn_of(run) == replace(running, status="backoff", failures=1, wait=wait, failure=failure)
    fire_timers(run)
    (effect,) = run.wanted(RunSubagent)
    again = Child("scout", run_id=child_run_id("run_1", 1, 2))
    second = replace(running, attempt=2, failures=1, failure=failure, intent_seq=run.events[-1].seq, child=again)
    assert turn_of(run) == second
    run.put(subagent_completed(effect, error="no line", classification="retryable"))
    over = replace(second, status="failed", failures=2, failure=Failure("no line", "SubagentFailed", "retryable"))
    assert turn_of(run) == replace(over, child=replace(again, outcome="failed"))


@pytest.mark.parametrize(
    ("policy_of", "attempts"), [("continue", 1), ("fail", 1), ("retry_then_continue", 3), ("retry_then_fail", 3), ("retry_then_degrade", 3)]
)
def test_how_often_a_subagent_is_asked_is_the_policys_affair(policy_of: str, attempts: int) -> None:
    run = delegating("scout", subagent_failure=policy_of)
    while run.wanted(RunSubagent):
        (effect,) = run.wanted(RunSubagent)
        run.answer(effect, subagent_completed(effect, error="no line", classification="retryable"))
        if run.state.batch is not None and turn_of(run).status == "backoff":
            fire_timers(run)
    assert run.types.count("subagent_started") == attempts


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_how_often_a_node_is_asked_is_its_own_affair(retries: int) -> None:
    run = planned({"nodes": [node("a", "scout", retries=retries)]}, subagent_failure="retry_then_continue", attempts=9)
    while run.wanted(RunSubagent):
        (effect,) = run.wanted(RunSubagent)
        run.answer(effect, subagent_completed(effect, error="no line", classification="retryable"))
        if run.state.batch is not None and turn_of(run).status == "backoff":
            fire_timers(run)
    assert run.types.count("subagent_started") == 1 + retries


def test_a_node_that_took_too_long_may_be_asked_again() -> None:
    run = planned({"nodes": [node("a", "scout", timeout_s=5.0, retries=1)]})
    (effect,) = run.wanted(RunSubagent)
    started_at = next(event for event in run.events if event.type == "subagent_started")
    deadline = Wait(f"timeout:{effect.seq}", f"timeout:{effect.seq}", started_at.at + dt.timedelta(seconds=5))
    child = Child("scout", run_id=effect.run_id, deadline=deadline, node=Node("a", "scout", "do a", timeout_s=5.0, retries=1))
    assert turn_of(run).child == child
    run.answer(deadline, Draft("timer_fired", {"timer": deadline.timer}))
    assert (turn_of(run).status, turn_of(run).child) == ("cancelling", replace(child, timed_out=True, deadline=None))
    run.put(Draft("subagent_completed", {**subagent_completed(effect, error="cancelled", state="cancelled").data}))
    late = Failure("it did not answer within 5 s", "Timeout", "retryable")
    assert (turn_of(run).status, turn_of(run).failure, turn_of(run).failures) == ("backoff", late, 1)
    assert turn_of(run).wait == wait_of(run, 1)


def test_a_child_that_says_nothing_of_its_failure_has_failed_for_good() -> None:
    run = delegating("scout", subagent_failure="retry_then_continue")
    (effect,) = run.wanted(RunSubagent)
    ended = subagent_completed(effect, output=None)
    run.put(Draft(ended.type, {**ended.data, "success": False, "error": None, "state": "failed"}))
    assert (turn_of(run).status, turn_of(run).failure) == ("failed", Failure("the subagent failed", "SubagentFailed"))


def test_a_child_that_was_laid_down_says_why_and_goes_on_when_its_parent_does() -> None:
    run = delegating("scout", "clerk")
    first, _second = run.wanted(RunSubagent)
    before = turn_of(run)
    run.put(subagent_waiting(first))
    assert turn_of(run) == replace(before, status="parked", reason="waits for ann")
    run.resume()
    assert turn_of(run) == replace(before, reason="waits for ann")


def test_what_a_child_came_to_is_kept_until_its_call_is_over() -> None:
    run = delegating("scout", "clerk")
    first, _second = run.wanted(RunSubagent)
    before = turn_of(run)
    assert before.child is not None
    run.put(subagent_completed(first, output="gold"))
    assert turn_of(run) == replace(before, status="returned", child=replace(before.child, outcome="succeeded", output="gold"))
    run.effects()
    done = replace(before, status="done", content=turn_of(run).content, child=replace(before.child, outcome="succeeded"))
    assert turn_of(run) == done


# ----------------------------------------------------------------------------------------------------------------------- the run itself


def test_the_first_event_makes_a_run_what_it_is() -> None:
    run = Simulation(spec_of(max_wall_time_s=60.0))
    run.start("Hello")
    event, state = run.events[0], run.state
    assert (state.status, state.phase, state.epoch, state.owner, state.context) == ("running", "between", 1, "owner_1", {"who": "ann"})
    assert (state.spec, state.facets, state.instructions) == (run.spec, facets_of(run.spec), "Be brief.")
    assert (state.ran, state.since, state.overdue, state.control) == (dt.timedelta(0), event.at, False, None)
    assert state.deadline == Wait("wall_time:1", "wall_time:1", event.at + dt.timedelta(seconds=60))
    assert list(state.messages) == [Message("user", "Hello")]


def test_a_new_stretch_has_an_owner_and_the_time_that_is_left() -> None:
    run = asking_model(max_wall_time_s=60.0)
    run.now += dt.timedelta(seconds=10)
    run.put(Draft("warning", {"kind": "odd"}))
    ran = run.state.elapsed
    assert ran > dt.timedelta(seconds=10)
    run.now += dt.timedelta(hours=1)
    run.resume()
    event, state = run.events[-1], run.state
    assert (state.epoch, state.owner, state.ran, state.since) == (2, "owner_2", ran, event.at)
    timer = f"wall_time:{event.seq}"
    assert state.deadline == Wait(timer, timer, event.at + dt.timedelta(seconds=60) - ran)
    assert call_of(run).status == "in_doubt"


def test_a_fallback_that_another_agent_does_not_have_gives_way_to_its_first_model_with_nothing_counted() -> None:
    run = asking_model(models=(ModelSpec("m", "p"), ModelSpec("backup", "q")))
    run.put(llm_failed("terminal"))
    run.effects()
    run.put(llm_failed("retryable", model="backup"))
    assert (call_of(run).model_index, call_of(run).attempt, call_of(run).failures) == (1, 1, 1)
    run.resume(spec_of())
    assert (call_of(run).model_index, call_of(run).attempt, call_of(run).failures) == (0, 0, 0)


def test_a_pause_stops_the_clock_and_the_deadline_and_a_second_word_changes_nothing() -> None:
    run = asking_model(max_wall_time_s=60.0)
    before = run.state.elapsed
    run.put(control("pause"))
    ran = run.state.ran
    assert (run.state.status, run.state.deadline, run.state.since) == ("paused", None, None)
    assert ran > before
    run.now += dt.timedelta(hours=1)
    run.put(control("resume"))
    event = run.events[-1]
    left = event.at + dt.timedelta(seconds=60) - ran
    assert (run.state.status, run.state.since, run.state.ran) == ("running", event.at, ran)
    assert run.state.deadline == Wait(f"wall_time:{event.seq}", f"wall_time:{event.seq}", left)
    again = run.state
    run.put(control("resume"))
    assert run.state == replace(again, seq=run.state.seq, at=run.state.at)


def test_wishes_to_end_are_kept_with_why_and_cancelling_is_the_last_word() -> None:
    run = asking_model()
    run.put(control("interrupt"))
    assert run.state.control == Control("interrupt", "interrupt requested by test")
    run.put(Draft("control_requested", {"action": "cancel", "reason": "enough", "origin": "test"}))
    assert run.state.control == Control("cancel", "enough")
    run.put(control("interrupt"))
    assert run.state.control == Control("cancel", "enough")
    run.resume()
    assert run.state.control == Control("cancel", "enough"), "whoever cancels means it, also where the process died before"


def test_an_end_stops_the_clock_and_says_why() -> None:
    run = asking_model()
    run.now += dt.timedelta(seconds=5)
    run.put(control("interrupt"))
    run.effects()
    event, state = run.events[-1], run.state
    assert (state.status, state.reason, state.since) == ("interrupted", "interrupt requested by test", None)
    assert state.ran == event.at - run.events[0].at
    run.resume()
    assert (run.state.status, run.state.reason, run.state.control) == ("running", "", None)


def test_a_step_begins_with_a_fresh_call_and_takes_up_what_was_heard() -> None:
    run = executing(["look"])
    run.state = replace(run.state, notices=(Message("user", "news"),), delegated=2)
    run.answer_plainly(CallModel)
    assert run.state.step == 2
    fresh = next(state for state in run.states if state.step == 2)
    assert (fresh.call, fresh.notices, fresh.delegated, fresh.phase) == (ModelCall(), (), 0, "model")
    assert fresh.messages[-1] == Message("user", "news")


@pytest.mark.parametrize(
    "claim",
    [{"resumed": False, "epoch": 2}, {"resumed": True, "epoch": 1}, {"resumed": True, "epoch": 0}],
    ids=["a second beginning", "the same epoch", "an older one"],
)
def test_a_claim_that_does_not_follow_is_refused(claim: dict[str, Any]) -> None:
    run = asking_model()
    with pytest.raises(InvariantError, match="does not follow epoch 1"):
        run.put(Draft("run_started", {"agent_name": "agent", "owner": "o", **claim}))
