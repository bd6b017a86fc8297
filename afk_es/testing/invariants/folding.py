"""The log is the truth: folding it gives the state that the run goes by, from the first event or from a keyframe; resuming what has ended changes nothing."""

from __future__ import annotations

from operator import attrgetter

from msgspec.structs import replace

from afk_es.debugger import keyframe_codec
from afk_es.machine import RunState, evolve
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.observing import ObservedRun, at_once
from afk_es.testing.simulation.world import Simulation


class FoldIsTheState(Invariant):
    """What a process goes by is the fold of the log, whenever it asks the world for something. At the end the log that was stored folds to the
    same state, from its first event, and from a keyframe on the way.
    """

    name = "the fold of the log is the state"

    def asked(self, ask: Ask) -> None:
        """Compare the state that an effect was dispatched in with the fold up to there."""
        run = self.simulation.runs.get(ask.run_id)
        state = ask.state
        if run is None or state is None or state.seq != run.state.seq:
            return
        # The conversation as a whole is compared at the end: here it would be looked through at every ask.
        if _SHORT(state) != _SHORT(run.state) or len(state.messages) != len(run.state.messages):
            raise self.violated(f"{ask.key}: {_difference(state, run.state)} is not as the log has it", run)

    def over(self, simulation: Simulation) -> None:
        """Read every run back, and fold it."""
        for run in simulation.runs.values():
            stored = at_once(simulation.log.read(run.run_id))
            if stored != run.events:
                raise self.violated("what is read back is not what was written", run)
            state = half_way = run.beginning
            middle = len(stored) // 2
            for event in stored:
                state = evolve(state, event)
                half_way = state if event.seq == middle else half_way
            if state != run.state:
                raise self.violated(f"{_difference(state, run.state)} is not as the log that was read back has it", run)
            self._from_keyframe(run, half_way)

    def _from_keyframe(self, run: ObservedRun, state: RunState) -> None:
        """A keyframe of a state on the way, as the debugger keeps it: without messages, with their digest."""
        if run.state.spec.retention is not None:
            return  # A compaction looks into messages that a keyframe has let go of; a debugger keeps none of such runs.
        seq = state.seq
        state = replace(state, messages=state.messages.left_behind())
        shared: dict[str, bytes] = {}
        encoded = keyframe_codec.encode(state, shared)
        if encoded is None:
            return
        key, blob = encoded
        state = keyframe_codec.decode(blob, keyframe_codec.decode_shared(shared[key]))
        for event in run.events[seq:]:
            state = evolve(state, event)
        if _without_messages(state) != _without_messages(run.state) or state.messages.digest() != run.state.messages.digest():
            raise self.violated(f"from a keyframe at seq {seq}, {_difference(state, run.state)} is another", run)


def _without_messages(state: RunState) -> RunState:
    return replace(state, messages=_NO_STATE.messages)


_NO_STATE = RunState("", "")
_SHORT = attrgetter(*(name for name in RunState.__struct_fields__ if name != "messages"))


def _difference(one: RunState, other: RunState) -> str:
    fields = [name for name in RunState.__struct_fields__ if getattr(one, name) != getattr(other, name)]
    return ", ".join(fields) or "something"


class ResumingTheEndedChangesNothing(Invariant):
    """Whoever resumes a run that has ended for good gets its result again, and nothing is appended or asked."""

    name = "resuming an ended run changes nothing"

    def over(self, simulation: Simulation) -> None:
        """Resume it once more."""
        root = simulation.root
        before = {run.run_id: len(run.events) for run in simulation.runs.values()}
        if root is None or not simulation.over or root.state.status == "interrupted":
            return
        asked = set(simulation.pending)
        result = simulation.resume_ended()
        if result is None:
            return
        if set(simulation.pending) - asked:
            raise self.violated(f"resumed after its end, it asks {', '.join(simulation.pending)}", root)
        for run in simulation.runs.values():
            if before.get(run.run_id) != len(run.events):
                raise self.violated("something is appended when the run is resumed after its end", run)
        last = simulation.results[-1]
        if result != last:
            fields = [name for name in type(last).model_fields if getattr(result, name) != getattr(last, name)]
            raise self.violated(f"resumed after its end it has another result: {', '.join(fields)}", root)
