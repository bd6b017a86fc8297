"""One seed is one simulation: an agent, a world that works against it, and then a world that lets it finish."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from afk_es.errors import HeadConflictError, RunOwnedError
from afk_es.testing import Observer, Script, Simulation
from afk_es.testing.exploring.adversary import Adversary
from afk_es.testing.exploring.choices import SeededChoices
from afk_es.testing.invariants import SHIPPED, checked
from afk_es.testing.simulation.observing import at_once
from tests.simulation.zoo import SECRET, Scene, scene

LONGEST = 80
"""Actions of the adversary, at most."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of a seed.

    Attributes:
        problem: what was violated; None where nothing was.
        script: what was performed.
        events: of all runs.
    """

    seed: int
    problem: BaseException | None
    script: Script
    events: int
    processes: int
    states: tuple[str, ...]
    types: Counter[str] = field(default_factory=Counter)


def simulation_of(seed: int, observers: Iterable[Observer] = ()) -> tuple[Simulation, Scene, random.Random]:
    """The simulation of a seed before it begins, and the chance that drives it."""
    chance = random.Random(seed)
    drawn = scene(chance)
    simulation = Simulation(
        drawn.versions,
        user_message=drawn.user_message,
        config=drawn.config,
        policy_engine=drawn.policy_engine,
        observers=tuple(observers),
    )
    return simulation, drawn, chance


def simulate(seed: int) -> Simulated:
    """Simulate a seed: first nothing may go wrong that the product promises, then everything must come to its end."""
    simulation, _scene, chance = simulation_of(seed, checked(SHIPPED))
    problem: BaseException | None = None
    try:
        simulation.begin()
        adversary = Adversary(SeededChoices(seed))
        for _action in range(chance.choice([10, 30, LONGEST])):
            action = adversary.next_action(simulation)
            if action is None:
                break
            simulation.perform(action)
        simulation.finish()
        simulation.close()
        _check(simulation)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what this seed has found
        problem = error
        simulation.abandon()
    types = Counter(event.type for run in simulation.runs.values() for event in run.events)
    states = tuple(result.state for result in simulation.results)
    return Simulated(seed, problem, simulation.script, sum(types.values()), simulation.processes, states, types)


def replayed(found: Simulated, script: Script) -> BaseException | None:
    """What a script comes to in the scene of a seed."""
    simulation, _scene, _chance = simulation_of(found.seed, checked(SHIPPED))
    try:
        simulation.begin()
        simulation.play(script)
        simulation.finish()
        simulation.close()
        _check(simulation)
    except Exception as error:  # noqa: BLE001 - as above
        simulation.abandon()
        return error
    return None


def _check(simulation: Simulation) -> None:
    """What holds of a simulation as a whole: nobody raised but those who were replaced, the chains are sound, and no secret is in the log."""
    for error in simulation.errors:
        if not isinstance(error, (HeadConflictError, RunOwnedError)):
            raise error
    for run in simulation.runs.values():
        assert at_once(simulation.log.verify(run.run_id)) is None, f"the chain of {run.run_id} is broken"
        assert at_once(simulation.log.read(run.run_id)) == run.events, f"the log of {run.run_id} has changed"
        assert not any(SECRET in repr(event.data) for event in run.events), f"a secret is in the log of {run.run_id}"
