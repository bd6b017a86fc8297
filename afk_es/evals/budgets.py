"""Counts what a run uses, over its subagents too, and objects to its next call once a budget is used up. It judges nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from afk_es.evals.models import EvalBudget
from afk_es.evals.outcomes import PassedBudget
from afk_es.machine import AgentRunEvent, Draft, RunState

CALLS = frozenset({"step_started", "llm_called", "tool_batch_started", "tool_started", "subagent_started", "compaction_started"})
"""Events that announce something which uses a budget. A run that has used one up may still come to its end by itself."""

_SPENDING = frozenset({"llm_completed", "thread_compacted", "compaction_failed"})
_CROWDED = frozenset({408, 429, 503, 504, 529})


class Meter:
    """What a run and its subagents have used; the run's guard.

    A subagent's calls are counted as they are made, so what a parent's `subagent_completed` says of them is not. Of subagents that work at
    the same time, one may have decided on its next call in the moment in which another's answer uses up the budget.

    Args:
        budget: what may be used; None for nothing that is limited.
        total: the meter of the whole suite, which is told of everything as well.
        label: stands before the names of budgets.

    Attributes:
        passed: the first budget that was passed, or that cut the run; None where none was.
        tokens_known: whether every answer said how many tokens it took.
        cost_known: whether every answer had a price.
        crowded: whether the provider refused or stalled a call, as by a rate limit.
    """

    def __init__(self, budget: EvalBudget | None = None, total: Meter | None = None, label: str = "") -> None:
        self._budget = budget if budget is not None else EvalBudget()
        self._total = total
        self._label = label
        self._began: dt.datetime | None = None
        self._maximum_cost = None if self._budget.max_total_cost_usd is None else Decimal(repr(self._budget.max_total_cost_usd))
        self.tokens: int = 0
        self.cost: Decimal = Decimal(0)
        self.tokens_known: bool = True
        self.cost_known: bool = True
        self.steps: int = 0
        self.llm_calls: int = 0
        self.tool_calls: int = 0
        self.crowded: bool = False
        self.passed: PassedBudget | None = None

    def note(self, event: AgentRunEvent) -> None:
        """Count an event."""
        if self._total is not None:
            self._total._count(event)
            if self._began is None:
                self._began = event.at
        self._count(event)
        maximum = self._budget.max_duration_s
        if maximum is not None and self._began is not None and (used := (event.at - self._began).total_seconds()) > maximum:
            self._pass("max_duration_s", maximum, round(used, 3))

    def objection(self, state: RunState, drafts: Sequence[Draft]) -> str | None:
        """Why nothing of this may be begun: a budget that is used up, of the run or of the whole suite."""
        kinds = {draft.type for draft in drafts}
        if kinds.isdisjoint(CALLS):
            return None
        spent = self.used_up(kinds)
        if spent is None and self._total is not None:
            spent = self._total.used_up(kinds)
            if self.passed is None:
                self.passed = spent
        return spent.message if spent is not None else None

    def used_up(self, kinds: Iterable[str] = ("step_started",)) -> PassedBudget | None:
        """The budget that leaves no room for what begins with these events, or None. It counts as passed from now on."""
        budget = self._budget
        if self.passed is None:
            if budget.max_total_tokens is not None and self.tokens >= budget.max_total_tokens:
                self._pass("max_total_tokens", budget.max_total_tokens, self.tokens)
            elif self._maximum_cost is not None and self.cost >= self._maximum_cost:
                self._pass("max_total_cost_usd", float(self._maximum_cost), float(self.cost))
            elif budget.max_steps is not None and self.steps >= budget.max_steps and "step_started" in kinds:
                self._pass("max_steps", budget.max_steps, self.steps)
        return self.passed

    def out_of_time(self, used: float) -> PassedBudget:
        """The time is over, while the run still goes on: it is to be cut."""
        self._pass("max_duration_s", self._budget.max_duration_s or 0.0, round(used, 3))
        assert self.passed is not None
        return self.passed

    def count_judging(self, details: dict[str, Any]) -> None:
        """Count what a criterion has spent itself, by its verdict's details; the suite's total has it, and the run's own meter does not."""
        if self._total is not None and "cost_usd" in details:
            self._total._spend(details.get("tokens"), details["cost_usd"], details.get("model"))

    # --------------------------------------------------------------------------------------------------------------------- the inside

    def _count(self, event: AgentRunEvent) -> None:
        kind, data = event.type, event.data
        if kind == "step_started":
            self.steps += 1
        elif kind == "llm_called":
            self.llm_calls += 1
        elif kind in ("tool_started", "subagent_started"):
            self.tool_calls += data.get("attempt", 1) == 1
        elif kind in _SPENDING:
            self._count_answer(event.data)
        elif kind == "llm_failed":
            self.crowded = self.crowded or data.get("status_code") in _CROWDED or data["error_type"] == "LLMTimeoutError"

    def _count_answer(self, data: dict[str, Any]) -> None:
        if "usage" not in data:
            return  # Turns were dropped, or a function summed them up: no model was asked.
        usage = data["usage"]
        self._spend(usage["total_tokens"] if usage is not None else None, data.get("cost_usd"), data.get("model"))

    def _spend(self, tokens: int | None, cost: float | None, model: str | None) -> None:
        if tokens is not None:
            self.tokens += tokens
        if cost is not None:
            self.cost += Decimal(repr(cost))
        self.tokens_known = self.tokens_known and tokens is not None
        self.cost_known = self.cost_known and cost is not None
        self._check_spent(model)

    def _check_spent(self, model: str | None) -> None:
        budget = self._budget
        if budget.max_total_tokens is not None:
            if not self.tokens_known:
                self._cannot_hold(
                    "max_total_tokens", budget.max_total_tokens, f"model {model!r} did not say how many tokens it took", _USAGE
                )
            elif self.tokens > budget.max_total_tokens:
                self._pass("max_total_tokens", budget.max_total_tokens, self.tokens)
        if self._maximum_cost is not None:
            limit = float(self._maximum_cost)
            if not self.cost_known:
                self._cannot_hold("max_total_cost_usd", limit, f"the price of model {model!r} is unknown", _PRICE)
            elif self.cost > self._maximum_cost:
                self._pass("max_total_cost_usd", limit, float(self.cost))

    def _pass(self, name: str, limit: float, used: float) -> None:
        if self.passed is None:
            name = self._label + name
            end = "" if used > limit else ", and it would have gone on"
            self.passed = PassedBudget(budget=name, limit=limit, used=used, message=f"{name}: {used:,g} of {limit:,g} used{end}")

    def _cannot_hold(self, name: str, limit: float, why: str, way_out: str) -> None:
        if self.passed is None:
            name = self._label + name
            message = f"{name} is {limit:,g}, but {why}, so the budget cannot be held: {way_out}"
            self.passed = PassedBudget(budget=name, limit=limit, used=None, message=message)


_PRICE = "register the model's price with LiteLLM, set LLMResponse.cost_usd in your model, or budget max_total_tokens instead"
_USAGE = "set LLMResponse.usage in your model, or budget max_steps instead"
