"""Crashes goldens: today's agent is run on what a golden has recorded, and killed at every point of it. No model, tool or person is asked.

    assert crash_golden("goldens/refund.golden.jsonl", agent).problems == []

Unlike a check, which replays a recording in one piece, these are runs as any other: the Runner, its handlers of policies and outputs, the
log and the way in which a run is resumed are the real ones, and only the world is the recording (`recorded_world`). What they come to is
first compared with what the golden recorded, so that a changed agent is not taken for a crash that went wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import SystemClock
from afk_es.core import AgentResult, RunnerConfig
from afk_es.errors import UsageError
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.recorded_config import recorded_config
from afk_es.testing.crash_matrix import Check, CrashMatrix, crash_at, drawn_points
from afk_es.testing.crashes import CrashScenario, CrashTrial, Rehearsal
from afk_es.testing.goldens_as_scenarios import recorded_scenarios
from afk_es.testing.recorded_world import RecordedWorld
from afk_es.testing.survival import Family


@dataclass(frozen=True, slots=True)
class GoldenCrashes:
    """How the runs of a golden survived.

    Attributes:
        name: the golden's.
        matrices: by the id of the run that is checked.
    """

    name: str
    matrices: dict[str, CrashMatrix] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Every broken promise: the run, where it was killed, and what was wrong."""
        return [f"{self.name}, {run_id}: {problem}" for run_id, matrix in self.matrices.items() for problem in matrix.problems]

    def summary(self) -> dict[str, int]:
        """The sum of the runs' matrices, see `CrashMatrix.summary`."""
        summaries = [matrix.summary() for matrix in self.matrices.values()]
        return {column: sum(each[column] for each in summaries) for column in summaries[0]} if summaries else {}


def crash_golden(
    golden: Golden | str | os.PathLike[str],
    agent: Agent | Callable[[Path], Agent],
    *,
    config: RunnerConfig | None = None,
    policy_engine: PolicyEngine | None = None,
    log: Literal["memory", "sqlite"] = "memory",
    points: int | None = None,
    seed: int = 0,
    check: Check | None = None,
    keep: Path | None = None,
) -> GoldenCrashes:
    """Kill each run that a golden checks at every point, on its recorded answers, and check what is promised of runs that survive.

    Beside that, a resumed run has to ask the models exactly what the run nobody killed asked them, unless it had to tell them that the
    outcome of a call is unknown.

    Args:
        golden: it, or its file.
        agent: today's, or what makes it in each process. Its models and tools are never asked.
        config, policy_engine: as the Runner has them; default: as recorded, and none.
        log: the store that survives.
        points: how many points of each run at most, drawn from `seed`; default: all.
        check: promises of your own.
        keep: the directory to which runs that broke a promise are written, for `afk-es debug`.

    Raises:
        GoldenError: the file is none.
        UsageError: a run depends on what is not in its record, such as when somebody paused it; today's agent does not come to what was
            recorded; or called where an event loop is running.
    """
    read = golden if isinstance(golden, Golden) else Golden.read(golden)
    crashes = GoldenCrashes(read.name)
    base = CrashScenario(agent=agent, config=config or recorded_config(read), policy_engine=policy_engine, log=log)
    for run_id, (scenario, world) in recorded_scenarios(read, base).items():
        began = SystemClock().monotonic()
        rehearsal, asked = _rehearsed(scenario)
        _check_outcome(read, run_id, rehearsal.result, world, scenario.beside is not None)
        checks = _asks_the_same(asked, check)
        matrix = crashes.matrices[run_id] = CrashMatrix(rehearsal.result)
        for point in drawn_points(rehearsal.points, points, seed):
            matrix.outcomes.append(crash_at(scenario, (point,), rehearsal, checks, keep=keep))
        matrix.seconds = SystemClock().monotonic() - began
    return crashes


Asked = frozenset[tuple[str, int, int, str]]
"""Requests to models: the run, the step, which model of the agent's, and the hash of the request."""


def _rehearsed(scenario: CrashScenario) -> tuple[Rehearsal, Asked]:
    with CrashTrial(scenario) as trial:
        result = trial.run()
        return Rehearsal(result, tuple(trial.passed)), _asked(trial.family())


def _asked(family: Family) -> Asked:
    return frozenset(
        (run_id, event.step, event.data["model_index"], event.data["request_hash"])
        for run_id, events in family.items()
        for event in events
        if event.type == "llm_called"
    )


def _asks_the_same(asked: Asked, check: Check | None) -> Check:
    """The check, and that models are asked what they were asked in the run nobody killed. After an unknown outcome they are told of it."""

    def both(trial: CrashTrial, result: AgentResult) -> Iterator[str]:
        family = trial.family()
        if not any(event.data.get("outcome") == "unknown" for events in family.values() for event in events):
            for run_id, step, model_index, _hash in sorted(_asked(family) - asked):
                yield f"in step {step} of run {run_id} model {model_index} was asked what the run nobody killed did not ask it"
        if check is not None:
            yield from check(trial, result)

    return both


def _check_outcome(golden: Golden, run_id: str, result: AgentResult, world: RecordedWorld, waits: bool) -> None:
    """Refuse an agent that does not come to what was recorded even where nobody kills it.

    Args:
        waits: for background tools, which texts name by tickets, and a golden by names of its own.
    """
    way_out = "check the golden first (check_golden, or `afk-es golden check`)"
    if waits:
        way_out = f"a background result came at another moment, and cannot be made to come when it did; or else {way_out}"
    otherwise = [*world.unanswered, *world.leftovers()]
    if otherwise:
        raise UsageError(f"golden {golden.name}, run {run_id}: today {otherwise[0]}; {way_out}")
    expected = golden.outcomes.get(run_id)
    if expected is None:
        return
    for name in ("state",) if waits else ("state", "final_text", "final_structured", "error"):
        found, recorded = getattr(result, name), getattr(expected, name)
        if name == "final_structured" and isinstance(found, BaseModel):
            found = found.model_dump(mode="json")
        if found != recorded:
            today = f"{name} of run {run_id} is {found!r:.80} today, and {recorded!r:.80} in the golden"
            raise UsageError(f"golden {golden.name}: {today}; {way_out}")
