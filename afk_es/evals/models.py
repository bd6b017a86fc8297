"""Cases, budgets and how a suite runs, as data at the edge; what a suite came to is in `outcomes`, and is found here as well."""

from __future__ import annotations

import os
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    SkipValidation,
    field_validator,
    model_validator,
)

from afk_es.agents import Agent
from afk_es.core.result import ResultState
from afk_es.errors import ConfigurationError
from afk_es.evals.assertions.criteria import AssertionLike, ScorerLike, require_assertion, require_scorer
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.outcomes import (
    CaseStatistics,
    EvalCaseResult,
    EvalSuiteResult,
    Outcome,
    PassedBudget,
    RepeatStatistics,
    ScoreSummary,
    TagSummary,
)
from afk_es.llms import UserMessage
from afk_es.machine.values import plain

__all__ = [
    "CaseStatistics",
    "EvalBudget",
    "EvalCase",
    "EvalCaseResult",
    "EvalSuiteConfig",
    "EvalSuiteResult",
    "ExecutionMode",
    "Outcome",
    "PassedBudget",
    "RepeatStatistics",
    "ScoreSummary",
    "TagSummary",
]

ExecutionMode = Literal["adaptive", "sequential", "parallel"]
"""How many cases run at once.

sequential: one. parallel: `max_concurrency`. adaptive: one at first; each case that ends without the provider refusing or stalling it admits one
more, up to `max_concurrency`; one that met such a refusal (408, 429, 503, 504, 529, even if a retry mended it) or a timeout halves them.
"""


def _listed(value: Any) -> Any:
    """One criterion may stand for a list of one."""
    return value if isinstance(value, (list, tuple)) else (value,)


def _askable(assertions: tuple[AssertionLike, ...]) -> tuple[AssertionLike, ...]:
    for assertion in assertions:
        require_assertion(assertion)
    return assertions


def _scoring(scorers: tuple[ScorerLike, ...]) -> tuple[ScorerLike, ...]:
    for scorer in scorers:
        require_scorer(scorer)
    return scorers


Assertions = Annotated[tuple[SkipValidation[AssertionLike], ...], BeforeValidator(_listed), AfterValidator(_askable)]
Scorers = Annotated[tuple[SkipValidation[ScorerLike], ...], BeforeValidator(_listed), AfterValidator(_scoring)]


