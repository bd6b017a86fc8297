"""Pause, resume, cancel and interrupt, wherever a run stands, and background tools that report back."""

from __future__ import annotations

import pytest

from afk_es.machine import Draft, decide, initial_state, remembered
from afk_es.machine.decision import NOTHING
from afk_es.machine.effects import CallModel, EvaluatePolicy, ExecuteTool, ValidateOutput, Wait
from tests.machine.simulation import (
    answers_to,
    control,
    llm_completed,
    llm_failed,
    tool_completed,
    tool_failed,
)
from tests.machine.situations import answer_model, asking_model, executing, state_of


def test_a_paused_run_lets_what_is_under_way_end_and_goes_on_where_it_stood() -> None:
    run = executing(["look"])
    run.put(control("pause"))
    (effect,) = run.effects()
    assert isinstance(effect, ExecuteTool)
    run.answer(effect, tool_completed(effect.call))
    assert run.effects() == ()
    assert run.state.status == "paused"
    run.put(control("resume"), control("resume"))
    assert len(run.wanted(EvaluatePolicy)) == 1


def test_a_stale_timer_changes_nothing() -> None:
    run = executing(["look"])
    before = run.effects()
    run.put(Draft("timer_fired", {"timer": "retry:1"}))
    assert run.effects() == before


def test_a_pause_stops_a_retrys_timer_and_a_late_one_is_heeded_after_it() -> None:
    run = asking_model()
    answer_model(run, llm_failed("retryable"))
    wait = next(effect for effect in run.wanted(Wait) if effect is not run.state.deadline)
    run.put(control("pause"))
    assert run.effects() == ()
    run.answer(wait, Draft("timer_fired", {"timer": wait.timer}))
    assert run.effects() == ()
    run.put(control("resume"))
    assert len(run.wanted(CallModel)) == 1
    run.put(Draft("timer_fired", {"timer": wait.timer}))
    assert len(run.wanted(CallModel)) == 1


def test_cancel_ends_running_calls_and_outweighs_a_later_interrupt() -> None:
    run = executing(["pay"])
    run.put(control("cancel"), control("interrupt"))
    assert state_of(run) == "cancelled"
    assert run.events[-2].data["outcome"] == "cancelled"
    assert [message.role for message in remembered(run.state)] == ["user", "assistant", "tool"]


def test_what_is_remembered_of_a_call_says_how_far_it_came() -> None:
    run = executing(["look", "pay"], tool_failure="retry_then_continue")
    first, _second = run.wanted(ExecuteTool)
    run.answer(first, tool_failed(first.call, 1, "retryable"))
    run.put(control("interrupt"))
    assert state_of(run) == "interrupted"
    contents = [message.content for message in remembered(run.state)]
    assert contents[2] == "This call failed: look broke"
    assert contents[3].startswith("This call was started")


@pytest.mark.parametrize(("kind", "summary"), [("tool_background_resolved", "soon"), ("tool_background_failed", None)])
def test_a_deferred_tool_reports_back_once_when_the_next_step_starts(kind: str, summary: str | None) -> None:
    run = executing(["pay"])
    (effect,) = run.wanted(ExecuteTool)
    deferral = answers_to(run.state, effect)[-1]
    run.answer(effect, Draft("tool_deferred", {**deferral.data, "summary": summary}))
    run.answer_plainly(CallModel)
    assert [ticket.ticket_id for ticket in run.state.tickets] == ["t1"]
    assert "ticket t1" in run.state.messages[-1].content
    end = Draft(kind, {"tool_name": "pay", "tool_call_id": "c-0", "ticket_id": "t1", "output": "paid", "error": "expired"})
    run.put(end, end)
    assert (run.state.tickets, len(run.state.notices)) == ((), 1)
    assert remembered(run.state)[-1] == run.state.notices[0]
    answer_model(run, llm_completed("d", ["look"]))
    run.answer_plainly(CallModel)
    assert sum("has ended" in message.content for message in run.state.messages) == 1


def test_a_run_that_is_cancelled_says_which_request_is_in_doubt_and_does_not_ask_again() -> None:
    run = asking_model()
    (call,) = run.wanted(CallModel)
    run.put(control("cancel"))
    run.resume()
    assert state_of(run) == "cancelled"
    assert run.types[-2:] == ["effect_in_doubt", "run_cancelled"]
    assert run.events[-2].data == {"effect": "llm", "intent_seq": call.seq, "resolution": "report"}


def test_nothing_is_to_be_done_before_a_run_has_begun_and_after_it_has_ended() -> None:
    assert decide(initial_state("run_1", "thread_1")) == NOTHING
    run = asking_model()
    answer_model(run, llm_completed("c"))
    assert run.state.ended
    assert decide(run.state) == NOTHING


@pytest.mark.parametrize(("action", "kind"), [("interrupt", "run_interrupted"), ("cancel", "run_cancelled")])
def test_the_end_of_a_stopped_run_says_why(action: str, kind: str) -> None:
    run = asking_model()
    run.put(control(action))
    reason = f"{action} requested by test"
    assert decide(run.state).events == (Draft(kind, {"reason": reason}, reason),)


def test_an_interrupted_run_leaves_what_is_under_way_open() -> None:
    run = executing(["pay"])
    run.put(control("interrupt"))
    assert len(decide(run.state).events) == 1


def test_a_final_answer_is_held_against_the_agents_schema_with_what_the_model_gave_for_it() -> None:
    run = asking_model(output_schema={"type": "object"})
    answer_model(run, llm_completed("c", text="three", structured_response={"age": 3}))
    (check,) = run.wanted(ValidateOutput)
    assert check == ValidateOutput("output:1", "three", {"age": 3})
