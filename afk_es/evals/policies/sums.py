"""Adds up what another policy means for run after run, in memory that does not grow with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from afk_es.evals.policies.changes import ChangedDecision, PolicyWhatIf, RunWhatIf, ToolWhatIf

KEPT_RUNS = 200
"""Changed runs that an answer holds; the others are counted."""

KEPT_EXECUTED = 100
"""Calls that were made and would have been denied that are held: those that write before those that read."""


@dataclass(slots=True)
class _OfTool:
    read_only: bool | None
    decisions: int = 0
    exact: int = 0
    undone: int = 0
    turns: Counter[str] = field(default_factory=Counter)


class PolicySums:
    """The numbers of a `PolicyWhatIf`, and the first of what they count."""

    def __init__(self) -> None:
        self.runs: int = 0
        self.unchanged: int = 0
        self.changed: int = 0
        self.carried: int = 0
        self.others: int = 0
        self.decisions: int = 0
        self.exact: int = 0
        self.copied: int = 0
        self.edited: int = 0
        self.raised_before: int = 0
        self.raised: int = 0
        self._changed_exact = self._changed_bounded = self._undone = self._undone_writes = 0
        self._raised_first: ChangedDecision | None = None
        self._tools: dict[str | None, _OfTool] = {}
        self._writes: list[ChangedDecision] = []
        self._reads: list[ChangedDecision] = []
        self._rows: list[RunWhatIf] = []

    def take_decision(self, tool_name: str | None, read_only: bool | None, *, exact: bool, copied: bool, raised: bool) -> None:
        """A decision, whether it changes or not; `raised`: the recorded one came from a rule that could not be evaluated."""
        self.decisions += 1
        self.exact += exact
        self.copied += copied
        self.raised_before += raised
        tool = self._tools.get(tool_name)
        if tool is None:
            tool = self._tools[tool_name] = _OfTool(read_only)
        tool.decisions += 1

    def take_raised(self, change: ChangedDecision) -> None:
        """A decision that the new policy could not make."""
        self.raised += 1
        if self._raised_first is None:
            self._raised_first = change

    def take_change(self, change: ChangedDecision) -> None:
        """A decision that changes."""
        tool = self._tools[change.tool_name]
        tool.turns[change.turn] += 1
        tool.exact += change.exact
        self._changed_exact += change.exact
        self._changed_bounded += not change.exact
        if not change.undone:
            return
        tool.undone += 1
        self._undone += 1
        self._undone_writes += change.read_only is not True
        kept = self._reads if change.read_only else self._writes
        if len(kept) < KEPT_EXECUTED:
            kept.append(change)

    def take_run(self, row: RunWhatIf) -> None:
        """A run that was asked about."""
        self.runs += 1
        if not row.changed:
            self.unchanged += 1
            return
        self.changed += row.first is not None
        self.carried += row.first is None
        if len(self._rows) < KEPT_RUNS:
            self._rows.append(row)

    def answer(self, log: str) -> PolicyWhatIf:
        """All of it."""
        tools = [_row(name, tool) for name, tool in self._tools.items()]
        return PolicyWhatIf(
            log=log,
            runs=self.runs,
            unchanged=self.unchanged,
            changed=self.changed,
            carried=self.carried,
            others=self.others,
            decisions=self.decisions,
            exact=self.exact,
            bounded=self.decisions - self.exact,
            changed_exact=self._changed_exact,
            changed_bounded=self._changed_bounded,
            raised_before=self.raised_before,
            raised=self.raised,
            raised_first=self._raised_first,
            copied=self.copied,
            edited=self.edited,
            undone=self._undone,
            undone_writes=self._undone_writes,
            tools=tuple(sorted(tools, key=lambda tool: (-tool.changed, -tool.decisions, tool.tool_name or ""))),
            executed=tuple([*self._writes, *self._reads][:KEPT_EXECUTED]),
            changed_runs=tuple(self._rows),
        )


def _row(name: str | None, tool: _OfTool) -> ToolWhatIf:
    return ToolWhatIf(name, tool.read_only, tool.decisions, exact=tool.exact, undone=tool.undone, **tool.turns)
