"""At which moment of its recording what a replay does comes: the times of its events, and the ends of its waits. It serves nothing and waits
for nothing.

A run *keeps step* as long as each of its events is of the type that the recording has in its place. While it does, an event that follows from
others has the recorded time, and a wait that never ended in the recording does not end earlier today, whatever real clocks made of it.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from afk_es.handlers.tape import Part, Tape
from afk_es.handlers.virtual_time import UNRECORDED, VirtualTime
from afk_es.machine import AgentRunEvent
from afk_es.machine.effects import Wait
from afk_es.machine.spec import RunSpec

_MICROSECOND = dt.timedelta(microseconds=1)


class Moments:
    """The moments of one run of today, in microseconds of its family's time.

    Args:
        recorded: the agent as recorded, whose terms are compared with today's: waits of equal terms end when the recorded ones did.

    Attributes:
        in_step: whether it keeps step.
        part: the recorded stretch that is served.
    """

    def __init__(self, tape: Tape, time: VirtualTime, recorded: RunSpec) -> None:
        self.in_step: bool = True
        self.part: Part | None = None
        self._tape = tape
        self._time = time
        self._recorded = recorded
        self._same_timeouts = False
        self._counterparts: dict[int, int] = {}
        """Per seq of this run, that of the recorded event in its place, where they are not the same."""

    def stands_for(self, seq: int, recorded: int) -> None:
        """Take note that the event of today at `seq` is the recorded one at `recorded`."""
        if seq != recorded:
            self._counterparts[seq] = recorded

    def recorded_seq(self, seq: int) -> int:
        """The recorded event that this one of today stands for."""
        return self._counterparts.get(seq, seq)

    def routed(self, today: dict[str, Any], recorded: dict[str, Any] | None) -> None:
        """Take note of what the router said today and then; None where it was not asked then."""
        self._same_timeouts = recorded is not None and _timeouts(today) == _timeouts(recorded)

    def folded(self, event: AgentRunEvent) -> None:
        """Look whether it still keeps step with this event, which may not be durable yet."""
        if self.in_step:
            events = self._tape.events
            self.in_step = event.seq <= len(events) and events[event.seq - 1].type == event.type

    def of_next(self, seq: int) -> int | None:
        """When the recording has what is appended next, at `seq`; None where it does not say.

        A conclusion comes a little after what it is concluded from, and what came together with something later came before it.
        """
        if not self.in_step or seq > len(self._tape.events):
            return None
        moment = self._tape.moment(seq)
        return moment if moment <= self._time.elapsed or seq not in self._tape.came else None

    def of_wait(self, effect: Wait, today: RunSpec) -> tuple[int, int]:
        """When a wait is over, and its place: where the recorded one was, where it is the same, else when it is due today."""
        due = self._since_start(effect.until)
        kind, _, seq = effect.timer.partition(":")
        fired = self._tape.timers.get(f"{kind}:{self.recorded_seq(int(seq))}")
        if self._same_terms(kind, today):
            if fired is not None:
                return self._tape.moment(fired.seq), fired.seq
            if self.in_step and self.part is not None:
                # It was not over before the stretch was, whatever real clocks make of the last millisecond.
                return max(due, self._tape.moment(self.part.last) + 1), UNRECORDED
        return due, UNRECORDED

    def late(self, at: dt.datetime) -> int:
        """By how much a stretch that ended at that time ended later than the recorded one; below 0, earlier."""
        assert self.part is not None
        return self._since_start(at) - self._tape.moment(min(self.part.last, len(self._tape.events)))

    def _since_start(self, at: dt.datetime) -> int:
        return (at - self._time.start) // _MICROSECOND

    def _same_terms(self, kind: str, today: RunSpec) -> bool:
        before = self._recorded
        match kind:
            case "wall_time":
                return before.limits.max_wall_time_s == today.limits.max_wall_time_s
            case "retry":
                return before.retry == today.retry and [each.retry for each in before.models] == [each.retry for each in today.models]
            case "answer":
                return before.interaction == today.interaction
            case "grace":
                return before.background == today.background
            case "timeout":
                return self._same_timeouts
            case _:
                return True


def _timeouts(routed: dict[str, Any]) -> dict[str, float | None]:
    plan = routed["plan"]
    return {node["id"]: node.get("timeout_s") for node in plan["nodes"]} if plan is not None else {}
