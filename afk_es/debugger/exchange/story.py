"""A run as people tell it: who said what, which calls came of it and how they ended, what else happened; and what was under way when.

A fold of the events that knows no form: the report, the page, the picture and the trajectory are made of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from afk_es.machine.events import TERMINAL, AgentRunEvent

Tone = Literal["plain", "quiet", "good", "bad", "mark"]


class Call(msgspec.Struct):
    """A tool call, or a subagent's.

    Attributes:
        seq: of its start, or of the answer that asked for it where it was not started.
        ended: the seq of its end; None while it has none.
        outcome: as in `tool_completed`, "deferred", or "open".
        child: the run of the subagent, where it went to one.
        notes: what happened to it on the way: rules, questions to people, failed attempts.
    """

    call_id: str
    tool_name: str
    arguments: Any
    seq: int
    started_at: dt.datetime | None = None
    ended: int | None = None
    ended_at: dt.datetime | None = None
    outcome: str = "open"
    output: Any = None
    error: str | None = None
    child: str | None = None
    notes: list[str] = []

    @property
    def took_s(self) -> float | None:
        """Seconds from its last start to its end, where both are known."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


class Turn(msgspec.Struct):
    """Something said, or something that happened between what was said.

    Attributes:
        kind: who said it; "note" for what nobody said.
        parts: of a user's message with images, as in the event.
        took_s: seconds from the request to the answer.
        extra: what an importer kept of it.
    """

    kind: Literal["user", "assistant", "note"]
    seq: int
    step: int
    at: dt.datetime
    text: str
    tone: Tone = "plain"
    parts: list[dict[str, Any]] = []
    model: str | None = None
    usage: dict[str, int] | None = None
    cost_usd: float | None = None
    took_s: float | None = None
    calls: list[Call] = []
    extra: dict[str, Any] = {}


class Bar(msgspec.Struct):
    """Something that was under way for a while.

    Attributes:
        lane: whose it is.
        end: None while it is still under way.
    """

    lane: Literal["model", "tools", "subagents", "people", "waits"]
    name: str
    seq: int
    start: dt.datetime
    end: dt.datetime | None = None
    tone: Tone = "plain"


