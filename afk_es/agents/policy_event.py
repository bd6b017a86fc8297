"""What a policy is asked, and what it answers."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from afk_es.machine.effects import PolicySubject

PolicyAction = Literal["allow", "deny", "defer", "request_approval", "request_user_input"]


class PolicyEvent(BaseModel):
    """A call that is about to be made.

    Attributes:
        event_type: "tool_before_execute", "llm_before_execute" or "subagent_before_execute".
        run_id, thread_id, step: where.
        context: the run's context.
        tool_name: for a tool.
        tool_args: for a tool, its validated arguments as JSON, defaults filled in: what the function will get; empty for anything else.
        tool_read_only: for a tool, whether it declares itself read-only.
        subagent_name: for a subagent.
        metadata: whatever else the runner knows.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    event_type: PolicySubject
    run_id: str = ""
    thread_id: str = ""
    step: int = 0
    context: dict[str, Any] = {}
    tool_name: str | None = None
    tool_args: dict[str, Any] = {}
    tool_read_only: bool | None = None
    subagent_name: str | None = None
    metadata: dict[str, Any] = {}


class PolicyDecision(BaseModel):
    """What a policy answers.

    Attributes:
        action: "allow"; "deny"; "request_approval", a person's yes or no; "request_user_input", a person's words; or "defer", which asks
            nobody now and leaves the question open, so that the run is laid down once nothing else can go on. The last three are for tool
            and subagent calls; of a model call they end the run.
        reason: for the log, and for the model where the call is denied.
        policy_id: the rule that decided; None where no rule matched.
        matched_rules: every rule that matched, in the order they were asked; a rule that raised is among them.
        request_payload: for a person who is asked.
        updated_tool_args: the whole arguments to go on with, where the rule changes some; to be validated again.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    action: PolicyAction = "allow"
    reason: str | None = None
    policy_id: str | None = None
    matched_rules: tuple[str, ...] = ()
    request_payload: dict[str, Any] = {}
    updated_tool_args: dict[str, Any] | None = None
