"""What most agents have to keep to, in a word each: `requires_approval("issue_refund")`, `stays_below(cost_usd=1.0)`, and their like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from afk_es.errors import ConfigurationError
from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.effects import ExecuteTool
from afk_es.testing.invariants.course import course_of
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.facts import Fact, PersonSays
from afk_es.testing.simulation.observing import ObservedRun

When = Callable[[Mapping[str, Any]], bool]
"""Says of a call's arguments whether the promise is about that call."""


class _RequiresApproval(Invariant):
    """Judged by what the world saw: who said yes to what, and what ran after it."""

    def __init__(self, tool: str, when: When | None) -> None:
        self.name = f"{tool} requires approval"
        self._tool = tool
        self._when = when
        self._granted: list[tuple[str, str, Any]] = []

    def answered(self, ask: Ask, fact: Fact) -> None:
        if isinstance(fact, PersonSays) and ask.kind == "approval" and fact.outcome == "yes":
            self._granted.append((ask.run_id, ask.about.tool_call_id, ask.about.arguments))

    def asked(self, ask: Ask) -> None:
        if ask.kind != "tool" or ask.name != self._tool or not isinstance(ask.effect, ExecuteTool):
            return
        arguments = ask.effect.call.arguments
        if self._when is not None and not self._when(ask.about):
            return
        if (ask.run_id, ask.effect.call.id, arguments) not in self._granted:
            raise self.violated(f"{self._tool} runs with {arguments}, and nobody has agreed to that", ask.run_id, ask.effect.seq)


def requires_approval(tool: str, *, when: When | None = None) -> Callable[[], Invariant]:
    """That a tool only ever runs after a person has said yes to that call with these arguments.

    Args:
        tool: its name.
        when: only for calls whose arguments are so, such as `lambda arguments: arguments["amount"] > 50`; default all.
    """
    return lambda: _RequiresApproval(tool, when)


class _AtMostOnce(Invariant):
    def __init__(self, tool: str, by: tuple[str, ...]) -> None:
        self.name = f"{tool} runs at most once" + (f" per {', '.join(by)}" if by else "")
        self._tool = tool
        self._by = by
        self._ran: Counter[str] = Counter()

    def asked(self, ask: Ask) -> None:
        if ask.kind != "tool" or ask.name != self._tool:
            return
        about = repr([ask.about.get(key) for key in self._by])
        self._ran[about] += 1
        if self._ran[about] > 1:
            raise self.violated(f"{self._tool} runs again with {ask.about}", ask.run_id, getattr(ask.effect, "seq", None))


def at_most_once(tool: str, *, per: str | tuple[str, ...] = ()) -> Callable[[], Invariant]:
    """That a tool runs at most once over the whole simulation, whatever the model asks for and wherever a process dies.

    Args:
        tool: its name.
        per: arguments; at most once for each value of these, such as "order_id".
    """
    return lambda: _AtMostOnce(tool, (per,) if isinstance(per, str) else per)


class _NeverCalls(Invariant):
    def __init__(self, tool: str, when: When | None) -> None:
        self.name = f"never calls {tool}"
        self._tool = tool
        self._when = when

    def asked(self, ask: Ask) -> None:
        if ask.kind == "tool" and ask.name == self._tool and (self._when is None or self._when(ask.about)):
            raise self.violated(f"{self._tool} runs with {ask.about}", ask.run_id, getattr(ask.effect, "seq", None))


def never_calls(tool: str, *, when: When | None = None) -> Callable[[], Invariant]:
    """That a tool never runs; with `when`, never with arguments that are so."""
    return lambda: _NeverCalls(tool, when)


class _StaysBelow(Invariant):
    def __init__(self, limits: dict[str, float]) -> None:
        self.name = "stays below " + ", ".join(f"{key}={value:g}" for key, value in limits.items())
        self._limits = limits

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        if run.parent is not None:
            return
        course = course_of(run)
        used: dict[str, float | Decimal] = {
            "cost_usd": course.cost_usd or 0.0,
            "steps": course.step,
            "llm_calls": course.llm_calls,
            "tool_calls": course.tool_calls,
            "tokens": course.tokens[2],
            "seconds": course.ran.total_seconds(),
        }
        for limit, most in self._limits.items():
            if used[limit] > most:
                raise self.violated(f"{limit} is at {used[limit]}, and {most:g} is the most", run)


def stays_below(
    *,
    cost_usd: float | None = None,
    steps: int | None = None,
    llm_calls: int | None = None,
    tool_calls: int | None = None,
    tokens: int | None = None,
    seconds: float | None = None,
) -> Callable[[], Invariant]:
    """That each run of a caller's, its subagents' share included, uses at most so much. Costs in US dollars; seconds of running time.

    The answer that crosses a limit of the agent's is kept and counted, so a cost stays below `max_total_cost_usd` and one answer more.

    Raises:
        ConfigurationError: nothing is given.
    """
    given = {
        "cost_usd": cost_usd,
        "steps": steps,
        "llm_calls": llm_calls,
        "tool_calls": tool_calls,
        "tokens": tokens,
        "seconds": seconds,
    }
    limits = {key: float(value) for key, value in given.items() if value is not None}
    if not limits:
        raise ConfigurationError("stays_below() needs a limit, such as stays_below(cost_usd=1.0)")
    return lambda: _StaysBelow(limits)
