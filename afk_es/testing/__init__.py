"""What tests of agents need: models that answer from a script, and processes that die. Nothing here is loaded by the rest of the package."""

from afk_es.testing.crash_matrix import (
    Check,
    CrashMatrix,
    CrashOutcome,
    comparable,
    crash_at,
    crash_everywhere,
    log_problems,
)
from afk_es.testing.crashes import CrashScenario, CrashTrial, Dispatch, Rehearsal, RetryClock, crash_points, rehearse
from afk_es.testing.mortal import CrashPoint
from afk_es.testing.scripted import ScriptedModel, ScriptExhaustedError

__all__ = [
    "Check",
    "CrashMatrix",
    "CrashOutcome",
    "CrashPoint",
    "CrashScenario",
    "CrashTrial",
    "Dispatch",
    "Rehearsal",
    "RetryClock",
    "ScriptedModel",
    "ScriptExhaustedError",
    "comparable",
    "crash_at",
    "crash_everywhere",
    "crash_points",
    "log_problems",
    "rehearse",
]
