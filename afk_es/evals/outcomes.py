"""What cases and suites came to: rows, tables and statistics, each with its JSON twin by `model_dump(mode="json")`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, PlainSerializer, computed_field

from afk_es.core.result import AgentResult
from afk_es.evals.verdict import Verdict

Outcome = Literal["passed", "failed", "error", "not_run", "cancelled"]
"""What became of an attempt at a case.

| outcome | when |
|---|---|
| passed | the state is an expected one, no budget was passed, and every criterion passed |
| failed | one of these did not hold |
| error | there is nothing to judge, or it could not be judged: the runner factory, the agent or a criterion raised, or time ran out |
| not_run | it was never started: the suite's budget, `fail_fast`, or a cancellation |
| cancelled | it was under way when the suite was cancelled, as by Ctrl-C |
"""


def _verdict(value: Any) -> Any:
    return msgspec.convert(value, Verdict) if isinstance(value, Mapping) else value


VerdictField = Annotated[InstanceOf[Verdict], BeforeValidator(_verdict), PlainSerializer(msgspec.to_builtins, return_type=dict[str, Any])]

_RESULT: ConfigDict = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True, defer_build=True)


class PassedBudget(BaseModel):
    """A budget that a run passed, or that cut it.

    Attributes:
        budget: the field's name, as `max_total_tokens`; of the suite's budget "total_budget.max_total_tokens".
        limit: what may be used.
        used: what was used; None where that is not known.
        message: one sentence, with the way out where there is one.
    """

    model_config: ClassVar[ConfigDict] = _RESULT

    budget: str
    limit: float
    used: float | None
    message: str


class EvalCaseResult(BaseModel):
    """A row: one attempt at one case.

    Attributes:
        name: the case's.
        attempt: from 1; of a case that is repeated, which of its runs.
        outcome: what became of it.
        state: the run's; None where there is none.
        expected_state: the states that are accepted, or ("any",).
        reasons: why it did not pass, the first one first: verdicts named "state", "budget", "golden", "timeout", "runner_factory", "run" or as
            the criterion is. Empty of a row that passed.
        verdicts: of all assertions and scorers that were asked, in their order.
        scores: by scorer.
        not_exercised: names of criteria that passed only because nothing was there to be checked.
        run_id: the run; None where none was begun.
        log: where the log is that holds it.
        started_at: when it started, in UTC; None where it did not.
        duration_s: seconds, with its Runner and its criteria.
        tokens, cost_usd: of the run and its subagents; None where unknown: `cost_usd` where any answer has no price.
        steps, llm_calls, tool_calls: of the run and its subagents.
        output: the final text.
        error: the run's error, or what was raised; None where there is none.
        passed_budget: the budget that was passed; None where none was.
        tags, metadata: the case's.
        golden: the `CheckReport` of the comparison as JSON data; None without a golden.
        result: what the run came to, for programs; not in the JSON.
    """

    model_config: ClassVar[ConfigDict] = _RESULT

    name: str
    attempt: int = 1
    outcome: Outcome
    state: str | None = None
    expected_state: tuple[str, ...] = ("completed",)
    reasons: tuple[VerdictField, ...] = ()
    verdicts: tuple[VerdictField, ...] = ()
    scores: dict[str, float] = {}
    not_exercised: tuple[str, ...] = ()
    run_id: str | None = None
    log: str | None = None
    started_at: dt.datetime | None = None
    duration_s: float = 0.0
    tokens: int | None = None
    cost_usd: float | None = None
    steps: int = 0
    llm_calls: int = 0
    tool_calls: int = 0
    output: str = ""
    error: str | None = None
    passed_budget: PassedBudget | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    golden: dict[str, Any] | None = None
    result: InstanceOf[AgentResult] | None = Field(default=None, exclude=True, repr=False)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> bool:
        """Whether the case passed at this attempt."""
        return self.outcome == "passed"

    @property
    def label(self) -> str:
        """The name, with the attempt where there are several."""
        return self.name if self.attempt == 1 else f"{self.name}#{self.attempt}"


class ScoreSummary(BaseModel):
    """The scores of one scorer over all rows that have one."""

    model_config: ClassVar[ConfigDict] = _RESULT

    count: int
    mean: float
    minimum: float
    maximum: float


class TagSummary(BaseModel):
    """Rows of one tag. A row counts under each of its tags."""

    model_config: ClassVar[ConfigDict] = _RESULT

    total: int
    passed: int
    failed: int
    not_run: int
    pass_rate: float


class RepeatStatistics(BaseModel):
    """What the attempts say of the chance to pass.

    Attributes:
        attempts: those that ran.
        passed: of them.
        pass_rate: the share; of a suite, the mean over its cases.
        interval: where the chance to pass lies with 95 %, by Wilson; of a suite, over all attempts as one sample.
        pass_at: by k, the chance that at least one of k attempts passes (pass@k); of a suite, the mean over its cases.
        pass_all: by k, the chance that all of k attempts pass (pass^k); of a suite, the same mean.
    """

    model_config: ClassVar[ConfigDict] = _RESULT

    attempts: int
    passed: int
    pass_rate: float
    interval: tuple[float, float]
    pass_at: dict[int, float]
    pass_all: dict[int, float]


class CaseStatistics(RepeatStatistics):
    """`RepeatStatistics` of one case."""

    name: str


class EvalSuiteResult(BaseModel):
    """What a suite came to.

    Attributes:
        results: the rows, in the order of the cases, attempts of one case beside each other.
        total: rows. passed + failed + not_run.
        passed, failed, not_run: `failed` has the rows that ran, or were cut, and did not pass.
        errors: of the failed, those with the outcome "error".
        pass_rate: passed / total; 0.0 without rows.
        ok: whether there are rows, none was cancelled, and `pass_rate` is at least `min_pass_rate`.
        interrupted: whether it was cancelled, as by Ctrl-C.
        stopped: why cases were not run; None where all were.
        started_at, duration_s: of the whole.
        total_tokens, total_cost_usd: of all runs; None where any is unknown.
        known_cost_usd: what is known of the cost.
        judging_tokens, judging_cost_usd: what criteria have spent that ask models themselves, as `LLMJudge` does: `tokens` and `cost_usd` of
            their verdicts' details. In none of the totals above; None where any is unknown.
        tags: by tag, sorted.
        scores: by scorer.
        not_exercised: criteria that no row exercised, though rows were asked: each passed only because nothing was there to be checked.
        cases: statistics of each case that was repeated, in their order.
        repeats: the same over these cases; None where nothing was repeated.
        execution_mode, max_concurrency: as configured; `widest` is how many cases ran at once at most.
    """

    model_config: ClassVar[ConfigDict] = _RESULT

    results: tuple[EvalCaseResult, ...]
    total: int
    passed: int
    failed: int
    not_run: int
    errors: int
    pass_rate: float
    min_pass_rate: float
    ok: bool
    interrupted: bool
    stopped: str | None
    started_at: dt.datetime
    duration_s: float
    total_tokens: int | None
    total_cost_usd: float | None
    known_cost_usd: float
    judging_tokens: int | None = 0
    judging_cost_usd: float | None = 0.0
    tags: dict[str, TagSummary]
    scores: dict[str, ScoreSummary]
    not_exercised: tuple[str, ...]
    cases: tuple[CaseStatistics, ...]
    repeats: RepeatStatistics | None
    execution_mode: str
    max_concurrency: int
    widest: int
