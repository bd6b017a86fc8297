"""Evals and golden traces: whether agents still do what they did, and whether what they do is good. Both read the one log.

A name is loaded when it is first used: the pytest plugin is imported by every test run, most of which use no golden.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.evals.check_report import CheckedRun, CheckReport, LeftOver
    from afk_es.evals.divergence import Divergence, Place
    from afk_es.evals.evidence import Evidence
    from afk_es.evals.golden import Golden
    from afk_es.evals.verdict import Verdict

__all__ = ["CheckReport", "CheckedRun", "Divergence", "Evidence", "Golden", "LeftOver", "Place", "Verdict"]

_HOMES = {
    "CheckReport": "afk_es.evals.check_report",
    "CheckedRun": "afk_es.evals.check_report",
    "LeftOver": "afk_es.evals.check_report",
    "Divergence": "afk_es.evals.divergence",
    "Place": "afk_es.evals.divergence",
    "Evidence": "afk_es.evals.evidence",
    "Golden": "afk_es.evals.golden",
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
