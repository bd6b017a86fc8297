"""Nothing breaks: whatever the world does is a fact of the run, and no exception comes out of a Runner on account of it."""

from __future__ import annotations

from afk_es.errors import HeadConflictError, UsageError
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.world import Simulation


class NothingBreaks(Invariant):
    """No process raises, but for one that was taken over from, which is refused by the log, and callers' mistakes, such as resuming with
    another agent. Nothing is raised where nobody awaits it.
    """

    name = "nothing breaks"

    def over(self, simulation: Simulation) -> None:
        """Look at what was raised."""
        for error in simulation.errors:
            if not isinstance(error, HeadConflictError | UsageError):
                where = getattr(error, "run_id", None), getattr(error, "seq", None)
                raise self.violated(f"{type(error).__name__}: {error}", *where) from error
