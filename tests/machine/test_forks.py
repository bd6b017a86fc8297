"""Goal: whatever a run was doing, a fork can go on from there as a run of its own. Method: runs that Hypothesis makes are forked anywhere."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from afk_es.errors import InvariantError
from afk_es.machine import AgentRunEvent, Draft, RunSpec, decide, fold, initial_state
from afk_es.machine.delegation import child_run_id
from afk_es.machine.effects import (
    AskPerson,
    CallModel,
    CancelSubagent,
    EvaluatePolicy,
    ExecuteTool,
    RouteSubagents,
    RunSubagent,
    Wait,
    tool_key,
)
from afk_es.machine.events import TERMINAL
from afk_es.machine.spec import ModelSpec
from afk_es.machine.state import ToolTurn
from afk_es.machine.values import ToolCall
from afk_es.views.verification import problems
from tests.machine.simulation import (
    Simulation,
    approval,
    control,
    llm_failed,
    node,
    policy,
    routed,
    spec_of,
    subagent_completed,
    subagent_waiting,
    tool_completed,
)
from tests.machine.simulation import given as words
from tests.machine.situations import answer_model, asked, asking_model, executing, gating, started
from tests.machine.test_background import deferred
from tests.machine.test_compaction import compacting
from tests.machine.test_delegation import delegating, planned
from tests.machine.test_laws import INTRUDERS, Drawn, runs, specs


def forked(run: Simulation, at: int, spec: RunSpec | None = None) -> Simulation:
    """A fork that shares the events up to a seq; with another agent where one is given."""
    fork = Simulation(spec or run.spec, run_id="run_2", patient=run.patient)
    fork.now = run.now
    fork.events = [replace(event, run_id="run_2") for event in run.events[:at]]
    fork.state = fold(fork.state, fork.events)
    data: dict[str, Any] = {"agent_name": "agent", "resumed": False, "epoch": fork.state.epoch + 1, "owner": "owner_f"}
    data |= {"forked_from": {"run_id": run.state.run_id, "seq": at}, "forked_as": "run_2"}
    if spec is not None:
        data["agent"] = msgspec.to_builtins(spec)
    fork.put(Draft("run_started", data))
    return fork


def told_wrong(run: Simulation) -> list[str]:
    """What cannot be in its log; that simulated instructions fail as a request of theirs would is the simulation's affair."""
    return [str(problem) for problem in problems(run.events) if not problem.message.startswith("llm_failed without")]


@given(runs(), st.data())
@settings(max_examples=250)
def test_a_fork_from_anywhere_comes_to_an_end_and_tells_a_possible_story(run: Simulation, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(run.events)))
    fork = forked(run, at)
    assert (fork.state.status, fork.state.control) == ("running", None)
    fork.run(Drawn(data), INTRUDERS)
    assert fork.events[-1].type in TERMINAL
    assert not told_wrong(fork)
    assert fold(initial_state("run_2", "thread_1"), fork.events) == fork.state


@given(runs(), st.data())
@settings(max_examples=150)
def test_so_does_a_fork_with_another_agent_and_a_fork_of_a_fork(run: Simulation, data: st.DataObject) -> None:
    fork = forked(run, data.draw(st.integers(1, len(run.events))), data.draw(specs()))
    fork.run(Drawn(data), INTRUDERS)
    second = forked(fork, data.draw(st.integers(1, len(fork.events))))
    second.run(Drawn(data), INTRUDERS)
    for each in (fork, second):
        assert each.events[-1].type in TERMINAL
        assert not told_wrong(each)


@given(runs(), st.data())
@settings(max_examples=200)
def test_no_call_starts_in_a_fork_on_what_a_person_said_in_the_other_run(run: Simulation, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(run.events)))
    fork = forked(run, at)
    batch = fork.state.batch
    under_way = {turn.call.id for turn in batch.turns if turn.status != "done"} if batch is not None else set()
    asked_before = {
        event.data["tool_call_id"]
        for event in run.events[batch.seq if batch is not None else at : at]
        if event.type in ("approval_requested", "input_requested")
    }
    fork.run(Drawn(data))
    open_ones = under_way & asked_before
    answered: set[str] = set()
    for event in fork.events[at:]:
        if event.type in ("tool_batch_started", "subagents_routed"):
            break
        call_id = event.data.get("tool_call_id")
        if event.type in ("approval_resolved", "input_resolved"):
            answered.add(event.data["tool_call_id"])
        if event.type in ("tool_started", "subagent_started") and call_id in open_ones:
            doubtful = any(each.type == "effect_in_doubt" and each.data.get("tool_call_id") == call_id for each in fork.events)
            assert call_id in answered or doubtful


