"""The Runner, and what it hands out."""

from afk_es.core.config import RunnerConfig
from afk_es.core.fork_plans import ForkPlan, ForkStep
from afk_es.core.guard import Guard
from afk_es.core.handle import AgentRunHandle, AgentStreamEvent, AgentStreamHandle
from afk_es.core.lease import Lease
from afk_es.core.outside import AttachedRun, Receipt
from afk_es.core.recorded_agents import RecordedAgent, recorded_agent
from afk_es.core.replays import RecordedPeople, Replayed
from afk_es.core.result import AgentResult, StateSnapshot, SubagentExecutionRecord, ToolExecutionRecord
from afk_es.core.retention import CompactionResult, RetentionPolicy
from afk_es.core.runner import Runner
from afk_es.handlers.edits import (
    Edit,
    EditDecision,
    EditedCall,
    EditMessage,
    EditToolResult,
    ModelMode,
    SetInstructions,
    SetModel,
    Stub,
    ToolMode,
)
from afk_es.handlers.holding import Unanswered
from afk_es.handlers.leftovers import Leftover
from afk_es.machine.events import AgentRunEvent
from afk_es.views import ModelUse, RunFailure

__all__ = [
    "AgentResult",
    "AgentRunEvent",
    "AgentRunHandle",
    "AgentStreamEvent",
    "AgentStreamHandle",
    "AttachedRun",
    "CompactionResult",
    "Edit",
    "EditDecision",
    "EditedCall",
    "EditMessage",
    "EditToolResult",
    "ForkPlan",
    "ForkStep",
    "Guard",
    "Lease",
    "Leftover",
    "ModelMode",
    "ModelUse",
    "Receipt",
    "RecordedAgent",
    "RecordedPeople",
    "Replayed",
    "RetentionPolicy",
    "RunFailure",
    "Runner",
    "RunnerConfig",
    "SetInstructions",
    "SetModel",
    "StateSnapshot",
    "Stub",
    "SubagentExecutionRecord",
    "ToolExecutionRecord",
    "ToolMode",
    "Unanswered",
    "recorded_agent",
]
