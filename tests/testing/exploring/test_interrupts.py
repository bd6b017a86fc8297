"""Goal: Ctrl-C ends an exploration, wherever it comes, and is no bug of the agent."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from afk_es.agents import Agent
from afk_es.testing import ScriptedModel, explore
from afk_es.testing.exploring.interrupts import interrupts_held_back
from afk_es.tools import tool


@pytest.fixture(autouse=True)
def _as_in_a_terminal() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_it_ends_an_exploration_even_in_the_middle_of_a_tool() -> None:
    @tool
    async def press() -> str:
        """Somebody presses Ctrl-C."""
        signal.raise_signal(signal.SIGINT)
        return "pressed"

    agent = Agent(name="clerk", model=ScriptedModel([]), tools=[press])
    with pytest.raises(KeyboardInterrupt):
        explore(agent, tools={"press": "real"}, seed=1, directory=None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_first_waits_and_the_second_comes_through() -> None:
    went_on = []

    @interrupts_held_back()
    def pressed_twice() -> None:
        signal.raise_signal(signal.SIGINT)
        went_on.append("behind the first")
        signal.raise_signal(signal.SIGINT)
        went_on.append("behind the second")

    with pytest.raises(KeyboardInterrupt):
        pressed_twice()
    assert went_on == ["behind the first"]


def test_a_handler_of_somebody_else_is_left_alone() -> None:
    pressed = []
    signal.signal(signal.SIGINT, lambda *_about: pressed.append(1))
    with interrupts_held_back():
        signal.raise_signal(signal.SIGINT)
    assert pressed == [1]
