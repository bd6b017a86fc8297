"""Looks for a planted bug: plays one seed after the other until an invariant is violated, and makes what it found small."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from afk_es.testing.exploring.adversary import Adversary
from afk_es.testing.exploring.choices import SeededChoices
from afk_es.testing.exploring.shrinking import Shrunk, shrink
from afk_es.testing.exploring.trial import Stage, violated
from afk_es.testing.invariants import SHIPPED, checked
from afk_es.testing.simulation.facts import Script
from afk_es.testing.simulation.observing import Observer
from afk_es.testing.simulation.virtual_loop import HungError
from afk_es.testing.simulation.world import Simulation, StuckError
from tests.bugs.planting import Bug

ENOUGH = 3_000
"""Seeds that a bug is looked for in."""


@dataclass(frozen=True)
class Find:
    """A violation.

    Attributes:
        examples: how many seeds were played for it.
        name: of the invariant, or "StuckError".
        script: what was performed.
        seconds: real time.
    """

    seed: int
    examples: int
    name: str
    violation: BaseException
    script: Script
    seconds: float


def stage_of(bug: Bug) -> Stage:
    """Where its scripts are performed."""
    arguments: dict[str, Any] = {"user_message": "Refund order A-17."}
    if bug.config is not None:
        arguments["config"] = bug.config
    return Stage(bug.agent, _observers, arguments)


def _observers() -> Sequence[Observer]:
    return checked(SHIPPED)


def hunt(bug: Bug, *, first: int = 0, most: int = ENOUGH) -> Find | None:
    """What the first of these seeds finds that finds anything."""
    began = time.perf_counter()
    for seed in range(first, first + most):
        found = _played(bug, seed)
        if found is not None:
            violation, script = found
            seconds = time.perf_counter() - began
            return Find(seed, seed - first + 1, violated(violation), violation, script, seconds)
    return None


def _played(bug: Bug, seed: int) -> tuple[BaseException, Script] | None:
    stage = stage_of(bug)
    simulation = Simulation(stage.agent, observers=stage.observers(), **stage.arguments)
    adversary = Adversary(SeededChoices(seed), bug.world)
    try:
        simulation.begin()
        while (action := adversary.next_action(simulation)) is not None:
            simulation.perform(action)
        simulation.finish()
        simulation.close()
    except (AssertionError, HungError, StuckError) as violation:
        return violation, simulation.script
    finally:
        simulation.abandon()
    return None


def shrunk(bug: Bug, find: Find, *, most_evaluations: int = 600, most_seconds: float = 20.0) -> Shrunk:
    """The smallest script that violates the same."""
    return shrink(find.script, stage_of(bug), violation=find.violation, most_evaluations=most_evaluations, most_seconds=most_seconds)
