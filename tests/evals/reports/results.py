"""Results to report of, as suites and checks would hand them in: a good one, a bad one with everything, a hostile one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

import msgspec

from afk_es.evals.goldens.check_report import CheckedRun, CheckReport, LeftOver
from afk_es.evals.goldens.divergence import Divergence, Place
from afk_es.evals.outcomes import (
    CaseStatistics,
    EvalCaseResult,
    EvalSuiteResult,
    PassedBudget,
    RepeatStatistics,
    ScoreSummary,
    TagSummary,
)
from afk_es.evals.verdict import Verdict
from afk_es.machine.values import plain

START = dt.datetime(2026, 11, 21, 10, 30, tzinfo=dt.UTC)
LOG = "/srv/evals/nightly.db"

HOSTILE = "<script>alert(1)</script>\x1b[31m\x1b]0;pwned\x07\u202egnp.exe\u2066 & \"q' ]]> ` | \x00 \ud800 \ufffe www.evil.example @team #1"
"""What may stand anywhere in a log: markup, a terminal's orders, a change of direction, what XML cannot hold."""


def row(name: str, outcome: str = "passed", **given: Any) -> EvalCaseResult:
    """A row that ran, unless it says that it did not."""
    ran: dict[str, Any] = {
        "state": "completed",
        "run_id": f"run_{name.split()[0].lower()}",
        "log": LOG,
        "started_at": START,
        "duration_s": 1.24,
        "tokens": 1_830,
        "cost_usd": 0.0042,
        "steps": 3,
        "llm_calls": 3,
        "tool_calls": 2,
        "output": "Your flight is booked.",
    }
    return EvalCaseResult(name=name, outcome=outcome, **({} if outcome == "not_run" else ran) | given)


def suite(rows: Iterable[EvalCaseResult], **given: Any) -> EvalSuiteResult:
    """What the rows come to. Statistics, tags and scores are given by whoever wants them."""
    results = tuple(rows)
    passed = sum(each.passed for each in results)
    not_run = sum(each.outcome == "not_run" for each in results)
    facts: dict[str, Any] = {
        "results": results,
        "total": len(results),
        "passed": passed,
        "failed": len(results) - passed - not_run,
        "not_run": not_run,
        "errors": sum(each.outcome == "error" for each in results),
        "pass_rate": passed / len(results) if results else 0.0,
        "min_pass_rate": 1.0,
        "ok": bool(results) and passed == len(results),
        "interrupted": False,
        "stopped": None,
        "started_at": START,
        "duration_s": 12.5,
        "total_tokens": 34_120,
        "total_cost_usd": 0.12,
        "known_cost_usd": 0.12,
        "tags": {},
        "scores": {},
        "not_exercised": (),
        "cases": (),
        "repeats": None,
        "execution_mode": "adaptive",
        "max_concurrency": 4,
        "widest": 3,
    }
    return EvalSuiteResult(**facts | given)


def statistics(name: str | None, passed: int, attempts: int, interval: tuple[float, float]) -> Any:
    """Of a case, or of all."""
    share = passed / attempts
    facts: dict[str, Any] = {
        "attempts": attempts,
        "passed": passed,
        "pass_rate": share,
        "interval": interval,
        "pass_at": {1: share, attempts: float(passed > 0)},
        "pass_all": {1: share, attempts: float(passed == attempts)},
    }
    return RepeatStatistics(**facts) if name is None else CaseStatistics(name=name, **facts)


def place(run_id: str, seq: int, type_: str, text: str) -> Place:
    """An event of a run."""
    return Place(run_id=run_id, seq=seq, step=2, agent_path=("airline",), type=type_, text=text)


INSTRUCTIONS = (
    "You are an airline agent. Confirm each booking with the passenger before you make it. Refund only what the rules of the fare allow.\n"
    "Times are in the zone of the airport. Never promise compensation.\n"
) + "Rules of fares follow, one to a line; a fare that is not listed has no refund.\n" * 12

PROMPT = Divergence(
    kind="prompt",
    field="instructions",
    expected=INSTRUCTIONS,
    actual=INSTRUCTIONS.replace("Never promise compensation", "Offer compensation").replace("Confirm each booking", "Confirm bookings"),
    recorded=place("run_1", 4, "llm_called", "asked gpt-5.2-mini"),
    today=place("run_1_today", 4, "llm_called", "asked gpt-5.2-mini"),
    message="The model is sent other instructions.",
)
ARGUMENT = Divergence(
    kind="params",
    field="arguments.amount",
    expected={"booking": "K7X2PQ", "amount": 120},
    actual={"booking": "K7X2PQ", "amount": 1200},
    recorded=place("run_1", 9, "tool_batch_started", "refund(amount=120)"),
    today=place("run_1_today", 9, "tool_batch_started", "refund(amount=1200)"),
    message="refund is called with another amount.",
)
GONE = Divergence(
    kind="missing",
    field="tool_name",
    expected="notify",
    actual=None,
    recorded=place("run_1", 14, "tool_batch_started", "notify(…)"),
    today=None,
    message="notify was called and is not any more.",
)


def check(name: str, outcome: str = "passed", *divergences: Divergence, **given: Any) -> CheckReport:
    """A check of a golden."""
    facts: dict[str, Any] = {
        "path": f"tests/goldens/{name}.golden.jsonl",
        "mode": "contract",
        "served": 7,
        "duration_s": 0.031,
        "runs": (CheckedRun("run_1", "run_1_today", 22, 7),),
    }
    return CheckReport(name=name, outcome=outcome, divergences=divergences, **facts | given)  # type: ignore[arg-type]


