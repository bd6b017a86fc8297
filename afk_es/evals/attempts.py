"""One attempt at one case: a Runner of its own, a run under its budget, what the criteria say, and the row. It knows no other attempt."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from afk_es.clock import SystemClock
from afk_es.core import AgentResult, AgentRunHandle, Runner
from afk_es.errors import AfkError, text_of
from afk_es.evals.budgets import Meter
from afk_es.evals.evidence import Evidence
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.checking import compare_with_golden
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.judging import Judgement, Raised, TimeIsUp, called, judged, let_go, raised
from afk_es.evals.models import EvalBudget, EvalCase, EvalSuiteConfig
from afk_es.evals.outcomes import EvalCaseResult, Outcome, PassedBudget
from afk_es.evals.rows import about_golden, about_state, error_of
from afk_es.evals.verdict import Verdict

RunnerFactory = Callable[[], Runner | Awaitable[Runner]]
"""Makes the Runner of one attempt, which is opened and closed here; sync (in a thread) or async."""

_LYING_DOWN_S = 5.0
"""How long a run that was told to end may take to say so in its log; a loop waits for its effects for a second of that."""

_CLOCK = SystemClock()


class Cut(Exception):
    """The attempt ends without anything to be judged, for this reason."""

    def __init__(self, name: str, message: str, outcome: Outcome = "error") -> None:
        super().__init__(message)
        self.verdict: Verdict = Verdict(name, False, message)
        self.outcome: Outcome = outcome


class Attempt:
    """An attempt, from its start to its row.

    Args:
        number: from 1.
        total: the meter of the whole suite.
        opened: told of the Runner as soon as there is one.
    """

    def __init__(
        self,
        case: EvalCase,
        number: int,
        config: EvalSuiteConfig,
        factory: RunnerFactory,
        total: Meter,
        opened: Callable[[Runner], None],
    ) -> None:
        self.case = case
        self.number = number
        self._config = config
        self._factory = factory
        self._opened = opened
        self._budget: EvalBudget | None = case.budget if case.budget is not None else config.budget
        self._timeout: float | None = case.timeout_s if case.timeout_s is not None else config.timeout_per_case_s
        self.meter: Meter = Meter(self._budget, total)
        self._handle: AgentRunHandle | None = None
        self._result: AgentResult | None = None
        self._log: str | None = None
        self._report: CheckReport | None = None
        self._judgement: Judgement | None = None
        self._started_at: dt.datetime | None = None
        self._began = 0.0
        self._timed_out = False
        self._task: asyncio.Task[object] | None = None
        self._running = False
        self._cut_by: PassedBudget | None = None

    @property
    def crowded(self) -> bool:
        """Whether the provider refused or stalled it, or time ran out."""
        return self.meter.crowded or self._timed_out

    async def run(self) -> EvalCaseResult:
        """Run it and judge it. Whatever users' code does is in the row; cancelling this cancels the run, and leaves nothing open."""
        self._started_at, self._began = _CLOCK.now(), _CLOCK.monotonic()
        self._task = asyncio.current_task()
        deadline = None if self._timeout is None else asyncio.get_running_loop().time() + self._timeout
        try:
            golden = await self._read_golden(deadline)
            runner = await self._runner(deadline)
            await self._within(runner, golden, deadline)
        except Cut as cut:
            return self.row(cut.outcome, cut.verdict)
        except asyncio.CancelledError:
            if self._cut_by is None or self._task is None or self._task.uncancel():
                raise
        if self._cut_by is not None:
            return self.row("failed", Verdict("budget", False, self._cut_by.message))
        return self._judged_row()

    async def cut(self, passed: PassedBudget) -> None:
        """End it now, whatever it is doing: the suite's time is over. A run is laid down; nothing is judged any more."""
        if self._cut_by is not None or self._task is None:
            return
        self._cut_by = passed
        if self.meter.passed is None:
            self.meter.passed = passed
        if self._handle is not None and self._running:
            await self._handle.interrupt(passed.message)
            asyncio.get_running_loop().call_later(_LYING_DOWN_S, self._task.cancel)
        else:
            self._task.cancel()

    def row(self, outcome: Outcome, *reasons: Verdict) -> EvalCaseResult:
        """The row, with as much as is known by now."""
        case, meter, result, judgement = self.case, self.meter, self._result, self._judgement
        expected = case.expected_state
        ran = self._started_at is not None
        return EvalCaseResult.model_construct(
            name=case.name,
            attempt=self.number,
            outcome=outcome,
            state=result.state if result is not None else None,
            expected_state=expected if isinstance(expected, tuple) else (expected,),
            reasons=reasons,
            verdicts=judgement.verdicts if judgement is not None else (),
            scores=judgement.scores if judgement is not None else {},
            not_exercised=tuple(verdict.name for verdict in judgement.verdicts if not verdict.exercised) if judgement is not None else (),
            run_id=self._handle.run_id if self._handle is not None else None,
            log=self._log,
            started_at=self._started_at,
            duration_s=round(_CLOCK.monotonic() - self._began, 6) if ran else 0.0,
            tokens=meter.tokens if ran and meter.tokens_known else None,
            cost_usd=float(meter.cost) if ran and meter.cost_known else None,
            steps=meter.steps,
            llm_calls=meter.llm_calls,
            tool_calls=meter.tool_calls,
            output=result.final_text if result is not None else "",
            error=error_of(result, outcome, reasons),
            passed_budget=meter.passed,
            tags=case.tags,
            metadata=case.metadata,
            golden=msgspec.to_builtins(self._report) if self._report is not None else None,
            result=result,
        )

    # --------------------------------------------------------------------------------------------------------------------- the inside

    async def _read_golden(self, deadline: float | None) -> Golden | None:
        """The case's golden, before anything is spent on a run that could not be compared."""
        golden = self.case.golden
        if golden is None or isinstance(golden, Golden):
            return golden
        try:
            read = await called(partial(Golden.read, golden), deadline)
        except TimeIsUp:
            self._timed_out = True
            raise Cut("timeout", f"the golden was not read within {self._timeout:g} s") from None
        if isinstance(read, Raised):
            raise Cut("golden", read.text)
        assert isinstance(read, Golden)
        return read

    async def _runner(self, deadline: float | None) -> Runner:
        try:
            runner = await called(self._factory, deadline)
        except TimeIsUp:
            self._timed_out = True
            raise Cut("timeout", f"the runner factory did not answer within {self._timeout:g} s") from None
        if isinstance(runner, Raised):
            raise Cut("runner_factory", str(runner))
        if not isinstance(runner, Runner):
            raise Cut(
                "runner_factory", f"it answered {type(runner).__name__}, which is no Runner; write runner_factory=lambda: Runner(...)"
            )
        self._opened(runner)
        return runner

    async def _within(self, runner: Runner, golden: Golden | None, deadline: float | None) -> None:
        """The run and its judgement, while the Runner's log is open."""
        try:
            async with runner:
                self._log = runner.log.location
                self._result = await self._run(runner, deadline)
                if not self._timed_out and self._cut_by is None:
                    await self._judge(Evidence(self._result, runner.log, self.case), deadline)
                    await self._compare(golden, runner, deadline)
        except (Cut, asyncio.CancelledError):
            raise
        except AfkError as error:
            # A thread id that is none, a log that cannot be opened or written: the message has the way out.
            raise Cut("run", f"{type(error).__name__}: {text_of(error)}") from error
        except Exception as error:
            # A Runner may have parts of the user's, such as a log; its failure is this row's.
            raise Cut("run", str(raised(error))) from error

    async def _run(self, runner: Runner, deadline: float | None) -> AgentResult:
        case = self.case
        try:
            async with asyncio.timeout_at(deadline):
                self._handle = handle = await runner.run_handle(
                    case.agent, user_message=case.user_message, context=case.context, thread_id=case.thread_id, guard=self.meter
                )
        except TimeoutError:
            self._timed_out = True
            raise Cut("timeout", f"the run did not begin within {self._timeout:g} s") from None
        self._running = True
        ending = asyncio.ensure_future(handle.await_result())
        try:
            await self._until_it_ends(ending, handle, deadline)
        except asyncio.CancelledError:
            await handle.cancel("the suite was cancelled")
            await asyncio.wait([ending], timeout=_LYING_DOWN_S)
            if ending.done() and not ending.cancelled() and ending.exception() is None:
                self._result = ending.result()
            raise
        finally:
            self._running = False
        if not ending.done():
            await let_go(ending)
            raise Cut("timeout", f"the run did not end within {_LYING_DOWN_S:g} s of being told to; it was left behind")
        return ending.result()

    async def _until_it_ends(self, ending: asyncio.Future[AgentResult], handle: AgentRunHandle, deadline: float | None) -> None:
        """Wait for the run, and tell it to end when the time of the case, or of its budget, is over."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        maximum = self._budget.max_duration_s if self._budget is not None else None
        ends = [end for end in (deadline, began + maximum if maximum is not None else None) if end is not None]
        await asyncio.wait([ending], timeout=max(0.0, min(ends) - loop.time()) if ends else None)
        if ending.done():
            return
        if deadline is not None and min(ends) == deadline:
            self._timed_out = True
            await handle.interrupt(f"the case's timeout of {self._timeout:g} s is over")
        else:
            await handle.interrupt(self.meter.out_of_time(loop.time() - began).message)
        await asyncio.wait([ending], timeout=_LYING_DOWN_S)

    async def _judge(self, evidence: Evidence, deadline: float | None) -> None:
        assertions = (*self.case.assertions, *self._config.assertions)
        scorers = (*self.case.scorers, *self._config.scorers)
        self._judgement = await judged(evidence, assertions, scorers, deadline)
        for verdict in self._judgement.verdicts:
            self.meter.count_judging(verdict.details)

    async def _compare(self, golden: Golden | None, runner: Runner, deadline: float | None) -> None:
        if golden is None or self._result is None:
            return
        comparing = compare_with_golden(golden, runner.log, self._result.run_id, mode=self.case.golden_mode)
        try:
            async with asyncio.timeout_at(deadline):
                self._report = await comparing
        except TimeoutError:
            raise Cut("timeout", f"the comparison with golden {golden.name} did not end within {self._timeout:g} s") from None

    def _judged_row(self) -> EvalCaseResult:
        case, result, judgement = self.case, self._result, self._judgement
        assert result is not None
        if self._timed_out:
            return self.row("error", Verdict("timeout", False, f"the run had not ended after {self._timeout:g} s, and was cut"))
        reasons: list[Verdict] = []
        if (passed := self.meter.passed) is not None:
            reasons.append(Verdict("budget", False, passed.message))
        # A run that its budget has cut is interrupted for that reason alone.
        if not case.accepts(result.state) and not (passed is not None and result.state == "interrupted"):
            reasons.append(Verdict("state", False, about_state(case, result)))
        report = self._report
        if report is not None and not report.ok:
            reasons.append(Verdict("golden", False, about_golden(report)))
        if judgement is not None:
            reasons += judgement.failed
        broken = (judgement is not None and judgement.raised) or (report is not None and report.outcome == "not_measurable")
        return self.row("passed" if not reasons else "error" if broken else "failed", *reasons)
