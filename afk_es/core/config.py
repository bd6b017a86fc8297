"""How a Runner runs what it is given: everything that is the operator's choice and not the agent's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from afk_es.machine.spec import Interaction, Rendering
from afk_es.tools import SandboxProfile, ToolContext

SandboxProfileProvider = Callable[[ToolContext], SandboxProfile | None]
SecretScopeProvider = Callable[[ToolContext], Mapping[str, str]]

_LATER: dict[str, str] = {
    "interaction_mode": "asking people",
    "approval_timeout_s": "asking people",
    "input_timeout_s": "asking people",
    "background_tools_enabled": "resolving background tools",
    "background_tool_default_grace_s": "resolving background tools",
    "background_tool_max_pending": "resolving background tools",
    "background_tool_interrupt_on_resolve": "resolving background tools",
}
"""Settings of features that this release does not have yet. To take one and ignore it would be worse than to refuse it."""


class RunnerConfig(BaseModel):
    """Settings of a Runner. Times are in seconds.

    Attributes:
        interaction_mode: how people are asked. In "headless" mode nobody is, and the fallbacks answer.
        approval_timeout_s: how long an approval is waited for.
        input_timeout_s: how long a person's input is waited for.
        approval_fallback: what stands in for an approval that does not come: "deny", "allow" or "defer".
        input_fallback: what stands in for an input that does not come.
        sanitize_tool_output: neutralise control characters and fake role or tool markers in what the model sees of tool outputs.
        untrusted_tool_preamble: lead every tool output that the model sees with a line that marks it as untrusted data.
        tool_output_max_chars: characters of a rendered tool output, as a whole. The event keeps the raw output.
        default_sandbox_profile: the profile tools are checked against where the provider gives none.
        sandbox_profile_provider: a function of the ToolContext that gives the profile of a call.
        secret_scope_provider: a function of the ToolContext that gives the secrets a call may see.
        max_parallel_subagents_global: subagents at work at once in this Runner; one that waits for its own subagents does not count.
        max_parallel_subagents_per_parent: of them, those of one run; an agent's `max_concurrent_subagents` holds as well.
        max_parallel_subagents_per_target_agent: of them, those of one agent, by its name.
        subagent_queue_backpressure_limit: subagents that may wait for their turn; a call beyond fails at once and says so.
        background_tool_poll_interval_s: how often the log is looked at for what others posted to the runs that go on here: control requests,
            answers, results of background tools.
        in_doubt: what happens on resume to a tool that was started, has no result and is neither read-only nor idempotent: "report" tells
            the model that the outcome is unknown, "ask" asks a person whether to run it again (in this release
            `approval_fallback` answers for them), "retry" runs it again.
        durability: "full" survives a power cut, "normal" only a crash of the process, and is faster.
        debug: after each write, read the run back, fold it from zero and compare; slow, for tests (also AFK_ES_ALWAYS_REPLAY=1).
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True)

    interaction_mode: Literal["headless", "interactive", "external"] = "headless"
    approval_timeout_s: float = Field(default=300.0, gt=0)
    input_timeout_s: float = Field(default=300.0, gt=0)
    approval_fallback: Literal["allow", "deny", "defer"] = "deny"
    input_fallback: Literal["deny", "defer"] = "deny"
    sanitize_tool_output: bool = True
    untrusted_tool_preamble: bool = True
    tool_output_max_chars: int = Field(default=12_000, ge=200)
    default_sandbox_profile: SandboxProfile | None = None
    sandbox_profile_provider: SandboxProfileProvider | None = None
    secret_scope_provider: SecretScopeProvider | None = None
    max_parallel_subagents_global: int = Field(default=64, ge=1)
    max_parallel_subagents_per_parent: int = Field(default=8, ge=1)
    max_parallel_subagents_per_target_agent: int = Field(default=4, ge=1)
    subagent_queue_backpressure_limit: int = Field(default=512, ge=1)
    background_tools_enabled: bool = True
    background_tool_default_grace_s: float = Field(default=0.0, ge=0)
    background_tool_max_pending: int = Field(default=256, ge=1)
    background_tool_poll_interval_s: float = Field(default=0.5, gt=0)
    background_tool_result_ttl_s: float = Field(default=3600.0, gt=0)
    background_tool_interrupt_on_resolve: bool = True
    in_doubt: Literal["report", "ask", "retry"] = "report"
    durability: Literal["full", "normal"] = "full"
    debug: bool = False

    @model_validator(mode="after")
    def _available(self) -> RunnerConfig:
        for name, feature in _LATER.items():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: {feature} is not available in this release; leave it at its default")
        return self

    def rendering(self) -> Rendering:
        """How tool outputs are shown to the model, for the RunSpec."""
        return Rendering(self.sanitize_tool_output, self.untrusted_tool_preamble, self.tool_output_max_chars)

    def interaction(self) -> Interaction:
        """How people are asked, for the RunSpec."""
        return Interaction(
            self.interaction_mode, self.approval_timeout_s, self.input_timeout_s, self.approval_fallback, self.input_fallback
        )

    def sandbox_for(self, context: ToolContext) -> SandboxProfile | None:
        """The profile that a tool call is checked against, or None."""
        if self.sandbox_profile_provider is not None:
            profile = self.sandbox_profile_provider(context)
            if profile is not None:
                return profile
        return self.default_sandbox_profile