class Story:
    """The story of one run, event by event.

    Attributes:
        turns: in order.
        bars: in the order in which they began.
    """

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.bars: list[Bar] = []
        self._open: dict[tuple[str, str], Bar] = {}
        self._calls: dict[str, Call] = {}
        self._asked_at: dt.datetime | None = None
        self._model: str | None = None
        self._last: dt.datetime | None = None
        """When the event before this one was."""

    def take(self, event: AgentRunEvent) -> None:
        """The next event."""
        self._take(event)
        self._last = event.at

    def _take(self, event: AgentRunEvent) -> None:
        if event.type in TERMINAL:
            self._ended(event)
            return
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event)

    # ------------------------------------------------------------------------------------------------------------------ what is said

    def _note(self, event: AgentRunEvent, text: str, tone: Tone = "mark") -> None:
        self.turns.append(Turn("note", event.seq, event.step, event.at, text, tone))

    def _started(self, event: AgentRunEvent) -> None:
        data = event.data
        for key in list(self._open):
            # Whatever was under way when a process died ended nobody knows when; that is the last that was seen of it.
            self._close(key, event, "mark", self._last)
        if data.get("resumed"):
            self._note(event, f"{'reopened' if data.get('reopened') else 'resumed'} (epoch {data['epoch']}, owner {data['owner']})")
            return
        if "forked_from" in data and event.seq > 1:
            origin = data["forked_from"]
            self._note(event, f"from here on a fork of {origin['run_id']} at seq {origin['seq']}")
            return
        if data.get("user_message") is not None:
            self.turns.append(Turn("user", event.seq, event.step, event.at, data["user_message"], parts=data.get("user_parts", [])))

    def _called(self, event: AgentRunEvent) -> None:
        data = event.data
        self._asked_at, self._model = event.at, data["model"]
        self._begin("model", "", event, data["model"])

    def _answered(self, event: AgentRunEvent) -> None:
        data = event.data
        self._close(("model", ""), event, "good")
        self._calls = {}
        turn = Turn(
            "assistant",
            event.seq,
            event.step,
            event.at,
            data["text"],
            model=self._model,
            usage=data["usage"],
            cost_usd=data["cost_usd"],
            took_s=(event.at - self._asked_at).total_seconds() if self._asked_at is not None else None,
            calls=[],
            extra=data.get("imported", {}),
        )
        for asked in data["tool_calls"]:
            call = Call(asked["id"], asked["tool_name"], asked["arguments"], event.seq, notes=[])
            self._calls[call.call_id] = call
            turn.calls.append(call)
        self.turns.append(turn)

    def _failed_model(self, event: AgentRunEvent) -> None:
        data = event.data
        self._close(("model", ""), event, "bad")
        self._note(event, f"the request to {data['model']} failed ({data['error_type']}, {data['classification']}): {data['error']}", "bad")

    def _routed(self, event: AgentRunEvent) -> None:
        plan = event.data["plan"]
        if plan is None:
            return
        self._calls = {}
        turn = Turn("note", event.seq, event.step, event.at, "the router delegated before the model was asked", "mark", calls=[])
        for node in plan["nodes"]:
            call = Call(node["id"], f"transfer_to_{node['subagent']}", {"task": node["task"]}, event.seq, notes=[])
            self._calls[call.call_id] = call
            turn.calls.append(call)
        self.turns.append(turn)

    # ------------------------------------------------------------------------------------------------------------------ calls

    def _call_started(self, event: AgentRunEvent) -> None:
        data = event.data
        call = self._calls.get(data.get("tool_call_id", ""))
        subagent = event.type == "subagent_started"
        if call is not None:
            if call.started_at is not None:
                call.notes.append(f"started again at seq {event.seq}")
            call.seq, call.started_at = event.seq, event.at
            if subagent:
                call.child = data["run_id"]
        name = data["subagent_name"] if subagent else data["tool_name"]
        self._begin("subagents" if subagent else "tools", data.get("tool_call_id") or data.get("correlation_id", ""), event, name)

    def _call_failed(self, event: AgentRunEvent) -> None:
        data = event.data
        self._close(("tools", data["tool_call_id"]), event, "bad")
        if (call := self._calls.get(data["tool_call_id"])) is not None:
            call.notes.append(f"attempt {data['attempt']} failed ({data['error_type']}, {data['classification']}): {data['error']}")

    def _subagent_ended(self, event: AgentRunEvent) -> None:
        data = event.data
        call_id = data.get("tool_call_id") or data.get("correlation_id", "")
        self._close(("subagents", call_id), event, "good" if data.get("success") else "bad")
        call = self._calls.get(call_id)
        if call is None:
            return
        if event.type == "subagent_waiting":
            call.notes.append(f"the subagent was laid down: {data['reason']}")
        elif not data["success"]:
            call.notes.append(f"the subagent's run ended as {data.get('state') or 'nothing'}: {data['error']}")

    def _call_ended(self, event: AgentRunEvent) -> None:
        data = event.data
        good = event.type == "tool_deferred" or data["success"]
        self._close(("tools", data["tool_call_id"]), event, "good" if good else "mark" if data["outcome"] == "unknown" else "bad")
        call = self._calls.get(data["tool_call_id"])
        if call is None:
            return
        call.ended, call.ended_at = event.seq, event.at
        if event.type == "tool_deferred":
            call.outcome = "deferred"
            call.notes.append(f"goes on in the background as ticket {data['ticket_id']}")
            return
        call.outcome, call.output, call.error = data["outcome"], data["output"], data["error"]

    def _decided(self, event: AgentRunEvent) -> None:
        data = event.data
        by = f" by {data['policy_id']}" if data["policy_id"] else ""
        why = f": {data['reason']}" if data["reason"] else ""
        call = self._calls.get(data.get("tool_call_id", ""))
        changed = data.get("updated_tool_args")
        if call is not None and changed is not None:
            call.notes.append(f"arguments were changed{by}")
            call.arguments = changed
        if data["action"] == "allow":
            return
        sentence = f"policy: {data['action']}{by}{why}"
        if call is not None:
            call.notes.append(sentence)
        else:
            self._note(event, sentence, "bad")

    def _asked_person(self, event: AgentRunEvent) -> None:
        data = event.data
        what = "approval" if event.type == "approval_requested" else "input"
        self._begin("people", data["request_id"], event, f"{what}: {data['tool_name']}")
        if (call := self._calls.get(data["tool_call_id"])) is not None:
            why = data.get("prompt") or data.get("reason")
            call.notes.append(f"a person was asked for {what}{f': {why}' if why else ''}")

    def _person_answered(self, event: AgentRunEvent) -> None:
        data = event.data
        self._close(("people", data["request_id"]), event, "good" if data["outcome"] in ("granted", "answered") else "bad")
        if (call := self._calls.get(data["tool_call_id"])) is not None:
            said = data.get("reason") or data.get("value")
            call.notes.append(f"{data['outcome']} by {data['by']}{f': {said}' if said else ''}")

    # ------------------------------------------------------------------------------------------------------------------ the rest

    def _controlled(self, event: AgentRunEvent) -> None:
        data = event.data
        if data["action"] == "pause":
            self._begin("waits", "pause", event, "paused")
        elif data["action"] == "resume":
            self._close(("waits", "pause"), event, "plain")
        why = f": {data['reason']}" if data["reason"] else ""
        self._note(event, f"{data['action']} requested by {data['origin']}{why}")

    def _doubted(self, event: AgentRunEvent) -> None:
        data = event.data
        what = data.get("tool_name") or ("compaction" if data["effect"] == "compaction" else "model call")
        self._note(event, f"in doubt: {what} was started at seq {data['intent_seq']} and has no result ({data['resolution']})")

    def _background_ended(self, event: AgentRunEvent) -> None:
        data = event.data
        if event.type == "tool_background_resolved":
            self._note(event, f"the background tool {data['tool_name']} (ticket {data['ticket_id']}) has ended", "good")
        else:
            self._note(event, f"the background tool {data['tool_name']} (ticket {data['ticket_id']}) failed: {data['error']}", "bad")

    def _rejected(self, event: AgentRunEvent) -> None:
        self._note(event, f"the answer has not the required form: {event.data['error']}", "bad")

    def _compacted(self, event: AgentRunEvent) -> None:
        data = event.data
        if event.type == "compaction_failed":
            self._note(event, f"the compaction failed: {data['error']}", "bad")
            return
        told = f": {data['summary']}" if data["summary"] is not None else ""
        self._note(event, f"{data['dropped_messages']} messages were taken out of what the model sees{told}")

    def _said(self, event: AgentRunEvent) -> None:
        self._note(event, event.message or event.type.replace("_", " "))

    def _ended(self, event: AgentRunEvent) -> None:
        for key in list(self._open):
            self._close(key, event, "mark")
        tone: Tone = "bad" if event.type == "run_failed" else "good" if event.state == "completed" else "mark"
        self._note(event, f"{event.state}{f': {event.message}' if event.message else ''}", tone)

    # ------------------------------------------------------------------------------------------------------------------ bars

    def _begin(self, lane: Literal["model", "tools", "subagents", "people", "waits"], key: str, event: AgentRunEvent, name: str) -> None:
        bar = Bar(lane, name, event.seq, event.at)
        self.bars.append(bar)
        self._open[lane, key] = bar

    def _close(self, key: tuple[str, str], event: AgentRunEvent, tone: Tone, at: dt.datetime | None = None) -> None:
        bar = self._open.pop(key, None)
        if bar is not None:
            bar.end, bar.tone = at or event.at, tone


_HANDLERS: dict[str, Callable[[Story, AgentRunEvent], None]] = {
    "run_started": Story._started,
    "llm_called": Story._called,
    "llm_completed": Story._answered,
    "llm_failed": Story._failed_model,
    "subagents_routed": Story._routed,
    "tool_started": Story._call_started,
    "subagent_started": Story._call_started,
    "tool_failed": Story._call_failed,
    "tool_completed": Story._call_ended,
    "tool_deferred": Story._call_ended,
    "subagent_completed": Story._subagent_ended,
    "subagent_waiting": Story._subagent_ended,
    "policy_decision": Story._decided,
    "approval_requested": Story._asked_person,
    "input_requested": Story._asked_person,
    "approval_resolved": Story._person_answered,
    "input_resolved": Story._person_answered,
    "control_requested": Story._controlled,
    "effect_in_doubt": Story._doubted,
    "tool_background_resolved": Story._background_ended,
    "tool_background_failed": Story._background_ended,
    "output_rejected": Story._rejected,
    "thread_compacted": Story._compacted,
    "compaction_failed": Story._compacted,
    "limit_reached": Story._said,
    "warning": Story._said,
    "circuit_open": Story._said,
}