def test_what_is_under_way_is_under_way_again_with_keys_of_the_fork() -> None:
    run = executing(["pay", "look"])
    before = run.wanted(ExecuteTool)
    fork = forked(run, len(run.events))
    after = fork.wanted(ExecuteTool)
    assert [(effect.seq, effect.ordinal, effect.attempt) for effect in after] == [(each.seq, each.ordinal, each.attempt) for each in before]
    assert not {effect.idempotency_key for effect in after} & {effect.idempotency_key for effect in before}
    assert "effect_in_doubt" not in fork.types


def test_a_model_call_under_way_is_asked_with_a_key_of_the_fork() -> None:
    run = asking_model()
    (before,) = run.wanted(CallModel)
    (after,) = forked(run, len(run.events)).wanted(CallModel)
    assert (after.seq, after.attempt) == (before.seq, before.attempt)
    assert after.idempotency_key != before.idempotency_key


def test_another_agent_begins_the_model_call_anew() -> None:
    run = asking_model()
    fork = forked(run, len(run.events), spec_of(models=(ModelSpec("other", "p"),)))
    fork.answer_plainly(CallModel)
    (after,) = fork.wanted(CallModel)
    assert (after.model, after.attempt) == ("other", 1)


@pytest.mark.parametrize("end", ["cancel", "interrupt"])
def test_a_run_that_was_ended_is_not_ended_in_its_fork(end: str) -> None:
    run = asking_model()
    run.put(control(end))
    for at in (len(run.events), len(run.events) + 1):
        run.effects()
        assert forked(run, at).wanted(CallModel)


def test_a_question_is_put_anew_with_what_it_was_put_with() -> None:
    run = asked("request_approval", mode="interactive")
    (before,) = run.wanted(AskPerson)
    run.answer(before, approval(before.request, "granted"))
    answered = len(run.events)
    (tool,) = run.wanted(ExecuteTool)
    started = len(run.events)
    for at in (answered - 1, answered, started):
        fork = forked(run, at)
        (ask,) = fork.wanted(AskPerson)
        assert ask.request == before.request
        fork.answer(ask, approval(ask.request, "granted"))
        (again,) = fork.wanted(ExecuteTool)
        assert (again.attempt, again.idempotency_key != tool.idempotency_key) == (1, True)
        assert fork.state.tool_calls == 1
    run.answer(tool, tool_completed(tool.call, output="done"))
    assert not forked(run, len(run.events)).wanted(AskPerson)


def test_words_are_asked_for_again_and_those_that_were_given_are_gone() -> None:
    run = asked("request_user_input", payload={"prompt": "Which?", "argument": "x"}, mode="interactive")
    (before,) = run.wanted(AskPerson)
    run.answer(before, words(before.request, "answered", "theirs"))
    (ask,) = forked(run, len(run.events)).wanted(AskPerson)
    assert "theirs" not in str(ask.request)


def test_a_subagent_under_way_is_announced_anew_as_a_run_of_the_fork() -> None:
    run = delegating("scout")
    (before,) = run.wanted(RunSubagent)
    fork = forked(run, len(run.events))
    (after,) = fork.wanted(RunSubagent)
    assert after.run_id != before.run_id
    assert (after.attempt, fork.state.tool_calls) == (before.attempt, run.state.tool_calls)
    assert fork.types[-1] == "subagent_started"


def test_a_failed_run_goes_on_where_the_fork_has_another_model() -> None:
    run = asking_model(attempts=1)
    answer_model(run, llm_failed("terminal"))
    run.effects()
    assert run.state.status == "failed"
    fork = forked(run, len(run.events), spec_of(models=(ModelSpec("other", "p"),)))
    fork.answer_plainly(CallModel)
    assert fork.wanted(CallModel)[0].model == "other"


@pytest.mark.parametrize("changed", [{"forked_from": {"run_id": "run_1", "seq": 1}}, {"resumed": True}, {"epoch": 1}])
def test_a_fork_begins_behind_what_it_shares_and_is_no_resumed_stretch(changed: dict[str, Any]) -> None:
    run = asking_model()
    events = list(forked(run, len(run.events)).events)
    last = events[-1]
    broken: AgentRunEvent = replace(last, data={**last.data, **changed})
    with pytest.raises(InvariantError):
        fold(initial_state("run_2", "thread_1"), [*events[:-1], broken])


