"""Goal: one's own invariants are a class, a function or a claim; each simulation gets a fresh one; what is none is refused with the way out."""

from __future__ import annotations

from typing import Any

import pytest

from afk_es.errors import ConfigurationError
from afk_es.evals import at_most, call, never
from afk_es.machine import AgentRunEvent, RunState
from afk_es.testing.invariants import (
    SHIPPED,
    Invariant,
    InvariantViolation,
    at_most_once,
    call_of,
    checked,
    invariant,
    never_calls,
    requires_approval,
    stays_below,
)
from afk_es.testing.simulation.facts import Answer, Call, Crash, ModelAnswers, PersonSays, ToolReturns
from afk_es.testing.simulation.observing import ObservedRun
from afk_es.testing.simulation.world import Simulation, playing
from tests.bugs.agents import look_up, refund, shop

SCRIPT = (
    Answer(
        "model:shop:1",
        ModelAnswers(
            calls=(Call("c0", "refund", {"order": "A-17", "amount": 20}), Call("c1", "look_up", {"order": "A-17"})),
            cost_usd=0.2,
            tokens=(10, 5),
        ),
    ),
    Answer("tool:refund:1", ToolReturns("paid")),
    Answer("tool:look_up:1", ToolReturns("so")),
)
FREE = shop(tools=(refund, look_up), policy=None)


def play(own: Any, *, script: Any = SCRIPT, agent: Any = FREE) -> Simulation:
    """A run under one's own invariant, to its end."""
    simulation = playing(script, agent, observers=checked([own]))
    simulation.close()
    return simulation


class NoRefund(Invariant):
    """As a class."""

    name = "no refund"

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        if event.type == "tool_started" and event.data["tool_name"] == "refund":
            raise self.violated("it pays", run)


@invariant("refunds are small")
def small(run: ObservedRun, event: AgentRunEvent) -> bool:
    """As a decorated function of a run's event."""
    call = call_of(run)
    return event.type != "tool_started" or call is None or call.arguments.get("amount", 0) < 15


def one_run(simulation: Simulation) -> str | None:
    """As a plain function of a simulation."""
    return "nothing was refunded" if simulation.results else None


class TestOnesOwn:
    @pytest.mark.parametrize(
        ("own", "name", "message"),
        [
            (NoRefund, "no refund", "it pays"),
            (lambda: NoRefund(), "no refund", "it pays"),
            (small, "refunds are small", "it does not hold"),
            (one_run, "one run", "nothing was refunded"),
            (never(call("refund")), "never refund", "refund"),
            (at_most(0, call("look_up")), "at most 0 look_up", "look_up"),
        ],
    )
    def test_it_is_violated_where_it_does_not_hold(self, own: Any, name: str, message: str) -> None:
        with pytest.raises(InvariantViolation, match=message) as caught:
            play(own)
        assert name in caught.value.name
        assert caught.value.run_id is not None

    @pytest.mark.parametrize("own", [lambda run, event: True, lambda run, event: None, lambda simulation: None, never(call("delete"))])
    def test_it_holds_where_it_does(self, own: Any) -> None:
        assert play(own).results[0].state == "completed"

    def test_a_claim_says_where(self) -> None:
        with pytest.raises(InvariantViolation) as caught:
            play(never('type = "tool_started" and tool = "refund"'))
        assert caught.value.seq is not None

    def test_each_simulation_gets_its_own(self) -> None:
        assert checked([NoRefund])[0] is not checked([NoRefund])[0]
        assert [type(each) for each in checked(SHIPPED)] == list(SHIPPED)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (NoRefund(), "give the class"),
            (int, "int is no Invariant"),
            (7, "is no invariant"),
            (lambda: 7, "made a int"),
            (lambda one, two, three: None, "takes 3 arguments"),
        ],
    )
    def test_what_is_none_is_refused(self, given: Any, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            checked([given])


class TestShortcuts:
    def test_a_refund_needs_a_yes_to_that_very_refund(self) -> None:
        with pytest.raises(InvariantViolation, match="nobody has agreed to that"):
            play(requires_approval("refund"))
        approved = (SCRIPT[0], Answer("approval:refund:1", PersonSays()), *SCRIPT[1:])
        assert play(requires_approval("refund"), script=approved, agent=shop(tools=(refund, look_up))).results[0].state == "completed"

    def test_only_large_ones_do(self) -> None:
        assert play(requires_approval("refund", when=lambda arguments: arguments["amount"] > 20)).results
        with pytest.raises(InvariantViolation):
            play(requires_approval("refund", when=lambda arguments: arguments["amount"] > 10))

    def test_at_most_once_counts_over_crashes_and_by_arguments(self) -> None:
        twice = (*SCRIPT, Crash(), Answer("model:shop:3", SCRIPT[0].fact), Answer("tool:refund:2", ToolReturns("paid")))
        with pytest.raises(InvariantViolation, match="runs again"):
            play(at_most_once("refund"), script=twice)
        with pytest.raises(InvariantViolation, match="per order"):
            play(at_most_once("refund", per="order"), script=twice)
        other = ModelAnswers(calls=(Call("c0", "refund", {"order": "B-4", "amount": 20}),))
        assert play(at_most_once("refund", per="order"), script=(*SCRIPT, Answer("model:shop:2", other))).results

    def test_never_calls(self) -> None:
        assert play(never_calls("close_account")).results
        with pytest.raises(InvariantViolation, match="never calls refund: refund runs with"):
            play(never_calls("refund"))
        assert play(never_calls("refund", when=lambda arguments: arguments["amount"] == 30)).results

    @pytest.mark.parametrize(
        "limits",
        [{"cost_usd": 0.1}, {"steps": 1}, {"llm_calls": 1}, {"tool_calls": 1}, {"tokens": 14}],
        ids=lambda limits: next(iter(limits)),
    )
    def test_stays_below(self, limits: dict[str, Any]) -> None:
        with pytest.raises(InvariantViolation, match="is the most"):
            play(stays_below(**limits))

    def test_it_may_come_to_the_limit(self) -> None:
        assert play(stays_below(cost_usd=0.2, steps=2, llm_calls=2, tool_calls=2, tokens=17, seconds=0.0)).results

    def test_without_a_limit_it_says_nothing(self) -> None:
        with pytest.raises(ConfigurationError, match="needs a limit"):
            stays_below()
