"""What subagents use counts as their parent's, to the token and to the cent, and what the caller is told of costs is the sum of the answers."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

from afk_es.core import AgentResult
from afk_es.machine import AgentRunEvent, RunState
from afk_es.testing.invariants.course import course_of
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.observing import ObservedRun

Spent: TypeAlias = tuple[Decimal | None, tuple[int, int, int]]
"""A cost, where any is known, and input, output and all tokens."""

_EXACT = Decimal("1e-9")
"""Sums of many costs pass through a float once per run."""


class ChildrenAddUp(Invariant):
    """A subagent's cost and usage are added to its parent's as its own log has them, also where it failed or was cancelled.

    A result's cost and usage are those of its run and of the subagents that have ended.
    """

    name = "children's cost and usage add up"

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Compare what the parent is told with what the child's log has."""
        if run.parent is not None and event.seq == 1:
            self._judge_parent(run, event)
        if event.type != "subagent_completed":
            return
        data = event.data
        child = self.simulation.runs.get(data.get("run_id", ""))
        if child is None:
            if data["success"]:
                raise self.violated(f"subagent {data['subagent_name']} succeeded, and it has no run", run)
            return
        if data.get("state") is not None or data.get("cost_usd") is not None:
            self._equal(run, f"subagent {data['subagent_name']}", data.get("cost_usd"), _tokens(data.get("usage")), self._spent(child))

    def ended(self, run: ObservedRun, result: AgentResult) -> None:
        """Compare what the caller is told with what the logs have."""
        usage = result.usage_aggregate
        tokens = (usage.input_tokens, usage.output_tokens, usage.total_tokens)
        course = course_of(run)
        self._equal(run, "the result", result.total_cost_usd, tokens, (course.cost_usd, course.tokens))
        if result.state in ("completed", "degraded", "failed", "cancelled"):
            self._judge_family(run, result)

    # ------------------------------------------------------------------------------------------------------------------------ the inside

    def _judge_parent(self, run: ObservedRun, event: AgentRunEvent) -> None:
        parent = self.simulation.runs.get(run.parent or "")
        calls = course_of(parent).started.values() if parent is not None else ()
        if not any(start.event.data.get("run_id") == run.run_id for call in calls for start in call.starts):
            raise self.violated(f"it says that it is a subagent's of {run.parent}, which started none with that id", run)

    def _spent(self, run: ObservedRun) -> Spent:
        """Of a run and of the subagents that it was waiting for when it was given up, whose end it has not seen."""
        course = course_of(run)
        cost, tokens = course.cost_usd, course.tokens
        for call in course.all_calls:
            below = self.simulation.runs.get(call.under_way.event.data.get("run_id", "")) if call.under_way is not None else None
            if below is not None:
                more, others = self._spent(below)
                cost = more if cost is None else cost + (more or 0)
                tokens = (tokens[0] + others[0], tokens[1] + others[1], tokens[2] + others[2])
        return cost, tokens

    def _equal(self, run: ObservedRun, who: str, cost: float | None, tokens: tuple[int, int, int], spent: Spent) -> None:
        told, was = None if cost is None else Decimal(repr(cost)), spent[0]
        if (told is None) != (was is None) or (told is not None and was is not None and abs(told - was) > _EXACT):
            raise self.violated(f"{who} is said to have cost {told} USD, and it was {was}", run)
        if tokens != spent[1]:
            raise self.violated(f"{who} is said to have used {tokens} tokens, and it was {spent[1]}", run)

    def _judge_family(self, run: ObservedRun, result: AgentResult) -> None:
        """All answers of the family, one by one: what a child that was never told of has spent is missing."""
        spent = Decimal(0)
        family = {run.run_id}
        for each in self.simulation.runs.values():
            if each.run_id in family or each.parent in family:
                family.add(each.run_id)
                spent += course_of(each).own_cost_usd or 0
        told = Decimal(repr(result.total_cost_usd or 0.0))
        if abs(told - spent) > _EXACT:
            raise self.violated(f"its caller is told of {told} USD, and with its subagents it has spent {spent}", run)


def _tokens(usage: dict[str, int] | None) -> tuple[int, int, int]:
    return (0, 0, 0) if usage is None else (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"])