def test_what_a_fork_says_touched_nothing_is_not_in_doubt_when_it_is_resumed() -> None:
    run = executing(["pay", "look"])
    fork = forked(run, len(run.events))
    pay, look = fork.wanted(ExecuteTool)
    fork.put(
        Draft("run_started", {"agent_name": "agent", "resumed": True, "epoch": fork.state.epoch + 1, "owner": "o", "untouched": [pay.seq]})
    )
    assert fork.state.batch is not None
    assert [turn.status for turn in fork.state.batch.turns] == ["running", "in_doubt"]
    assert pay in fork.wanted(ExecuteTool)
    assert look not in fork.wanted(ExecuteTool)
    model = forked(asking_model(), len(asking_model().events))
    (call,) = model.wanted(CallModel)
    model.put(
        Draft(
            "run_started", {"agent_name": "agent", "resumed": True, "epoch": model.state.epoch + 1, "owner": "o", "untouched": [call.seq]}
        )
    )
    assert model.wanted(CallModel) == [call]
    assert not decide(model.state).events


def test_the_wait_for_tickets_goes_on_in_a_fork_for_the_time_that_was_left() -> None:
    run = deferred("t1", grace_s=30.0)
    grace = run.state.grace
    assert grace is not None
    run.now += dt.timedelta(hours=1)
    fork = forked(run, len(run.events))
    assert fork.state.grace is not None
    pause = fork.state.at - run.state.at
    assert pause > dt.timedelta(hours=1)
    assert fork.state.grace.wait.until == grace.wait.until + pause
    assert fork.state.tickets[0].expires_at == run.state.tickets[0].expires_at + pause


def test_a_subagent_that_was_being_cancelled_is_so_as_a_run_of_the_fork() -> None:
    run = delegating("scout", "clerk", join_policy="first_success")
    first, second = run.wanted(RunSubagent)
    run.put(subagent_completed(second, output="mine"))
    (before,) = run.wanted(CancelSubagent)
    (after,) = forked(run, len(run.events)).wanted(CancelSubagent)
    assert before.run_id == first.run_id
    assert (after.call, after.attempt, after.run_id) == (before.call, before.attempt, child_run_id("run_2", 1, 1))


def test_a_node_that_a_person_let_through_has_no_time_running_once_it_is_asked_about_anew() -> None:
    run = started(routed=True, mode="interactive")
    (ask,) = run.wanted(RouteSubagents)
    run.answer(ask, routed({"nodes": [node("a", "scout", timeout_s=5.0)]}))
    (gate,) = run.wanted(EvaluatePolicy)
    assert gate.call is not None
    run.answer(gate, policy("request_approval", gate.call))
    (question,) = run.wanted(AskPerson)
    run.answer(question, approval(question.request, "granted"))
    assert run.wanted(RunSubagent)
    (timer,) = [effect.timer for effect in run.wanted(Wait) if effect.timer.startswith("timeout:")]
    fork = forked(run, len(run.events))
    assert len(fork.wanted(AskPerson)) == 1
    before = fork.wanted(AskPerson)
    fork.put(Draft("timer_fired", {"timer": timer}))
    assert fork.wanted(AskPerson) == before, "that timer was the other run's"


def test_a_fork_without_a_retention_is_not_compacted_any_more() -> None:
    run, _effect = compacting()
    fork = forked(run, len(run.events), spec_of())
    assert fork.state.compaction is None
    fork.answer_plainly(CallModel)
    assert fork.wanted(CallModel)
    same = forked(run, len(run.events))
    assert same.state.compaction == run.state.compaction


def test_a_call_under_way_has_a_key_of_the_fork_and_one_that_is_over_is_left_alone() -> None:
    run = executing(["pay", "look"])
    pay, _look = run.wanted(ExecuteTool)
    run.answer(pay, tool_completed(pay.call, output="paid"))
    fork = forked(run, len(run.events))
    assert run.state.batch is not None
    assert fork.state.batch is not None
    assert fork.state.batch.turns[0] == run.state.batch.turns[0]
    assert fork.state.batch.turns[1].idempotency_key != run.state.batch.turns[1].idempotency_key
    assert fork.state.tool_calls == run.state.tool_calls


