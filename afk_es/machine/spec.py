"""What a run was started with, as data: the agent, its tools, its limits and policies.

A `RunSpec` is all that the machine knows of an agent. It is stored with the run's first event (once per content, however many runs share
it), so a log can be folded, and a next move decided, without the code that made it. What cannot be data, such as the tool functions, is
the handlers' affair.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from afk_es.machine.delegation import DelegationSpec

FailurePolicy = Literal[
    "retry_then_fail",
    "retry_then_degrade",
    "retry_then_continue",
    "fail_fast",
    "fail_run",
    "fail",
    "degrade",
    "continue_with_error",
    "continue",
    "skip_action",
]
Consequence = Literal["fail", "degrade", "continue"]

POLICIES: dict[FailurePolicy, tuple[bool, Consequence]] = {
    "retry_then_fail": (True, "fail"),
    "retry_then_degrade": (True, "degrade"),
    "retry_then_continue": (True, "continue"),
    "fail_fast": (False, "fail"),
    "fail_run": (False, "fail"),
    "fail": (False, "fail"),
    "degrade": (False, "degrade"),
    "continue_with_error": (False, "continue"),
    "continue": (False, "continue"),
    "skip_action": (False, "continue"),
}
"""Per failure policy: whether a retryable failure is tried again, and what follows when there is nothing left to try."""

InDoubt = Literal["report", "ask", "retry"]
InteractionMode = Literal["headless", "interactive", "external"]


class ToolSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool as the model and the machine see it.

    The four hints are MCP's; `destructive` and `open_world` are None where the author did not say.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments."""
    kind: Literal["function", "subagent"] = "function"
    read_only: bool = False
    idempotent: bool = False
    destructive: bool | None = None
    open_world: bool | None = None
    timeout_s: float | None = None
    raise_on_error: bool = False
    """A failure of this tool fails the run, whatever the policy says."""
    subagent: str | None = None
    """The subagent that a call of this tool goes to."""
    subagent_digest: str | None = None
    """Of what that subagent is, and its own subagents, so that a run is not resumed with another."""

    server: str | None = None
    """The server that the tool lives on, by the name that the agent has it under; None for a function of the program's own."""

    @property
    def repeatable(self) -> bool:
        """Whether running it twice does no more than running it once."""
        return self.read_only or self.idempotent


class ModelSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model that a run may ask: the agent's own first, then its fallbacks."""

    model: str
    provider: str
    priced: bool | None = None
    """Whether its price is known; None where only its answers will tell."""
    retry: Retry | None = None
    """How failures of this model are tried again, where that differs from the run's."""


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run may use up. They hold exactly."""

    max_steps: int = 20
    max_wall_time_s: float | None = 300.0
    max_llm_calls: int = 50
    max_tool_calls: int = 200
    max_parallel_tools: int = 16
    max_total_cost_usd: float | None = None
    max_subagent_depth: int = 3
    """Levels below this run."""
    max_subagent_fanout_per_step: int = 4


class Policies(msgspec.Struct, frozen=True, omit_defaults=True):
    """What follows from a failure, per kind of failure."""

    llm_failure: FailurePolicy = "retry_then_fail"
    tool_failure: FailurePolicy = "continue_with_error"
    subagent_failure: FailurePolicy = "continue"
    approval_denial: FailurePolicy = "skip_action"


class Retry(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a retryable failure is tried again: exponential backoff with jitter, bounded.

    The delay before attempt n+1 is `base_s * 2**(n-1)`, at most `cap_s`, of which the upper half is jittered. A provider that asks for a
    longer wait gets it, up to `retry_after_cap_s`.
    """

    attempts: int = 3
    base_s: float = 0.5
    cap_s: float = 8.0
    retry_after_cap_s: float = 60.0


class BreakerRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a model that keeps failing is left alone: after how many retryable failures in a row, and for how many seconds."""

    failures: int = 5
    cooldown_s: float = 30.0


class Rendering(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a tool's output is shown to the model. Events keep the raw output."""

    sanitize: bool = True
    preamble: bool = True
    max_chars: int = 12_000


