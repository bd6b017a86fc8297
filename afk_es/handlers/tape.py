"""What one recorded run was answered and told, in order: by kind, each with its place and its moment. It knows nothing of who asks again.

It is read from the events alone, once and without folding them. A *joint* is where a run was taken over without having ended a stretch: a
process died, or a fork begins. What was under way there and was asked again has the later answer; what was reported to the model as unknown
has that as its answer; the time in which nobody ran the run is left out, and a ticket that expired in it is told of where that was. So a replay
of a run with joints has fewer events: not the `run_started` of the joint, the `effect_in_doubt` behind it, or the start in doubt of what was
asked again, which limits of calls then count once. What was under way when a run was taken over to be cancelled is cut, and not unknown.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from afk_es.machine import AgentRunEvent
from afk_es.machine.events import TERMINAL

_MICROSECOND = dt.timedelta(microseconds=1)


class Asked:
    """Something that was asked of the world, and what came.

    Attributes:
        seq: of the event that announced it; of the answer, where none does.
        answer: the event, or None: it was under way when the run, or this stretch of it, ended.
        given: whether the replay was given it.
        name: of the tool, the subagent or the model.
        digest: of its arguments; of a subagent its task.
        place: ordinal and attempt.
        child: of a subagent, its run.
    """

    __slots__ = ("answer", "child", "digest", "doubted", "given", "name", "place", "seq")

    def __init__(self, seq: int, name: str = "", digest: str = "", place: tuple[int, int] = (0, 0), child: str = "") -> None:
        self.seq: int = seq
        self.name: str = name
        self.digest: str = digest
        self.place: tuple[int, int] = place
        self.child: str = child
        self.answer: AgentRunEvent | None = None
        self.given: bool = False
        self.doubted: bool = False


class Question:
    """A question to a person, and every answer to it: it may have been put off first."""

    __slots__ = ("answers", "digest", "kind", "name", "seq", "taken")

    def __init__(self, seq: int, kind: str, name: str, digest: str) -> None:
        self.seq: int = seq
        self.kind: str = kind
        self.name: str = name
        self.digest: str = digest
        self.answers: list[AgentRunEvent] = []
        self.taken: bool = False


class Part:
    """A stretch of the run, joints apart: from one seq to another."""

    __slots__ = ("controls", "first", "last")

    def __init__(self, first: int) -> None:
        self.first: int = first
        self.last: int = first
        self.controls: list[AgentRunEvent] = []
        """What callers asked of the run, and letters that it refused."""


class Tape:
    """The answers of one recorded run.

    Args:
        events: all of it, of a run that can be replayed (`core.replayability`).
        base: the microsecond of the family's time at which its first event stands.

    Attributes:
        models, summaries: in order.
        instructions, routes, outputs: the answers, in order.
        tools, subagents: in order; see `tool` and `subagent`.
        policies: per call id and tool name, in order; of models under ("", "").
        questions: in order.
        tickets: per ticket, how it ended, in order.
        timers: per name of a timer, the event with which it fired.
        parts: the stretches.
    """

    def __init__(self, events: Sequence[AgentRunEvent], base: int = 0) -> None:
        self.run_id: str = events[0].run_id
        self.events: Sequence[AgentRunEvent] = events
        self.models: list[Asked] = []
        self.summaries: list[Asked] = []
        self.tools: list[Asked] = []
        self.subagents: list[Asked] = []
        self.instructions: list[AgentRunEvent] = []
        self.routes: list[AgentRunEvent] = []
        self.outputs: list[AgentRunEvent] = []
        self.policies: dict[tuple[str, str], list[AgentRunEvent]] = defaultdict(list)
        self.questions: list[Question] = []
        self.tickets: dict[str, list[AgentRunEvent]] = defaultdict(list)
        self.timers: dict[str, AgentRunEvent] = {}
        self.parts: list[Part] = []
        self.came: set[int] = set()
        """Seqs of what came from effects, people and callers: their moments are when they came, and not when they were thought of."""
        self._moments: list[int] = []
        self._base = base
        self._shift = base
        self._model: Asked | None = None
        self._summary: Asked | None = None
        self._open: dict[str, Asked] = {}
        """Per call id, the attempt under way."""
        self._asking: dict[str, Question] = {}
        for event in events:
            self._note(event)
            self.parts[-1].last = event.seq
        self._by_arguments: dict[tuple[str, str], list[Asked]] = defaultdict(list)
        self._by_ordinal: dict[tuple[str, int], list[Asked]] = defaultdict(list)
        self._by_place: dict[tuple[str, str, tuple[int, int]], Asked] = {}
        for asked in (*self.tools, *self.subagents):
            self._by_arguments[asked.name, asked.digest].append(asked)
            self._by_ordinal[asked.name, asked.place[0]].append(asked)
            self._by_place.setdefault((asked.name, asked.digest, asked.place), asked)
        for shelf in (*self._by_arguments.values(), *self._by_ordinal.values()):
            shelf.reverse()

    def moment(self, seq: int) -> int:
        """The microsecond of the family's time at which this event stands; 0 for one that there is not."""
        return self._moments[seq - 1] if 0 < seq <= len(self._moments) else 0

    def together(self, seq: int) -> int:
        """The last of the events behind this one that came from outside with no conclusion of the run's own in between."""
        while seq + 1 in self.came:
            seq += 1
        return seq

    def behind_joints(self, seq: int) -> int:
        """Where the run began in earnest that was taken over again before anything happened."""
        while seq < len(self.events) and self.events[seq].type == "run_started":
            seq += 1
        return seq

    def call(self, name: str, digest: str, place: tuple[int, int]) -> Asked | None:
        """What came of a call of a tool or a subagent: of the one with these arguments, in this place if there is one, else in order; of none
        with these arguments, the one in the same place."""
        exact = self._by_place.get((name, digest, place))
        if exact is not None and not exact.given:
            exact.given = True
            return exact
        for shelf in (self._by_arguments.get((name, digest)), self._by_ordinal.get((name, place[0]))):
            while shelf:
                asked = shelf.pop()
                if not asked.given:
                    asked.given = True
                    return asked
        return None

    def question(self, kind: str, name: str, digest: str) -> Question | None:
        """The question to a person about such a call: with these arguments, else the first about this tool."""
        about = [each for each in self.questions if not each.taken and (each.kind, each.name) == (kind, name)]
        found = next((each for each in about if each.digest == digest), about[0] if about else None)
        if found is not None:
            found.taken = True
        return found

    # --------------------------------------------------------------------------------------------------------------------- the inside

    def _note(self, event: AgentRunEvent) -> None:
        first = self.events[0]
        if event.type == "run_started":
            self._begun(event)
        elapsed = (event.at - first.at) // _MICROSECOND + self._shift
        self._moments.append(elapsed)
        noting = _NOTING.get(event.type)
        if noting is not None:
            noting(self, event, event.data)

    def _begun(self, event: AgentRunEvent) -> None:
        if not self.parts:
            self.parts.append(Part(event.seq))
            return
        before = self.events[event.seq - 2]
        if before.type in TERMINAL:
            self.parts.append(Part(event.seq))
            self._model = self._summary = None
            self._open.clear()
        else:
            self._shift -= (event.at - before.at) // _MICROSECOND

    def _came(self, asked: Asked | None, event: AgentRunEvent) -> None:
        self.came.add(event.seq)
        if asked is not None and asked.answer is None:
            asked.answer = event

    def _llm_called(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self._model = Asked(event.seq, data["model"])
        self.models.append(self._model)

    def _llm_ended(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        if self._model is None:
            self.instructions.append(event)
        self._came(self._model, event)
        self._model = None

    def _compaction_started(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self._summary = Asked(event.seq, data["summariser"] or "")
        self.summaries.append(self._summary)

    def _compaction_ended(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        if event.type == "thread_compacted" and data["summary"] is None:
            # Dropped without a summary: nobody was asked.
            if self._summary is not None:
                self.summaries.remove(self._summary)
        else:
            self._came(self._summary, event)
        self._summary = None

    def _tool_started(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        asked = Asked(event.seq, data["tool_name"], data["arguments_hash"], (data["ordinal"], data["attempt"]))
        self._opened(self.tools, data["tool_call_id"], asked)

    def _opened(self, shelf: list[Asked], call_id: str, asked: Asked) -> None:
        left = self._open.get(call_id)
        if left is not None and left in shelf:
            # A fork begins its own in place of what was under way.
            shelf.remove(left)
        shelf.append(asked)
        self._open[call_id] = asked

    def _tool_failed(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        asked = self._open.pop(data["tool_call_id"], None)
        if asked is None:
            self.policies[data["tool_call_id"], data["tool_name"]].append(event)
        else:
            self._came(asked, event)

    def _tool_deferred(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self._came(self._open.pop(data["tool_call_id"], None), event)

    def _tool_completed(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        asked = self._open.pop(data["tool_call_id"], None)
        if asked is not None and (data["outcome"] == "returned" or asked.doubted):
            self._came(asked, event)

    def _subagent_started(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        place = (data.get("ordinal", 0), data.get("attempt", 1))
        asked = Asked(event.seq, f"subagent:{data['subagent_name']}", data.get("task", ""), place, data["run_id"])
        self._opened(self.subagents, data.get("tool_call_id", ""), asked)

    def _subagent_completed(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self._came(self._open.pop(data.get("tool_call_id", ""), None), event)

    def _subagent_waiting(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.came.add(event.seq)

    def _asked(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        kind = event.type.removesuffix("_requested")
        question = Question(event.seq, kind, data["tool_name"], data.get("arguments_hash") or data["tool_name"])
        self.questions.append(question)
        self._asking[data["tool_call_id"]] = question

    def _resolved(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        question = self._asking.get(data["tool_call_id"])
        if data["by"] != "fallback" and question is not None:
            self.came.add(event.seq)
            question.answers.append(event)

    def _warned(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        if "letter" in data:
            self._controlled(event, data)
            return
        question = self._asking.get(data.get("tool_call_id", ""))
        if data["kind"] == "interaction_failed" and question is not None:
            self.came.add(event.seq)
            question.answers.append(event)

    def _ticket_ended(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        if not data.get("expired") or self._expired_in_joint(event):
            self.came.add(event.seq)
            self.tickets[data["ticket_id"]].append(event)

    def _expired_in_joint(self, event: AgentRunEvent) -> bool:
        """Whether its term passed while nobody ran the run, in time that a replay leaves out."""
        seq = event.seq - 1
        while self.events[seq - 1].type == "tool_background_failed":
            seq -= 1
        return self.events[seq - 1].type == "run_started" and seq > self.parts[-1].first

    def _controlled(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.came.add(event.seq)
        self.parts[-1].controls.append(event)

    def _fired(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.came.add(event.seq)
        self.timers[data["timer"]] = event

    def _decided(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.policies[data.get("tool_call_id", ""), data.get("tool_name", "")].append(event)

    def _instructed(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.came.add(event.seq)
        self.instructions.append(event)

    def _routed(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.came.add(event.seq)
        self.routes.append(event)

    def _judged(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.outputs.append(event)

    def _doubted(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        if data["intent_seq"] < self.parts[-1].first:
            # Left behind by a stretch that was laid down: a replay lays it down as well, and finds the same.
            return
        effect, again = data["effect"], data["resolution"] in ("ask_again", "run_again")
        if effect == "llm":
            self._dropped(self.models, data["intent_seq"], again)
            self._model = None
        elif effect == "compaction":
            self._dropped(self.summaries, data["intent_seq"], again)
            self._summary = None
        else:
            asked = self._open.get(data["tool_call_id"])
            if asked is not None and again:
                self.tools.remove(asked)
                del self._open[data["tool_call_id"]]
            elif asked is not None:
                asked.doubted = True

    def _dropped(self, asked: list[Asked], seq: int, again: bool) -> None:
        if again and asked and asked[-1].seq == seq:
            asked.pop()


_NOTING = {
    "llm_called": Tape._llm_called,
    "llm_completed": Tape._llm_ended,
    "llm_failed": Tape._llm_ended,
    "compaction_started": Tape._compaction_started,
    "thread_compacted": Tape._compaction_ended,
    "compaction_failed": Tape._compaction_ended,
    "tool_started": Tape._tool_started,
    "tool_failed": Tape._tool_failed,
    "tool_deferred": Tape._tool_deferred,
    "tool_completed": Tape._tool_completed,
    "subagent_started": Tape._subagent_started,
    "subagent_completed": Tape._subagent_completed,
    "subagent_waiting": Tape._subagent_waiting,
    "approval_requested": Tape._asked,
    "input_requested": Tape._asked,
    "approval_resolved": Tape._resolved,
    "input_resolved": Tape._resolved,
    "warning": Tape._warned,
    "tool_background_resolved": Tape._ticket_ended,
    "tool_background_failed": Tape._ticket_ended,
    "control_requested": Tape._controlled,
    "timer_fired": Tape._fired,
    "policy_decision": Tape._decided,
    "instructions_resolved": Tape._instructed,
    "subagents_routed": Tape._routed,
    "output_validated": Tape._judged,
    "output_rejected": Tape._judged,
    "effect_in_doubt": Tape._doubted,
}
