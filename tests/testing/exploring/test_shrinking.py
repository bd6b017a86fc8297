"""Goal: of whatever violates an invariant, the smallest script that violates the same one is found, alike every time and within bounds."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afk_es.clock import SimulatedClock
from afk_es.errors import UsageError
from afk_es.testing import (
    Action,
    Adversary,
    Answer,
    Call,
    Control,
    Crash,
    ModelAnswers,
    ModelFails,
    PersonSays,
    Script,
    SeededChoices,
    Simulation,
    StalledProcess,
    TicketEnds,
    TimePasses,
    Together,
    ToolDefers,
    ToolFails,
    ToolReturns,
    ToolRuns,
    UserSays,
    script_json,
)
from afk_es.testing.exploring.shrinking import Shrunk, renumbered, shrink, without
from afk_es.testing.exploring.simpler import shorter_texts, simpler_actions, simpler_values, smaller_numbers
from afk_es.testing.exploring.trial import Stage, violated
from tests.testing.exploring.shop import ChargesOnce, NeverPaysTwice, RefundsAreApproved, RuleBrokenError, says, shop, stage

NOISY: Script = (
    says(1, ("look_up_order", {"order_id": "A-17"}), text="Let me look.", cost_usd=0.5, tokens=(100, 20)),
    TimePasses(3.0),
    Answer("tool:look_up_order:1", ToolFails()),
    Answer("model:shop:2", ModelFails("overloaded", 3.0)),
    TimePasses(10.0),
    says(
        3,
        ("look_up_order", {"order_id": "A-17"}),
        ("issue_refund", {"order_id": "A-17", "amount": 30.0}),
        ("issue_refund", {"order_id": "B-4", "amount": 100.0}),
        text="Now I pay it back.",
    ),
    Answer("approval:issue_refund:1", PersonSays("no", words="never", by="bob")),
    Together((Answer("tool:look_up_order:2", ToolReturns({"found": [1, 2, 3]})), Control("pause"))),
    Control("resume"),
)
"""The refund of exactly 100, which the shop's rule forgets, among much that has nothing to do with it."""


def test_what_has_nothing_to_do_with_the_violation_is_gone() -> None:
    shrunk = shrink(
        NOISY, stage(RefundsAreApproved, user_message="Refund order A-17, please", context={"customer": "ann", "orders": [1, 2]})
    )
    (only,) = shrunk.script
    assert only == Answer("model:shop:1", ModelAnswers(calls=(Call("0", "issue_refund", {"order_id": "", "amount": 100}),)))
    assert shrunk.stage.arguments == {"user_message": "", "context": None}
    assert (shrunk.after.events, shrunk.after.actions, shrunk.complete) == (8, 1, True)
    assert shrunk.after < shrunk.before
    assert violated(shrunk.violation) == "refunds_are_approved"


def test_the_smallest_run_went_on_to_its_end_behind_the_violation() -> None:
    shrunk = shrink(NOISY, stage(RefundsAreApproved))
    assert shrunk.trial.simulation.root is not None
    assert shrunk.trial.simulation.root.state.status == "completed"


def test_what_does_not_end_the_run_is_kept_where_it_is_needed() -> None:
    script: Script = (
        says(1, ("look_up_order", {"order_id": "A"}), text="First I look"),
        says(2, ("charge", {"order_id": "A-17", "amount": 3.5}), text="Now I charge"),
        Control("pause"),
        Control("resume"),
        Crash(appends=1, when="before", downtime_s=30.0),
        Answer("tool:charge:1", ToolReturns("charged")),
    )
    reached = (script[0], Answer("tool:look_up_order:1", ToolReturns("x")), *script[1:])
    shrunk = shrink(reached, stage(ChargesOnce))
    assert script_json(shrunk.script) == script_json((says_one("charge", order_id=""), Crash()))


def says_one(name: str, **arguments: Any) -> Answer:
    return Answer("model:shop:1", ModelAnswers(calls=(Call("0", name, arguments),)))


def test_it_does_not_slip_into_another_violation() -> None:
    """A refund of 100 nobody approved would be smaller than two that were."""
    both = stage(NeverPaysTwice, RefundsAreApproved)
    twice = says(1, ("issue_refund", {"order_id": "A", "amount": 1.0}), ("issue_refund", {"order_id": "B", "amount": 2.0}))
    shrunk = shrink((twice,), both, violation="never_pays_twice")
    assert violated(shrunk.violation) == "never_pays_twice"
    assert [call.tool_name for call in _calls(shrunk)] == ["issue_refund", "issue_refund"]


def _calls(shrunk: Shrunk) -> tuple[Call, ...]:
    (answer,) = shrunk.script
    assert isinstance(answer, Answer)
    assert isinstance(answer.fact, ModelAnswers)
    return answer.fact.calls


