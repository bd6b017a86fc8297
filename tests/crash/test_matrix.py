"""Goal: a run survives its process. Method: kill it at every point there is, inside this process, resume it, and check every promise.

`python -m tests.crash.matrix` prints the numbers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from afk_es.core import AgentResult
from afk_es.testing import CrashPoint, CrashTrial, crash_at, crash_everywhere, rehearse
from tests.crash.journal import Journal
from tests.crash.scenarios import SCENARIOS, UNKNOWN

NEVER_TWICE = {"pay", "broken", "slow_pay", "order"}
SECOND_CRASHES = 8


def what_the_world_saw(trial: CrashTrial, result: AgentResult) -> Iterator[str]:
    """The journal, which the tools wrote and no runner can touch, agrees with what the run says of itself."""
    lines = [line for line in Journal(trial.directory / "journal.jsonl").lines() if line.get("run_id") == trial.run_id]
    times = {call_id: sum(line["call_id"] == call_id for line in lines) for call_id in {line["call_id"] for line in lines}}
    keys = {(line["call_id"], line["key"]) for line in lines}
    if len(keys) != len(times):
        yield f"a call took effect under two keys: {keys}"
    for line in lines:
        if line["what"] in NEVER_TWICE and times[line["call_id"]] > 1 and trial.scenario.config.in_doubt == "report":
            yield f"{line['what']} took effect {times[line['call_id']]} times"
    if trial.scenario.people is not None:
        yield from _what_people_saw(trial)
    # Of calls whose result is a person's words.
    words = {event.data["tool_call_id"] for event in trial.events() if event.type == "input_resolved"}
    for record in result.tool_executions:
        if record.success and times.get(record.tool_call_id, 0) < 1 and record.tool_call_id not in words:
            yield f"{record.tool_call_id} is said to have succeeded, and never took effect"


def _what_people_saw(trial: CrashTrial) -> Iterator[str]:
    """Each question was put before a person, again only by a process that found it unanswered, and it was the person who answered."""
    asked = [line["request_id"] for line in Journal(trial.directory / "journal.jsonl").lines() if line["what"] == "asked"]
    events = [event for event in trial.events() if event.type in ("approval_resolved", "input_resolved")]
    answers = {event.data["request_id"]: event.data["by"] for event in events}
    if set(asked) != set(answers) or set(answers.values()) - {"ann"}:
        yield f"people were asked {asked}, and the log has answers {answers}"
    if any(asked.count(request_id) > trial.processes for request_id in asked):
        yield f"people were asked {asked} in {trial.processes} processes"


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_run_survives_a_crash_at_every_point(name: str) -> None:
    matrix = crash_everywhere(SCENARIOS[name], what_the_world_saw)
    print(name, matrix.summary())
    assert matrix.problems == []
    assert matrix.summary()["missed"] == 0
    assert {point.when for outcome in matrix.outcomes for point in outcome.points} == {"before", "after"}


@pytest.mark.parametrize(
    "name",
    ["sequential tools", "parallel tools", "mixed tools", "a person approves and denies", "answered from outside", "reopened after a tool"],
)
def test_so_it_does_on_sqlite(name: str) -> None:
    matrix = crash_everywhere(replace(SCENARIOS[name], log="sqlite"), what_the_world_saw)
    print(name, matrix.summary())
    assert matrix.problems == []


@pytest.mark.parametrize("name", ["sequential tools", "parallel tools", "mixed tools", "two at a time", "call limit", "a failing model"])
def test_what_is_in_doubt_changes_only_what_is_said_of_it(name: str) -> None:
    """The model is told of each unknown outcome, and of everything else what it would have been told anyway."""
    told = 0
    matrix = crash_everywhere(SCENARIOS[name])
    for outcome in matrix.outcomes:
        assert outcome.result is not None
        lines = matrix.unkilled.final_text.splitlines()
        expected = [f"{line.split(':')[0]}: {UNKNOWN}" if line.split(":")[0] in outcome.unknown else line for line in lines]
        assert outcome.result.final_text.splitlines() == expected, str(outcome.points)
        told += len(outcome.unknown)
    assert told > 0


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_run_survives_a_second_crash_while_it_is_resumed(name: str) -> None:
    scenario = SCENARIOS[name]
    chance = random.Random(name)
    rehearsal = rehearse(scenario)
    for first in chance.sample(rehearsal.points, min(SECOND_CRASHES, len(rehearsal.points))):
        second = _point_of_the_resume(name, first, chance)
        if second is not None:
            outcome = crash_at(scenario, (first, second), rehearsal, what_the_world_saw)
            assert outcome.problems == (), f"{first} and then {second}"


def _point_of_the_resume(name: str, first: CrashPoint, chance: random.Random) -> CrashPoint | None:
    with CrashTrial(SCENARIOS[name]) as trial:
        trial.run_until(first)
        trial.run()
        return chance.choice(trial.passed) if trial.passed else None
