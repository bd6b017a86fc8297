"""What another policy means for recorded runs, as data: decisions that change, per run, per tool, and in all."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from afk_es.evals.policies.tried_policy import Decision
from afk_es.machine.events import RunRef

Turn = Literal["denied", "allowed", "asked", "put_off", "otherwise"]
"""What becomes of a changed decision: newly denied, allowed, put before a person or put off; or the same with another reason, other
arguments, another question.
"""


class ChangedDecision(msgspec.Struct, frozen=True):
    """A decision that would be another.

    Attributes:
        run_id, seq, step: of the recorded `policy_decision`.
        tool_name: None for a call of the model.
        read_only: whether the tool said that it only reads; None for the model.
        arguments: of the call, as they were put before the policy.
        before, after: what was recorded, and what it would be.
        turn: what changes about it.
        differs: in what: "action", "arguments", "reason", "payload".
        exact: whether this very question would have been asked; otherwise it is one of a run that would have gone elsewhere by then.
        executed: whether the tool or subagent was started in the recorded run.
        person: what a person, or the fallback, had answered about the call: "granted by ann".
    """

    run_id: str
    seq: int
    step: int
    event_type: str
    tool_name: str | None
    tool_call_id: str | None
    subagent_name: str | None
    read_only: bool | None
    arguments: dict[str, Any]
    before: Decision
    after: Decision
    turn: Turn
    differs: tuple[str, ...]
    exact: bool
    executed: bool = False
    person: str | None = None

    @property
    def undone(self) -> bool:
        """Whether it was done, and would have been denied."""
        return self.executed and self.after.action == "deny"


class RunWhatIf(msgspec.Struct, frozen=True):
    """What another policy means for one run.

    Attributes:
        parent_run_id: of a subagent's run.
        forked_from: of a fork.
        decisions: of the policy in it, with those that a fork shares.
        exact, bounded: how many of them are one and the other.
        first: the first that changes, where the run itself goes elsewhere with it.
        parted: "RUN:SEQ" of a change in another run of the family, from which on this one is bounded; None where there is none.
        changed: decisions that change.
        changes: the first of them.
    """

    run_id: str
    thread_id: str
    agent_name: str
    parent_run_id: str | None
    forked_from: RunRef | None
    decisions: int
    exact: int
    bounded: int
    first: ChangedDecision | None
    parted: str | None
    changed: int
    changes: tuple[ChangedDecision, ...]


class ToolWhatIf(msgspec.Struct, frozen=True):
    """What another policy means for one tool, or for the model (`tool_name` None): decisions, and those that change, by what they become.

    `exact` are the changed ones that are; `undone` the calls that were made and would have been denied.
    """

    tool_name: str | None
    read_only: bool | None
    decisions: int = 0
    exact: int = 0
    denied: int = 0
    allowed: int = 0
    asked: int = 0
    put_off: int = 0
    otherwise: int = 0
    undone: int = 0

    @property
    def changed(self) -> int:
        """How many change."""
        return self.denied + self.allowed + self.asked + self.put_off + self.otherwise


class PolicyWhatIf(msgspec.Struct, frozen=True):
    """What another policy means for recorded runs. No model, tool or person was asked, and nothing was written.

    Attributes:
        log: where they are recorded.
        runs: how many were looked at.
        unchanged: runs in which every decision stays.
        changed: runs that go elsewhere at a decision of their own, which is exact.
        carried: runs with changed decisions that are all bounded, since another run of the family goes elsewhere first.
        others: runs that the policy is not about: of other agents than the one that was given.
        decisions: put before the policy in all of them; what forks share is counted once.
        exact, bounded: how many of them are one and the other.
        changed_exact, changed_bounded: of those, how many change.
        raised_before: recorded denials that came from a rule or role that could not be evaluated.
        raised: decisions that the new policy could not make, and that deny for it; `raised_first` is the first of them.
        copied: decisions that a fork took over from the record.
        edited: decisions that a person made for a fork; they stand.
        undone: calls that were made and would have been denied; `undone_writes` of them of tools that are not read-only.
        tools: per tool, those with the most changes first.
        executed: the first of the calls that were made and would have been denied, those that write before those that read.
        changed_runs: the first runs with changed decisions, the newest first.
        model_calls, tool_calls, cost_usd: what this answer took: nothing.
    """

    log: str
    runs: int
    unchanged: int
    changed: int
    carried: int
    others: int
    decisions: int
    exact: int
    bounded: int
    changed_exact: int
    changed_bounded: int
    raised_before: int
    raised: int
    raised_first: ChangedDecision | None
    copied: int
    edited: int
    undone: int
    undone_writes: int
    tools: tuple[ToolWhatIf, ...]
    executed: tuple[ChangedDecision, ...]
    changed_runs: tuple[RunWhatIf, ...]
    model_calls: int = 0
    tool_calls: int = 0
    cost_usd: float = 0.0

    @property
    def same(self) -> bool:
        """Whether nothing would be decided otherwise."""
        return not self.changed_exact and not self.changed_bounded