DIVERGED = check(
    "refund",
    "diverged",
    PROMPT,
    ARGUMENT,
    GONE,
    leftovers=(LeftOver(place("run_1", 15, "tool_completed", "notify returned"), "the result of notify"),),
    notes=("2 events of a type that the golden does not know were ignored.",),
)
UNMEASURED = check("lounge", "not_measurable", served=0, runs=(), reason="the agent asked for nothing that was recorded")
HELD = check("cancel-in-time")


def a_bad_day() -> EvalSuiteResult:
    """A suite in which everything that can become of a row became of one."""
    budget = PassedBudget(budget="max_total_tokens", limit=2_000, used=2_310, message="the run used 2,310 tokens of 2,000")
    rows = [
        row("cancel in time", tags=("refund", "smoke"), verdicts=(Verdict("mentions_refund", True), Verdict("tone", True, score=0.92))),
        row(
            "refund of a fare without refund",
            "failed",
            tags=("refund",),
            reasons=(
                Verdict("never(refund)", False, "refund was called with amount=1200", positions=("9",)),
                Verdict("tone", False, "scored 0.31, and 0.5 is asked for", score=0.31),
            ),
            verdicts=(
                Verdict("never(refund)", False, "refund was called with amount=1200", positions=("9",)),
                Verdict("mentions_rules", True, "found “the rules of your fare”"),
                Verdict("tone", False, "scored 0.31, and 0.5 is asked for", score=0.31),
                Verdict("precedes(confirm, book)", True, "book was never called", exercised=False),
            ),
            not_exercised=("precedes(confirm, book)",),
            golden=msgspec.to_builtins(DIVERGED),
            metadata={"ticket": 4711, "source": "support"},
        ),
        row(
            "lounge",
            "failed",
            state="interrupted",
            tokens=2_310,
            passed_budget=budget,
            reasons=(Verdict("budget", False, budget.message),),
            output="",
        ),
        row(
            "seat map",
            "error",
            state=None,
            run_id=None,
            error="RuntimeError: no such airport: XQX",
            reasons=(Verdict("run", False, "RuntimeError: no such airport: XQX"),),
        ),
        row(
            "degraded on purpose", state="degraded", expected_state=("degraded",), cost_usd=None, not_exercised=("precedes(confirm, book)",)
        ),
        row("upgrade", attempt=1, tags=("smoke",)),
        row(
            "upgrade",
            "failed",
            attempt=2,
            tags=("smoke",),
            log=":memory:",
            reasons=(Verdict("final_text", False, "does not name the new seat"),),
        ),
        row("upgrade", attempt=3, tags=("smoke",)),
        row("pets", "not_run", reasons=(Verdict("total_budget", False, "the suite's budget of $0.12 was used up"),)),
    ]
    return suite(
        rows,
        stopped="the suite's budget was used up: max_total_cost_usd",
        total_cost_usd=None,
        known_cost_usd=0.1193,
        tags={
            "refund": TagSummary(total=2, passed=1, failed=1, not_run=0, pass_rate=0.5),
            "smoke": TagSummary(total=4, passed=3, failed=1, not_run=0, pass_rate=0.75),
        },
        scores={"tone": ScoreSummary(count=2, mean=0.615, minimum=0.31, maximum=0.92)},
        not_exercised=("precedes(confirm, book)",),
        cases=(statistics("upgrade", 2, 3, (0.2077, 0.9385)),),
        repeats=statistics(None, 2, 3, (0.2077, 0.9385)),
    )


def a_good_day() -> EvalSuiteResult:
    """A suite that passed."""
    return suite(row(name) for name in ("cancel in time", "seat map", "upgrade"))


def a_hostile_day() -> EvalSuiteResult:
    """Text of somebody who knows what reports are shown in, in every field that holds text."""
    said = Verdict(HOSTILE, False, HOSTILE, positions=(HOSTILE,))
    bad = msgspec.structs.replace(
        DIVERGED,
        name=HOSTILE,
        path=HOSTILE,
        divergences=(msgspec.structs.replace(PROMPT, field=HOSTILE, expected=HOSTILE, actual=plain({HOSTILE: HOSTILE}), message=HOSTILE),),
        notes=(HOSTILE,),
    )
    return suite(
        [
            row(
                HOSTILE,
                "failed",
                run_id=f"run_{HOSTILE}",
                log=HOSTILE,
                tags=(HOSTILE,),
                reasons=(said,),
                verdicts=(said,),
                output=HOSTILE * 2_000,
                error=HOSTILE,
                metadata={HOSTILE: HOSTILE},
                golden=msgspec.to_builtins(bad),
            ),
            row("quiet", not_exercised=(HOSTILE,)),
        ],
        stopped=HOSTILE,
        tags={HOSTILE: TagSummary(total=1, passed=0, failed=1, not_run=0, pass_rate=0.0)},
        scores={HOSTILE: ScoreSummary(count=1, mean=0.5, minimum=0.5, maximum=0.5)},
        not_exercised=(HOSTILE,),
        cases=(statistics(HOSTILE, 1, 5, (0.0362, 0.6245)),),
        repeats=statistics(None, 1, 5, (0.0362, 0.6245)),
    )
