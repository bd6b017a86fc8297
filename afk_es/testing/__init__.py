"""What tests of agents need: models that answer from a script, simulated worlds, and processes that die. Nothing here is loaded by the
rest of the package.

A name is loaded when it is first used, so that whoever wants a scripted model needs neither Hypothesis nor the time that it takes to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.testing.crash_matrix import Check, CrashMatrix, CrashOutcome, comparable, crash_at, crash_everywhere, log_problems
    from afk_es.testing.crashes import CrashScenario, CrashTrial, Dispatch, Rehearsal, RetryClock, crash_points, rehearse
    from afk_es.testing.exploring.adversary import Adversary
    from afk_es.testing.exploring.artefact import Counterexample, read_counterexample, replay_script, write_counterexample
    from afk_es.testing.exploring.choices import Choices, SeededChoices
    from afk_es.testing.exploring.coverage import Explored
    from afk_es.testing.exploring.drawn import DrawnChoices
    from afk_es.testing.exploring.exploration import explore
    from afk_es.testing.exploring.findings import NotExercisedError, NotRepeatableError, ViolationFound
    from afk_es.testing.exploring.machine import AgentMachine, agent_machine
    from afk_es.testing.exploring.markers import reachable, sometimes
    from afk_es.testing.exploring.profiles import PROFILES, Profile
    from afk_es.testing.exploring.shrinking import Shrunk, shrink
    from afk_es.testing.exploring.simulated import simulations
    from afk_es.testing.exploring.telling import told
    from afk_es.testing.exploring.trial import Stage, Trial
    from afk_es.testing.exploring.world_options import TROUBLES, Trouble, WorldOptions
    from afk_es.testing.invariants import (
        SHIPPED,
        Invariant,
        InvariantViolation,
        at_most_once,
        checked,
        invariant,
        keeps_secret,
        never_calls,
        requires_approval,
        stays_below,
    )
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

_MACHINE = "afk_es.testing.exploring.machine"
_SHRINKING = "afk_es.testing.exploring.shrinking"
_TRIAL = "afk_es.testing.exploring.trial"
_TELLING = "afk_es.testing.exploring.telling"
_ARTEFACT = "afk_es.testing.exploring.artefact"
_ADVERSARY = "afk_es.testing.exploring.adversary"
_CHOICES = "afk_es.testing.exploring.choices"
_COVERAGE = "afk_es.testing.exploring.coverage"
_CRASHES = "afk_es.testing.crashes"
_CRASH_MATRIX = "afk_es.testing.crash_matrix"
_DRAWN = "afk_es.testing.exploring.drawn"
_EXPLORATION = "afk_es.testing.exploring.exploration"
_FACTS = "afk_es.testing.simulation.facts"
_FINDINGS = "afk_es.testing.exploring.findings"
_INVARIANTS = "afk_es.testing.invariants"
_MARKERS = "afk_es.testing.exploring.markers"
_OBSERVING = "afk_es.testing.simulation.observing"
_PROFILES = "afk_es.testing.exploring.profiles"
_SCRIPTED = "afk_es.testing.scripted"
_SIMULATED = "afk_es.testing.exploring.simulated"
_WORLD = "afk_es.testing.simulation.world"
_WORLD_OPTIONS = "afk_es.testing.exploring.world_options"

_HOMES = {
    "Action": _FACTS,
    "Adversary": _ADVERSARY,
    "AgentMachine": _MACHINE,
    "Answer": _FACTS,
    "Ask": "afk_es.testing.simulation.asks",
    "Call": _FACTS,
    "Check": _CRASH_MATRIX,
    "Choices": _CHOICES,
    "Control": _FACTS,
    "Counterexample": _ARTEFACT,
    "Crash": _FACTS,
    "CrashMatrix": _CRASH_MATRIX,
    "CrashOutcome": _CRASH_MATRIX,
    "CrashPoint": "afk_es.testing.mortal",
    "CrashScenario": _CRASHES,
    "CrashTrial": _CRASHES,
    "Dispatch": _CRASHES,
    "DrawnChoices": _DRAWN,
    "Explored": _COVERAGE,
    "Fact": _FACTS,
    "Invariant": _INVARIANTS,
    "InvariantViolation": _INVARIANTS,
    "ModelAnswers": _FACTS,
    "ModelFails": _FACTS,
    "NotExercisedError": _FINDINGS,
    "NotRepeatableError": _FINDINGS,
    "ObservedRun": _OBSERVING,
    "Observer": _OBSERVING,
    "PROFILES": _PROFILES,
    "PersonSays": _FACTS,
    "Profile": _PROFILES,
    "Rehearsal": _CRASHES,
    "RetryClock": _CRASHES,
    "SHIPPED": _INVARIANTS,
    "Script": _FACTS,
    "ScriptExhaustedError": _SCRIPTED,
    "ScriptedModel": _SCRIPTED,
    "SeededChoices": _CHOICES,
    "Shrunk": _SHRINKING,
    "Simulation": _WORLD,
    "Stage": _TRIAL,
    "StalledProcess": _FACTS,
    "StuckError": _WORLD,
    "Summarises": _FACTS,
    "TROUBLES": _WORLD_OPTIONS,
    "TicketEnds": _FACTS,
    "TimePasses": _FACTS,
    "Together": _FACTS,
    "ToolDefers": _FACTS,
    "ToolFails": _FACTS,
    "ToolReturns": _FACTS,
    "ToolRuns": _FACTS,
    "Trial": _TRIAL,
    "Trouble": _WORLD_OPTIONS,
    "UserSays": _FACTS,
    "ViolationFound": _FINDINGS,
    "WorldOptions": _WORLD_OPTIONS,
    "agent_machine": _MACHINE,
    "at_most_once": _INVARIANTS,
    "checked": _INVARIANTS,
    "comparable": _CRASH_MATRIX,
    "crash_at": _CRASH_MATRIX,
    "crash_everywhere": _CRASH_MATRIX,
    "crash_points": _CRASHES,
    "explore": _EXPLORATION,
    "invariant": _INVARIANTS,
    "keeps_secret": _INVARIANTS,
    "log_problems": _CRASH_MATRIX,
    "never_calls": _INVARIANTS,
    "plain_fact": _WORLD,
    "reachable": _MARKERS,
    "read_counterexample": _ARTEFACT,
    "rehearse": _CRASHES,
    "replay_script": _ARTEFACT,
    "requires_approval": _INVARIANTS,
    "script_from": _FACTS,
    "script_json": _FACTS,
    "shrink": _SHRINKING,
    "simulations": _SIMULATED,
    "sometimes": _MARKERS,
    "stays_below": _INVARIANTS,
    "told": _TELLING,
    "write_counterexample": _ARTEFACT,
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'afk_es.testing' has no attribute {name!r}")
    try:
        value = getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise ImportError(f"afk_es.testing.{name} needs Hypothesis, which is not installed: pip install 'afk-es[testing]'") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "AgentMachine",
    "agent_machine",
    "Shrunk",
    "shrink",
    "Stage",
    "Trial",
    "told",
    "Counterexample",
    "read_counterexample",
    "replay_script",
    "write_counterexample",
    "Action",
    "Adversary",
    "Answer",
    "Ask",
    "Call",
    "Check",
    "Choices",
    "Control",
    "Crash",
    "CrashMatrix",
    "CrashOutcome",
    "CrashPoint",
    "CrashScenario",
    "CrashTrial",
    "Dispatch",
    "DrawnChoices",
    "Explored",
    "Fact",
    "Invariant",
    "InvariantViolation",
    "ModelAnswers",
    "ModelFails",
    "NotExercisedError",
    "NotRepeatableError",
    "ObservedRun",
    "Observer",
    "PROFILES",
    "PersonSays",
    "Profile",
    "Rehearsal",
    "RetryClock",
    "SHIPPED",
    "Script",
    "ScriptExhaustedError",
    "ScriptedModel",
    "SeededChoices",
    "Simulation",
    "StalledProcess",
    "StuckError",
    "Summarises",
    "TROUBLES",
    "TicketEnds",
    "TimePasses",
    "Together",
    "ToolDefers",
    "ToolFails",
    "ToolReturns",
    "ToolRuns",
    "Trouble",
    "UserSays",
    "ViolationFound",
    "WorldOptions",
    "at_most_once",
    "checked",
    "comparable",
    "crash_at",
    "crash_everywhere",
    "crash_points",
    "explore",
    "invariant",
    "keeps_secret",
    "log_problems",
    "never_calls",
    "plain_fact",
    "reachable",
    "rehearse",
    "requires_approval",
    "script_from",
    "script_json",
    "simulations",
    "sometimes",
    "stays_below",
]
