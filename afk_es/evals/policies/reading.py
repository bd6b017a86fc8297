"""One recorded run under another policy: each decision asked again, compared, and called exact or bounded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from afk_es.evals.policies.changes import ChangedDecision, RunWhatIf, Turn
from afk_es.evals.policies.history import Origin, PolicyHistory, Question
from afk_es.evals.policies.sums import PolicySums
from afk_es.evals.policies.tried_policy import ALLOWED, Decision, TriedPolicy, recorded_decision
from afk_es.machine import AgentRunEvent
from afk_es.machine.events import RunRef

KEPT_CHANGES = 20
"""Changed decisions of one run that are held, the first ones; the others are counted."""

_ASKS = frozenset({"request_approval", "request_user_input"})
_STOPS = frozenset({"deny", "defer"})
_TURNS: dict[str, Turn] = {
    "deny": "denied",
    "allow": "allowed",
    "request_approval": "asked",
    "request_user_input": "asked",
    "defer": "put_off",
}

Below = Callable[[str, str | None, bool], Awaitable[str | None]]
"""Looks at a subagent's run, from where the family has gone elsewhere, if it has; whether it is a run of this one, or only one whose answer
this one took over. Says where that run goes elsewhere, or None.
"""


class PolicyReading:
    """The events of one run, taken in one after the other.

    Args:
        tried: the policy for this run; None where it is not about it: then the decisions stand, and only subagents' runs are followed.
        whence: the runs that its events were written for.
        parted: where its family has gone elsewhere before.
        sums: what is added up; None for a run that nobody asks about.
        fresh: whether an event has not been counted for another run that shares it.
        below: looks at a subagent's run.

    Attributes:
        parted: where the run goes elsewhere, or a run that bounds it does.
    """

    def __init__(
        self,
        first: AgentRunEvent,
        tried: TriedPolicy | None,
        whence: tuple[Origin, ...],
        parted: str | None,
        sums: PolicySums | None,
        fresh: Callable[[Origin, int], bool],
        below: Below,
    ) -> None:
        self.parted = parted
        self._first_event = first
        base = whence[-2] if len(whence) > 1 else None
        self._forked_from: RunRef | None = None if base is None or base.upto is None else {"run_id": base.run_id, "seq": base.upto}
        self._tried = tried
        self._sums = sums
        self._fresh = fresh
        self._below = below
        self._history = PolicyHistory(whence)
        self._elsewhere = parted
        self._first: ChangedDecision | None = None
        self._changes: list[ChangedDecision] = []
        self._changed = self._exact = self._bounded = 0
        self._open: dict[str, tuple[ChangedDecision, bool]] = {}
        self._children: dict[str, str | None] = {}

    async def take(self, event: AgentRunEvent) -> None:
        """Take in the next event."""
        question = self._history.take(event)
        data = event.data
        match event.type:
            case "policy_decision":
                if question is not None and self._tried is not None:
                    self._decide(event, question, self._tried)
            case "llm_completed" | "subagents_routed":
                self._settle()
            case "tool_started":
                self._executed(data["tool_call_id"])
            case "subagent_started":
                self._executed(data.get("tool_call_id"))
                if data["run_id"] not in self._children:
                    self._children[data["run_id"]] = await self._below(data["run_id"], self.parted, True)
            case "subagent_completed" | "subagent_waiting":
                await self._returned(event)
            case "approval_resolved" | "input_resolved":
                self._answered(data["tool_call_id"], f"{data['outcome']} by {data['by']}")
            case _:
                pass

    def row(self) -> RunWhatIf | None:
        """What there is to say of the run, once all events are taken in; None where the policy is not about it."""
        self._settle()
        if self._tried is None:
            return None
        first = self._first_event
        parent = first.data.get("parent")
        return RunWhatIf(
            run_id=first.run_id,
            thread_id=first.thread_id,
            agent_name=first.data.get("agent_name") or "",
            parent_run_id=parent["run_id"] if parent is not None else None,
            forked_from=self._forked_from,
            decisions=self._exact + self._bounded,
            exact=self._exact,
            bounded=self._bounded,
            first=self._first,
            parted=self._elsewhere,
            changed=self._changed,
            changes=tuple(self._changes),
        )

    def _decide(self, event: AgentRunEvent, question: Question, tried: TriedPolicy) -> None:
        counted = self._sums if self._sums is not None and self._fresh(self._history.origin, event.seq) else None
        data = event.data
        if data.get("edited"):
            if counted is not None:
                counted.edited += 1
            return
        exact = self.parted is None
        self._exact += exact
        self._bounded += not exact
        before = recorded_decision(data)
        after = tried.decide(question.put(tried)) if tried.asks(question.event_type) else ALLOWED
        if counted is not None:
            name = question.tool_name
            counted.take_decision(name, question.read_only(tried), exact=exact, copied="reused" in data, raised=before.raised)
        differs = _difference(before, after, question, tried)
        if not differs and not after.raised:
            return
        change = self._change(event, question, tried, (before, after), differs)
        if after.raised and counted is not None:
            counted.take_raised(change)
        if not differs:
            return
        self._changed += 1
        # A call of the model has no id, and what becomes of it is no matter.
        self._open[change.tool_call_id or f"seq {event.seq}"] = (change, counted is not None)
        if exact:
            origin = self._history.origin
            self.parted = f"{origin.run_id}:{event.seq}"

    def _change(
        self, event: AgentRunEvent, question: Question, tried: TriedPolicy, pair: tuple[Decision, Decision], differs: tuple[str, ...]
    ) -> ChangedDecision:
        before, after = pair
        again = before.action == after.action or (before.action in _ASKS and after.action in _ASKS)
        return ChangedDecision(
            run_id=event.run_id,
            seq=event.seq,
            step=event.step,
            event_type=question.event_type,
            tool_name=question.tool_name,
            tool_call_id=event.data.get("tool_call_id"),
            subagent_name=question.subagent_name,
            read_only=question.read_only(tried),
            arguments=question.arguments(tried),
            before=before,
            after=after,
            turn="otherwise" if again else _TURNS.get(after.action, "otherwise"),
            differs=differs,
            exact=self.parted is None,
        )

    def _executed(self, tool_call_id: str | None) -> None:
        if tool_call_id is not None and tool_call_id in self._open:
            change, counted = self._open[tool_call_id]
            self._open[tool_call_id] = (msgspec.structs.replace(change, executed=True), counted)

    def _answered(self, tool_call_id: str, person: str) -> None:
        if tool_call_id in self._open:
            change, counted = self._open[tool_call_id]
            self._open[tool_call_id] = (msgspec.structs.replace(change, person=person), counted)

    def _settle(self) -> None:
        """What became of the calls of the last answer is known by now."""
        for change, counted in self._open.values():
            if change.exact:
                self._first = change
            if len(self._changes) < KEPT_CHANGES:
                self._changes.append(change)
            if counted and self._sums is not None:
                self._sums.take_change(change)
        self._open.clear()

    async def _returned(self, event: AgentRunEvent) -> None:
        """A subagent has answered, or was laid down: what its run does otherwise, this one would have been told."""
        run_id = event.data.get("run_id")
        if run_id is None or self.parted is not None:
            return
        if run_id not in self._children and "reused" in event.data:
            self._children[run_id] = await self._below(run_id, None, False)
        if (parted := self._children.get(run_id)) is not None:
            self.parted = self._elsewhere = parted


def _difference(before: Decision, after: Decision, question: Question, tried: TriedPolicy) -> tuple[str, ...]:
    """In what two decisions differ, as far as the run, the model or a person would have been told."""
    differs = ["action"] if before.action != after.action else []
    if before.action not in _STOPS and after.action not in _STOPS and before.arguments != after.arguments:
        own = question.arguments(tried)
        if (own if before.arguments is None else before.arguments) != (own if after.arguments is None else after.arguments):
            differs.append("arguments")
    if after.action != "allow" and before.action != "allow" and before.reason != after.reason:
        differs.append("reason")
    if before.action in _ASKS and after.action in _ASKS and before.payload != after.payload:
        differs.append("payload")
    return tuple(differs)
