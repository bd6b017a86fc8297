"""Goal: a state machine of an agent finds what it does wrong, and tells it as the smallest program there is; a sound agent passes."""

from __future__ import annotations

import unittest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.internal.reflection import function_digest
from hypothesis.stateful import invariant, rule

from afk_es.agents import Agent
from afk_es.errors import ConfigurationError, UsageError
from afk_es.testing import SHIPPED, Answer, Control, Crash, ModelAnswers, Observer, Together, UserSays, WorldOptions
from afk_es.testing.exploring.artefact import read_counterexample, replay_script
from afk_es.testing.exploring.machine import AgentMachine, agent_machine, program
from tests.testing.exploring.shop import ChargesOnce, NeverPaysTwice, RuleBrokenError, clerk, says, shop

BRIEF = settings(max_examples=5, stateful_step_count=12, deadline=None, derandomize=True, database=None)
SEARCH = settings(BRIEF, max_examples=300, stateful_step_count=20, phases=[Phase.generate])
GREEDY = WorldOptions(troubles=frozenset({"parallel_calls", "repeated_calls", "crashes"}))
"""Enough for what is looked for here, and found soon."""


class TestClerk(agent_machine(clerk, directory=None).TestCase):  # type: ignore[misc]  # a class that is made
    """What a user writes: pytest runs it, and the clerk, who only looks, does nothing wrong."""

    settings = BRIEF


def failure(machine: type[AgentMachine], given: settings = SEARCH) -> BaseException:
    """What running the machine's test raises."""
    case = type("Case", (machine.TestCase,), {"settings": given})
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever an invariant raised
        case("runTest").runTest()
    return raised.value


def note(error: BaseException) -> str:
    """What was added to a failure."""
    return "\n".join(error.__notes__)


@pytest.mark.parametrize("broken", [NeverPaysTwice, ChargesOnce])
def test_a_failure_is_told_as_the_smallest_run_its_log_and_a_program(tmp_path: Path, broken: type[Observer]) -> None:
    machine = agent_machine(shop, invariants=[broken], world=GREEDY, directory=tmp_path)
    error = failure(machine)
    assert isinstance(error, RuleBrokenError)
    smallest = replay_script(tmp_path / "ShopMachine.db", shop, observers=lambda: [broken()])
    assert str(smallest.violation) == str(error)
    assert len(smallest.script) == (2 if broken is ChargesOnce else 1)
    told = note(error)
    assert "  1. the model of shop asks for " in told
    assert f"afk-es debug {tmp_path / 'ShopMachine.db'}" in told
    assert "afk-es golden record" in told
    assert "Failing test case" not in told, "the steps as they were drawn are long, and the program says it better"


def test_the_program_can_be_pasted_and_run() -> None:
    machine = agent_machine(shop, invariants=[NeverPaysTwice], world=GREEDY, directory=None)
    told = note(failure(machine))
    assert "afk-es debug" not in told, "nothing was written"
    lines = told.partition("As a program:\n")[2].splitlines()
    assert [line.strip().partition("(")[0] for line in lines] == [
        "from afk_es.testing import Answer, Call, ModelAnswers",
        "state = ShopMachine",
        "state.perform",
        "state.teardown",
    ]
    with pytest.raises(RuleBrokenError, match="paid twice"):
        exec("\n".join(line.strip() for line in lines), {"ShopMachine": machine})


