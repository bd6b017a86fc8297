"""Pause, resume, cancel and interrupt, wherever a run stands, and background tools that report back."""

from __future__ import annotations

import pytest

from afk_es.machine import Draft, remembered
from afk_es.machine.effects import CallModel, EvaluatePolicy, ExecuteTool, Wait
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
