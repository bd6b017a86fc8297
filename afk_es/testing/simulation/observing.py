"""What a simulation tells of its runs while they go on. Invariants are made of this."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from afk_es.core import AgentResult, AgentRunEvent
from afk_es.machine import RunState, evolve, initial_state
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.facts import Fact

if TYPE_CHECKING:
    from afk_es.testing.simulation.world import Simulation

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class ObservedRun:
    """A run of a simulation, a subagent's too, as its log has it so far.

    Attributes:
        beginning: its state before its first event, with what its thread remembered.
        state: after the last event.
        parent: the run that delegated to it; None for one that a caller started.
        notes: what observers keep of it, each under a key of its own.
    """

    run_id: str
    thread_id: str
    beginning: RunState
    state: RunState
    parent: str | None = None
    events: list[AgentRunEvent] = field(default_factory=list)
    notes: dict[Any, Any] = field(default_factory=dict)

    def take_in(self, event: AgentRunEvent) -> RunState:
        """Fold the next event, and return the state before it."""
        before = self.state
        self.events.append(event)
        self.state = evolve(before, event)
        return before


class Observer:
    """Is told all that happens in a simulation, in order. Every method does nothing by default. What one raises
    is raised to whoever drives the simulation, once the run waits again."""

    def begins(self, simulation: Simulation) -> None:
        """The simulation is about to begin its first run."""

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """An event of a run is durable."""

    def asked(self, ask: Ask) -> None:
        """A process asks the world for something: from now on a tool may take effect, and a model costs money."""

    def answered(self, ask: Ask, fact: Fact) -> None:
        """The world has answered, and the process is about to hear it."""

    def died(self, number: int) -> None:
        """The process with this number died."""

    def took_over(self, number: int) -> None:
        """The process with this number goes on with the run."""

    def ended(self, run: ObservedRun, result: AgentResult) -> None:
        """A run that a caller started has ended or was laid down, and the caller has the result."""

    def over(self, simulation: Simulation) -> None:
        """The simulation is over, and every process is at rest."""


def observed(run_id: str, first: AgentRunEvent, history: Any) -> ObservedRun:
    """A run of which nothing is folded yet."""
    beginning = initial_state(run_id, first.thread_id, history)
    parent = first.data.get("parent")
    return ObservedRun(run_id, first.thread_id, beginning, beginning, parent["run_id"] if parent else None)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that never has to wait, such as a read of a log in memory."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("it waits for something, and nothing in a simulated log ever has to")
