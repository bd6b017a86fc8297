"""What tests of agents need: models that answer from a script, simulated worlds, and processes that die. Nothing here is loaded by the
rest of the package.

A name is loaded when it is first used, so that whoever wants a scripted model needs neither Hypothesis nor the time that it takes to load.
"""

from typing import TYPE_CHECKING, Any

from afk_es.extras import loaded

if TYPE_CHECKING:
    from afk_es.testing.arguments import BrokenArguments, from_json_schema, invalid_arguments, valid_arguments
    from afk_es.testing.crash_matrix import Check, CrashMatrix, CrashOutcome, crash_at, crash_everywhere
    from afk_es.testing.crashes import CrashScenario, CrashTrial, Rehearsal, RetryClock, crash_points, rehearse
    from afk_es.testing.dispatcher_contract import DispatcherContract, DispatcherSubject
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
    from afk_es.testing.golden_crashes import GoldenCrashes, crash_golden
    from afk_es.testing.goldens_as_scenarios import golden_scenarios
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
    from afk_es.testing.log_contract import ContractReport, EventLogContract, StoreSubject, check_event_log
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
    from afk_es.testing.simulation.without_servers import without_servers
    from afk_es.testing.simulation.world import Simulation, StuckError, plain_fact
    from afk_es.testing.survival import Breach, Promise, Survival, comparable, log_problems

_ARGUMENTS = "afk_es.testing.arguments"
_CRASH_MATRIX = "afk_es.testing.crash_matrix"
_CRASHES = "afk_es.testing.crashes"
_DISPATCHER_CONTRACT = "afk_es.testing.dispatcher_contract"
_ADVERSARY = "afk_es.testing.exploring.adversary"
_ARTEFACT = "afk_es.testing.exploring.artefact"
_CHOICES = "afk_es.testing.exploring.choices"
_COVERAGE = "afk_es.testing.exploring.coverage"
_DRAWN = "afk_es.testing.exploring.drawn"
_EXPLORATION = "afk_es.testing.exploring.exploration"
_FINDINGS = "afk_es.testing.exploring.findings"
_MACHINE = "afk_es.testing.exploring.machine"
_MARKERS = "afk_es.testing.exploring.markers"
_PROFILES = "afk_es.testing.exploring.profiles"
_SHRINKING = "afk_es.testing.exploring.shrinking"
_SIMULATED = "afk_es.testing.exploring.simulated"
_TELLING = "afk_es.testing.exploring.telling"
_TRIAL = "afk_es.testing.exploring.trial"
_WORLD_OPTIONS = "afk_es.testing.exploring.world_options"
_GOLDEN_CRASHES = "afk_es.testing.golden_crashes"
_GOLDENS_AS_SCENARIOS = "afk_es.testing.goldens_as_scenarios"
_INVARIANTS = "afk_es.testing.invariants"
_LOG_CONTRACT = "afk_es.testing.log_contract"
_MORTAL = "afk_es.testing.mortal"
_MORTAL_RUNNER = "afk_es.testing.mortal_runner"
_SCRIPTED = "afk_es.testing.scripted"
_ASKS = "afk_es.testing.simulation.asks"
_FACTS = "afk_es.testing.simulation.facts"
_OBSERVING = "afk_es.testing.simulation.observing"
_WORLD = "afk_es.testing.simulation.world"
_SURVIVAL = "afk_es.testing.survival"

