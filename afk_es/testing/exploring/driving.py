"""One example from its beginning to its end: first as an adversary will, then with nothing going wrong any more."""

from __future__ import annotations

from afk_es.errors import UsageError
from afk_es.testing.exploring.adversary import Adversary
from afk_es.testing.exploring.interrupts import interrupts_held_back
from afk_es.testing.simulation.world import Simulation


@interrupts_held_back()
def drive(simulation: Simulation, adversary: Adversary | None) -> Exception | None:
    """Drive a simulation to its end, and clear it away.

    Args:
        adversary: None where nothing is to go wrong.

    Returns:
        What an invariant raised, or that the run does not end (`StuckError`); None where all is well.

    Raises:
        UsageError: the agent cannot be run.
        Exception: what a function of the caller's raised that plays tools or people.
    """
    try:
        try:
            simulation.begin()
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 - invariants are anybody's code; whatever is raised is what was found
            return error
        while True:
            action = adversary.next_action(simulation) if adversary is not None else None
            try:
                if action is None:
                    simulation.finish()
                    simulation.close()
                    return None
                simulation.perform(action)
            except Exception as error:  # noqa: BLE001 - as above
                return error
    finally:
        simulation.abandon()
