"""One seed is one simulation: an agent, a world that works against it, and then a world that lets it finish."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from afk_es.testing import Observer, Script, Simulation
from afk_es.testing.exploring.adversary import Adversary
from afk_es.testing.exploring.choices import SeededChoices
from afk_es.testing.exploring.trial import Stage, violated
from afk_es.testing.exploring.world_options import WorldOptions
from afk_es.testing.invariants import SHIPPED, Invariant, checked
from afk_es.testing.simulation.observing import at_once
from tests.simulation.zoo import SECRET, scene


class LogIsWhole(Invariant):
    """At the end the log has what was appended, its chains are sound, and no secret is in it."""

    name = "the log is whole"

    def over(self, simulation: Simulation) -> None:
        """Look at every run."""
        for run in simulation.runs.values():
            if at_once(simulation.log.verify(run.run_id)) is not None:
                raise self.violated("the chain is broken", run)
            if at_once(simulation.log.read(run.run_id)) != run.events:
                raise self.violated("the log has changed", run)
            if any(SECRET in repr(event.data) for event in run.events):
                raise self.violated("a secret is in the log", run)


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of a seed.

    Attributes:
        problem: what was violated; None where nothing was.
        script: what was performed.
        states: of the results, in order.
        types: how many events there were of each type.
    """

    seed: int
    problem: Exception | None
    script: Script
    processes: int
    states: tuple[str, ...]
    types: Counter[str]

    @property
    def invariant(self) -> str:
        """The name of what was violated."""
        return "" if self.problem is None else violated(self.problem)


def observers() -> list[Observer]:
    """Who watches a simulation."""
    return checked([*SHIPPED, LogIsWhole])


def stage_of(seed: int) -> Stage:
    """Where the scripts of a seed are performed."""
    drawn = scene(random.Random(seed))
    arguments = {"user_message": drawn.user_message, "config": drawn.config, "policy_engine": drawn.policy_engine}
    return Stage(drawn.versions, observers, arguments)


def simulate(seed: int) -> Simulated:
    """Simulate a seed: first nothing may go wrong that is promised, whatever the world does, and then all must come to its end."""
    stage = stage_of(seed)
    simulation = Simulation(stage.agent, observers=stage.observers(), **stage.arguments)
    problem: Exception | None = None
    try:
        simulation.begin()
        adversary = Adversary(SeededChoices(seed), WorldOptions(actions=80))
        while (action := adversary.next_action(simulation)) is not None:
            simulation.perform(action)
        simulation.finish()
        simulation.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what this seed has found
        problem = error
        simulation.abandon()
    types = Counter(event.type for run in simulation.runs.values() for event in run.events)
    states = tuple(result.state for result in simulation.results)
    return Simulated(seed, problem, simulation.script, simulation.processes, states, types)


def simulate_all(seeds: list[int]) -> list[Simulated]:
    """Simulate these, one after the other; for a process that is given some of many."""
    return [simulate(seed) for seed in seeds]
