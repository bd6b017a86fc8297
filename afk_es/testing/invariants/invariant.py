"""What an invariant is: an observer of a simulation that raises where something is not as it is promised. It knows no promise.

One's own are as easy as a function:

    @invariant("a refund says why")
    def check(run, event):
        call = call_of(run)
        if event.type == "tool_started" and call.tool_name == "refund" and not call.arguments["reason"]:
            return "a refund without a reason"
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from afk_es.errors import ConfigurationError
from afk_es.evals.assertions.criteria import Assertion
from afk_es.machine import AgentRunEvent, RunState
from afk_es.testing.simulation.observing import ObservedRun, Observer

if TYPE_CHECKING:
    from afk_es.testing.simulation.world import Simulation


class InvariantViolation(AssertionError):
    """Something is not as it is promised.

    Attributes:
        name: of the invariant.
        message: what is wrong, in a sentence.
        run_id, seq: where; None where it is not about one run, or one event.
    """

    def __init__(self, name: str, message: str, run_id: str | None = None, seq: int | None = None) -> None:
        self.name: str = name
        self.message: str = message
        self.run_id: str | None = run_id
        self.seq: int | None = seq
        where = "" if run_id is None else f" ({run_id}{'' if seq is None else f' at seq {seq}'})"
        super().__init__(f"{name}: {message}{where}")

    def __reduce__(self) -> tuple[type[InvariantViolation], tuple[str, str, str | None, int | None]]:
        # An exception is copied from its text alone; this one goes from a worker process to whoever asked for it.
        return type(self), (self.name, self.message, self.run_id, self.seq)


class Invariant(Observer):
    """Something that holds in every run, whatever model, tools, people and processes do. One object watches one simulation.

    A subclass overrides methods of `Observer` and raises `self.violated(...)`. It should state what is promised from the events and from
    what the world was asked, and not from what the machine thinks of itself, or a bug there hides itself.

    Attributes:
        name: the promise, in a few words.
        simulation: which one it watches, once that has begun.
    """

    name: str = ""
    simulation: Simulation

    def begins(self, simulation: Simulation) -> None:
        """Remember what is watched."""
        self.simulation = simulation

    def violated(self, message: str, run: ObservedRun | str | None = None, seq: int | None = None) -> InvariantViolation:
        """The violation, to be raised; `seq` is by default that of the run's last event."""
        if isinstance(run, ObservedRun):
            seq = seq if seq is not None or not run.events else run.events[-1].seq
            return InvariantViolation(self.name or type(self).__name__, message, run.run_id, seq)
        return InvariantViolation(self.name or type(self).__name__, message, run, seq)


EventCheck: TypeAlias = Callable[[ObservedRun, AgentRunEvent], "bool | str | None"]
"""Judges a run at its last event: None or True where all is well; False, or a sentence that says what is not."""

SimulationCheck: TypeAlias = "Callable[[Simulation], bool | str | None]"
"""Judges a whole simulation at its end, in the same words."""

InvariantLike: TypeAlias = "type[Observer] | Callable[[], Observer] | EventCheck | SimulationCheck | Assertion"
"""An `Invariant` class, a function without arguments that makes one, what `@invariant` made, a function that judges a simulation or a run at an
event, or a claim of `afk_es.evals`, such as `never(...)`."""


class _EachEvent(Invariant):
    def __init__(self, name: str, check: EventCheck) -> None:
        self.name = name
        self._check = check

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        said = self._check(run, event)
        if said is not None and said is not True:
            raise self.violated(said or "it does not hold", run)


class _AtTheEnd(Invariant):
    def __init__(self, name: str, check: SimulationCheck) -> None:
        self.name = name
        self._check = check

    def over(self, simulation: Simulation) -> None:
        said = self._check(simulation)
        if said is not None and said is not True:
            raise self.violated(said or "it does not hold", simulation.root)


def invariant(name: str) -> Callable[[EventCheck | SimulationCheck], Callable[[], Invariant]]:
    """Make an invariant of a function of a run and its last event, asked at each event; or of a simulation, asked at its end.

    Args:
        name: the promise, in a few words.

    The function answers None or True where all is well; False, or a sentence that says what is not.

    Raises:
        ConfigurationError: it takes neither one argument nor two.
    """

    def made(check: EventCheck | SimulationCheck) -> Callable[[], Invariant]:
        kind: Any = _EachEvent if _arguments(check) == 2 else _AtTheEnd
        return lambda: kind(name, check)

    return made


def checked(invariants: Iterable[InvariantLike]) -> list[Observer]:
    """Fresh observers for one simulation.

    Raises:
        ConfigurationError: one is nothing that can be checked.
    """
    return [_made(each) for each in invariants]


def _made(given: Any) -> Observer:
    if isinstance(given, Observer):
        raise ConfigurationError(f"{given!r} watches one simulation and remembers it; give the class, or a function that makes one")
    if inspect.isclass(given):
        if not issubclass(given, Observer):
            raise ConfigurationError(f"{given.__name__} is no Invariant")
        return given()
    if callable(getattr(given, "check", None)):
        from afk_es.testing.invariants.claims import ClaimHolds

        return ClaimHolds(given)
    if not callable(given):
        raise ConfigurationError(
            f"{given!r:.80} is no invariant; one is a subclass of Invariant, what @invariant makes of a function, a function of a simulation, or a "
            "claim such as never(...)"
        )
    arguments = _arguments(given)
    if arguments == 0:
        made = given()
        if not isinstance(made, Observer):
            raise ConfigurationError(f"{_named(given)} made a {type(made).__name__}, and not an Invariant")
        return made
    return _EachEvent(_named(given), given) if arguments == 2 else _AtTheEnd(_named(given), given)


def _named(given: Any) -> str:
    return str(getattr(given, "__name__", type(given).__name__)).replace("_", " ")


def _arguments(check: Any) -> int:
    try:
        parameters = inspect.signature(check).parameters.values()
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{check!r} cannot be asked: {error}") from error
    needed = [each for each in parameters if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    if len(needed) > 2:
        raise ConfigurationError(f"{_named(check)} takes {len(needed)} arguments; an invariant takes (simulation) or (run, event)")
    return len(needed)
