"""Goal: whatever can befall a run can be made to happen, exactly, again and again, and everything else is the real thing."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.core import RunnerConfig
from afk_es.errors import HeadConflictError, UsageError
from afk_es.testing import (
    Action,
    Answer,
    Ask,
    Call,
    Control,
    Crash,
    Fact,
    ModelAnswers,
    ModelFails,
    ObservedRun,
    Observer,
    PersonSays,
    Script,
    Simulation,
    StalledProcess,
    StuckError,
    TicketEnds,
    TimePasses,
    Together,
    ToolDefers,
    ToolFails,
    ToolReturns,
    ToolRuns,
    UserSays,
    script_from,
    script_json,
)
from afk_es.testing.simulation import asks
from afk_es.tools import tool
from tests.testing.simulation.teams import desk, wants

PAYS = wants(("pay", {"amount": 3}))
LOOKS = wants(("look", {"what": "x"}))


def played(*script: Action, agent: Agent | None = None, **arguments: Any) -> Simulation:
    """A simulation after this script and a plain end. Every action of it must have fitted."""
    simulation = Simulation(agent or desk(), **arguments)
    simulation.begin()
    for action in script:
        assert simulation.perform(action), f"{action} does not fit; pending: {list(simulation.pending)}"
    simulation.finish()
    simulation.close()
    assert simulation.root is not None
    return simulation


def types(simulation: Simulation) -> list[str]:
    """The types of the events of the run that the caller started last."""
    assert simulation.root is not None
    return [event.type for event in simulation.root.events]


def outcomes(simulation: Simulation) -> list[tuple[str, str]]:
    """Each tool call that is over, and how."""
    assert simulation.root is not None
    return [(e.data["tool_name"], e.data["outcome"]) for e in simulation.root.events if e.type == "tool_completed"]


def test_a_run_asks_for_one_thing_after_another() -> None:
    simulation = Simulation(desk())
    simulation.begin()
    assert list(simulation.pending) == ["model:desk:1"]
    assert simulation.perform(Answer("model:desk:1", wants(("pay", {"amount": 3}), ("look", {"what": "x"}))))
    assert list(simulation.pending) == ["approval:pay:1", "tool:look:1"]
    assert simulation.pending["tool:look:1"].about == {"what": "x"}
    assert simulation.perform(Answer("tool:look:1", ToolReturns(["x"])))
    assert simulation.perform(Answer("approval:pay:1", PersonSays("no", words="too much")))
    assert list(simulation.pending) == ["model:desk:2"]
    assert simulation.perform(Answer("model:desk:2", ModelAnswers("Done.")))
    assert simulation.over
    simulation.close()
    assert outcomes(simulation) == [("look", "returned"), ("pay", "denied")]
    (result,) = simulation.results
    assert (result.state, result.final_text) == ("completed", "Done.")
    assert simulation.errors == []


def test_a_tools_own_code_runs_where_that_is_wanted() -> None:
    simulation = played(
        Answer("model:desk:1", wants(("pay", {"amount": 3}), ("look", {"what": "x"}))),
        Answer("approval:pay:1", PersonSays()),
        Answer("tool:look:1", ToolRuns()),
        Answer("tool:pay:1", ToolRuns()),
    )
    assert [record.output for record in simulation.results[-1].tool_executions] == ["saw x", "paid 3"]


def test_a_tool_whose_own_code_blocks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asks, "PATIENCE_S", 0.0)
    named = threading.Event()
    monkeypatch.setattr(
        asks._LOGGER, "warning", lambda message, *about: named.set() if "blocks for more" in message and about[0] == "wait" else None
    )

    @tool(name="wait")
    def blocking(n: int) -> bool:
        """Wait for the watchman."""
        return named.wait(60.0)

    simulation = played(
        Answer("model:desk:1", wants(("wait", {"n": 1}))), Answer("tool:wait:1", ToolRuns()), agent=desk(tools=[blocking], subagents=[])
    )
    assert [record.output for record in simulation.results[-1].tool_executions] == [True]


@pytest.mark.parametrize(("fault", "again"), [("timeout", True), ("overloaded", True), ("connection", True), ("invalid_response", True)])
def test_a_model_fails_and_is_asked_again_when_time_has_passed(fault: Any, again: bool) -> None:
    simulation = played(Answer("model:desk:1", ModelFails(fault)), TimePasses(), Answer("model:desk:2", ModelAnswers("Done.")))
    assert types(simulation).count("llm_called") == 2
    assert simulation.results[-1].state == "completed"


def test_a_model_that_refuses_the_request_fails_the_run() -> None:
    assert played(Answer("model:desk:1", ModelFails("refused_request"))).results[-1].state == "failed"


@pytest.mark.parametrize("fault", ["error", "crash", "timeout"])
def test_a_tool_fails(fault: Any) -> None:
    simulation = played(Answer("model:desk:1", LOOKS), Answer("tool:look:1", ToolFails(fault)))
    assert outcomes(simulation) == [("look", "failed")]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("appends", range(5))
def test_a_process_dies_at_any_write_and_another_goes_on(appends: int, when: Any) -> None:
    simulation = Simulation(desk())
    simulation.begin()
    assert simulation.perform(Crash(appends, when, downtime_s=3.0))
    simulation.play((Answer("model:desk:1", LOOKS), Answer("tool:look:1", ToolReturns()), Answer("model:desk:2", ModelAnswers("."))))
    simulation.finish()
    simulation.close()
    # It makes three more writes: the tool's start, its end, and the run's end, after which there is nothing to resume.
    assert simulation.processes == (2 if appends <= 3 else 1)
    assert simulation.results[-1].state == "completed"
    assert types(simulation).count("run_started") == (1 if appends == 4 or (appends, when) == (3, "after") else 2)
    assert simulation.errors == []


def test_nobody_runs_the_run_while_it_is_down() -> None:
    simulation = played(Crash(downtime_s=90.0))
    assert simulation.root is not None
    first, again = [event.at for event in simulation.root.events if event.type == "run_started"]
    assert (again - first).total_seconds() == 90.0
    assert simulation.root.state.elapsed.total_seconds() == 0.0


def test_a_ticket_is_ended_while_its_run_lies_interrupted() -> None:
    config = RunnerConfig(interaction_mode="interactive", background_tool_at_end="park")
    simulation = played(
        Answer("model:desk:1", LOOKS),
        Answer("tool:look:1", ToolDefers()),
        Answer("model:desk:2", ModelAnswers(".")),
        TicketEnds(error="lost"),
        config=config,
    )
    assert [result.state for result in simulation.results] == ["interrupted", "completed"]
    assert "tool_background_failed" in types(simulation)


def test_an_agent_that_cannot_be_run_is_refused_at_once() -> None:
    simulation = Simulation(desk(), context={"not": object()})
    with pytest.raises(UsageError, match="context"):
        simulation.begin()
    simulation.close()


def test_a_stalled_process_that_wakes_up_finds_itself_replaced() -> None:
    simulation = played(Answer("model:desk:1", PAYS), Answer("approval:pay:1", PersonSays()), StalledProcess())
    assert [type(error) for error in simulation.errors] == [HeadConflictError]
    assert outcomes(simulation) == [("pay", "unknown")]


def test_a_tool_goes_on_in_the_background_and_ends() -> None:
    simulation = played(
        Answer("model:desk:1", LOOKS), Answer("tool:look:1", ToolDefers()), Answer("model:desk:2", ModelAnswers(".")), TicketEnds(output=7)
    )
    (resolved,) = [event for event in simulation.runs[simulation.results[0].run_id].events if event.type == "tool_background_resolved"]
    assert resolved.data["output"] == 7


def test_nobody_answers_until_the_term_is_over() -> None:
    simulation = played(
        Answer("model:desk:1", PAYS), TimePasses(), config=RunnerConfig(interaction_mode="interactive", approval_timeout_s=9)
    )
    assert outcomes(simulation) == [("pay", "denied")]


def test_answers_and_a_cancellation_come_at_one_moment() -> None:
    simulation = played(
        Answer("model:desk:1", LOOKS), Together((Answer("tool:look:1", ToolReturns()), Control("cancel"))), agent=desk(subagents=[])
    )
    assert simulation.results[-1].state == "cancelled"
    assert outcomes(simulation) == [("look", "returned")]


def test_questions_of_a_run_that_lies_interrupted_are_answered_from_outside() -> None:
    simulation = played(
        Answer("model:desk:1", PAYS), Answer("approval:pay:1", PersonSays("no")), config=RunnerConfig(interaction_mode="external")
    )
    assert [result.state for result in simulation.results] == ["interrupted", "completed"]
    assert outcomes(simulation) == [("pay", "denied")]


def test_an_answer_from_outside_comes_past_the_provider() -> None:
    simulation = played(Answer("model:desk:1", PAYS), Answer("approval:pay:1", PersonSays(by="bob", outside=True)))
    assert simulation.root is not None
    (answer,) = [event for event in simulation.root.events if event.type == "approval_resolved"]
    assert answer.data["by"] == "bob"
    assert "letter" in answer.data


def test_a_subagents_run_is_asked_for_as_well() -> None:
    hands_on = wants(("transfer_to_scout", {"task": "Find it"}))
    simulation = played(
        Answer("model:desk:1", hands_on),
        Answer("model:scout:1", LOOKS),
        Answer("tool:look:1", ToolRuns()),
        Answer("model:scout:2", ModelAnswers("It.")),
    )
    parent, child = simulation.runs.values()
    assert (child.parent, child.state.answer) == (parent.run_id, "It.")


def test_the_user_goes_on_with_the_thread() -> None:
    simulation = played(Answer("model:desk:1", ModelAnswers("Hi.")), UserSays("And now?"), Answer("model:desk:2", ModelAnswers("Bye.")))
    first, second = simulation.runs.values()
    assert first.thread_id == second.thread_id
    assert [message.content for message in second.state.messages] == ["Hello", "Hi.", "And now?", "Bye."]


def test_a_run_that_failed_is_reopened() -> None:
    simulation = played(
        Answer("model:desk:1", ModelFails("refused_request")), Control("reopen"), Answer("model:desk:2", ModelAnswers("Hi."))
    )
    assert [result.state for result in simulation.results] == ["failed", "completed"]
    assert [event.data.get("reopened") for event in simulation.root.events if event.type == "run_started"] == [None, True]  # type: ignore[union-attr]


def test_another_version_of_the_agent_goes_on_after_a_crash() -> None:
    simulation = Simulation([desk(), desk(instructions="Be long.")])
    simulation.begin()
    assert simulation.perform(Crash(version=1))
    simulation.finish()
    simulation.close()
    assert simulation.root is not None
    assert simulation.root.state.instructions == "Be long."


def test_what_does_not_fit_is_let_go_and_changes_nothing() -> None:
    simulation = Simulation(desk())
    simulation.begin()
    before = len(types(simulation))
    misfits: Script = (
        Answer("model:desk:7", ModelAnswers(".")),
        Answer("model:desk:1", ToolReturns()),
        TicketEnds(),
        Control("resume"),
        Control("reopen"),
        UserSays("More"),
    )
    assert [simulation.perform(action) for action in misfits] == [False] * 6
    assert (len(types(simulation)), simulation.script) == (before, ())
    simulation.finish()
    assert not simulation.perform(TimePasses(5.0))
    assert not simulation.perform(Crash())
    simulation.close()


def test_a_run_that_waits_for_what_never_comes_is_stuck() -> None:
    class Deaf(Simulation):
        def perform(self, action: Action) -> bool:
            return True

    simulation = Deaf(desk())
    simulation.begin()
    with pytest.raises(StuckError, match=r"does not end: run run_\w+ at seq 4, running"):
        simulation.finish()
    simulation.close()


def test_it_needs_an_agent() -> None:
    with pytest.raises(UsageError, match="needs an agent"):
        Simulation([])


EVENTFUL: Script = (
    Answer("model:desk:1", wants(("pay", {"amount": 3}), ("transfer_to_scout", {"task": "t"}), ("look", {"what": "x"}))),
    Answer("model:scout:1", LOOKS),
    Together((Answer("tool:look:1", ToolFails()), Answer("tool:look:2", ToolReturns()))),
    Crash(2, "before", 1.5),
    Answer("approval:pay:2", PersonSays(outside=True)),
    StalledProcess(),
    TimePasses(2.0),
    Control("pause"),
    Control("interrupt"),
)


def test_an_equal_script_makes_equal_runs_and_survives_json() -> None:
    def everything() -> list[Any]:
        simulation = Simulation(desk())
        simulation.begin()
        simulation.play(script_from(script_json(EVENTFUL)))
        simulation.finish()
        simulation.close()
        assert script_from(script_json(simulation.script)) == simulation.script
        return [(run.run_id, run.events) for run in simulation.runs.values()]

    assert everything() == everything()


def test_observers_are_told_everything_in_order() -> None:
    told: list[str] = []

    class Noting(Observer):
        def begins(self, simulation: Simulation) -> None:
            told.append("begins")

        def appended(self, run: ObservedRun, event: Any, before: Any, after: Any) -> None:
            assert after.seq == event.seq == before.seq + 1
            told.append(event.type)

        def asked(self, ask: Ask) -> None:
            told.append(f"asked {ask.key}")

        def answered(self, ask: Ask, fact: Fact) -> None:
            told.append(f"answered {ask.key}")

        def died(self, number: int) -> None:
            told.append(f"died {number}")

        def took_over(self, number: int) -> None:
            told.append(f"took over {number}")

        def ended(self, run: ObservedRun, result: Any) -> None:
            told.append(f"ended {result.state}")

        def over(self, simulation: Simulation) -> None:
            told.append("over")

    played(Crash(), Answer("model:desk:2", ModelAnswers(".", calls=(Call("c", "look", "{broken"),))), observers=[Noting()])
    assert told[:6] == ["begins", "run_started", "step_started", "policy_decision", "llm_called", "asked model:desk:1"]
    assert told[6:9] == ["died 1", "took over 2", "run_started"]
    assert told[-3:] == ["run_completed", "ended completed", "over"]
    assert "tool_failed" in told


def test_what_an_observer_raises_is_raised_to_whoever_drives_and_is_no_failure_of_the_run() -> None:
    class Strict(Observer):
        def asked(self, ask: Ask) -> None:
            assert ask.kind != "tool", f"{ask.key} is asked"

    simulation = Simulation(desk(), observers=[Strict()])
    simulation.begin()
    with pytest.raises(AssertionError, match="tool:look:1 is asked"):
        simulation.perform(Answer("model:desk:1", LOOKS))
    assert list(simulation.pending) == ["tool:look:1"]
    assert simulation.perform(Answer("tool:look:1", ToolReturns()))
    simulation.finish()
    simulation.close()
    assert outcomes(simulation) == [("look", "returned")]
