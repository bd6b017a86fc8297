"""What tests of agents need: models that answer from a script, simulated worlds, and processes that die. Nothing here is loaded by the
rest of the package.

A name is loaded when it is first used, so that whoever wants a scripted model needs neither Hypothesis nor the time that it takes to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.testing.crash_matrix import Check, CrashMatrix, CrashOutcome, comparable, crash_at, crash_everywhere, log_problems
    from afk_es.testing.crashes import CrashScenario, CrashTrial, Dispatch, Rehearsal, RetryClock, crash_points, rehearse
    from afk_es.testing.log_contract import ContractReport, EventLogContract, StoreSubject, check_event_log
    from afk_es.testing.mortal import CrashPoint
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

_CRASH_MATRIX = "afk_es.testing.crash_matrix"
_CRASHES = "afk_es.testing.crashes"
_FACTS = "afk_es.testing.simulation.facts"
_LOG_CONTRACT = "afk_es.testing.log_contract"
_OBSERVING = "afk_es.testing.simulation.observing"
_SCRIPTED = "afk_es.testing.scripted"
_WORLD = "afk_es.testing.simulation.world"

_HOMES = {
    "Action": _FACTS,
    "Answer": _FACTS,
    "Ask": "afk_es.testing.simulation.asks",
    "Call": _FACTS,
    "Check": _CRASH_MATRIX,
    "ContractReport": _LOG_CONTRACT,
    "Control": _FACTS,
    "Crash": _FACTS,
    "CrashMatrix": _CRASH_MATRIX,
    "CrashOutcome": _CRASH_MATRIX,
    "CrashPoint": "afk_es.testing.mortal",
    "CrashScenario": _CRASHES,
    "CrashTrial": _CRASHES,
    "Dispatch": _CRASHES,
    "EventLogContract": _LOG_CONTRACT,
    "Fact": _FACTS,
    "ModelAnswers": _FACTS,
    "ModelFails": _FACTS,
    "ObservedRun": _OBSERVING,
    "Observer": _OBSERVING,
    "PersonSays": _FACTS,
    "Rehearsal": _CRASHES,
    "RetryClock": _CRASHES,
    "Script": _FACTS,
    "ScriptExhaustedError": _SCRIPTED,
    "ScriptedModel": _SCRIPTED,
    "Simulation": _WORLD,
    "StalledProcess": _FACTS,
    "StoreSubject": _LOG_CONTRACT,
    "StuckError": _WORLD,
    "Summarises": _FACTS,
    "TicketEnds": _FACTS,
    "TimePasses": _FACTS,
    "Together": _FACTS,
    "ToolDefers": _FACTS,
    "ToolFails": _FACTS,
    "ToolReturns": _FACTS,
    "ToolRuns": _FACTS,
    "UserSays": _FACTS,
    "check_event_log": _LOG_CONTRACT,
    "comparable": _CRASH_MATRIX,
    "crash_at": _CRASH_MATRIX,
    "crash_everywhere": _CRASH_MATRIX,
    "crash_points": _CRASHES,
    "log_problems": _CRASH_MATRIX,
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
    "Call",
    "Check",
    "ContractReport",
    "Control",
    "Crash",
    "CrashMatrix",
    "CrashOutcome",
    "CrashPoint",
    "CrashScenario",
    "CrashTrial",
    "Dispatch",
    "EventLogContract",
    "Fact",
    "ModelAnswers",
    "ModelFails",
    "ObservedRun",
    "Observer",
    "PersonSays",
    "Rehearsal",
    "RetryClock",
    "Script",
    "ScriptExhaustedError",
    "ScriptedModel",
    "Simulation",
    "StalledProcess",
    "StoreSubject",
    "StuckError",
    "Summarises",
    "TicketEnds",
    "TimePasses",
    "Together",
    "ToolDefers",
    "ToolFails",
    "ToolReturns",
    "ToolRuns",
    "UserSays",
    "check_event_log",
    "comparable",
    "crash_at",
    "crash_everywhere",
    "crash_points",
    "log_problems",
    "plain_fact",
    "rehearse",
    "script_from",
    "script_json",
]
