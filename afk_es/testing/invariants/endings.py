"""How stretches of a run end, and that whoever asked for it is heeded: one terminal event, nothing behind it, and a result that says the same."""

from __future__ import annotations

from afk_es.core import AgentResult
from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.events import TERMINAL
from afk_es.testing.invariants.course import course_of
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.observing import ObservedRun

_INTENTS = frozenset({"step_started", "llm_called", "tool_started", "subagent_started", "compaction_started"})


class OneEnd(Invariant):
    """Each stretch of a run ends with exactly one terminal event. Nothing follows it but the claim of the next stretch of a run that was
    interrupted, or that failed and is reopened.

    A run that ends for good ends after its subagents' runs. What its caller gets says what its last event says.
    """

    name = "exactly one terminal event"

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Judge what follows what."""
        events = run.events
        last = events[-2] if len(events) > 1 else None
        if event.type == "run_started":
            self._judge_claim(run, event, last)
        elif last is None:
            raise self.violated(f"the run begins with {event.type}", run)
        elif last.type in TERMINAL:
            raise self.violated(f"{event.type} follows {last.type}", run)
        if event.type in TERMINAL and event.type != "run_interrupted":
            for child in self.simulation.runs.values():
                if child.parent == run.run_id and child.events[-1].type not in TERMINAL:
                    raise self.violated(f"{event.type}, and its subagent's run {child.run_id} has not ended", run)

    def ended(self, run: ObservedRun, result: AgentResult) -> None:
        """Judge what the caller gets."""
        last = run.events[-1]
        if last.type not in TERMINAL:
            raise self.violated(f"its caller has a result ({result.state}), and its last event is {last.type}", run)
        if result.state != last.state or result.run_id != run.run_id:
            raise self.violated(f"its caller is told {result.state!r}, and it is {last.state!r}", run)
        under_way = [ask.key for ask in self.simulation.pending.values() if ask.effect is not None]
        if under_way:
            raise self.violated(f"it has ended, and {', '.join(under_way)} goes on", run)

    def _judge_claim(self, run: ObservedRun, event: AgentRunEvent, last: AgentRunEvent | None) -> None:
        if (last is None) == event.data["resumed"]:
            raise self.violated(f"run_started with resumed={event.data['resumed']} at seq {event.seq}", run)
        ended = last.type if last is not None and last.type in TERMINAL - {"run_interrupted"} else None
        if event.data.get("reopened"):
            if ended != "run_failed":
                raise self.violated(f"it is reopened after {last.type if last is not None else 'nothing'}", run)
        elif ended is not None:
            raise self.violated(f"it goes on after {ended}", run)
        claims = course_of(run).claims
        if len(claims) > 1 and claims[-1] <= claims[-2]:
            raise self.violated(f"it is claimed with epoch {event.data['epoch']}, which it had", run)


class ControlsAreHeeded(Invariant):
    """Who cancels means it, also if the process dies in between: nothing is begun any more, and the run ends cancelled.

    The same of an interruption, within its stretch. While a run is paused nothing is begun.
    """

    name = "controls are heeded"

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Judge what comes after a control request."""
        kind = event.type
        if kind not in TERMINAL and kind not in _INTENTS:
            return
        course = course_of(run)
        action = course.control.data["action"] if course.control is not None else None
        if kind in _INTENTS:
            if action is not None:
                raise self.violated(f"{kind} after somebody asked to {action}", run)
            if course.paused:
                raise self.violated(f"{kind} while it is paused", run)
        elif action == "cancel" and kind != "run_cancelled":
            raise self.violated(f"{kind} after somebody asked to cancel", run)
        elif action == "interrupt" and kind != "run_interrupted":
            raise self.violated(f"{kind} after somebody asked to interrupt", run)
        elif action is None and kind == "run_cancelled":
            raise self.violated("it is cancelled, and nobody asked for that", run)
