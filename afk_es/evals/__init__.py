"""Evals and golden traces: whether agents still do what they did, and whether what they do is good. Both read the one log.

A name is loaded when it is first used: the pytest plugin is imported by every test run, most of which use no golden.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.debugger.exchange.golden_facts import GoldenError, GoldenHeader, GoldenOutcome, Provenance
    from afk_es.evals.answers import (
        Contains,
        Equals,
        EqualsExpected,
        JsonPathEquals,
        Matches,
        MaxSteps,
        NotContains,
        NoTool,
        StateIs,
        ToolCalled,
    )
    from afk_es.evals.assertion_data import assertion_from, assertions_from, register_assertion
    from afk_es.evals.call_pattern import CallPattern, Mismatch, call
    from afk_es.evals.calls import RecordedCall, calls_of
    from afk_es.evals.check_report import CheckedRun, CheckReport, LeftOver
    from afk_es.evals.check_text import report_lines
    from afk_es.evals.checking import check_golden, check_golden_sync, compare_with_golden
    from afk_es.evals.criteria import Assertion, Scorer
    from afk_es.evals.datasets import load_cases
    from afk_es.evals.divergence import Divergence, DivergenceClass, MatchMode, Place
    from afk_es.evals.evidence import Evidence
    from afk_es.evals.golden import Golden
    from afk_es.evals.golden_store import GoldenStore
    from afk_es.evals.golden_updates import Update, UpdateCategory, UpdatePolicy, UpdateRefusedError
    from afk_es.evals.judge import Judgement, LLMJudge
    from afk_es.evals.likeness import JsonLike, Similarity, json_like, similarity
    from afk_es.evals.models import EvalBudget, EvalCase, EvalCaseResult, EvalSuiteConfig, EvalSuiteResult
    from afk_es.evals.recorded_results import recorded_evidence, recorded_result
    from afk_es.evals.repeats import pass_all_k, pass_at_k, wilson_interval
    from afk_es.evals.reports import SuiteProgress, print_report, write_report
    from afk_es.evals.rescoring import RunSelection, arescore, rescore
    from afk_es.evals.run_checks import RunChecks, Within, checks, no_errors, within
    from afk_es.evals.suite import EvalProgress, arun_suite, run_suite
    from afk_es.evals.temporal import Claim, always, at_most, eventually, never, precedes, responds
    from afk_es.evals.trajectory import Missing, Trajectory, TrajectoryMatch, match_trajectory
    from afk_es.evals.verdict import Verdict

__all__ = [
    "always",
    "arescore",
    "arun_suite",
    "Assertion",
    "assertion_from",
    "assertions_from",
    "at_most",
    "call",
    "CallPattern",
    "calls_of",
    "check_golden",
    "check_golden_sync",
    "CheckedRun",
    "CheckReport",
    "checks",
    "Claim",
    "compare_with_golden",
    "Contains",
    "Divergence",
    "DivergenceClass",
    "Equals",
    "EqualsExpected",
    "EvalBudget",
    "EvalCase",
    "EvalCaseResult",
    "EvalProgress",
    "EvalSuiteConfig",
    "EvalSuiteResult",
    "eventually",
    "Evidence",
    "Golden",
    "GoldenError",
    "GoldenHeader",
    "GoldenOutcome",
    "GoldenStore",
    "json_like",
    "JsonLike",
    "JsonPathEquals",
    "Judgement",
    "LeftOver",
    "LLMJudge",
    "load_cases",
    "match_trajectory",
    "Matches",
    "MatchMode",
    "MaxSteps",
    "Mismatch",
    "Missing",
    "never",
    "no_errors",
    "NotContains",
    "NoTool",
    "pass_all_k",
    "pass_at_k",
    "Place",
    "precedes",
    "print_report",
    "Provenance",
    "recorded_evidence",
    "recorded_result",
    "RecordedCall",
    "register_assertion",
    "report_lines",
    "rescore",
    "responds",
    "run_suite",
    "RunChecks",
    "RunSelection",
    "Scorer",
    "Similarity",
    "similarity",
    "StateIs",
    "SuiteProgress",
    "ToolCalled",
    "Trajectory",
    "TrajectoryMatch",
    "Update",
    "UpdateCategory",
    "UpdatePolicy",
    "UpdateRefusedError",
    "Verdict",
    "wilson_interval",
    "Within",
    "within",
    "write_report",
]

_HOMES = {
    "always": "afk_es.evals.temporal",
    "arescore": "afk_es.evals.rescoring",
    "arun_suite": "afk_es.evals.suite",
    "Assertion": "afk_es.evals.criteria",
    "assertion_from": "afk_es.evals.assertion_data",
    "assertions_from": "afk_es.evals.assertion_data",
    "at_most": "afk_es.evals.temporal",
    "call": "afk_es.evals.call_pattern",
    "CallPattern": "afk_es.evals.call_pattern",
    "calls_of": "afk_es.evals.calls",
    "check_golden": "afk_es.evals.checking",
    "check_golden_sync": "afk_es.evals.checking",
    "CheckedRun": "afk_es.evals.check_report",
    "CheckReport": "afk_es.evals.check_report",
    "checks": "afk_es.evals.run_checks",
    "Claim": "afk_es.evals.temporal",
    "compare_with_golden": "afk_es.evals.checking",
    "Contains": "afk_es.evals.answers",
    "Divergence": "afk_es.evals.divergence",
    "DivergenceClass": "afk_es.evals.divergence",
    "Equals": "afk_es.evals.answers",
    "EqualsExpected": "afk_es.evals.answers",
    "EvalBudget": "afk_es.evals.models",
    "EvalCase": "afk_es.evals.models",
    "EvalCaseResult": "afk_es.evals.models",
    "EvalProgress": "afk_es.evals.suite",
    "EvalSuiteConfig": "afk_es.evals.models",
    "EvalSuiteResult": "afk_es.evals.models",
    "eventually": "afk_es.evals.temporal",
    "Evidence": "afk_es.evals.evidence",
    "Golden": "afk_es.evals.golden",
    "GoldenError": "afk_es.debugger.exchange.golden_facts",
    "GoldenHeader": "afk_es.debugger.exchange.golden_facts",
    "GoldenOutcome": "afk_es.debugger.exchange.golden_facts",
    "GoldenStore": "afk_es.evals.golden_store",
    "json_like": "afk_es.evals.likeness",
    "JsonLike": "afk_es.evals.likeness",
    "JsonPathEquals": "afk_es.evals.answers",
    "Judgement": "afk_es.evals.judge",
    "LeftOver": "afk_es.evals.check_report",
    "LLMJudge": "afk_es.evals.judge",
    "load_cases": "afk_es.evals.datasets",
    "match_trajectory": "afk_es.evals.trajectory",
    "Matches": "afk_es.evals.answers",
    "MatchMode": "afk_es.evals.divergence",
    "MaxSteps": "afk_es.evals.answers",
    "Mismatch": "afk_es.evals.call_pattern",
    "Missing": "afk_es.evals.trajectory",
    "never": "afk_es.evals.temporal",
    "no_errors": "afk_es.evals.run_checks",
    "NotContains": "afk_es.evals.answers",
    "NoTool": "afk_es.evals.answers",
    "pass_all_k": "afk_es.evals.repeats",
    "pass_at_k": "afk_es.evals.repeats",
    "Place": "afk_es.evals.divergence",
    "precedes": "afk_es.evals.temporal",
    "print_report": "afk_es.evals.reports",
    "Provenance": "afk_es.debugger.exchange.golden_facts",
    "recorded_evidence": "afk_es.evals.recorded_results",
    "recorded_result": "afk_es.evals.recorded_results",
    "RecordedCall": "afk_es.evals.calls",
    "register_assertion": "afk_es.evals.assertion_data",
    "report_lines": "afk_es.evals.check_text",
    "rescore": "afk_es.evals.rescoring",
    "responds": "afk_es.evals.temporal",
    "run_suite": "afk_es.evals.suite",
    "RunChecks": "afk_es.evals.run_checks",
    "RunSelection": "afk_es.evals.rescoring",
    "Scorer": "afk_es.evals.criteria",
    "Similarity": "afk_es.evals.likeness",
    "similarity": "afk_es.evals.likeness",
    "StateIs": "afk_es.evals.answers",
    "SuiteProgress": "afk_es.evals.reports",
    "ToolCalled": "afk_es.evals.answers",
    "Trajectory": "afk_es.evals.trajectory",
    "TrajectoryMatch": "afk_es.evals.trajectory",
    "Update": "afk_es.evals.golden_updates",
    "UpdateCategory": "afk_es.evals.golden_updates",
    "UpdatePolicy": "afk_es.evals.golden_updates",
    "UpdateRefusedError": "afk_es.evals.golden_updates",
    "Verdict": "afk_es.evals.verdict",
    "wilson_interval": "afk_es.evals.repeats",
    "Within": "afk_es.evals.run_checks",
    "within": "afk_es.evals.run_checks",
    "write_report": "afk_es.evals.reports",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'afk_es.evals' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
