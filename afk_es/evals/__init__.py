"""Evals and golden traces: whether agents still do what they did, and whether what they do is good. Both read the one log.

A name is loaded when it is first used: the pytest plugin is imported by every test run, most of which use no golden.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.evals.check_report import CheckedRun, CheckReport, LeftOver
    from afk_es.evals.criteria import Assertion, Scorer
    from afk_es.evals.divergence import Divergence, Place
    from afk_es.evals.evidence import Evidence
    from afk_es.evals.models import EvalBudget, EvalCase, EvalCaseResult, EvalSuiteConfig, EvalSuiteResult
    from afk_es.evals.verdict import Verdict

__all__ = [
    "Assertion",
    "CheckReport",
    "CheckedRun",
    "Divergence",
    "EvalBudget",
    "EvalCase",
    "EvalCaseResult",
    "EvalSuiteConfig",
    "EvalSuiteResult",
    "Evidence",
    "LeftOver",
    "Place",
    "Scorer",
    "Verdict",
]

_HOMES = {
    "Assertion": "afk_es.evals.criteria",
    "Scorer": "afk_es.evals.criteria",
    "CheckReport": "afk_es.evals.check_report",
    "CheckedRun": "afk_es.evals.check_report",
    "LeftOver": "afk_es.evals.check_report",
    "Divergence": "afk_es.evals.divergence",
    "Place": "afk_es.evals.divergence",
    "EvalBudget": "afk_es.evals.models",
    "EvalCase": "afk_es.evals.models",
    "EvalCaseResult": "afk_es.evals.models",
    "EvalSuiteConfig": "afk_es.evals.models",
    "EvalSuiteResult": "afk_es.evals.models",
    "Evidence": "afk_es.evals.evidence",
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
