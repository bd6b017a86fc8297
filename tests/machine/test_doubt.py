"""What becomes of an effect that was announced and whose result the log does not have."""

from __future__ import annotations

import pytest

from afk_es.machine import Draft, remembered
from afk_es.machine.effects import AskPerson, CallModel, ExecuteTool
from afk_es.machine.spec import ModelSpec
from tests.machine.simulation import (
    approval,
    control,
    given,
    llm_failed,
    spec_of,
    tool_completed,
)
from tests.machine.situations import answer_model, asked, asking_model, executing, state_of


@pytest.mark.parametrize(
    ("in_doubt", "name", "resolution"),
    [
        ("report", "pay", "report"),
        ("ask", "pay", "ask"),
        ("retry", "pay", "run_again"),
        ("report", "look", "run_again"),
        ("ask", "strict", "run_again"),
    ],
)
def test_a_tool_in_doubt_is_handled_by_its_class_and_says_so(in_doubt: str, name: str, resolution: str) -> None:
    run = executing([name], in_doubt=in_doubt, mode="interactive")
    (before,) = run.wanted(ExecuteTool)
    run.resume()
    effects = run.effects()
    (said,) = (event for event in run.events if event.type == "effect_in_doubt")
    assert (said.data["intent_seq"], said.data["resolution"]) == (before.seq, resolution)
    if resolution == "report":
        assert run.types.count("tool_started") == 1
        assert run.state.messages[-1].role == "tool"
        assert "outcome of this call is unknown" in run.state.messages[-1].content
    elif resolution == "ask":
        assert isinstance(effects[0], AskPerson)
        assert effects[0].request["purpose"] == "in_doubt"
        assert [message.content for message in remembered(run.state)][-1].startswith("This call was started")
    else:
        assert isinstance(effects[0], ExecuteTool)
        assert (effects[0].attempt, effects[0].idempotency_key) == (2, before.idempotency_key)


@pytest.mark.parametrize(("outcome", "starts", "ends"), [("granted", 2, "returned"), ("denied", 1, "unknown")])
def test_a_person_decides_what_becomes_of_a_call_in_doubt(outcome: str, starts: int, ends: str) -> None:
    run = executing(["pay"], in_doubt="ask", mode="interactive")
    run.resume()
    (ask,) = run.wanted(AskPerson)
    run.answer(ask, approval(ask.request, outcome))
    run.answer_plainly(CallModel)
    assert run.types.count("tool_started") == starts
    assert [event.data["outcome"] for event in run.events if event.type == "tool_completed"] == [ends]


def test_a_model_call_in_doubt_is_asked_again_with_the_same_key() -> None:
    run = asking_model()
    (before,) = run.wanted(CallModel)
    run.resume()
    (after,) = run.wanted(CallModel)
    assert after.idempotency_key == before.idempotency_key
    assert (after.attempt, run.state.llm_calls) == (2, 2)


def test_a_run_that_has_to_fail_reports_what_is_in_doubt_first() -> None:
    run = executing(["look", "pay"], tool_failure="fail", in_doubt="retry")
    first, _second = run.wanted(ExecuteTool)
    run.answer(first, tool_completed(first.call, error="it broke"))
    run.resume()
    assert state_of(run) == "failed"
    assert run.types[-3:] == ["effect_in_doubt", "tool_completed", "run_failed"]


def test_a_run_cancelled_right_after_it_was_taken_over_says_what_is_unknown() -> None:
    run = executing(["look", "pay"])
    run.resume()
    run.put(Draft("effect_in_doubt", {"effect": "tool", "intent_seq": 1, "resolution": "report", "tool_call_id": "c-0"}), control("cancel"))
    assert state_of(run) == "cancelled"
    assert [event.data["outcome"] for event in run.events if event.type == "tool_completed"] == ["unknown", "unknown"]


def test_a_fallback_model_that_a_new_spec_does_not_have_gives_way_to_the_first() -> None:
    run = asking_model(models=(ModelSpec("m", "p"), ModelSpec("backup", "q")))
    answer_model(run, llm_failed("terminal"))
    run.resume(spec_of(dynamic_instructions=True))
    assert [effect.model for effect in run.wanted(CallModel)] == ["m"]


def test_the_time_of_a_doubt_is_that_of_its_event_and_a_question_about_it_is_one_for_a_yes_or_no() -> None:
    run = asking_model()
    run.resume()
    run.effects()
    doubt = run.types.index("effect_in_doubt")
    assert run.states[doubt + 1].at == run.events[doubt].at
    words = asked("request_user_input", payload={"prompt": "Which?", "argument": "x"}, mode="interactive", in_doubt="ask")
    (ask,) = words.wanted(AskPerson)
    words.answer(ask, given(ask.request, "answered", "blue"))
    assert len(words.wanted(ExecuteTool)) == 1
    words.resume()
    (again,) = words.wanted(AskPerson)
    assert (again.kind, again.request["purpose"]) == ("approval", "in_doubt")
