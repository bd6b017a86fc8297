"""What becomes of a letter, and of an answer that comes late: taken in where it still fits the run's state, else a fact that says why not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from afk_es.errors import InvalidEventError, InvariantError
from afk_es.machine import Draft
from afk_es.machine.admission import admitted, overtaken, refusal
from afk_es.machine.effects import AskPerson, ExecuteTool, RunSubagent
from afk_es.machine.events import validate_letter
from tests.machine.simulation import Simulation, approval, control, given, subagent_completed, subagent_waiting, tool_completed
from tests.machine.situations import asked, executing
from tests.machine.test_background import deferred, ended
from tests.machine.test_delegation import delegating


def asking(run: Simulation) -> dict[str, object]:
    """The question that is open."""
    (effect,) = run.wanted(AskPerson)
    return effect.request


def test_a_letter_that_fits_is_the_event_it_asks_for_with_its_position() -> None:
    run = asked("request_approval", mode="interactive")
    said = approval(asking(run), "granted")
    assert admitted(run.state, said, 7) == Draft("approval_resolved", {**said.data, "letter": 7}, said.message)
    wish = replace(control("pause"), message="a break")
    assert admitted(run.state, wish, 8) == Draft(wish.type, {**wish.data, "letter": 8}, wish.message)


def test_a_letter_that_does_not_fit_is_a_warning_that_says_why() -> None:
    run = executing(["pay"])
    late = approval({"request_id": "r", "tool_call_id": "c-0", "arguments_hash": "h"}, "granted")
    why = "no approval is pending for tool call 'c-0'"
    assert admitted(run.state, late, 3) == Draft(
        "warning",
        {"kind": "letter_refused", "letter": 3, "type": "approval_resolved", "reason": why},
        f"letter 3 (approval_resolved) was not taken in: {why}",
    )


@pytest.mark.parametrize("key", ["request_id", "arguments_hash"])
def test_an_answer_to_another_question_does_not_fit(key: str) -> None:
    run = asked("request_approval", mode="interactive")
    said = approval(asking(run), "granted")
    other = replace(said, data={**said.data, key: "another"})
    assert refusal(run.state, other) == f"{other.data['request_id']!r} is not what is asked now, or not with these arguments"
    assert refusal(run.state, said) is None


def test_words_do_not_answer_an_approval_and_a_call_that_is_not_there_asks_nothing() -> None:
    run = asked("request_approval", mode="interactive")
    assert refusal(run.state, given(asking(run), "answered", "blue")) == "no input is pending for tool call 'c-0'"
    stray = approval({"request_id": "r", "tool_call_id": "nobody", "arguments_hash": "h"}, "granted")
    assert refusal(run.state, stray) == "no approval is pending for tool call 'nobody'"
    assert refusal(executing([]).state, stray) == "no approval is pending for tool call 'nobody'"


def test_what_was_asked_before_the_answer_came_is_not_asked_any_more() -> None:
    run = asked("request_approval", mode="interactive")
    said = approval(asking(run), "granted")
    run.put(said)
    assert refusal(run.state, said) == "no approval is pending for tool call 'c-0'"


@pytest.mark.parametrize("kind", ["tool_background_resolved", "tool_background_failed"])
def test_a_result_fits_while_its_ticket_is_open_and_is_of_that_call(kind: str) -> None:
    run = deferred("t1", "t2")
    result = Draft(kind, ended(run, "t1").data)
    assert refusal(run.state, result) is None
    assert refusal(run.state, Draft(kind, {**result.data, "ticket_id": "t9"})) == "ticket 't9' is not open"
    stray = Draft(kind, {**result.data, "tool_call_id": "c-1"})
    assert refusal(run.state, stray) == "ticket 't1' is of tool call 'c-0', and not of 'c-1'"


def test_a_child_may_be_laid_down_while_it_runs_and_not_after_the_join_was_decided_without_it() -> None:
    run = delegating("scout", "clerk", join_policy="first_success")
    first, second = run.wanted(RunSubagent)
    late = subagent_waiting(first)
    assert not overtaken(run.state, late)
    run.put(subagent_completed(second, output="mine"))
    assert overtaken(run.state, late)
    assert overtaken(run.state, replace(late, data={**late.data, "tool_call_id": "nobody"}))
    assert overtaken(executing([]).state, late), "there is no batch any more"


def test_an_effects_answer_is_overtaken_where_a_letter_would_be_refused() -> None:
    run = asked("request_approval", mode="interactive")
    said = approval(asking(run), "granted")
    assert not overtaken(run.state, said)
    run.put(said)
    assert overtaken(run.state, said)
    (effect,) = run.wanted(ExecuteTool)
    assert not overtaken(run.state, tool_completed(effect.call)), "what is no answer of somebody outside is the fold's affair"


def test_a_letter_is_taken_in_once_and_in_the_order_in_which_it_was_posted() -> None:
    run = deferred("t1", "t2")
    run.put(admitted(run.state, ended(run, "t1"), 4))
    assert run.state.last_letter == 4
    for position in (3, 4):
        with pytest.raises(InvariantError, match=f"letter {position} was taken in before: the fold stands at letter 4"):
            run.put(admitted(run.state, ended(run, "t2"), position))
    run.put(ended(run, "t2"))
    assert run.state.last_letter == 4, "a result that came by no letter does not move the position"


def test_only_what_comes_from_outside_can_be_posted_and_only_in_its_shape() -> None:
    validate_letter(approval({"request_id": "r", "tool_call_id": "c", "arguments_hash": "h"}, "granted"))
    posted = "approval_resolved, control_requested, input_resolved, tool_background_failed, tool_background_resolved"
    for kind in ("run_completed", "unheard_of"):
        with pytest.raises(InvalidEventError) as refused:
            validate_letter(Draft(kind, {}))
        assert str(refused.value) == f"{kind!r} cannot be posted to a run; what can: {posted}"
    with pytest.raises(InvalidEventError, match="approval_resolved: Object missing required field"):
        validate_letter(Draft("approval_resolved", {}))
