"""Given a run, when its effects are answered, then its events come in this order."""

from __future__ import annotations

from afk_es.machine.effects import CallModel, ExecuteTool
from afk_es.machine.events import stored
from tests.machine.simulation import (
    Simulation,
    llm_completed,
    spec_of,
    tool_completed,
)
from tests.machine.situations import executing


def test_a_run_with_one_tool_call_has_the_reference_order() -> None:
    run = executing(["look"])
    run.answer_plainly(CallModel)
    run.put(llm_completed("d"))
    run.effects()
    assert [kind for kind in run.types if kind != "tool_started"] == [
        "run_started",
        "step_started",
        "policy_decision",
        "llm_called",
        "llm_completed",
        "tool_batch_started",
        "policy_decision",
        "tool_completed",
        "step_started",
        "policy_decision",
        "llm_called",
        "llm_completed",
        "run_completed",
    ]
    assert [message.role for message in run.state.messages] == ["user", "assistant", "tool", "assistant"]
    assert run.state.status == "completed"


def test_a_run_without_a_user_message_asks_with_what_the_thread_remembers() -> None:
    run = Simulation(spec_of())
    run.start(None)
    assert len(run.state.messages) == 0


def test_results_join_the_conversation_in_the_order_they_were_asked_for() -> None:
    run = executing(["look", "pay", "strict"])
    for effect in reversed(run.wanted(ExecuteTool)):
        run.answer(effect, tool_completed(effect.call, output=effect.call.tool_name))
    assert [message.tool_call_id for message in run.state.messages][2:] == ["c-0", "c-1", "c-2"]


def test_what_is_only_seen_live_is_in_no_log_and_what_nobody_knows_yet_is() -> None:
    assert [name for name in ("run_started", "tool_progress", "text_delta", "of_tomorrow") if stored(name)] == [
        "run_started",
        "of_tomorrow",
    ]
