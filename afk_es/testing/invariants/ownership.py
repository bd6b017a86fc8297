"""One owner per run: whoever is dead, or was taken over from, neither writes to a run nor asks the world for anything new on its behalf."""

from __future__ import annotations

from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.effects import CallModel, ExecuteTool, Summarise
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.observing import ObservedRun


class OneOwner(Invariant):
    """Every event of a stretch is written by the process that claimed it, and what a process asks for it has announced itself.

    So a process that was taken over from, as under SIGSTOP, starts nothing when it wakes: its intents are refused. A dead one does nothing.
    """

    name = "a stale owner dispatches nothing"

    def __init__(self) -> None:
        self._dead: set[int] = set()
        self._claims: dict[str, list[tuple[int, int]]] = {}

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Judge who writes."""
        writer = self.simulation.writer
        if writer in self._dead:
            raise self.violated(f"{event.type} is written by process {writer}, which is dead", run)
        claims = self._claims.setdefault(run.run_id, [])
        if event.type == "run_started":
            claims.append((event.seq, writer))
        elif claims and claims[-1][1] != writer:
            raise self.violated(f"{event.type} is written by process {writer}, and process {claims[-1][1]} has the run", run)

    def asked(self, ask: Ask) -> None:
        """Judge who asks."""
        if ask.process in self._dead:
            raise self.violated(f"{ask.key} is asked by process {ask.process}, which is dead", ask.run_id)
        if isinstance(ask.effect, CallModel | ExecuteTool | Summarise):
            seq = ask.effect.seq
            announced = next((process for since, process in reversed(self._claims.get(ask.run_id, ())) if since < seq), None)
            if announced != ask.process:
                who = f"process {announced}" if announced is not None else "nobody"
                raise self.violated(f"{ask.key} is asked by process {ask.process}, and announced by {who}", ask.run_id, seq)

    def died(self, number: int) -> None:
        """Remember who is dead."""
        self._dead.add(number)