def test_a_run_that_does_not_end_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever befell it: once nothing goes wrong any more, it has to come to its end."""
    monkeypatch.setattr("afk_es.testing.simulation.world.SETTLING", 0)
    error = failure(agent_machine(clerk, directory=tmp_path), settings(BRIEF, max_examples=1))
    assert type(error).__name__ == "StuckError"
    assert "afk-es debug" in note(error)


# ----------------------------------------------------------------------------------------------------------------------- one's own rules


class Patient(agent_machine(shop, invariants=[], world=GREEDY, directory=None, name="PatientMachine")):  # type: ignore[misc]  # a class that is made
    """A shop whose customer writes again, and whose owner never restarts."""

    @rule(order=st.sampled_from(["A-17", "B-4"]))
    def the_customer_writes(self, order: str) -> None:
        self.says(f"Where is {order}?")

    @invariant()
    def never_restarts(self) -> None:
        assert self.simulation.processes <= 1, "restarted again"


def test_a_subclass_adds_rules_and_invariants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patient, "directory", tmp_path)
    error = failure(Patient, SEARCH)
    assert str(error).startswith("restarted again")
    told = note(error)
    assert "state.never_restarts()" in told, "Hypothesis tells the steps, which no script knows"
    assert "The smallest run that was found:" in told
    assert (tmp_path / "Patient.db").exists()


def test_a_script_can_be_performed_by_hand() -> None:
    state = Patient()
    state.the_model_answers(action=says(1, text="Done."))
    state.the_customer_writes(order="A-17")
    assert isinstance(state.simulation.script[-1], UserSays)
    state.teardown()
    assert len(state.simulation.results) == 2


def test_a_violation_in_a_machine_of_ones_own_is_made_smaller_too(tmp_path: Path) -> None:
    made = agent_machine(shop, invariants=[NeverPaysTwice], world=GREEDY, directory=tmp_path, name="OwnMachine")

    class Own(made):  # type: ignore[valid-type, misc]  # a class that is made
        @rule()
        def nothing(self) -> None:
            """Nothing happens."""

    told = note(failure(Own, SEARCH))
    assert "Failing test case" in told
    assert "  1. the model of shop asks for issue_refund(" in told
    assert len(read_counterexample(tmp_path / "Own.db").script) <= 2


# --------------------------------------------------------------------------------------------------------------------------- the factory


def test_machines_do_not_share_failing_examples() -> None:
    """Hypothesis keys its database by this digest; machines of one factory have the same rules, and no source of their own."""
    first, second = agent_machine(shop), agent_machine(clerk)
    assert (first.__name__, second.__name__) == ("ShopMachine", "ClerkMachine")
    assert first.__module__ == __name__
    elsewhere: dict[str, Any] = {"agent_machine": agent_machine, "shop": shop, "__name__": "tests.elsewhere"}
    exec("machine = agent_machine(shop)", elsewhere)
    assert len({function_digest(each) for each in (first, second, elsewhere["machine"], agent_machine(shop, name="Other"))}) == 4
    assert function_digest(first) == function_digest(agent_machine(shop)), "and the same one finds its own again"


@pytest.mark.parametrize(
    ("agent", "machine"), [("support desk", "SupportDeskMachine"), ("2nd-level", "Agent2ndLevelMachine"), ("ü", "AgentMachine")]
)
def test_a_machine_is_named_after_its_agent(agent: str, machine: str) -> None:
    assert agent_machine(clerk.model_copy(update={"name": agent})).__name__ == machine


def test_the_test_case_is_a_test_case_of_the_module_that_made_it() -> None:
    case = agent_machine(shop).TestCase
    assert issubclass(case, unittest.TestCase)
    assert (case.__name__, case.__module__) == ("ShopMachine.TestCase", __name__)
    assert agent_machine(shop, invariants=SHIPPED).stage.agent == (shop,)


def test_what_cannot_work_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="'my machine' is no name of a class; call the machine something like 'MyMachineMachine'"):
        agent_machine(shop, name="my machine")
    with pytest.raises(UsageError, match="a machine needs an agent"):
        agent_machine(())
    with pytest.raises(ConfigurationError, match="is no invariant"):
        agent_machine(shop, invariants=[3])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="make a machine of yours with agent_machine"):
        AgentMachine()


def test_troubles_that_are_not_wanted_do_not_come() -> None:
    calm: type[AgentMachine] = agent_machine(shop, world=WorldOptions(troubles=frozenset({"parallel_calls"})), directory=None)
    state = calm()
    state.the_model_answers(action=says(1, ("look_up_order", {"order_id": "A"})))
    forbidden = {"the_process_dies", "the_process_stalls", "somebody_intervenes", "at_one_moment", "time_passes"}
    valid = {each.function.__name__ for each in state.rules if all(wanted(state) for wanted in each.preconditions)}
    assert not valid & forbidden
    assert "a_tool_ends" in valid
    state.teardown()


def test_in_every_state_some_rule_fits() -> None:
    """Where none does, Hypothesis calls the machine broken."""
    machine: type[AgentMachine] = agent_machine(shop, invariants=[NeverPaysTwice], world=WorldOptions(turns=1), directory=None)
    for script in ((), (says(1, text="Done."),), (Control("pause"),), (Control("interrupt"),), (Control("cancel"),)):
        state = machine()
        for action in script:
            state.perform(action)
        valid = [each.function.__name__ for each in state.rules if all(wanted(state) for wanted in each.preconditions)]
        assert valid
        assert ("it_is_over" in valid) == (script in ((says(1, text="Done."),), (Control("cancel"),)))
        state.teardown()


def test_a_program_imports_what_it_names() -> None:
    script = (Answer("model:shop:1", ModelAnswers("Crash(")), Together((Control("pause"), Control("resume"))))
    assert program("M", script) == [
        "from afk_es.testing import Answer, Control, Crash, ModelAnswers, Together",
        "state = M()",
        f"state.perform({script[0]!r})",
        f"state.perform({script[1]!r})",
        "state.teardown()",
    ]
    assert program("M", ()) == ["state = M()", "state.teardown()"]
    assert repr(Crash()) in "\n".join(program("M", (Crash(),)))


def test_several_versions_may_be_given() -> None:
    machine = agent_machine([shop, Agent(name="shop", model="gpt-x", instructions="Later.")])
    assert machine.__name__ == "ShopMachine"
