"""The rules of `afk-es check` as assertions, and what a run and its subagents may have used together."""

from __future__ import annotations

from typing import Any

import msgspec

from afk_es.debugger import parse
from afk_es.debugger.checks import Checked, Checks, check
from afk_es.debugger.figures import count, dollars, span
from afk_es.errors import UsageError
from afk_es.evals.evidence import Evidence
from afk_es.evals.verdict import Verdict


class RunChecks:
    """An assertion: a run keeps all of these rules. Made by `checks`."""

    def __init__(self, wanted: Checks, name: str) -> None:
        self.name: str = name
        self.wanted = wanted

    async def check(self, evidence: Evidence) -> Verdict:
        """Its verdict; each rule's is in its details."""
        found = await check(await evidence.recording(), self.wanted)
        broken = [each for each in found.verdicts if not each.ok]
        told = "; ".join(f"{each.rule}: {each.message}" for each in broken or found.verdicts)
        return Verdict(self.name, found.ok, told, positions=_places(found), details={"rules": msgspec.to_builtins(found.verdicts)})


def checks(wanted: Checks | None = None, /, *, name: str | None = None, **rules: Any) -> RunChecks:
    """An assertion made of the rules that `afk-es check` knows, with the same meaning: they are of the run itself.

    Args:
        wanted: the rules; or each by its name, as `checks(no_errors=True, max_repeats=2, never=('tool = "drop"',))`; see
            `afk_es.debugger.checks.Checks`.
        name: what reports call it; default, the rules.

    Raises:
        UsageError: no rule, one that there is not, or a value that it cannot have.
        ExpressionError: a `never` that is no expression.
    """
    if wanted is None:
        unknown = set(rules) - set(Checks.__struct_fields__)
        if unknown:
            raise UsageError(f"there is no rule {', '.join(sorted(unknown))}; there are: {', '.join(Checks.__struct_fields__)}")
        try:
            wanted = msgspec.convert(_listed(rules), Checks)
        except msgspec.ValidationError as error:
            raise UsageError(f"a rule cannot have that value: {error}") from error
    elif rules:
        raise UsageError("give the rules as one Checks, or each by its name, not both")
    if wanted == Checks():
        raise UsageError("there is nothing to check: give at least one rule, such as no_errors=True or max_cost_usd=0.5")
    for expression in wanted.never:
        parse(expression)
    given = [field for field in Checks.__struct_fields__ if getattr(wanted, field) != getattr(Checks(), field)]
    return RunChecks(wanted, name or f"checks {', '.join(_rule(field, getattr(wanted, field)) for field in given)}")


def no_errors() -> RunChecks:
    """An assertion: no attempt, call or answer of the run failed, not even one that was made good."""
    return checks(no_errors=True, name="no_errors")


_MANY = frozenset({"tool_called", "no_tool", "never"})


def _listed(rules: dict[str, Any]) -> dict[str, Any]:
    """One name or expression may stand for a list of one."""
    return {name: (value,) if name in _MANY and isinstance(value, str) else value for name, value in rules.items()}


def _rule(field: str, value: Any) -> str:
    if value is True:
        return field
    return f"{field}={'|'.join(value) if isinstance(value, tuple) else value}"


def _places(found: Checked) -> tuple[str, ...]:
    return tuple(dict.fromkeys(place for each in found.verdicts if not each.ok for place in each.positions))


class Within:
    """An assertion: a run stayed within these. Made by `within`."""

    def __init__(self, limits: dict[str, float]) -> None:
        self.name: str = f"within {', '.join(f'{name}={value:g}' for name, value in limits.items())}"
        self._limits = limits

    def check(self, evidence: Evidence) -> Verdict:
        """Its verdict; what was used is in its details."""
        used = _used(evidence)
        told, over = [], False
        for name, limit in self._limits.items():
            amount = used[name]
            if amount is None:
                told.append("its cost is not known: no answer carried a price")
                over = True
            elif amount > limit:
                told.append(f"{_amount(name, amount)}, at most {_amount(name, limit)}")
                over = True
        if not over:
            told = [_amount(name, amount) for name in self._limits if (amount := used[name]) is not None]
        return Verdict(self.name, not over, "; ".join(told), details={"used": {name: used[name] for name in self._limits}})


def within(
    *,
    cost_usd: float | None = None,
    tokens: int | None = None,
    steps: int | None = None,
    duration_s: float | None = None,
    llm_calls: int | None = None,
    tool_calls: int | None = None,
) -> Within:
    """An assertion: a run stayed within what is given, when it had ended. An `EvalBudget` cuts the run instead.

    Args:
        cost_usd: known costs, its subagents' too; a run of which no answer carried a price fails.
        tokens: in and out, as far as providers said how many, its subagents' too.
        duration_s: seconds in which a process ran it.
        steps, llm_calls, tool_calls: of the run itself.

    Raises:
        UsageError: nothing is given, or less than 0.
    """
    given = {
        "cost_usd": cost_usd,
        "tokens": tokens,
        "steps": steps,
        "duration_s": duration_s,
        "llm_calls": llm_calls,
        "tool_calls": tool_calls,
    }
    limits = {name: value for name, value in given.items() if value is not None}
    if not limits:
        raise UsageError(f"within what? Give at least one of {', '.join(given)}")
    for name, value in limits.items():
        offered: object = value
        if isinstance(offered, bool) or not isinstance(offered, (int, float)) or not offered >= 0:
            raise UsageError(f"{name} is a number from 0, not {offered!r}")
    return Within(limits)


def _used(evidence: Evidence) -> dict[str, float | None]:
    result = evidence.result
    now = result.state_snapshot
    # A run that asked no model has spent nothing, which is known.
    cost = result.total_cost_usd if now.llm_calls or result.subagent_executions else 0.0
    return {
        "cost_usd": cost,
        "tokens": result.usage_aggregate.total_tokens,
        "steps": now.step,
        "duration_s": now.elapsed_s,
        "llm_calls": now.llm_calls,
        "tool_calls": now.tool_calls,
    }


def _amount(name: str, amount: float) -> str:
    match name:
        case "cost_usd":
            return dollars(amount)
        case "duration_s":
            return span(amount)
        case _:
            return f"{count(int(amount))} {name.replace('_', ' ')}"
