"""What tests of agents need: models that answer from a script, simulated worlds, and processes that die. Nothing here is loaded by the
rest of the package.

A name is loaded when it is first used, so that whoever wants a scripted model needs neither Hypothesis nor the time that it takes to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.testing.crash_matrix import Check, CrashMatrix, CrashOutcome, crash_at, crash_everywhere
    from afk_es.testing.crashes import CrashScenario, CrashTrial, Rehearsal, RetryClock, crash_points, rehearse
    from afk_es.testing.golden_crashes import GoldenCrashes, crash_golden, golden_scenarios
    from afk_es.testing.mortal import CrashPoint
    from afk_es.testing.mortal_runner import Dispatch
    from afk_es.testing.scripted import ScriptedModel, ScriptExhaustedError
    from afk_es.testing.simulation.asks import Ask
    from afk_es.testing.simulation.facts import (
        Action,
        Answer,
        Call,
        Control,
        Crash,
        Fact,
        ModelAnswers,
        ModelFails,
        PersonSays,
        Script,
        StalledProcess,
        Summarises,
        TicketEnds,
        TimePasses,
        Together,
        ToolDefers,
        ToolFails,
        ToolReturns,
        ToolRuns,
        UserSays,
        script_from,
        script_json,
    )
    from afk_es.testing.simulation.observing import ObservedRun, Observer
    from afk_es.testing.simulation.world import Simulation, StuckError, plain_fact
    from afk_es.testing.survival import Breach, Promise, Survival, comparable, log_problems

_CRASH_MATRIX = "afk_es.testing.crash_matrix"
_CRASHES = "afk_es.testing.crashes"
_GOLDEN_CRASHES = "afk_es.testing.golden_crashes"
_FACTS = "afk_es.testing.simulation.facts"
_OBSERVING = "afk_es.testing.simulation.observing"
_SCRIPTED = "afk_es.testing.scripted"
_SURVIVAL = "afk_es.testing.survival"
_WORLD = "afk_es.testing.simulation.world"

_HOMES = {
    "Action": _FACTS,
    "Answer": _FACTS,
    "Ask": "afk_es.testing.simulation.asks",
    "Breach": _SURVIVAL,
    "Call": _FACTS,
    "Check": _CRASH_MATRIX,
    "Control": _FACTS,
    "Crash": _FACTS,
    "CrashMatrix": _CRASH_MATRIX,
    "CrashOutcome": _CRASH_MATRIX,
    "CrashPoint": "afk_es.testing.mortal",
    "CrashScenario": _CRASHES,
    "CrashTrial": _CRASHES,
    "Dispatch": "afk_es.testing.mortal_runner",
    "Fact": _FACTS,
    "GoldenCrashes": _GOLDEN_CRASHES,
    "ModelAnswers": _FACTS,
    "ModelFails": _FACTS,
    "ObservedRun": _OBSERVING,
    "Observer": _OBSERVING,
    "PersonSays": _FACTS,
    "Promise": _SURVIVAL,
    "Rehearsal": _CRASHES,
    "RetryClock": _CRASHES,
    "Script": _FACTS,
    "ScriptExhaustedError": _SCRIPTED,
    "ScriptedModel": _SCRIPTED,
    "Simulation": _WORLD,
    "StalledProcess": _FACTS,
    "StuckError": _WORLD,
    "Summarises": _FACTS,
    "Survival": _SURVIVAL,
    "TicketEnds": _FACTS,
    "TimePasses": _FACTS,
    "Together": _FACTS,
    "ToolDefers": _FACTS,
    "ToolFails": _FACTS,
    "ToolReturns": _FACTS,
    "ToolRuns": _FACTS,
    "UserSays": _FACTS,
    "comparable": _SURVIVAL,
    "crash_at": _CRASH_MATRIX,
    "crash_everywhere": _CRASH_MATRIX,
    "crash_golden": _GOLDEN_CRASHES,
    "crash_points": _CRASHES,
    "golden_scenarios": _GOLDEN_CRASHES,
    "log_problems": _SURVIVAL,
    "plain_fact": _WORLD,
    "rehearse": _CRASHES,
    "script_from": _FACTS,
    "script_json": _FACTS,
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'afk_es.testing' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "Action",
    "Answer",
    "Ask",
    "Breach",
    "Call",
    "Check",
    "Control",
    "Crash",
    "CrashMatrix",
    "CrashOutcome",
    "CrashPoint",
    "CrashScenario",
    "CrashTrial",
    "Dispatch",
    "Fact",
    "GoldenCrashes",
    "ModelAnswers",
    "ModelFails",
    "ObservedRun",
    "Observer",
    "PersonSays",
    "Promise",
    "Rehearsal",
    "RetryClock",
    "Script",
    "ScriptExhaustedError",
    "ScriptedModel",
    "Simulation",
    "StalledProcess",
    "StuckError",
    "Summarises",
    "Survival",
    "TicketEnds",
    "TimePasses",
    "Together",
    "ToolDefers",
    "ToolFails",
    "ToolReturns",
    "ToolRuns",
    "UserSays",
    "comparable",
    "crash_at",
    "crash_everywhere",
    "crash_golden",
    "crash_points",
    "golden_scenarios",
    "log_problems",
    "plain_fact",
    "rehearse",
    "script_from",
    "script_json",
]
