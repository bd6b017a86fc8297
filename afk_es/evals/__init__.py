"""Evals and golden traces: whether agents still do what they did, and whether what they do is good. Both read the one log.

A name is loaded when it is first used: the pytest plugin is imported by every test run, most of which use no golden.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.evals.divergence import Divergence, Place
    from afk_es.evals.evidence import Evidence
    from afk_es.evals.policy_changes import ChangedDecision, PolicyWhatIf, RunWhatIf, ToolWhatIf
    from afk_es.evals.policy_trial import policy_what_if
    from afk_es.evals.run_selection import RunSelection
    from afk_es.evals.tried_policy import Decision
    from afk_es.evals.verdict import Verdict

__all__ = [
    "ChangedDecision",
    "Decision",
    "Divergence",
    "Evidence",
    "Place",
    "PolicyWhatIf",
    "RunSelection",
    "RunWhatIf",
    "ToolWhatIf",
    "Verdict",
    "policy_what_if",
]

_HOMES = {
    "Divergence": "afk_es.evals.divergence",
    "Place": "afk_es.evals.divergence",
    "Evidence": "afk_es.evals.evidence",
    "ChangedDecision": "afk_es.evals.policy_changes",
    "Decision": "afk_es.evals.tried_policy",
    "PolicyWhatIf": "afk_es.evals.policy_changes",
    "RunSelection": "afk_es.evals.run_selection",
    "RunWhatIf": "afk_es.evals.policy_changes",
    "ToolWhatIf": "afk_es.evals.policy_changes",
    "policy_what_if": "afk_es.evals.policy_trial",
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