class EvalBudget(BaseModel):
    """What a run may use; default nothing is limited. It holds over a run and its subagents together, exactly, while the run goes on.

    A reply that passes a budget is kept and counted; no further call is made, and the run is laid down (interrupted), so that it can be
    looked at and gone on with. A run that passed its budget, or was cut by it, is a failed row, whatever it says.

    Attributes:
        max_duration_s: seconds from the run's start; also cuts a call in flight.
        max_total_tokens: tokens of all model calls. One whose provider did not say how many cannot be counted, and fails the row.
        max_total_cost_usd: costs of all model calls. One whose price is unknown fails the row, and no further call is made.
        max_steps: steps of all agents of the run; the one after is not begun.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    max_duration_s: float | None = Field(default=None, gt=0)
    max_total_tokens: int | None = Field(default=None, ge=1)
    max_total_cost_usd: float | None = Field(default=None, gt=0)
    max_steps: int | None = Field(default=None, ge=1)


class EvalCase(BaseModel):
    """One run of an agent, and what it has to come to.

    Attributes:
        name: tells it from the others of its suite.
        agent: who runs.
        user_message, context, thread_id: as for `Runner.run`. Cases and attempts on one thread follow each other, in their order.
        tags: for the table by tag; default none.
        budget: default, the suite's.
        assertions: all of them have to pass, and those of the suite: functions of the result that answer a bool, or objects with `name`
            and `check(evidence) -> Verdict`; sync (in a thread of their own, so that one that hangs is left behind) or async, and then
            they must neither block the event loop nor swallow a cancellation.
        scorers: functions of the result that answer a number from 0 to 1, or objects with `name` and `score(evidence) -> Verdict`.
        expected_state: the state the run has to end in, one of several, or "any"; default "completed".
        expected_output: what criteria compare with, through `evidence.case`; refused where there is none that could. Default None.
        metadata: JSON data of yours, for criteria and reports; default {}.
        golden: a golden file, or a `Golden`, that the run is compared with, as `compare_with_golden` does; default None. A file is read
            before the run begins; one that is not there, or none, is a row that says so.
        golden_mode: how strictly; default, as the golden says.
        repeats: how often it runs; default, as the suite says.
        timeout_s: seconds for one attempt, with its Runner and its criteria; default, as the suite says.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False, defer_build=True
    )

    name: str = Field(min_length=1)
    agent: InstanceOf[Agent]
    user_message: SkipValidation[UserMessage | None] = None
    context: dict[str, Any] | None = None
    thread_id: str | None = Field(default=None, min_length=1)
    tags: tuple[str, ...] = ()
    budget: EvalBudget | None = None
    assertions: Assertions = ()
    scorers: Scorers = ()
    expected_state: ResultState | Literal["any"] | Annotated[tuple[ResultState, ...], Field(min_length=1)] = "completed"
    expected_output: Any = None
    metadata: dict[str, Any] = {}
    golden: SkipValidation[str | os.PathLike[str] | Golden | None] = None
    golden_mode: MatchMode | None = None
    repeats: int | None = Field(default=None, ge=1, le=10_000)
    timeout_s: float | None = Field(default=None, gt=0)

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        if not name.strip():
            raise ConfigurationError("name is a non-empty string")
        return name

    @field_validator("metadata")
    @classmethod
    def _json(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        try:
            data: dict[str, Any] = plain(metadata)
        except (TypeError, RecursionError) as error:
            raise ConfigurationError(f"metadata is JSON data, as it stands in reports: {error}") from error
        return data

    @field_validator("golden")
    @classmethod
    def _readable(cls, golden: Any) -> Any:
        if golden is not None and not isinstance(golden, (str, os.PathLike, Golden)):
            raise ConfigurationError(f"golden is the path of a golden file, or a Golden, not {type(golden).__name__}")
        return golden

    @model_validator(mode="after")
    def _golden_first(self) -> EvalCase:
        if self.golden_mode is not None and self.golden is None:
            raise ConfigurationError("golden_mode says how strictly the run is compared with a golden, and there is none; give golden")
        return self

    def accepts(self, state: str) -> bool:
        """Whether the run may end in this state."""
        expected = self.expected_state
        return expected == "any" or (state in expected if isinstance(expected, tuple) else state == expected)


class EvalSuiteConfig(BaseModel):
    """How a suite runs.

    Attributes:
        execution_mode: see `ExecutionMode`; default "adaptive". Rows are in the order of the cases in each.
        max_concurrency: cases at once, at most; default 4.
        fail_fast: after the first row that did not pass no further case starts; those under way come to their end. Default False.
        timeout_per_case_s: seconds for one attempt, with its Runner and its criteria; default None, as long as it takes.
        total_budget: for all cases together. Once it is used up no further case starts, and those under way are cut before their next call;
            when `max_duration_s`, which counts from the suite's start, is over, they are cut at once and no longer judged. What judges
            spend counts too.
        assertions: for each case, besides its own.
        scorers: the same.
        budget: of a case that has none.
        repeats: how often a case runs that does not say so; default 1.
        min_pass_rate: of rows passed to rows in all, from which the suite is `ok`; default 1.0.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False, defer_build=True
    )

    execution_mode: ExecutionMode = "adaptive"
    max_concurrency: int = Field(default=4, ge=1, le=1024)
    fail_fast: bool = False
    timeout_per_case_s: float | None = Field(default=None, gt=0)
    total_budget: EvalBudget | None = None
    assertions: Assertions = ()
    scorers: Scorers = ()
    budget: EvalBudget | None = None
    repeats: int = Field(default=1, ge=1, le=10_000)
    min_pass_rate: float = Field(default=1.0, ge=0, le=1)
