"""Goal: `explore` passes a sound agent and says what it saw, and of an unsound one tells the smallest run that shows it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from afk_es.agents import Agent, FailSafeConfig
from afk_es.errors import ConfigurationError, UsageError
from afk_es.llms import LLMResponse
from afk_es.log import open_log
from afk_es.machine import AgentRunEvent
from afk_es.testing import (
    SHIPPED,
    Answer,
    NotExercisedError,
    NotRepeatableError,
    ObservedRun,
    ScriptedModel,
    Simulation,
    StuckError,
    ViolationFound,
    WorldOptions,
    explore,
    reachable,
    requires_approval,
    sometimes,
)
from afk_es.testing.exploring.world_options import CALM
from afk_es.testing.invariants import InvariantLike, never_calls
from afk_es.tools import tool
from tests.testing.exploring.desks import desk, desk_that_asks, of_50_or_more

PROMISES: list[InvariantLike] = [*SHIPPED, requires_approval("issue_refund", when=of_50_or_more)]


def small(*tools: Any, **settings: Any) -> Agent:
    return Agent(name="clerk", model=ScriptedModel([LLMResponse(text="unused")]), tools=tools, **settings)


# ------------------------------------------------------------------------------------------------------------------------ what is found


def test_a_sound_agent_passes_and_the_report_says_what_was_reached() -> None:
    explored = explore(desk_that_asks(ge=50), invariants=PROMISES, max_examples=25, seed=1, directory=None)
    assert explored.examples == 26  # and the calm one
    assert explored.events > 500
    assert explored.reached("rule:ask-first") > 5
    assert explored.reached("approval:granted")
    assert explored.reached("tool_failed") == explored.reached("event:tool_failed") > 0
    assert explored.reached("process:died")
    assert explored.reached("rule:no-such-rule") == 0
    assert "rules: ask-first" in str(explored)
    assert "nothing was found" in str(explored)


def test_an_approval_rule_that_is_off_by_one_is_found_and_shrunk_to_one_call(tmp_path: Path) -> None:
    with pytest.raises(ViolationFound) as caught:
        explore(desk_that_asks(gt=50), invariants=PROMISES, seed=2, directory=tmp_path, name="refunds")
    found = caught.value
    assert found.name == "issue_refund requires approval"
    (answer,) = found.script
    assert isinstance(answer, Answer)
    assert 'asks for issue_refund(order_id="", amount=50, reason="")' in str(found)
    assert found.path == tmp_path / "refunds.db"
    assert f"afk-es debug {found.path}:" in str(found)
    assert f"seed {found.seed}" in str(found)


async def test_the_log_of_a_find_is_a_log_like_any_other(tmp_path: Path) -> None:
    def found_in_a_thread() -> ViolationFound:
        with pytest.raises(ViolationFound) as caught:
            explore(desk_that_asks(gt=50), invariants=PROMISES, seed=2, directory=tmp_path)
        return caught.value

    found = await asyncio.to_thread(found_in_a_thread)
    log = open_log(str(found.path))
    await log.open()
    try:
        (run,) = await log.runs()
    finally:
        await log.close()
    assert run.agent_name == "support-desk"


def test_what_was_found_is_tried_first_the_next_time_until_it_is_repaired(tmp_path: Path) -> None:
    with pytest.raises(ViolationFound):
        explore(desk_that_asks(gt=50), invariants=PROMISES, seed=2, directory=tmp_path)
    with pytest.raises(ViolationFound) as caught:
        explore(desk_that_asks(gt=50), invariants=PROMISES, seed=3, directory=tmp_path)
    assert caught.value.find.example == 1
    assert len(caught.value.find.script) == 1
    explore(desk_that_asks(ge=50), invariants=PROMISES, max_examples=5, seed=3, directory=tmp_path)


def test_the_same_seed_finds_the_same() -> None:
    found = []
    for _time in range(2):
        with pytest.raises(ViolationFound) as caught:
            explore(desk_that_asks(gt=50), invariants=PROMISES, seed=4, directory=None)
        found.append((caught.value.find.example, caught.value.find.script, caught.value.script))
    assert found[0] == found[1]


def test_a_run_that_never_ends_is_found() -> None:
    @tool
    async def wait() -> str:
        """Wait for good."""
        await asyncio.Event().wait()
        return "never"

    agent = small(wait, fail_safe=FailSafeConfig(max_wall_time_s=None))
    with pytest.raises(ViolationFound, match="does not end") as caught:
        explore(agent, tools={"wait": "real"}, max_examples=20, seed=1, directory=None)
    assert isinstance(caught.value.violation, StuckError)


def test_a_function_of_the_simulation_is_an_invariant_asked_at_the_end() -> None:
    def a_refund_is_told_to_the_customer(simulation: Simulation) -> bool:
        for run in simulation.runs.values():
            done = [event.data["tool_name"] for event in run.events if event.type == "tool_completed" and event.data["success"]]
            if "issue_refund" in done and "notify_customer" not in done:
                return False
        return True

    with pytest.raises(ViolationFound, match="a refund is told to the customer: it does not hold") as caught:
        explore(desk, invariants=[a_refund_is_told_to_the_customer], seed=1, directory=None)
    assert len(caught.value.script) <= 3


# ------------------------------------------------------------------------------------------------------------ what an example may not do


def test_an_agent_that_remembers_earlier_runs_is_told_of() -> None:
    calls: list[int] = []

    @tool
    def count() -> int:
        """Count."""
        calls.append(1)
        return len(calls)

    with pytest.raises(
        NotRepeatableError, match=r"(?s)seq \d+ was tool_completed, and is tool_completed \(output\).*remembers earlier runs"
    ):
        explore(small(count), tools={"count": "real"}, world=CALM, max_examples=20, seed=1, directory=None)


def test_an_invariant_that_remembers_earlier_runs_is_told_of() -> None:
    simulations: list[Simulation] = []

    def at_most_three(simulation: Simulation) -> bool:
        simulations.append(simulation)
        return len(simulations) != 3

    with pytest.raises(NotRepeatableError, match="violates 'at most three', and the next time it did not"):
        explore(desk, invariants=[at_most_three], world=CALM, max_examples=20, seed=1, directory=None)


def test_what_the_caller_s_own_functions_raise_leaves_as_it_is() -> None:
    def people(request: Any) -> bool:
        raise ZeroDivisionError("a mistake in the test")

    with pytest.raises(ZeroDivisionError, match="a mistake in the test"):
        explore(desk_that_asks(exists=True), people=people, max_examples=15, seed=1, directory=None)


# -------------------------------------------------------------------------------------------------------------------- what was exercised


def test_what_is_required_has_to_be_reached() -> None:
    explore(desk, require=["rule:refunds-above-100", "tool_failed", "end:failed"], max_examples=25, seed=1, directory=None)
    with pytest.raises(NotExercisedError, match="not exercised: limit:max_tool_calls was never reached in 6 examples") as caught:
        explore(desk, require=["outcome:returned", "limit:max_tool_calls"], max_examples=5, seed=1, directory=None)
    assert caught.value.missing == ("limit:max_tool_calls",)
    assert "limit:max_llm_calls" in caught.value.explored.missed


def test_marks_are_counted_in_tools_and_invariants() -> None:
    @tool
    def half(number: int) -> float:
        """Halve."""
        reachable("half was called")
        sometimes("an odd number", number % 2)
        sometimes("a number that is not equal to itself", number != number)
        return number / 2

    explored = explore(small(half), tools={"half": "real"}, max_examples=20, seed=1, directory=None)
    assert explored.reached("half was called") == explored.reached("reachable:half was called") > 5
    assert explored.reached("an odd number") > 0
    assert explored.missed == ("sometimes:a number that is not equal to itself",)
    reachable("nobody explores here, and so this is nothing")


# ------------------------------------------------------------------------------------------------------------------------ how it is played


def test_tools_are_played_as_they_are_told_to_be() -> None:
    ran: list[str] = []

    @tool
    def paid(what: str) -> str:
        """Pay."""
        ran.append(what)
        return "real"

    @tool
    def looked(what: str) -> str:
        """Look."""
        raise AssertionError("it is simulated")

    @tool
    def echoed(what: str) -> str:
        """Say it again."""
        raise AssertionError("it is simulated")

    outputs: set[Any] = set()

    def collect(run: Any, event: Any) -> None:
        if event.type == "tool_completed" and event.data["success"]:
            outputs.add((event.data["tool_name"], event.data["output"]))

    quiet = WorldOptions(troubles=frozenset({"parallel_calls"}))
    explore(
        small(paid, looked, echoed),
        invariants=[collect],
        tools={"paid": "real", "looked": st.just("drawn"), "echoed": lambda arguments: ", ".join(arguments)},
        world=quiet,
        max_examples=10,
        seed=1,
        directory=None,
    )
    assert outputs == {("paid", "real"), ("looked", "drawn"), ("echoed", "what")}
    assert ran


def test_a_tool_that_there_is_not_cannot_be_played() -> None:
    with pytest.raises(ConfigurationError, match="how to play 'pay', and the agent has find_customer"):
        explore(desk, tools={"pay": "real"})


def test_people_who_always_refuse_let_nothing_run() -> None:
    agent = desk_that_asks(exists=True)
    explored = explore(agent, invariants=[*SHIPPED, never_calls("issue_refund")], people="no", max_examples=15, seed=1, directory=None)
    assert explored.reached("approval:denied")
    assert not explored.reached("approval:granted")


def test_without_crashes_no_process_is_replaced() -> None:
    explored = explore(desk, crashes=False, max_examples=15, seed=1, directory=None)
    assert not explored.reached("process:died")
    assert not explored.reached("process:took_over")


def test_another_version_may_go_on_with_a_run() -> None:
    renamed = desk.model_copy(update={"instructions": "Another version."})
    world = WorldOptions(always=frozenset({"crashes", "upgrades"}))
    seen: set[str] = set()

    def collect(run: Any, event: Any) -> None:
        if event.type == "run_started" and "agent" in event.data:
            seen.add(event.data["agent"]["instructions"])

    explore([desk, renamed], invariants=[*SHIPPED, collect], world=world, max_examples=15, seed=1, directory=None)
    assert seen == {desk.instructions, "Another version."}


def test_arguments_may_have_strategies_of_their_own() -> None:
    orders: set[str] = set()

    def collect(run: Any, event: Any) -> None:
        if event.type == "llm_completed":
            orders.update(call["arguments"].get("order_id", "none") for call in event.data["tool_calls"])

    explore(
        desk,
        invariants=[collect],
        arguments={each.name: {"order_id": st.just("A-17")} for each in desk.tools if "order_id" in each.parameters["properties"]},
        world=WorldOptions(troubles=frozenset({"parallel_calls", "repeated_calls"})),
        max_examples=20,
        seed=1,
        directory=None,
    )
    assert orders == {"A-17", "none"}


@pytest.mark.parametrize("wrong", [{"max_examples": 0}, {"profile": "weekly"}, {"invariants": ["refunds"]}])
def test_what_cannot_work_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        explore(desk, **wrong)


def test_a_seed_is_an_exploration_s_way_to_be_repeated_from_the_report_alone() -> None:
    first = explore(desk, max_examples=8, seed=11, directory=None)
    second = explore(desk, max_examples=8, seed=11, directory=None)
    other = explore(desk, max_examples=8, seed=12, directory=None)
    assert first.counts == second.counts
    assert first.events == second.events
    assert first.counts != other.counts


def test_an_exploration_of_so_many_seconds_goes_on_until_they_have_passed() -> None:
    explored = explore(desk, seconds=0.3, max_examples=1, seed=1, directory=None)
    assert explored.examples > 1
    assert explored.seconds >= 0.3


# ------------------------------------------------------------------------------------------------------------------- what people do wrong


def test_an_invariant_that_raises_is_told_with_the_line_that_did() -> None:
    def looks_for_what_is_not_there(run: ObservedRun, event: AgentRunEvent) -> None:
        event.data["reason of it"]

    with pytest.raises(
        ViolationFound, match=r"KeyError: 'reason of it' \(raised in looks_for_what_is_not_there, test_explore.py:\d+: event.data"
    ):
        explore(desk, invariants=[looks_for_what_is_not_there], directory=None, seed=1)


def test_a_bare_assertion_in_an_invariant_says_which_it_is() -> None:
    def judges(simulation: Simulation) -> None:
        assert len(simulation.runs) > 1_000

    with pytest.raises(ViolationFound, match=r"in judges, test_explore.py:\d+: assert len\(simulation.runs\) > 1_000"):
        explore(desk, invariants=[judges], directory=None, seed=1)


def test_a_find_outlives_a_directory_that_takes_no_file(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    with pytest.raises(ViolationFound, match=r"could not be written to .*taken") as caught:
        explore(desk_that_asks(gt=50), invariants=PROMISES, seed=2, directory=taken)
    assert caught.value.path is None
    assert 'amount=50, reason="")' in str(caught.value)


async def test_within_an_event_loop_it_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="plain `def`"):
        explore(desk, max_examples=1, directory=None)
    with pytest.raises(UsageError, match="to_thread"):
        Simulation(desk)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"people": "maybe"}, "people are played 'any', 'yes', 'no' or by a function of the request, and not 'maybe'"),
        ({"tools": {"issue_refund": "reel"}}, "'issue_refund' is played 'simulated', 'real', .* and not 'reel'"),
        ({"arguments": {"no_such_tool": {}}}, "arguments says what is sent to 'no_such_tool', and the agent has "),
        ({"seconds": -1.0}, "seconds are more than 0, and these are -1"),
    ],
)
def test_what_cannot_be_played_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        explore(desk, directory=None, **given)
