"""Goal: what the author of a world has said of its people and tools holds for whoever answers: the adversary, an edited script, the plain course."""

from __future__ import annotations

from typing import Any

import pytest

from afk_es.errors import ToolError
from afk_es.testing import (
    Answer,
    Ask,
    Call,
    ModelAnswers,
    PersonSays,
    Simulation,
    ToolFails,
    ToolReturns,
    ToolRuns,
    WorldOptions,
)
from afk_es.testing.exploring.bounds import PlayedAs
from tests.testing.exploring.desks import desk_that_asks


def asked(kind: str, world: WorldOptions, outputs: dict[str, Any] | None = None) -> tuple[Simulation, PlayedAs, Ask]:
    """A refund that waits for a person, or an order that is looked up."""
    bounds = PlayedAs(world, outputs)
    simulation = Simulation(desk_that_asks(exists=True), bounds=bounds)
    simulation.begin()
    call = (
        Call("c1", "issue_refund", {"order_id": "A", "amount": 1, "reason": "r"})
        if kind == "approval"
        else Call("c1", "find_order", {"order_id": "A"})
    )
    assert simulation.perform(Answer("model:support-desk:1", ModelAnswers(calls=(call,))))
    (ask,) = simulation.pending.values()
    assert ask.kind == kind
    return simulation, bounds, ask


def raising(error: Exception) -> Any:
    def play(arguments: Any) -> Any:
        raise error

    return play


@pytest.mark.parametrize(("people", "allowed"), [("any", "yes no"), ("yes", "yes"), ("no", "no"), (lambda request: False, "no")])
def test_people_say_what_they_are_to_say(people: Any, allowed: str) -> None:
    simulation, bounds, ask = asked("approval", WorldOptions(people=people))
    assert {each for each in ("yes", "no") if bounds.allows(ask, PersonSays(each))} == set(allowed.split())
    assert bounds.allows(ask, PersonSays("put_off")), "they may be late all the same"
    assert bounds.allows(ask, bounds.plain(ask))
    refused = "yes" if allowed == "no" else "no"
    if refused not in allowed.split():
        assert simulation.perform(Answer(ask.key, PersonSays(refused))) is False  # type: ignore[arg-type]
    simulation.abandon()


@pytest.mark.parametrize(
    ("play", "plain", "refused"),
    [
        ("simulated", ToolReturns(), ToolRuns()),
        ("real", ToolRuns(), ToolReturns("made up")),
        (lambda arguments: arguments["order_id"], ToolReturns("A"), ToolReturns("made up")),
        (raising(ToolError("there is no order")), ToolFails("error", "there is no order"), ToolReturns("made up")),
        (raising(KeyError("order")), ToolFails("crash", "KeyError: 'order'"), ToolReturns("made up")),
    ],
)
def test_tools_answer_as_they_are_played(play: Any, plain: Any, refused: Any) -> None:
    simulation, bounds, ask = asked("tool", WorldOptions(tools={"find_order": play}))
    assert bounds.plain(ask) == plain
    assert bounds.allows(ask, plain)
    assert not bounds.allows(ask, refused)
    assert bounds.allows(ask, ToolFails("timeout")), "they may fail all the same"
    simulation.abandon()


def test_of_a_tool_that_a_strategy_plays_only_drawn_values_are_allowed() -> None:
    simulation, bounds, ask = asked("tool", WorldOptions(tools={"find_order": object()}), {"find_order": 10})
    assert bounds.plain(ask) == ToolReturns(10)
    assert not bounds.allows(ask, ToolReturns(0))
    bounds.remember(ask, 12)
    assert bounds.allows(ask, ToolReturns(12))
    simulation.abandon()
