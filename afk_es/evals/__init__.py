"""Evals and golden traces: whether agents still do what they did, and whether what they do is good. Both read the one log.

A name is loaded when it is first used: the pytest plugin is imported by every test run, most of which use no golden.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.debugger.exchange.golden_facts import GoldenError, GoldenHeader, GoldenOutcome, Provenance
    from afk_es.evals.assertions.answers import (
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
    from afk_es.evals.assertions.call_pattern import CallPattern, call
    from afk_es.evals.assertions.calls import RecordedCall, calls_of
    from afk_es.evals.assertions.criteria import Assertion, Scorer
    from afk_es.evals.assertions.data import assertion_from, assertions_from, register_assertion
    from afk_es.evals.assertions.expectations import Mismatch
    from afk_es.evals.assertions.judge import Judgement, LLMJudge
    from afk_es.evals.assertions.likeness import JsonLike, Similarity, json_like, similarity
    from afk_es.evals.assertions.run_checks import RunChecks, Within, checks, no_errors, within
    from afk_es.evals.assertions.temporal import Claim, always, at_most, eventually, never, precedes, responds
    from afk_es.evals.assertions.trajectory import Missing, Trajectory, TrajectoryMatch, match_trajectory
    from afk_es.evals.datasets import load_cases
    from afk_es.evals.eval_suite import EvalSuite
    from afk_es.evals.evidence import Evidence
    from afk_es.evals.goldens.check_report import CheckedRun, CheckReport, LeftOver
    from afk_es.evals.goldens.check_text import report_lines
    from afk_es.evals.goldens.checking import check_golden, check_golden_sync, compare_with_golden
    from afk_es.evals.goldens.divergence import Divergence, DivergenceClass, MatchMode, Place
    from afk_es.evals.goldens.golden import Golden
    from afk_es.evals.goldens.pinning import AgentReference, write_golden, write_pinned
    from afk_es.evals.goldens.store import GoldenStore
    from afk_es.evals.goldens.updates import Update, UpdateCategory, UpdatePolicy, UpdateRefusedError
    from afk_es.evals.models import EvalBudget, EvalCase, EvalCaseResult, EvalSuiteConfig, EvalSuiteResult
    from afk_es.evals.plugin.fixture import GoldenFixture
    from afk_es.evals.policies.changes import ChangedDecision, PolicyWhatIf, RunWhatIf, ToolWhatIf
    from afk_es.evals.policies.trial import policy_what_if
    from afk_es.evals.policies.tried_policy import Decision
    from afk_es.evals.recorded_results import recorded_evidence, recorded_result
    from afk_es.evals.repeats import pass_all_k, pass_at_k, wilson_interval
    from afk_es.evals.reports import SuiteProgress, print_report, write_report
    from afk_es.evals.rescoring import arescore, rescore
    from afk_es.evals.run_selection import RunSelection
    from afk_es.evals.suite import EvalProgress, arun_suite, run_suite
    from afk_es.evals.verdict import Verdict

__all__ = [
    "AgentReference",
    "Assertion",
    "CallPattern",
    "ChangedDecision",
    "CheckReport",
    "CheckedRun",
    "Claim",
    "Contains",
    "Decision",
    "Divergence",
    "DivergenceClass",
    "Equals",
    "EqualsExpected",
    "EvalBudget",
    "EvalCase",
    "EvalCaseResult",
    "EvalProgress",
    "EvalSuite",
    "EvalSuiteConfig",
    "EvalSuiteResult",
    "Evidence",
    "Golden",
    "GoldenError",
    "GoldenFixture",
    "GoldenHeader",
    "GoldenOutcome",
    "GoldenStore",
    "JsonLike",
    "JsonPathEquals",
    "Judgement",
    "LLMJudge",
    "LeftOver",
    "MatchMode",
    "Matches",
    "MaxSteps",
    "Mismatch",
    "Missing",
    "NoTool",
    "NotContains",
    "Place",
    "PolicyWhatIf",
    "Provenance",
    "RecordedCall",
    "RunChecks",
    "RunSelection",
    "RunWhatIf",
    "Scorer",
    "Similarity",
    "StateIs",
    "SuiteProgress",
    "ToolCalled",
    "ToolWhatIf",
    "Trajectory",
    "TrajectoryMatch",
    "Update",
    "UpdateCategory",
    "UpdatePolicy",
    "UpdateRefusedError",
    "Verdict",
    "Within",
    "always",
    "arescore",
    "arun_suite",
    "assertion_from",
    "assertions_from",
    "at_most",
    "call",
    "calls_of",
    "check_golden",
    "check_golden_sync",
    "checks",
    "compare_with_golden",
    "eventually",
    "json_like",
    "load_cases",
    "match_trajectory",
    "never",
    "no_errors",
    "pass_all_k",
    "pass_at_k",
    "policy_what_if",
    "precedes",
    "print_report",
    "recorded_evidence",
    "recorded_result",
    "register_assertion",
    "report_lines",
    "rescore",
    "responds",
    "run_suite",
    "similarity",
    "wilson_interval",
    "within",
    "write_golden",
    "write_pinned",
    "write_report",
]

_HOMES = {
    "GoldenError": "afk_es.debugger.exchange.golden_facts",
    "GoldenHeader": "afk_es.debugger.exchange.golden_facts",
    "GoldenOutcome": "afk_es.debugger.exchange.golden_facts",
    "Provenance": "afk_es.debugger.exchange.golden_facts",
    "Contains": "afk_es.evals.assertions.answers",
    "Equals": "afk_es.evals.assertions.answers",
    "EqualsExpected": "afk_es.evals.assertions.answers",
    "JsonPathEquals": "afk_es.evals.assertions.answers",
    "Matches": "afk_es.evals.assertions.answers",
    "MaxSteps": "afk_es.evals.assertions.answers",
    "NoTool": "afk_es.evals.assertions.answers",
    "NotContains": "afk_es.evals.assertions.answers",
    "StateIs": "afk_es.evals.assertions.answers",
    "ToolCalled": "afk_es.evals.assertions.answers",
    "assertion_from": "afk_es.evals.assertions.data",
    "assertions_from": "afk_es.evals.assertions.data",
    "register_assertion": "afk_es.evals.assertions.data",
    "CallPattern": "afk_es.evals.assertions.call_pattern",
    "Mismatch": "afk_es.evals.assertions.expectations",
    "call": "afk_es.evals.assertions.call_pattern",
    "RecordedCall": "afk_es.evals.assertions.calls",
    "calls_of": "afk_es.evals.assertions.calls",
    "CheckReport": "afk_es.evals.goldens.check_report",
    "CheckedRun": "afk_es.evals.goldens.check_report",
    "LeftOver": "afk_es.evals.goldens.check_report",
    "report_lines": "afk_es.evals.goldens.check_text",
    "check_golden": "afk_es.evals.goldens.checking",
    "check_golden_sync": "afk_es.evals.goldens.checking",
    "compare_with_golden": "afk_es.evals.goldens.checking",
    "Assertion": "afk_es.evals.assertions.criteria",
    "Scorer": "afk_es.evals.assertions.criteria",
    "load_cases": "afk_es.evals.datasets",
    "Divergence": "afk_es.evals.goldens.divergence",
    "DivergenceClass": "afk_es.evals.goldens.divergence",
    "MatchMode": "afk_es.evals.goldens.divergence",
    "Place": "afk_es.evals.goldens.divergence",
    "EvalSuite": "afk_es.evals.eval_suite",
    "Evidence": "afk_es.evals.evidence",
    "Golden": "afk_es.evals.goldens.golden",
    "GoldenStore": "afk_es.evals.goldens.store",
    "Update": "afk_es.evals.goldens.updates",
    "UpdateCategory": "afk_es.evals.goldens.updates",
    "UpdatePolicy": "afk_es.evals.goldens.updates",
    "UpdateRefusedError": "afk_es.evals.goldens.updates",
    "Judgement": "afk_es.evals.assertions.judge",
    "LLMJudge": "afk_es.evals.assertions.judge",
    "JsonLike": "afk_es.evals.assertions.likeness",
    "Similarity": "afk_es.evals.assertions.likeness",
    "json_like": "afk_es.evals.assertions.likeness",
    "similarity": "afk_es.evals.assertions.likeness",
    "EvalBudget": "afk_es.evals.models",
    "EvalCase": "afk_es.evals.models",
    "EvalCaseResult": "afk_es.evals.models",
    "EvalSuiteConfig": "afk_es.evals.models",
    "EvalSuiteResult": "afk_es.evals.models",
    "AgentReference": "afk_es.evals.goldens.pinning",
    "write_golden": "afk_es.evals.goldens.pinning",
    "write_pinned": "afk_es.evals.goldens.pinning",
    "GoldenFixture": "afk_es.evals.plugin.fixture",
    "ChangedDecision": "afk_es.evals.policies.changes",
    "PolicyWhatIf": "afk_es.evals.policies.changes",
    "RunWhatIf": "afk_es.evals.policies.changes",
    "ToolWhatIf": "afk_es.evals.policies.changes",
    "policy_what_if": "afk_es.evals.policies.trial",
    "recorded_evidence": "afk_es.evals.recorded_results",
    "recorded_result": "afk_es.evals.recorded_results",
    "pass_all_k": "afk_es.evals.repeats",
    "pass_at_k": "afk_es.evals.repeats",
    "wilson_interval": "afk_es.evals.repeats",
    "SuiteProgress": "afk_es.evals.reports",
    "print_report": "afk_es.evals.reports",
    "write_report": "afk_es.evals.reports",
    "arescore": "afk_es.evals.rescoring",
    "rescore": "afk_es.evals.rescoring",
    "RunChecks": "afk_es.evals.assertions.run_checks",
    "Within": "afk_es.evals.assertions.run_checks",
    "checks": "afk_es.evals.assertions.run_checks",
    "no_errors": "afk_es.evals.assertions.run_checks",
    "within": "afk_es.evals.assertions.run_checks",
    "RunSelection": "afk_es.evals.run_selection",
    "EvalProgress": "afk_es.evals.suite",
    "arun_suite": "afk_es.evals.suite",
    "run_suite": "afk_es.evals.suite",
    "Claim": "afk_es.evals.assertions.temporal",
    "always": "afk_es.evals.assertions.temporal",
    "at_most": "afk_es.evals.assertions.temporal",
    "eventually": "afk_es.evals.assertions.temporal",
    "never": "afk_es.evals.assertions.temporal",
    "precedes": "afk_es.evals.assertions.temporal",
    "responds": "afk_es.evals.assertions.temporal",
    "Missing": "afk_es.evals.assertions.trajectory",
    "Trajectory": "afk_es.evals.assertions.trajectory",
    "TrajectoryMatch": "afk_es.evals.assertions.trajectory",
    "match_trajectory": "afk_es.evals.assertions.trajectory",
    "Decision": "afk_es.evals.policies.tried_policy",
    "Verdict": "afk_es.evals.verdict",
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
