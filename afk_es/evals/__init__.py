"""Evals and golden traces: whether agents still do what they did, and whether what they do is good. Both read the one log.

A name is loaded when it is first used: the pytest plugin is imported by every test run, most of which use no golden.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.debugger.exchange.golden_facts import GoldenError, GoldenHeader, GoldenOutcome, Provenance
    from afk_es.evals.check_report import CheckedRun, CheckReport, LeftOver
    from afk_es.evals.divergence import Divergence, Place
    from afk_es.evals.evidence import Evidence
    from afk_es.evals.golden import Golden
    from afk_es.evals.golden_store import GoldenStore
    from afk_es.evals.golden_updates import Update, UpdateCategory, UpdatePolicy, UpdateRefusedError
    from afk_es.evals.pinning import AgentReference, write_golden, write_pinned
    from afk_es.evals.plugin.fixture import GoldenFixture
    from afk_es.evals.verdict import Verdict

__all__ = [
    "AgentReference",
    "CheckedRun",
    "CheckReport",
    "Divergence",
    "Evidence",
    "Golden",
    "GoldenError",
    "GoldenFixture",
    "GoldenHeader",
    "GoldenStore",
    "LeftOver",
    "GoldenOutcome",
    "Place",
    "Provenance",
    "Update",
    "UpdateCategory",
    "UpdatePolicy",
    "UpdateRefusedError",
    "Verdict",
    "write_golden",
    "write_pinned",
]

_HOMES = {
    "AgentReference": "afk_es.evals.pinning",
    "GoldenFixture": "afk_es.evals.plugin.fixture",
    "write_golden": "afk_es.evals.pinning",
    "write_pinned": "afk_es.evals.pinning",
    "CheckReport": "afk_es.evals.check_report",
    "CheckedRun": "afk_es.evals.check_report",
    "LeftOver": "afk_es.evals.check_report",
    "Divergence": "afk_es.evals.divergence",
    "Place": "afk_es.evals.divergence",
    "Evidence": "afk_es.evals.evidence",
    "Golden": "afk_es.evals.golden",
    "GoldenError": "afk_es.debugger.exchange.golden_facts",
    "GoldenHeader": "afk_es.debugger.exchange.golden_facts",
    "GoldenStore": "afk_es.evals.golden_store",
    "GoldenOutcome": "afk_es.debugger.exchange.golden_facts",
    "Provenance": "afk_es.debugger.exchange.golden_facts",
    "Update": "afk_es.evals.golden_updates",
    "UpdateCategory": "afk_es.evals.golden_updates",
    "UpdatePolicy": "afk_es.evals.golden_updates",
    "UpdateRefusedError": "afk_es.evals.golden_updates",
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
