"""Checks on runs that were recorded long ago: nothing is run again, and unless a model judges, nothing is spent and nothing written."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from afk_es.clock import SystemClock
from afk_es.debugger.exchange.phrases import counted
from afk_es.debugger.naming import named_run
from afk_es.errors import AfkError, RunNotFoundError, UsageError, text_of
from afk_es.evals.assertions.criteria import AssertionLike, ScorerLike, require_assertion, require_scorer
from afk_es.evals.assertions.family import events_seen, members
from afk_es.evals.assertions.judge import JUDGED, LLMJudge
from afk_es.evals.budgets import Meter
from afk_es.evals.evidence import Evidence
from afk_es.evals.judging import Judgement, judged
from afk_es.evals.models import EvalCase, EvalSuiteConfig
from afk_es.evals.outcomes import EvalCaseResult, EvalSuiteResult, Outcome
from afk_es.evals.recorded_results import recorded_evidence
from afk_es.evals.run_selection import RunSelection as RunSelection
from afk_es.evals.summing import suite_result
from afk_es.evals.verdict import Verdict
from afk_es.log import EventLog, open_log
from afk_es.machine.events import AgentRunEvent

_CLOCK = SystemClock()


Runs = Iterable[str] | RunSelection | str | None
"""Ids of runs, their beginnings, "@last" or "@last-failed"; a selection; or None for all."""


def rescore(
    log: EventLog | str | os.PathLike[str],
    runs: Runs = None,
    *,
    assertions: Sequence[AssertionLike] = (),
    scorers: Sequence[ScorerLike] = (),
    cases: Mapping[str, EvalCase] | None = None,
    progress: Callable[[EvalCaseResult], None] | None = None,
) -> EvalSuiteResult:
    """Check recorded runs, and wait for what comes of it. A log that is given as an object is closed afterwards, as its event loop ends.

    Args:
        log: a log, or where one is.
        runs: which; default all that are nobody's subagent, no judge's and no replay. The rows are in their order, of a selection the newest first.
        assertions, scorers: as for an `EvalCase`.
        cases: the case that a run was for, by run id: its own criteria are asked with the others, the state has to be the
            one it expects, and runs of one case are its attempts. Its budget and golden are not looked at. Without a case any state will do.
        progress: called with each row. It must return at once.

    Returns:
        A row for each run, named by its id, or by its case. One that has not ended is not run; one that cannot be read is an error. What a
        row says of time, tokens and cost is what the run took and used then.

    Raises:
        UsageError: nothing to check by, a run that is not there, or an event loop that is running (use `await arescore(...)` there).
        LogError: the log cannot be opened.
        ConfigurationError: what is no assertion or scorer.
    """
    _check(assertions, scorers, cases)

    async def rescored() -> EvalSuiteResult:
        opened = _opened(log, _all_criteria(assertions, scorers, cases))
        await opened.open()
        try:
            return await arescore(opened, runs, assertions=assertions, scorers=scorers, cases=cases, progress=progress)
        finally:
            await opened.close()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(rescored())
    raise UsageError("rescore cannot be called where an event loop is running; use `await arescore(...)`")


async def arescore(
    log: EventLog | str | os.PathLike[str],
    runs: Runs = None,
    *,
    assertions: Sequence[AssertionLike] = (),
    scorers: Sequence[ScorerLike] = (),
    cases: Mapping[str, EvalCase] | None = None,
    progress: Callable[[EvalCaseResult], None] | None = None,
) -> EvalSuiteResult:
    """As `rescore`, in this event loop. A log that is given as an object has to be open, and is left open."""
    _check(assertions, scorers, cases)
    opened = _opened(log, _all_criteria(assertions, scorers, cases))
    ours = opened is not log
    if ours:
        await opened.open()
    started_at, began = _CLOCK.now(), _CLOCK.monotonic()
    criteria = _Criteria(tuple(assertions), tuple(scorers), cases or {})
    rows: list[EvalCaseResult] = []
    try:
        async for run_id in _chosen(opened, runs):
            row = await criteria.row(opened, run_id)
            rows.append(row)
            if progress is not None:
                progress(row)
    finally:
        if ours:
            await opened.close()
    left = sum(row.outcome == "not_run" for row in rows)
    return suite_result(
        rows,
        EvalSuiteConfig(execution_mode="sequential", max_concurrency=1),
        started_at=started_at,
        duration_s=round(_CLOCK.monotonic() - began, 6),
        stopped=f"{counted(left, 'run')} had not ended" if left else None,
    )


class _Criteria:
    """What runs are checked by."""

    def __init__(self, assertions: tuple[AssertionLike, ...], scorers: tuple[ScorerLike, ...], cases: Mapping[str, EvalCase]) -> None:
        self._assertions = assertions
        self._scorers = scorers
        self._cases = cases
        self._attempts: Counter[str] = Counter()

    async def row(self, log: EventLog, run_id: str) -> EvalCaseResult:
        """The row of one run."""
        case = self._cases.get(run_id)
        about: dict[str, Any] = {"name": case.name if case is not None else run_id, "run_id": run_id, "log": log.location}
        self._attempts[about["name"]] += 1
        about["attempt"] = self._attempts[about["name"]]
        if case is not None:
            expected = case.expected_state
            states = expected if isinstance(expected, tuple) else (expected,)
            about |= {"tags": case.tags, "metadata": case.metadata, "expected_state": states}
        else:
            about["expected_state"] = ("any",)
        try:
            first = await _first(log, run_id)
            about["started_at"] = first.at
            if case is None:
                about["tags"] = (first.data["agent_name"],)
            return await self._judged(log, run_id, case, about)
        except UsageError as error:
            return _unjudged(about, "not_run", text_of(error))
        except AfkError as error:
            return _unjudged(about, "error", f"{type(error).__name__}: {text_of(error)}")

    async def _judged(self, log: EventLog, run_id: str, case: EvalCase | None, about: dict[str, Any]) -> EvalCaseResult:
        evidence = await recorded_evidence(log, run_id, case)
        result = evidence.result
        own: tuple[tuple[AssertionLike, ...], tuple[ScorerLike, ...]] = (case.assertions, case.scorers) if case is not None else ((), ())
        judgement = await judged(evidence, (*own[0], *self._assertions), (*own[1], *self._scorers))
        reasons = list(judgement.failed)
        if case is not None and not case.accepts(result.state):
            reasons.insert(0, Verdict("state", False, f"the run is {result.state}, and was to be {' or '.join(about['expected_state'])}"))
        meter = await _used(evidence)
        return EvalCaseResult(
            **about,
            outcome=_outcome(judgement, reasons),
            state=result.state,
            reasons=tuple(reasons),
            verdicts=judgement.verdicts,
            scores=judgement.scores,
            not_exercised=tuple(verdict.name for verdict in judgement.verdicts if not verdict.exercised),
            duration_s=result.state_snapshot.elapsed_s,
            tokens=meter.tokens if meter.tokens_known else None,
            cost_usd=float(meter.cost) if meter.cost_known else None,
            steps=meter.steps,
            llm_calls=meter.llm_calls,
            tool_calls=meter.tool_calls,
            output=result.final_text,
            error=result.error,
            result=result,
        )


async def _used(evidence: Evidence) -> Meter:
    """What the run and its subagents' used, counted as when a suite ran them."""
    meter = Meter()
    for member in await members(evidence.log, evidence.run_id, subagents=True):
        async for event in events_seen(evidence, member):
            meter.note(event)
    return meter


