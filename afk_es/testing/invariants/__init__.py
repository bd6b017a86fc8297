"""What holds in every run, whatever models, tools, people and processes do: the shipped invariants, and the way to write one's own."""

from afk_es.testing.invariants.approvals import ApprovalsAreBound
from afk_es.testing.invariants.claims import ClaimHolds
from afk_es.testing.invariants.course import CalledTool, Course, Question, Start, call_of, course_of
from afk_es.testing.invariants.endings import ControlsAreHeeded, OneEnd
from afk_es.testing.invariants.family import ChildrenAddUp
from afk_es.testing.invariants.folding import FoldIsTheState, ResumingTheEndedChangesNothing
from afk_es.testing.invariants.gates import NoEffectWithoutAllow
from afk_es.testing.invariants.invariant import Invariant, InvariantLike, InvariantViolation, checked, invariant
from afk_es.testing.invariants.limits import CostLimitHolds, LimitsHold, TimeLimitsHold
from afk_es.testing.invariants.nesting import ResultsBelong, WellNested
from afk_es.testing.invariants.once import AtMostOnce
from afk_es.testing.invariants.ownership import OneOwner
from afk_es.testing.invariants.requests import WellFormedRequests
from afk_es.testing.invariants.secrets import NoSecretInTheLog, keeps_secret
from afk_es.testing.invariants.shortcuts import at_most_once, never_calls, requires_approval, stays_below
from afk_es.testing.invariants.soundness import NothingBreaks
from afk_es.testing.invariants.tickets import NoLostTicket

SHIPPED: tuple[type[Invariant], ...] = (
    OneOwner,
    ApprovalsAreBound,
    NoEffectWithoutAllow,
    AtMostOnce,
    LimitsHold,
    CostLimitHolds,
    TimeLimitsHold,
    OneEnd,
    ControlsAreHeeded,
    NoLostTicket,
    WellNested,
    ResultsBelong,
    ChildrenAddUp,
    WellFormedRequests,
    NoSecretInTheLog,
    FoldIsTheState,
    ResumingTheEndedChangesNothing,
    NothingBreaks,
)
"""What is promised of every run; where several are violated at one event, the first of them is told. Liveness, the end of a run that nobody disturbs any more, is `Simulation.finish`: it raises `StuckError`."""

__all__ = [
    "SHIPPED",
    "ApprovalsAreBound",
    "AtMostOnce",
    "CalledTool",
    "ChildrenAddUp",
    "ClaimHolds",
    "ControlsAreHeeded",
    "CostLimitHolds",
    "Course",
    "FoldIsTheState",
    "Invariant",
    "InvariantLike",
    "InvariantViolation",
    "LimitsHold",
    "NoEffectWithoutAllow",
    "NoLostTicket",
    "NoSecretInTheLog",
    "NothingBreaks",
    "OneEnd",
    "OneOwner",
    "Question",
    "ResultsBelong",
    "ResumingTheEndedChangesNothing",
    "Start",
    "TimeLimitsHold",
    "WellFormedRequests",
    "WellNested",
    "at_most_once",
    "call_of",
    "checked",
    "course_of",
    "invariant",
    "keeps_secret",
    "never_calls",
    "requires_approval",
    "stays_below",
]