_HOMES = {
    "Action": _FACTS,
    "Adversary": _ADVERSARY,
    "AgentMachine": _MACHINE,
    "Answer": _FACTS,
    "Ask": _ASKS,
    "Breach": _SURVIVAL,
    "BrokenArguments": _ARGUMENTS,
    "Call": _FACTS,
    "Check": _CRASH_MATRIX,
    "Choices": _CHOICES,
    "ContractReport": _LOG_CONTRACT,
    "Control": _FACTS,
    "Counterexample": _ARTEFACT,
    "Crash": _FACTS,
    "CrashMatrix": _CRASH_MATRIX,
    "CrashOutcome": _CRASH_MATRIX,
    "CrashPoint": _MORTAL,
    "CrashScenario": _CRASHES,
    "CrashTrial": _CRASHES,
    "Dispatch": _MORTAL_RUNNER,
    "DispatcherContract": _DISPATCHER_CONTRACT,
    "DispatcherSubject": _DISPATCHER_CONTRACT,
    "DrawnChoices": _DRAWN,
    "EventLogContract": _LOG_CONTRACT,
    "Explored": _COVERAGE,
    "Fact": _FACTS,
    "GoldenCrashes": _GOLDEN_CRASHES,
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
    "Promise": _SURVIVAL,
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
    "StoreSubject": _LOG_CONTRACT,
    "StuckError": _WORLD,
    "Summarises": _FACTS,
    "Survival": _SURVIVAL,
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
    "check_event_log": _LOG_CONTRACT,
    "checked": _INVARIANTS,
    "comparable": _SURVIVAL,
    "crash_at": _CRASH_MATRIX,
    "crash_everywhere": _CRASH_MATRIX,
    "crash_golden": _GOLDEN_CRASHES,
    "crash_points": _CRASHES,
    "explore": _EXPLORATION,
    "from_json_schema": _ARGUMENTS,
    "golden_scenarios": _GOLDENS_AS_SCENARIOS,
    "invalid_arguments": _ARGUMENTS,
    "invariant": _INVARIANTS,
    "keeps_secret": _INVARIANTS,
    "log_problems": _SURVIVAL,
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
    "valid_arguments": _ARGUMENTS,
    "without_servers": "afk_es.testing.simulation.without_servers",
    "write_counterexample": _ARTEFACT,
}


def __getattr__(name: str) -> Any:
    return loaded(__name__, name, _HOMES, libraries={"hypothesis"}, extras=("testing",))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "Action",
    "Adversary",
    "AgentMachine",
    "Answer",
    "Ask",
    "Breach",
    "BrokenArguments",
    "Call",
    "Check",
    "Choices",
    "ContractReport",
    "Control",
    "Counterexample",
    "Crash",
    "CrashMatrix",
    "CrashOutcome",
    "CrashPoint",
    "CrashScenario",
    "CrashTrial",
    "Dispatch",
    "DispatcherContract",
    "DispatcherSubject",
    "DrawnChoices",
    "EventLogContract",
    "Explored",
    "Fact",
    "GoldenCrashes",
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
    "Promise",
    "Rehearsal",
    "RetryClock",
    "SHIPPED",
    "Script",
    "ScriptExhaustedError",
    "ScriptedModel",
    "SeededChoices",
    "Shrunk",
    "Simulation",
    "Stage",
    "StalledProcess",
    "StoreSubject",
    "StuckError",
    "Summarises",
    "Survival",
    "TROUBLES",
    "TicketEnds",
    "TimePasses",
    "Together",
    "ToolDefers",
    "ToolFails",
    "ToolReturns",
    "ToolRuns",
    "Trial",
    "Trouble",
    "UserSays",
    "ViolationFound",
    "WorldOptions",
    "agent_machine",
    "at_most_once",
    "check_event_log",
    "checked",
    "comparable",
    "crash_at",
    "crash_everywhere",
    "crash_golden",
    "crash_points",
    "explore",
    "from_json_schema",
    "golden_scenarios",
    "invalid_arguments",
    "invariant",
    "keeps_secret",
    "log_problems",
    "never_calls",
    "plain_fact",
    "reachable",
    "read_counterexample",
    "rehearse",
    "replay_script",
    "requires_approval",
    "script_from",
    "script_json",
    "shrink",
    "simulations",
    "sometimes",
    "stays_below",
    "told",
    "valid_arguments",
    "without_servers",
    "write_counterexample",
]