def _outcome(judgement: Judgement, reasons: Sequence[Verdict]) -> Outcome:
    if not reasons:
        return "passed"
    return "error" if judgement.raised else "failed"


def _unjudged(about: dict[str, Any], outcome: Outcome, why: str) -> EvalCaseResult:
    return EvalCaseResult(**about, outcome=outcome, reasons=(Verdict("run", False, why),), error=why)


async def _chosen(log: EventLog, runs: Runs) -> AsyncIterator[str]:
    match runs:
        case None:
            async for run_id in _selected(log, RunSelection()):
                yield run_id
        case RunSelection():
            async for run_id in _selected(log, runs):
                yield run_id
        case _:
            # All of them before the first is looked at: a name that means nothing is told at once.
            for run_id in [await named_run(log, name) for name in ((runs,) if isinstance(runs, str) else runs)]:
                yield run_id


async def _selected(log: EventLog, selection: RunSelection) -> AsyncIterator[str]:
    left = selection.newest
    async for record in replace(selection, newest=None).records(log):
        if left == 0:
            return
        if not await _is_a_judges(log, record.run_id):
            left = left - 1 if left is not None else None
            yield record.run_id


async def _is_a_judges(log: EventLog, run_id: str) -> bool:
    return JUDGED in ((await _first(log, run_id)).data.get("context") or {})


async def _first(log: EventLog, run_id: str) -> AgentRunEvent:
    found = await log.read(run_id, limit=1)
    if not found:
        raise RunNotFoundError(f"{log.location} has no run {run_id!r}")
    return found[0]


def _opened(log: EventLog | str | os.PathLike[str], criteria: Iterable[object]) -> EventLog:
    """The log; one that is given by its place is opened for reading only, unless a judge's runs are to be recorded there."""
    if not isinstance(log, (str, os.PathLike)):
        return log
    return open_log(log, read_only=not any(isinstance(each, LLMJudge) for each in criteria))


def _all_criteria(assertions: Sequence[object], scorers: Sequence[object], cases: Mapping[str, EvalCase] | None) -> list[object]:
    return [*assertions, *scorers, *(each for case in (cases or {}).values() for each in (*case.assertions, *case.scorers))]


def _check(assertions: Sequence[AssertionLike], scorers: Sequence[ScorerLike], cases: Mapping[str, EvalCase] | None) -> None:
    if not assertions and not scorers and not cases:
        raise UsageError("there is nothing to check by: give at least one assertion, scorer or case")
    for assertion in assertions:
        require_assertion(assertion)
    for scorer in scorers:
        require_scorer(scorer)
