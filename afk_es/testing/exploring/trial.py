"""A script performed on a stage: what came of it, and which invariant it violated. It refuses to know where the script comes from.

stage = Stage(agent, lambda: [NeverPaysTwice()], {"user_message": "Refund order A-17"})
trial = stage.perform(script)
if trial.violation is not None:
    ...
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from afk_es.agents import Agent
from afk_es.testing.exploring.interrupts import interrupts_held_back
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.facts import Action, Answer, Script, Together
from afk_es.testing.simulation.observing import Observer
from afk_es.testing.simulation.virtual_loop import HungError
from afk_es.testing.simulation.world import Simulation, StuckError


def violated(violation: BaseException) -> str:
    """The name of the invariant that is violated: that which the violation gives, else its class's, as for a run that does not end."""
    name = getattr(violation, "name", None) if isinstance(violation, AssertionError) else None
    return name if isinstance(name, str) and name else type(violation).__name__


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """What came of a script.

    Attributes:
        simulation: over, and closed.
        script: what was performed of the script, up to the violation. What followed plainly behind its end is not in it.
        violation: what an invariant raised, or that the run hung or did not end; None where all is well.
        asks: all that was asked of the world up to there, in order.
        events: of all runs, up to there.
    """

    simulation: Simulation
    script: Script
    violation: Exception | None
    asks: tuple[Ask, ...]
    events: int


class _Watch(Observer):
    """Stands between a simulation and whoever watches it: keeps what is asked, and is silent from the first violation on.

    What happens behind it is its consequence, or the clearing away.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.asks: list[Ask] = []
        self.events = 0
        self.violation: Exception | None = None
        self._observers = tuple(observers)

    def begins(self, simulation: Simulation) -> None:
        """The simulation is about to begin its first run."""
        self._tell("begins", simulation)

    def appended(self, *about: Any) -> None:
        """An event of a run is durable."""
        self.events += self.violation is None
        self._tell("appended", *about)

    def asked(self, ask: Ask) -> None:
        """A process asks the world for something."""
        if self.violation is None:
            self.asks.append(ask)
        self._tell("asked", ask)

    def answered(self, *about: Any) -> None:
        """The world has answered."""
        self._tell("answered", *about)

    def died(self, number: int) -> None:
        """A process died."""
        self._tell("died", number)

    def took_over(self, number: int) -> None:
        """Another one goes on."""
        self._tell("took_over", number)

    def ended(self, *about: Any) -> None:
        """A run has ended or was laid down."""
        self._tell("ended", *about)

    def over(self, simulation: Simulation) -> None:
        """The simulation is over."""
        self._tell("over", simulation)

    def _tell(self, what: str, *about: Any) -> None:
        if self.violation is not None:
            return
        for observer in self._observers:
            try:
                getattr(observer, what)(*about)
            except Exception as error:
                self.violation = error
                raise


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """Where scripts are performed, each in a simulation of its own.

    Attributes:
        agent: the agent, or several versions of it.
        observers: makes new ones for each simulation; what one of them raises is a violation.
        arguments: further ones of `Simulation`: user_message, context, config, policy_engine.
    """

    agent: Agent | Sequence[Agent]
    observers: Callable[[], Sequence[Observer]] = tuple
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def with_argument(self, name: str, value: Any) -> Stage:
        """The same stage with another argument."""
        return dataclasses.replace(self, arguments={**self.arguments, name: value})

    @interrupts_held_back()
    def perform(self, script: Script, *, realign: bool = False, onward: bool = False) -> Trial:
        """Perform the script up to a violation; without one, let the run come plainly to its end.

        Args:
            realign: let an answer that nobody waits for go to the oldest ask of its kind and name. Of a script from which an answer was
                taken, those behind it would else go to asks that no longer come.
            onward: let the run come to its end behind a violation too, so that its log is that of a whole run.
        """
        watch = _Watch(self.observers())
        simulation = Simulation(self.agent, observers=(watch,), **self.arguments)
        performed: int | None = None
        stuck: Exception | None = None
        try:
            simulation.begin()
            for action in script:
                simulation.perform(realigned(action, simulation) if realign else action)
            performed = len(simulation.script)
            simulation.finish()
            simulation.close()
        except (StuckError, HungError) as error:
            stuck = error
        except Exception as error:
            if error is not watch.violation:
                raise
        finally:
            if performed is None:
                performed = len(simulation.script)
            if onward and watch.violation is not None and not simulation.process.dead:
                with contextlib.suppress(StuckError, HungError):
                    simulation.finish()
            simulation.abandon()
        return Trial(simulation, simulation.script[:performed], watch.violation or stuck, tuple(watch.asks), watch.events)


def realigned(action: Action, simulation: Simulation) -> Action:
    """The action, with answers that nobody waits for given to the oldest ask of their kind and name that no other of its answers is for."""
    match action:
        case Answer():
            return Answer(_nearest(action.to, simulation, set()), action.fact)
        case Together():
            taken: set[str] = {each.to for each in action.actions if isinstance(each, Answer) and each.to in simulation.pending}
            members: list[Any] = []
            for each in action.actions:
                if isinstance(each, Answer) and each.to not in simulation.pending:
                    each = Answer(_nearest(each.to, simulation, taken), each.fact)
                    taken.add(each.to)
                members.append(each)
            return Together(tuple(members))
        case _:
            return action


def _nearest(key: str, simulation: Simulation, taken: set[str]) -> str:
    if key in simulation.pending:
        return key
    about = key.rpartition(":")[0]
    return next((each for each in simulation.pending if each.rpartition(":")[0] == about and each not in taken), key)
