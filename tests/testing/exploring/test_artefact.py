"""Goal: what failed in a simulation is a log like any other, to be opened where it failed, performed again, and kept as a golden."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from afk_es.agents import PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.cli import main
from afk_es.core import AgentRunEvent
from afk_es.errors import UsageError
from afk_es.evals import Golden, check_golden_sync
from afk_es.log import Letter, open_log
from afk_es.testing import (
    Action,
    Answer,
    Control,
    Crash,
    ModelFails,
    PersonSays,
    Script,
    Simulation,
    StalledProcess,
    TicketEnds,
    TimePasses,
    ToolDefers,
    ToolFails,
    UserSays,
)
from afk_es.testing.exploring.artefact import (
    debug_command,
    golden_command,
    read_counterexample,
    replay_script,
    safe_name,
    write_counterexample,
)
from afk_es.testing.exploring.shrinking import shrink
from tests.testing.exploring.shop import ASKS_FIRST, RefundsAreApproved, RuleBrokenError, says, shop, stage

REFUND = says(1, ("issue_refund", {"order_id": "A-17", "amount": 3.0}))
LOOK = says(1, ("look_up_order", {"order_id": "A-17"}))
CHARGE = says(1, ("charge", {"order_id": "A-17"}))
TEAM = (
    says(1, ("transfer_to_clerk", {"task": "look"}), ("look_up_order", {"order_id": "A-17"})),
    says(1, ("look_up_order", {"order_id": "A-17"}), agent="clerk"),
)
YES = Answer("approval:issue_refund:1", PersonSays())
UNAPPROVED = says(1, ("issue_refund", {"order_id": "A-17", "amount": 100}))
VIOLATION = RuleBrokenError("mine", "not as promised", "run_1", 4)


def performed(*script: Action, finish: bool = True, **arguments: Any) -> Simulation:
    """A simulation of the shop after this script, all of which fitted."""
    simulation = Simulation(shop, **arguments)
    simulation.begin()
    for action in script:
        assert simulation.perform(action), action
    if finish:
        simulation.finish()
    simulation.abandon()
    return simulation


def read(path: Path) -> tuple[dict[str, list[AgentRunEvent]], list[Letter], list[str]]:
    """The runs of a log, its letters, and the order of the runs, the oldest first."""

    async def all_of_it() -> tuple[dict[str, list[AgentRunEvent]], list[Letter], list[str]]:
        log = open_log(str(path), read_only=True)
        await log.open()
        try:
            order = [record.run_id for record in reversed(await log.runs())]
            for run_id in order:
                assert await log.verify(run_id) is None
            return {run_id: await log.read(run_id) for run_id in order}, await log.letters(), order
        finally:
            await log.close()

    return asyncio.run(all_of_it())


@pytest.mark.parametrize("finish", [True, False], ids=["a whole run", "one that stopped in the middle"])
def test_the_log_has_every_run_as_it_was(tmp_path: Path, finish: bool) -> None:
    simulation = performed(*TEAM, Crash(downtime_s=30.0), finish=finish)
    runs, _letters, order = read(write_counterexample(simulation, VIOLATION, tmp_path, "team"))
    assert runs == {run_id: run.events for run_id, run in simulation.runs.items()}
    assert order == list(simulation.runs)
    assert len(order) == 2


def test_the_log_has_the_letters(tmp_path: Path) -> None:
    simulation = performed(REFUND, Answer("approval:issue_refund:1", PersonSays("yes", outside=True)))
    runs, letters, (run_id,) = read(write_counterexample(simulation, VIOLATION, tmp_path, "letters"))
    (letter,) = letters
    assert letter.run_id == run_id
    assert [event.type for event in runs[run_id] if event.data.get("letter") == letter.position] == [letter.draft.type]


def test_the_last_one_written_is_the_one_that_is_there(tmp_path: Path) -> None:
    first = write_counterexample(performed(*TEAM), VIOLATION, tmp_path, "same")
    # As somebody who looked at it may leave them: they belong to the log that was there.
    for rest in ("-wal", "-shm"):
        first.with_name(first.name + rest).write_bytes(b"of the old log")
    second = write_counterexample(performed(), VIOLATION, tmp_path, "same")
    assert second == first
    assert len(read(second)[2]) == 1
    assert read_counterexample(second).script == performed().script
    assert {path.name for path in tmp_path.iterdir()} - {"same.db-wal", "same.db-shm"} == {"same.db", "same.script.json"}


def test_it_can_be_written_within_an_event_loop(tmp_path: Path) -> None:
    simulation = performed()

    async def inside() -> Path:
        return write_counterexample(simulation, VIOLATION, tmp_path, "inside")

    assert asyncio.run(inside()).exists()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("refund", "refund"),
        ("refunds are approved", "refunds-are-approved"),
        ("../../etc/passwd", "etc-passwd-"),
        ("a/b\\c:d", "a-b-c-d-"),
        ("con", "con-"),
        ("", "failure-"),
        ("ü\x00", "failure-"),
        ("tests/test_a.py::test_b[1-2]", "tests-test_a.py-test_b-1-2-"),
        ("x" * 500, "x" * 80 + "-"),
    ],
)
def test_names_are_safe_as_files(name: str, file: str) -> None:
    assert safe_name(name).startswith(file)
    assert len(safe_name(name)) <= 89
    assert (safe_name(name) == file) is not file.endswith("-")


def test_the_script_makes_the_same_again(tmp_path: Path) -> None:
    watched = stage(RefundsAreApproved, user_message="Refund A-17", context={"customer": "ann"})
    shrunk = shrink((UNAPPROVED,), watched)
    path = write_counterexample(shrunk.trial.simulation, shrunk.violation, tmp_path, "refund", script=shrunk.script)
    kept = read_counterexample(path)
    assert (kept.agent, kept.violation.name, kept.violation.message) == ("shop", "refunds_are_approved", "a refund that nobody approved")
    assert kept.script == shrunk.script
    assert kept.said == {"user_message": "", "context": None}
    again = replay_script(path, shop, observers=lambda: [RefundsAreApproved()])
    assert str(again.violation) == str(shrunk.violation)
    assert [run.events for run in again.simulation.runs.values()] == [
        run.events[: len(again.simulation.runs[run.run_id].events)] for run in shrunk.trial.simulation.runs.values()
    ]


def test_the_script_shows_that_a_repair_holds(tmp_path: Path) -> None:
    path = write_counterexample(performed(UNAPPROVED), VIOLATION, tmp_path, "refund")
    always = PolicyRule(rule_id="all", action="request_approval", condition=PolicyRuleCondition(tool_name="issue_refund"))
    repaired = shop.model_copy(update={"policy_engine": PolicyEngine([always])})
    script = path.with_name("refund.script.json")
    assert replay_script(script, repaired, observers=lambda: [RefundsAreApproved()]).violation is None
    assert replay_script(script, shop, observers=lambda: [RefundsAreApproved()]).violation is not None
    assert ASKS_FIRST is shop.policy_engine


def test_what_is_no_script_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no script at"):
        replay_script(tmp_path / "none.db", shop)
    (broken := tmp_path / "x.script.json").write_text("{}")
    with pytest.raises(UsageError, match="is no script of a failing simulation"):
        replay_script(broken, shop)
    path = write_counterexample(performed(), VIOLATION, tmp_path, "newer")
    script = path.with_name("newer.script.json")
    script.write_bytes(script.read_bytes().replace(b"counterexample/1", b"counterexample/9"))
    with pytest.raises(UsageError, match=r"and this afk_es reads 'afk_es\.counterexample/1'"):
        replay_script(path, shop)


def test_a_context_that_is_no_json_is_left_out_of_the_script(tmp_path: Path) -> None:
    simulation = performed()
    simulation.context = {"when": object()}
    assert "context" not in read_counterexample(write_counterexample(simulation, VIOLATION, tmp_path, "odd")).said


# ------------------------------------------------------------------------------------------------------------------- the command line


def afk_es(*arguments: str) -> str:
    done = CliRunner().invoke(main, list(arguments), env={"COLUMNS": "160", "CI": ""}, prog_name="afk-es")
    assert done.exit_code == 0, done.output
    return done.output


def test_the_commands_that_are_told_open_it_where_it_failed(tmp_path: Path) -> None:
    shrunk = shrink((UNAPPROVED,), stage(RefundsAreApproved))
    path = write_counterexample(shrunk.trial.simulation, shrunk.violation, tmp_path, "refund")
    run_id = next(iter(shrunk.trial.simulation.runs))
    at = RuleBrokenError("mine", "no", run_id, 8)
    assert debug_command(path, at) == f"afk-es debug {path}:{run_id} --at 8"
    assert "tool_started" in afk_es("show", f"{path}:{run_id}", "--at", "8")
    assert "issue_refund" in afk_es("log", str(path))
    assert "completed" in afk_es("triage", str(path))
    # Without a terminal it is the triage.
    assert "completed" in afk_es("debug", f"{path}:{run_id}", "--at", "8")
    assert debug_command(Path("a b.db"), AssertionError("no")) == "afk-es debug 'a b.db'"


def test_one_command_makes_a_golden_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for forbidding in ("CI", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(forbidding, raising=False)
    shrunk = shrink((UNAPPROVED,), stage(RefundsAreApproved))
    path = write_counterexample(shrunk.trial.simulation, shrunk.violation, tmp_path, "refund")
    command = golden_command(path, "tests.testing.exploring.shop:shop")
    assert command == f"afk-es golden record {path} --name refund --agent tests.testing.exploring.shop:shop"
    assert "passed" in afk_es(*command.split()[1:])
    assert "The golden holds." in afk_es("golden", "check", "--agent", "tests.testing.exploring.shop:shop")


KINDS: dict[str, Script] = {
    "plain": (),
    "team": TEAM,
    "retried": (Answer("model:shop:1", ModelFails("overloaded")), TimePasses()),
    "denied": (REFUND, Answer("approval:issue_refund:1", PersonSays("no"))),
    "approved from outside": (REFUND, Answer("approval:issue_refund:1", PersonSays("yes", outside=True))),
    "paused": (REFUND, Control("pause"), Control("resume")),
    "laid down": (LOOK, Control("interrupt")),
    "laid down at an approval": (REFUND, Control("interrupt")),
    "cancelled": (LOOK, Control("cancel")),
    "stalled": (REFUND, YES, StalledProcess()),
    "crashed at the model": (Crash(downtime_s=400.0),),
    "crashed at an approval": (REFUND, Crash()),
    "crashed at a tool that may not be repeated": (REFUND, YES, Crash()),
    "crashed at a tool that may": (CHARGE, Crash(), Crash()),
    "crashed at any write": (Crash(6, "before"), REFUND),
    "crashed in a subagent": (*TEAM, Crash()),
    "crashed, and failed at the second attempt": (LOOK, Crash(), Answer("tool:look_up_order:2", ToolFails())),
    "crashed, and laid down at the model": (Crash(), Control("interrupt")),
    "laid down at the model, and crashed": (Control("interrupt"), Control("resume"), Crash()),
    "in the background": (CHARGE, Answer("tool:charge:1", ToolDefers()), Crash(), TicketEnds(output="paid")),
    "failed": (LOOK, Answer("tool:look_up_order:1", ToolFails())),
    "out of time": (LOOK, TimePasses(400.0)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_goldens_of_simulated_runs_hold_with_the_agent_that_was_simulated(tmp_path: Path, kind: str) -> None:
    simulation = performed(*KINDS[kind])
    path = write_counterexample(simulation, VIOLATION, tmp_path, kind)
    report = check_golden_sync(_golden(path, next(iter(simulation.runs))), lambda: shop)
    assert report.ok, msgspec.to_builtins(report)


def test_a_golden_of_a_simulated_run_fails_with_another_agent(tmp_path: Path) -> None:
    simulation = performed(REFUND)
    path = write_counterexample(simulation, VIOLATION, tmp_path, "refund")
    other = shop.model_copy(update={"policy_engine": None})
    assert not check_golden_sync(_golden(path, next(iter(simulation.runs))), lambda: other).ok


def _golden(path: Path, run_id: str) -> Golden:
    async def made() -> Golden:
        log = open_log(str(path), read_only=True)
        await log.open()
        try:
            return await Golden.of(log, run_id, name="simulated")
        finally:
            await log.close()

    return asyncio.run(made())


def test_a_second_run_on_the_thread_is_kept_with_the_first(tmp_path: Path) -> None:
    simulation = performed(says(1, text="Done."), UserSays("And B-4?"))
    _runs, _letters, order = read(write_counterexample(simulation, VIOLATION, tmp_path, "two"))
    assert order == list(simulation.runs)
    assert len(order) == 2