def test_arguments_that_a_tool_takes_are_replaced_by_others_that_it_takes() -> None:
    """Without `order_id`, or with an amount of null, the calls would never be made; with letters for it, the invariant is as broken."""
    shrunk = shrink(NOISY, stage(RefundsAreApproved))
    for call in _calls(shrunk):
        shop.tools[0].validate(call.arguments)


def test_two_answers_of_a_model_become_one() -> None:
    script = (
        says(1, ("issue_refund", {"order_id": "A", "amount": 1.0})),
        Answer("approval:issue_refund:1", PersonSays()),
        Answer("tool:issue_refund:1", ToolReturns()),
        says(2, ("issue_refund", {"order_id": "A", "amount": 1.0})),
    )
    assert len(_calls(shrink(script, stage(NeverPaysTwice)))) == 2


@pytest.mark.parametrize("most", [1, 2, 5])
def test_the_evaluations_are_bounded(most: int) -> None:
    shrunk = shrink(NOISY, stage(RefundsAreApproved), most_evaluations=most)
    assert shrunk.evaluations == most
    assert not shrunk.complete
    assert violated(shrunk.violation) == "refunds_are_approved"


def test_the_seconds_are_bounded() -> None:
    shrunk = shrink(NOISY, stage(RefundsAreApproved), most_seconds=5.0, clock=SimulatedClock(tick=1.0))
    assert shrunk.evaluations < 8
    assert not shrunk.complete


def test_it_does_the_same_every_time() -> None:
    first, second = (shrink(NOISY, stage(RefundsAreApproved)) for _time in range(2))
    assert first.script == second.script
    assert first.evaluations == second.evaluations


def test_a_script_that_violates_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="violates nothing, and not any invariant"):
        shrink((), stage(RefundsAreApproved))
    with pytest.raises(UsageError, match="violates refunds_are_approved, and not never_pays_twice"):
        shrink(NOISY, stage(RefundsAreApproved), violation=RuleBrokenError("never_pays_twice", "twice"))


def test_what_comes_out_still_violates_is_never_larger_and_cannot_be_made_smaller() -> None:
    """For the first few seeds with which an adversary finds something."""
    watched = stage(RefundsAreApproved, NeverPaysTwice, ChargesOnce)
    trials = (watched.perform(_played(watched, seed)) for seed in range(60))
    found = list(islice((trial for trial in trials if trial.violation is not None), 3))
    assert len(found) == 3
    for trial in found:
        assert trial.violation is not None
        shrunk = shrink(trial.script, watched)
        assert violated(shrunk.violation) == violated(trial.violation)
        assert shrunk.after <= shrunk.before
        assert shrunk.after.actions <= 2
        again = shrunk.stage.perform(shrunk.script)
        assert again.violation is not None
        assert again.script == shrunk.script
        assert shrink(shrunk.script, shrunk.stage).script == shrunk.script


def _played(watched: Stage, seed: int) -> Script:
    """What an adversary does with this seed."""
    simulation = Simulation(watched.agent)
    simulation.begin()
    adversary = Adversary(SeededChoices(seed))
    while (action := adversary.next_action(simulation)) is not None:
        simulation.perform(action)
    simulation.abandon()
    return simulation.script


# ------------------------------------------------------------------------------------------------------------------------------ parts


def test_answers_behind_a_dropped_one_are_renumbered() -> None:
    dropped = {"tool:refund:1", "model:shop:2"}
    script = (
        Answer("tool:refund:2", ToolReturns()),
        Answer("model:shop:1", ModelAnswers()),
        Together((Answer("model:shop:3", ModelAnswers()), Control("pause"))),
        Crash(),
    )
    moved = renumbered(script, dropped)
    assert moved == (
        Answer("tool:refund:1", ToolReturns()),
        Answer("model:shop:1", ModelAnswers()),
        Together((Answer("model:shop:2", ModelAnswers()), Control("pause"))),
        Crash(),
    )
    assert renumbered(script, set()) == script


def test_a_script_without_some_actions_is_tried_renumbered_and_as_it_was() -> None:
    first, second = Answer("tool:refund:1", ToolReturns(1)), Answer("tool:refund:2", ToolReturns(2))
    assert list(without((first, second), 0, 1)) == [(Answer("tool:refund:1", ToolReturns(2)),), (second,)]
    assert list(without((first, second), 1, 2)) == [(first,)]


