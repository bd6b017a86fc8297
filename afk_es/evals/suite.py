"""`run_suite`: runs cases, a few at a time, and tells what they came to. What one attempt does is not known here."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from afk_es.agents import Agent
from afk_es.clock import SystemClock
from afk_es.core import Runner
from afk_es.errors import UsageError
from afk_es.evals.attempts import Attempt, RunnerFactory
from afk_es.evals.budgets import Meter
from afk_es.evals.models import EvalCase, EvalSuiteConfig
from afk_es.evals.outcomes import EvalCaseResult, EvalSuiteResult
from afk_es.evals.planning import checked_config, checked_factory, listed, planned
from afk_es.evals.rows import not_run
from afk_es.evals.summing import suite_result
from afk_es.evals.verdict import Verdict
from afk_es.evals.widths import Width
from afk_es.log import EventLog

Cases = Iterable[EvalCase] | str | os.PathLike[str]
"""Cases, or a dataset file of them."""


class EvalProgress(msgspec.Struct, frozen=True):
    """What whoever watches a suite is told.

    Attributes:
        kind: "started" or "finished"; an attempt that is not run is finished without having started.
        name: the case.
        attempt: from 1.
        index: of its row, from 0.
        total: rows of the suite.
        finished: rows that are there, this one included.
        running: attempts under way now.
        row: the row of one that is finished.
    """

    kind: Literal["started", "finished"]
    name: str
    attempt: int
    index: int
    total: int
    finished: int
    running: int
    row: EvalCaseResult | None = None


Progress = Callable[[EvalProgress], None]

_CLOCK = SystemClock()


def run_suite(
    *,
    runner_factory: RunnerFactory,
    cases: Cases,
    config: EvalSuiteConfig | None = None,
    agent: Agent | None = None,
    progress: Progress | None = None,
) -> EvalSuiteResult:
    """Run the cases and wait for what they come to.

    Ctrl-C ends it with what was done so far: cases under way are cancelled rows, others are not run, and `interrupted` is true. Logs
    that Runners were given as objects are closed afterwards, as their event loop ends; they open again.

    Args:
        runner_factory: a function without arguments that makes a Runner, sync or async. Each attempt has a Runner of its own, so give
            Runners a log each, or one path for all; `run_id` and `log` of a row say where its run is.
        cases: cases with different names, or the path of a dataset (see `load_cases`).
        config: how they run; default `EvalSuiteConfig()`.
        agent: of the cases of a dataset; without one, `agent` is the cases' own affair.
        progress: called in the event loop when an attempt starts and when it is finished. It must return at once; what it raises ends the
            suite.

    Returns:
        The rows in the order of the cases. A case that fails, raises or hangs is a row that says so.

    Raises:
        UsageError: called where an event loop is running; use `await arun_suite(...)` there.
        ConfigurationError: cases or arguments that cannot work; nothing was run.
    """
    suite = _Suite(runner_factory, cases, config, agent, progress, whole=True)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(suite.run())
    raise UsageError("run_suite cannot be called where an event loop is running; use `await arun_suite(...)`")


async def arun_suite(
    *,
    runner_factory: RunnerFactory,
    cases: Cases,
    config: EvalSuiteConfig | None = None,
    agent: Agent | None = None,
    progress: Progress | None = None,
) -> EvalSuiteResult:
    """As `run_suite`, in this event loop. Cancelling it cancels the runs, and that is in their logs before it ends.

    A log that a Runner was given as an object is left open, as a Runner leaves it: whoever made it closes it.

    Raises:
        ConfigurationError: cases or arguments that cannot work; nothing was run.
    """
    return await _Suite(runner_factory, cases, config, agent, progress, whole=False).run()


class _Suite:
    """One run of a suite.

    Args:
        whole: the suite has its event loop to itself: a cancellation is Ctrl-C and answered by what was done so far, and logs are closed.
    """

    def __init__(
        self,
        factory: RunnerFactory,
        cases: Cases,
        config: EvalSuiteConfig | None,
        agent: Agent | None,
        progress: Progress | None,
        *,
        whole: bool,
    ) -> None:
        self._config = checked_config(config)
        self._factory = checked_factory(factory)
        self._plan: list[tuple[EvalCase, int]] = planned(listed(cases, agent), self._config)
        self._progress = progress
        self._whole = whole
        self._rows: list[EvalCaseResult | None] = [None] * len(self._plan)
        self._finished = 0
        self._queue: deque[int] = deque(range(len(self._plan)))
        self._running: dict[asyncio.Task[EvalCaseResult], tuple[int, Attempt]] = {}
        self._threads: set[str] = set()
        self._behind: dict[str, deque[int]] = {}
        self._width = Width(self._config.execution_mode, self._config.max_concurrency)
        self._widest = 0
        self._total = Meter(self._config.total_budget, label="total_budget.")
        self._stopped: str | None = None
        self._interrupted = False
        self._logs: dict[int, EventLog] = {}

    async def run(self) -> EvalSuiteResult:
        """Run all of it."""
        started_at, began = _CLOCK.now(), _CLOCK.monotonic()
        try:
            try:
                await self._work()
            except asyncio.CancelledError:
                left = await self._abandon()
                if not self._whole:
                    raise
                self._interrupted = True
                self._stopped = "the suite was cancelled"
                for index, row in left:
                    self._finish(index, row)
            except BaseException:
                await self._abandon()
                raise
            self._leave_out_the_rest()
        finally:
            if self._whole:
                await self._close_logs()
        return self._result(started_at, round(_CLOCK.monotonic() - began, 6))

    # --------------------------------------------------------------------------------------------------------------------- the inside

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        budget = self._config.total_budget
        began = loop.time()
        ends = None if budget is None or budget.max_duration_s is None else began + budget.max_duration_s
        while True:
            if budget is not None and self._waiting and self._stopped is None and (spent := self._total.used_up()) is not None:
                self._stop(spent.message)
            self._start_what_may()
            if not self._running:
                return
            left = None if ends is None else max(0.0, ends - loop.time())
            done, _pending = await asyncio.wait(self._running, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                self._take_in(task)
            if ends is not None and loop.time() >= ends and (self._running or self._waiting):
                ends = None
                spent = self._total.out_of_time(loop.time() - began)
                self._stop(spent.message)
                for _index, attempt in self._running.values():
                    await attempt.cut(spent)

    def _start_what_may(self) -> None:
        while self._stopped is None and len(self._running) < self._width.now:
            index = self._next()
            if index is None:
                return
            case, number = self._plan[index]
            attempt = Attempt(case, number, self._config, self._factory, self._total, self._met)
            task = asyncio.create_task(attempt.run(), name=f"eval case {case.name!r} #{number}")
            self._running[task] = (index, attempt)
            self._widest = max(self._widest, len(self._running))
            if case.thread_id is not None:
                self._threads.add(case.thread_id)
            self._tell("started", index)

    def _next(self) -> int | None:
        """The next attempt to start. Those on one thread follow each other, as a conversation does."""
        while self._queue:
            index = self._queue.popleft()
            thread_id = self._plan[index][0].thread_id
            if thread_id not in self._threads or thread_id is None:
                return index
            # Out of the queue, so that each is looked at once: thousands may be on one thread.
            self._behind.setdefault(thread_id, deque()).append(index)
        return None

    @property
    def _waiting(self) -> bool:
        return bool(self._queue) or any(self._behind.values())

    def _take_in(self, task: asyncio.Task[EvalCaseResult]) -> None:
        index, attempt = self._running.pop(task)
        if (thread_id := attempt.case.thread_id) is not None:
            self._threads.discard(thread_id)
            if behind := self._behind.get(thread_id):
                self._queue.appendleft(behind.popleft())
        row = task.result()
        self._width.ended(crowded=attempt.crowded)
        if self._config.fail_fast and not row.passed and self._stopped is None:
            self._stop(f"fail_fast, after {row.label!r} did not pass")
        self._finish(index, row)

    def _stop(self, reason: str) -> None:
        if self._stopped is None:
            self._stopped = reason

    async def _abandon(self) -> list[tuple[int, EvalCaseResult]]:
        """Cancel what is under way, wait until it has ended, so that nothing is left behind, and answer the rows."""
        for task in self._running:
            task.cancel()
        while waiting := [task for task in self._running if not task.done()]:
            try:
                await asyncio.wait(waiting)
            except asyncio.CancelledError:
                continue  # Cancelled again: that is still one cancellation, and what is under way is ending already.
        rows = []
        for task, (index, attempt) in self._running.items():
            done = None if task.cancelled() or task.exception() is not None else task.result()
            rows.append((index, done or attempt.row("cancelled", Verdict("cancelled", False, "the suite was cancelled"))))
        self._running.clear()
        return rows

    def _leave_out_the_rest(self) -> None:
        for index in sorted([*self._queue, *(index for behind in self._behind.values() for index in behind)]):
            case, number = self._plan[index]
            self._finish(index, not_run(case, number, self._stopped or ""))

    def _finish(self, index: int, row: EvalCaseResult) -> None:
        self._rows[index] = row
        self._finished += 1
        self._tell("finished", index, row)

    def _tell(self, kind: Literal["started", "finished"], index: int, row: EvalCaseResult | None = None) -> None:
        if self._progress is not None:
            case, number = self._plan[index]
            self._progress(EvalProgress(kind, case.name, number, index, len(self._plan), self._finished, len(self._running), row))

    def _met(self, runner: Runner) -> None:
        if self._whole:
            self._logs[id(runner.log)] = runner.log

    async def _close_logs(self) -> None:
        for log in self._logs.values():
            await log.close()

    def _result(self, started_at: dt.datetime, duration_s: float) -> EvalSuiteResult:
        rows = [row for row in self._rows if row is not None]
        return suite_result(
            rows,
            self._config,
            started_at=started_at,
            duration_s=duration_s,
            stopped=self._stopped if any(row.outcome == "not_run" for row in rows) or self._interrupted else None,
            interrupted=self._interrupted,
            widest=self._widest,
        )
