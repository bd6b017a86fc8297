"""What a run may use up, counted from its events: never more, and never less where a limit is given as the reason to stop."""

from __future__ import annotations

from decimal import Decimal

from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.spec import RunSpec
from afk_es.testing.invariants.course import Course, course_of
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.observing import ObservedRun

_STARTS = frozenset({"tool_started", "subagent_started"})


class LimitsHold(Invariant):
    """Limits of steps, requests to models, tool calls, tools and subagents side by side, depth and fan-out hold exactly.

    What is tried again counts again, and a resumed run goes on counting where it stood. Nothing is tried again more often than its retry says.
    """

    name = "limits hold exactly"

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Count, and judge."""
        match event.type:
            case "step_started":
                self._at_most(run, "max_steps", after.spec.limits.max_steps, event.data["step"])
            case "llm_called":
                self._at_most(run, "max_llm_calls", after.spec.limits.max_llm_calls, course_of(run).llm_calls)
                self._judge_retry(run, event, after.spec)
            case "tool_started" | "subagent_started":
                self._judge_start(run, event, after.spec)
            case "run_started" if event.seq == 1 and run.parent is not None:
                self._judge_depth(run)
            case "limit_reached":
                self._judge_reason(run, event, after.spec)
            case _:
                pass

    def asked(self, ask: Ask) -> None:
        """Count what the world is asked for at once."""
        if ask.kind != "tool":
            return
        at_once = [each for each in self.simulation.pending.values() if each.kind == "tool" and each.run_id == ask.run_id]
        run = self.simulation.runs[ask.run_id]
        if ask.process == self.simulation.process.number:
            self._at_most(run, "max_parallel_tools", run.state.spec.limits.max_parallel_tools, len(at_once))

    # ------------------------------------------------------------------------------------------------------------------------ the inside

    def _at_most(self, run: ObservedRun, limit: str, maximum: int, used: int) -> None:
        if used > maximum:
            raise self.violated(f"{limit} is {maximum}, and this is number {used}", run)

    def _judge_start(self, run: ObservedRun, event: AgentRunEvent, spec: RunSpec) -> None:
        course = course_of(run)
        self._at_most(run, "max_tool_calls", spec.limits.max_tool_calls, course.tool_calls)
        at_once = sum(
            call.under_way is not None
            and call.under_way.parked is None
            and call.under_way.stretch == course.stretch
            and call.under_way.event.type == event.type
            for call in course.calls.values()
        )
        if event.type == "tool_started":
            self._at_most(run, "max_parallel_tools", spec.limits.max_parallel_tools, at_once)
            failed = sum(start.ending is not None for start in course.about.starts) if course.about is not None else 0
            self._at_most(run, "attempts of a tool call", spec.retry.attempts, failed + 1)
            return
        if spec.delegation is not None:
            self._at_most(run, "subagents at once", spec.delegation.max_parallel, at_once)
        taken = sum(call.step == event.step and bool(call.starts) and call.starts[0].event.type == event.type for call in course.all_calls)
        self._at_most(run, "max_subagent_fanout_per_step", spec.limits.max_subagent_fanout_per_step, taken)

    def _judge_retry(self, run: ObservedRun, event: AgentRunEvent, spec: RunSpec) -> None:
        index = event.data["model_index"]
        retry = (spec.models[index].retry if index < len(spec.models) else None) or spec.retry
        attempts = retry.attempts if spec.policies.llm_failure.startswith("retry") else 1
        self._at_most(run, "attempts of a request", attempts, course_of(run).llm_failures.get(index, 0) + 1)

    def _judge_depth(self, run: ObservedRun) -> None:
        depth, above = 0, run
        while above.parent is not None:
            depth += 1
            above = self.simulation.runs[above.parent]
            self._at_most(run, "max_subagent_depth", above.state.spec.limits.max_subagent_depth, depth)

    def _judge_reason(self, run: ObservedRun, event: AgentRunEvent, spec: RunSpec) -> None:
        """A run stops at its limit, and not before."""
        limit, course, limits = event.data["limit"], course_of(run), spec.limits
        match limit:
            case "max_steps":
                short = course.step < limits.max_steps
            case "max_llm_calls":
                short = course.llm_calls < limits.max_llm_calls
            case "max_tool_calls":
                short = course.tool_calls + _not_started(course) <= limits.max_tool_calls
            case "max_subagent_fanout_per_step":
                names = {tool.name for tool in spec.tools if tool.kind == "subagent"}
                wanted = sum(call.step == course.step and call.tool_name in names for call in course.all_calls)
                short = wanted <= limits.max_subagent_fanout_per_step
            case "max_total_cost_usd":
                maximum = limits.max_total_cost_usd
                short = maximum is None or (course.cost_usd or Decimal(0)) < Decimal(repr(maximum))
            case "max_wall_time_s":
                maximum = limits.max_wall_time_s
                short = maximum is None or course.ran.total_seconds() + 1e-3 < maximum
            case _:
                short = False
        if short:
            raise self.violated(f"the run stops at {limit} of {event.data['maximum']:g} before it is reached", run)


def _not_started(course: Course) -> int:
    """Calls of the batch that would still have been, or would have been, a start: one for each that never was, and for one that would be tried again."""
    return sum(not call.starts or call.ending is None for call in course.calls.values())


class CostLimitHolds(Invariant):
    """Once the known costs reach the limit, subagents' among them, nothing is begun that costs or that takes effect.

    The answer that crosses the limit is kept and counted. An answer without a price, where there is a limit, is the last one. What subagents
    may spend is never promised twice.
    """

    name = "the cost limit holds"

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Judge what is begun."""
        if event.type not in _COSTS:
            return
        maximum, course = after.spec.limits.max_total_cost_usd, course_of(run)
        budget = self._promised(run)
        if budget is not None and course.cost_usd is not None and course.cost_usd >= budget:
            raise self.violated(f"{event.type} with {course.cost_usd} USD spent of the {budget} that its parent has for it", run)
        if maximum is None:
            return
        if course.cost_usd is not None and course.cost_usd >= Decimal(repr(maximum)):
            raise self.violated(f"{event.type} with {course.cost_usd} USD spent of {maximum:g}", run)
        if course.unpriced:
            raise self.violated(f"{event.type} after an answer without a price, with a limit of {maximum:g} USD", run)
        if event.type == "subagent_started":
            promised = sum((_budget(call.under_way.event) for call in course.calls.values() if call.under_way is not None), Decimal(0))
            spent = course.cost_usd or Decimal(0)
            if promised + spent > Decimal(repr(maximum)) + _ROUNDING:
                raise self.violated(f"{promised} USD are promised to subagents with {spent} spent of {maximum:g}", run)

    def _promised(self, run: ObservedRun) -> Decimal | None:
        """What the parent of a subagent's run has for it, or None where that has no limit."""
        parent = self.simulation.runs.get(run.parent) if run.parent is not None else None
        for call in course_of(parent).started.values() if parent is not None else ():
            for start in call.starts:
                if start.event.data.get("run_id") == run.run_id and "cost_budget_usd" in start.event.data:
                    return _budget(start.event)
        return None