def test_a_question_that_was_answered_is_put_anew_with_the_arguments_and_the_reason_it_was_put_with() -> None:
    run = gating(["pay"], mode="interactive")
    (gate,) = run.wanted(EvaluatePolicy)
    assert gate.call is not None
    run.answer(gate, policy("request_approval", gate.call, updated_tool_args={"n": 7}))
    (before,) = run.wanted(AskPerson)
    run.answer(before, approval(before.request, "denied"))
    fork = forked(run, len(run.events))
    assert fork.state.batch is not None
    call = ToolCall("c-0", "pay", {"n": 0})
    assert fork.state.batch.turns[0] == ToolTurn(1, call, "approval", arguments={"n": 7}, reason="rule 7", intent_seq=before.seq)
    (after,) = fork.wanted(AskPerson)
    asked_with = ("arguments", "proposed_arguments", "reason", "request_id")
    assert {key: after.request[key] for key in asked_with} == {key: before.request[key] for key in asked_with}


def test_a_call_that_was_put_off_is_put_off_anew_and_one_about_which_arguments_were_not_changed_has_its_own() -> None:
    run = gating(["pay"], mode="external")
    (gate,) = run.wanted(EvaluatePolicy)
    assert gate.call is not None
    run.answer(gate, policy("defer", gate.call))
    run.effects()
    fork = forked(run, len(run.events))
    assert fork.state.batch is not None
    (turn,) = fork.state.batch.turns
    assert (turn.status, turn.arguments, turn.request, turn.asked_at, turn.wait) == ("put_off", None, None, None, None)


def test_a_subagent_that_was_laid_down_is_announced_anew_and_counted_once() -> None:
    run = planned({"nodes": [node("a", "scout", timeout_s=5.0), node("b", "clerk")]})
    first = next(effect for effect in run.wanted(RunSubagent) if effect.call.id == "a")
    run.answer(first, subagent_waiting(first))
    fork = forked(run, len(run.events))
    assert fork.state.batch is not None
    first_turn = fork.state.batch.turns[0]
    assert first_turn.child is not None
    assert (first_turn.status, first_turn.attempt, first_turn.child.deadline) == ("allowed", 0, None)
    assert fork.state.tool_calls == run.state.tool_calls - 2
    assert {effect.call.id for effect in fork.wanted(RunSubagent)} == {"a", "b"}


def test_only_how_people_are_asked_and_what_is_done_about_doubts_may_differ_in_the_same_request() -> None:
    run = asking_model()
    (before,) = run.wanted(CallModel)
    same = forked(run, len(run.events), spec_of(mode="external", approval_timeout_s=1.0, in_doubt="retry"))
    assert [effect.seq for effect in same.wanted(CallModel)] == [before.seq]
    other = forked(run, len(run.events), spec_of(max_steps=9))
    assert len(other.wanted(EvaluatePolicy)) == 1


def test_a_call_that_was_under_way_goes_on_under_a_key_of_the_forks_own() -> None:
    run = executing(["pay"])
    (theirs,) = run.wanted(ExecuteTool)
    (own,) = forked(run, run.state.seq).wanted(ExecuteTool)
    assert (theirs.idempotency_key, own.idempotency_key) == (tool_key("run_1", 1), tool_key("run_2", 1))
    assert theirs.idempotency_key != own.idempotency_key


def test_a_router_that_has_answered_in_this_step_is_not_asked_again_by_another_agent() -> None:
    run = started(routed=True)
    (ask,) = run.wanted(RouteSubagents)
    run.answer(ask, routed(None))
    fork = forked(run, run.state.seq, replace(run.spec, instructions="Be long."))
    assert fork.wanted(RouteSubagents) == []
    assert fork.wanted(EvaluatePolicy)


def test_a_fork_from_another_place_than_it_shares_is_broken_and_says_both() -> None:
    run = executing(["pay"])
    fork = Simulation(run.spec, run_id="run_2")
    fork.events = [replace(event, run_id="run_2") for event in run.events[:4]]
    fork.state = fold(fork.state, fork.events)
    data = {
        "agent_name": "agent",
        "resumed": False,
        "epoch": 2,
        "owner": "o",
        "forked_from": {"run_id": "run_1", "seq": 3},
        "forked_as": "run_2",
    }
    with pytest.raises(InvariantError, match="a fork from seq 3 that shares what is before seq 5"):
        fork.put(Draft("run_started", data))
