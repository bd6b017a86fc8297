"""What may happen when, as tables: the code that folds facts handles only what fits, and the tests and the debugger read them too."""

from __future__ import annotations

from afk_es.errors import InvariantError
from afk_es.machine.events import AgentRunEvent
from afk_es.machine.state import PENDING

_ANY_TIME = frozenset(
    {
        "control_requested",
        "timer_fired",
        "limit_reached",
        "thread_compacted",
        "warning",
        "tool_background_resolved",
        "tool_background_failed",
        "run_started",
        "run_failed",
        "run_interrupted",
        "run_cancelled",
    }
)

LEGAL: dict[str, frozenset[str]] = {
    "new": frozenset({"run_started"}),
    "between": _ANY_TIME | {"step_started", "compaction_started", "compaction_failed", "effect_in_doubt", "run_completed"},
    "model": _ANY_TIME
    | {
        "step_started",
        "subagents_routed",
        "instructions_resolved",
        "policy_decision",
        "llm_called",
        "llm_completed",
        "llm_failed",
        "circuit_open",
        "effect_in_doubt",
        "run_completed",
    },
    "requested": _ANY_TIME | {"tool_batch_started", "run_completed"},
    "tools": _ANY_TIME
    | {
        "policy_decision",
        "tool_started",
        "tool_failed",
        "tool_completed",
        "tool_deferred",
        "subagent_started",
        "subagent_waiting",
        "subagent_completed",
        "approval_requested",
        "approval_resolved",
        "input_requested",
        "input_resolved",
        "effect_in_doubt",
        "run_completed",
    },
    "output": _ANY_TIME | {"output_validated", "output_rejected"},
    "answered": _ANY_TIME | {"run_completed", "step_started"},
}
"""Per phase, the event types that may come. `step_started` in the model phase leaves a failed model call behind, and after an answer it
begins the step that takes up what background tools came to. `run_completed` where an answer is still missing is a degraded run's.
"""


CALL_LEGAL: dict[str, frozenset[str]] = {
    "subagents_routed": frozenset({"waiting"}),
    "instructions_resolved": frozenset({"waiting"}),
    "policy_decision": frozenset({"waiting"}),
    "llm_called": frozenset({"allowed"}),
    "llm_completed": frozenset({"called"}),
    "llm_failed": frozenset({"waiting", "called"}),
    "circuit_open": frozenset({"allowed"}),
    "effect_in_doubt": frozenset({"in_doubt"}),
}
"""Per event type, the statuses of the step's model call in which it may come: so no request has two results."""

TURN_LEGAL: dict[str, frozenset[str]] = {
    "policy_decision": frozenset({"waiting"}),
    "tool_started": frozenset({"allowed"}),
    "tool_failed": frozenset({"waiting", "running"}),
    # A call about which a person is asked may be in doubt, and then a run that ends says so. One that was put off was denied by version 0.1.
    "tool_completed": frozenset(
        {"running", "allowed", "denied", "failed", "limited", "unknown", "answered", "approval", "asking", "overdue", "put_off", "deferred"}
    )
    | {"returned", "cut"},
    "subagent_started": frozenset({"allowed"}),
    "subagent_waiting": frozenset({"running"}),
    "subagent_completed": frozenset({"running", "parked", "cancelling"}),
    "tool_deferred": frozenset({"running"}),
    "approval_requested": frozenset({"approval", "put_off"}),
    "approval_resolved": PENDING,
    "input_requested": frozenset({"approval", "put_off"}),
    "input_resolved": PENDING,
    "effect_in_doubt": frozenset({"in_doubt"}),
}
"""Per event type, the statuses of a tool call in which it may come: so no start has two results, and nothing runs ungated."""


COMPACTION_LEGAL: dict[str, frozenset[str]] = {
    "compaction_started": frozenset({"idle", "due"}),
    "thread_compacted": frozenset({"started"}),
    "compaction_failed": frozenset({"started"}),
    "effect_in_doubt": frozenset({"in_doubt"}),
    "step_started": frozenset({"idle", "due", "over"}),
}
"""Per event type, the statuses of the run's compaction in which it may come, where the run has one."""


def broken(event: AgentRunEvent, message: str) -> InvariantError:
    """The error of a log in which this event stands where it cannot."""
    return InvariantError(message, run_id=event.run_id, seq=event.seq)