_COSTS = frozenset({"llm_called", *_STARTS})
_ROUNDING = Decimal("1e-9")


def _budget(started: AgentRunEvent) -> Decimal:
    return Decimal(repr(started.data.get("cost_budget_usd", 0.0)))


class TimeLimitsHold(Invariant):
    """The time in which a process runs a run is limited: at the limit everything under way is cut and nothing is begun. So is the time of a
    tool that has a time-out.

    Time in which no process ran a run, or in which it was paused, does not count.
    """

    name = "time limits hold"

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Judge the time that has passed."""
        if event.type in ("tool_completed", "tool_failed", "tool_deferred"):
            self._judge_tool(run, event, after)
        maximum = after.spec.limits.max_wall_time_s
        if maximum is None:
            return
        ran_s = course_of(run).ran.total_seconds()
        if ran_s <= maximum + _EARLY_S or event.type == "run_started":
            return
        # Whoever resumes a run with a lower limit finds the time used up, and says so at once.
        at_once = event.at == run.events[-2].at
        if not (at_once and event.type in ("timer_fired", "limit_reached", "run_interrupted")):
            raise self.violated(f"{event.type} after {ran_s:g} s of {maximum:g}", run)

    def _judge_tool(self, run: ObservedRun, event: AgentRunEvent, after: RunState) -> None:
        course = course_of(run)
        start = course.about.starts[-1] if course.about is not None and course.about.starts else None
        tool = after.spec.tool(event.data["tool_name"])
        if start is None or start.ending is not event or start.stretch != course.stretch or tool is None or tool.timeout_s is None:
            return
        took_s = (event.at - start.event.at).total_seconds()
        if took_s > tool.timeout_s + _EARLY_S:
            raise self.violated(f"{tool.name} took {took_s:g} s of {tool.timeout_s:g}", run)


_EARLY_S = 1e-3
"""Timers of a loop may be off by less than this."""