class Interaction(msgspec.Struct, frozen=True, omit_defaults=True):
    """How people are asked. Seconds; a fallback is what stands in for an answer that did not come."""

    mode: InteractionMode = "headless"
    approval_timeout_s: float = 300.0
    input_timeout_s: float = 300.0
    approval_fallback: Literal["allow", "deny", "defer"] = "deny"
    input_fallback: Literal["allow", "deny", "defer"] = "deny"


class Retention(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a conversation is compacted, what stays of it, and who sums up the rest. At least one maximum is set.

    Attributes:
        keep_share: how much of each maximum stays, the summary included.
        keep_last_turns: turns of the user that stay whatever the maxima say.
        summariser: "drop" for none.
        name: of the summarising function or model.
        model: the summarising model.
        instructions: what that model is told to do; None for the built-in words.
        alone: the run does nothing but this.
    """

    max_tokens: int | None = None
    max_messages: int | None = None
    max_turns: int | None = None
    keep_share: float = 0.5
    keep_last_turns: int = 0
    summariser: Literal["drop", "function", "model"] = "drop"
    name: str | None = None
    model: ModelSpec | None = None
    instructions: str | None = None
    alone: bool = False


AtEnd = Literal["wait", "park", "report"]


class Background(msgspec.Struct, frozen=True, omit_defaults=True):
    """What becomes of tools that go on in the background. Seconds."""

    enabled: bool = True
    """Without it a tool that defers its result has failed."""
    grace_s: float = 0.0
    """After a batch that deferred something, how long the next step waits for these results."""
    max_pending: int = 256
    """Open tickets a run may have; a deferral beyond it has failed."""
    result_ttl_s: float = 3600.0
    """After how long a ticket that names no term has failed."""
    interrupt_on_resolve: bool = True
    """A run that waits for its tickets goes on as soon as one has ended, and not only when all have."""
    at_end: AtEnd = "wait"
    """What a run does that has answered while tickets are open: wait for them, be laid down until it is resumed, or end and say so."""


class RunSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """The agent and the configuration of a run."""

    agent_name: str
    models: tuple[ModelSpec, ...]
    instructions: str | None = None
    dynamic_instructions: bool = False
    """The instructions are a function, or have roles: they are resolved at each step and recorded."""
    skills: tuple[str, ...] = ()
    """Names of the skills that the instructions tell of."""
    tools: tuple[ToolSpec, ...] = ()
    parameters: dict[str, Any] = {}
    """Model parameters such as temperature or reasoning effort, as they go into the request."""
    output_schema: dict[str, Any] | None = None
    """JSON Schema of the final answer, where the agent has an output_type."""
    limits: Limits = Limits()
    policies: Policies = Policies()
    retry: Retry = Retry()
    breaker: BreakerRule | None = None
    """When a model of this run is left alone; None, as in runs of older versions, for never."""
    rendering: Rendering = Rendering()
    interaction: Interaction = Interaction()
    in_doubt: InDoubt = "report"
    background: Background | None = None
    """None in logs from before tickets could be resolved: what they hold is taken as it was, and no deferral in them is refused."""
    agent_path: tuple[str, ...] = ()
    """The agents above this one, outermost first; empty for a run that a caller started."""
    retention: Retention | None = None
    """When the conversation is compacted; None for never."""
    delegation: DelegationSpec | None = None
    """How it delegates; None for an agent without subagents."""

    def tool(self, name: str) -> ToolSpec | None:
        """The tool of that name, or None."""
        for tool in self.tools:
            if tool.name == name:
                return tool
        return None

    def subagents(self) -> dict[str, ToolSpec]:
        """The tools that hand work to subagents, by the subagent's name."""
        return {tool.subagent: tool for tool in self.tools if tool.subagent is not None}