def test_an_answer_that_nobody_waits_for_goes_to_the_oldest_ask_of_its_kind_and_name() -> None:
    trial = stage().perform((says(4, ("look_up_order", {"order_id": "A"})), Answer("tool:look_up_order:9", ToolReturns("x"))), realign=True)
    assert [each.to for each in trial.script if isinstance(each, Answer)] == ["model:shop:1", "tool:look_up_order:1"]
    together = Together((Answer("tool:look_up_order:7", ToolReturns(1)), Answer("tool:look_up_order:8", ToolReturns(2))))
    trial = stage().perform((says(1, *[("look_up_order", {"order_id": "A"})] * 2), together), realign=True)
    (_says, moved) = trial.script
    assert isinstance(moved, Together)
    assert [each.to for each in moved.actions if isinstance(each, Answer)] == ["tool:look_up_order:1", "tool:look_up_order:2"]


def test_a_violation_is_found_wherever_it_is_raised_and_ends_the_script_there() -> None:
    """Raised where a subagent's tool is asked for it would be the tool's failure, and the run would go on as if nothing was wrong."""
    delegated = says(1, ("transfer_to_clerk", {"task": "refund"}), ("issue_refund", {"order_id": "A", "amount": 100}))
    script = (delegated, says(1, text="Done.", agent="clerk"), TimePasses(1.0))
    trial = stage(RefundsAreApproved).perform(script)
    assert trial.script == (delegated,)
    assert trial.violation is not None
    assert violated(trial.violation) == "refunds_are_approved"
    assert trial.events < len([event for run in stage().perform(script).simulation.runs.values() for event in run.events])


def test_the_name_of_a_violation_is_its_own_else_its_class() -> None:
    assert violated(RuleBrokenError("mine", "no")) == "mine"
    assert violated(AssertionError("no")) == "AssertionError"
    assert violated(AttributeError("no", name="color")) == "AttributeError"


ACTIONS: tuple[Action, ...] = (
    says(
        1,
        ("look_up_order", {"order_id": "A-17", "deep": {"list": [1, 2.5, None, True, "x", []]}}),
        text="hello",
        cost_usd=1.5,
        tokens=(3, 9),
    ),
    says(1, ("look_up_order", "{broken"), finish_reason="length"),
    Answer("model:shop:1", ModelFails("overloaded", 4.0)),
    Answer("tool:charge:1", ToolReturns({"a": [1, {"b": "c"}]})),
    Answer("tool:charge:1", ToolFails("error", "no such order")),
    Answer("tool:charge:1", ToolDefers("ticket", 9.0)),
    Answer("tool:charge:1", ToolRuns()),
    Answer("approval:charge:1", PersonSays("no", "never", "bob", True)),
    TimePasses(7.25),
    Crash(3, "before", 12.5, 1),
    Control("cancel"),
    StalledProcess(),
    TicketEnds(2, {"x": 1}, "it broke"),
    UserSays("and another"),
    Together((Answer("tool:charge:1", ToolReturns(3)), Control("pause"), TicketEnds(1))),
)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(getattr(action, "fact", action)).__name__)
def test_an_action_becomes_as_simple_as_can_be_in_finitely_many_steps(action: Action) -> None:
    """Whatever is taken of its variations, each time the smallest in bytes: there is an end, and it is small."""
    start, steps = action, 0
    while smaller := [each for each in simpler_actions(action, lambda call: False) if _size(each) < _size(action)]:
        action, steps = min(smaller, key=_size), steps + 1
        assert steps < 100
    assert _size(action) <= _size(start)
    assert _size(action)[0] <= 77


def _size(action: Action) -> tuple[int, bytes]:
    json = script_json((action,))
    return len(json), json


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=4,
    )
)
@settings(max_examples=10, deadline=None, derandomize=True, database=None)
def test_no_value_is_a_simpler_one_of_itself(value: Any) -> None:
    assert all(repr(simpler) != repr(value) for simpler in simpler_values(value))


def test_numbers_and_texts_shrink_by_halves() -> None:
    assert list(smaller_numbers(10)) == [0, 1, 5, 8, 9]
    assert list(smaller_numbers(-3)) == [0, 1, -1, -2, 3]
    assert list(smaller_numbers(float("inf"))) == [0.0]
    assert list(shorter_texts("abcd")) == ["", "ab", "cd", "abc", "bcd", "aaaa"]
    assert list(shorter_texts("")) == []


@pytest.mark.parametrize("edge", [7, 1_000_000_000, 10**15])
def test_the_edge_of_a_condition_is_found_wherever_it_lies(edge: int) -> None:
    """Step by step from the nearest half it would take as many scripts as there are numbers between."""
    number, tried = edge + edge // 3, 0
    while True:
        for simpler in smaller_numbers(number):
            tried += 1
            if simpler >= edge:
                number = simpler
                break
        else:
            break
    assert number == edge
    assert tried < 2_000
