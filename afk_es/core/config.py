"""How a Runner runs what it is given: everything that is the operator's choice and not the agent's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from afk_es.core.retention import RetentionPolicy
from afk_es.machine.spec import AtEnd, Background, Interaction, Rendering
from afk_es.redaction import Redaction
from afk_es.tools import SandboxProfile, ToolContext

SandboxProfileProvider = Callable[[ToolContext], SandboxProfile | None]
SecretScopeProvider = Callable[[ToolContext], Mapping[str, str]]


class RunnerConfig(BaseModel):
    """Settings of a Runner. Times are in seconds.

    Attributes:
        interaction_mode: how people are asked. In "headless" mode nobody is, and the fallbacks answer at once. In "interactive" mode the
            Runner's interaction_provider asks them while the run waits. In "external" mode the run is laid down once nothing else can go
            on, `AgentResult.pending` says what it waits for, and it is resumed when that was answered. In every mode an answer may also
            come from outside: `Runner.approve`, `deny` and `answer`, `afk-es approve` and its kin. A run that is resumed goes by the
            config of the Runner that resumes it.
        approval_timeout_s: how long an approval is waited for, from the asking, also while no process runs the run; then the fallback
            answers. An answer that was there in time, or that is found together with the end of the time, counts. Waiting is running
            time where a process runs the run, so a shorter `max_wall_time_s` (both are 300 by default) comes first: the run is
            interrupted with the question open, and no fallback has answered it.
        input_timeout_s: the same for a person's input.
        approval_fallback: what stands in for an approval that does not come: "deny"; "allow", which runs the call; or "defer", which
            leaves the request open without a term and lays the run down.
        input_fallback: the same for an input that does not come; "allow" runs the call as the model asked for it.
        sanitize_tool_output: neutralise control characters and fake role or tool markers in what the model sees of tool outputs.
        untrusted_tool_preamble: lead every tool output that the model sees with a line that marks it as untrusted data.
        tool_output_max_chars: characters of a rendered tool output, as a whole. The event keeps the raw output.
        default_sandbox_profile: the profile tools are checked against where the provider gives none.
        sandbox_profile_provider: a function of the ToolContext that gives the profile of a call.
        secret_scope_provider: a function of the ToolContext that gives the secrets a call may see.
        background_tools_enabled: whether a tool may defer its result; where not, a call that does has failed, and the model is told so.
        background_tool_default_grace_s: how long, after tool calls of which some deferred their results, the next step waits for these.
        background_tool_max_pending: results that a run may wait for at once, exactly; a call that would be one more has failed.
        background_tool_result_ttl_s: after how long a deferred result counts as failed ("expired") where the tool names no term. It is
            the run's owner who finds that out, a later one as well; until then a result still counts.
        background_tool_interrupt_on_resolve: whether a run that waits for several results at its end goes on as soon as one is there, and
            not only when all are.
        background_tool_at_end: what a run does whose model has answered while results are still open. "wait": wait for them, which counts
            as running time, and take another step with them. "park": end this stretch as interrupted, to be resumed when they are there.
            "report": end as degraded, naming them. A result that is there is always told to the model in another step, where the limits
            leave room for one; where they do not, the run ends by that limit, and with "report" as degraded.
        max_parallel_subagents_global: subagents at work at once in this Runner; one that waits for its own subagents does not count.
        max_parallel_subagents_per_parent: of them, those of one run; an agent's `max_concurrent_subagents` holds as well.
        max_parallel_subagents_per_target_agent: of them, those of one agent, by its name.
        subagent_queue_backpressure_limit: subagents that may wait for their turn; a call beyond fails at once and says so.
        background_tool_poll_interval_s: how often the log is looked at for what others posted to the runs that go on here: control requests,
            answers, results of background tools.
        in_doubt: what happens on resume to a tool that was started, has no result and is neither read-only nor idempotent: "report" tells
            the model that the outcome is unknown, "ask" asks a person whether to run it again, "retry" runs it again.
        thread_retention: when the conversation of a run, with what its thread remembers, is compacted by itself before a step; default None,
            never. A summariser that fails leaves the run as it is, with a warning.
        durability: "full" survives a power cut, "normal" only a crash of the process, and is faster.
        redaction: what telemetry keeps back: secrets by name, by shape, and by the values it is given; the values that
            `secret_scope_provider` gives are added as they are given. None shows everything. The log itself is not redacted.
        debug: after each write, read the run back, fold it from zero and compare; slow, for tests (also AFK_ES_ALWAYS_REPLAY=1).
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False, defer_build=True
    )

    interaction_mode: Literal["headless", "interactive", "external"] = "headless"
    approval_timeout_s: float = Field(default=300.0, gt=0)
    input_timeout_s: float = Field(default=300.0, gt=0)
    approval_fallback: Literal["allow", "deny", "defer"] = "deny"
    input_fallback: Literal["allow", "deny", "defer"] = "deny"
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
    background_tool_at_end: AtEnd = "wait"
    in_doubt: Literal["report", "ask", "retry"] = "report"
    thread_retention: RetentionPolicy | None = None
    durability: Literal["full", "normal"] = "full"
    redaction: Redaction | None = Redaction()
    debug: bool = False

    def rendering(self) -> Rendering:
        """How tool outputs are shown to the model, for the RunSpec."""
        return Rendering(self.sanitize_tool_output, self.untrusted_tool_preamble, self.tool_output_max_chars)

    def background(self) -> Background:
        """What becomes of tools in the background, for the RunSpec."""
        return Background(
            self.background_tools_enabled,
            self.background_tool_default_grace_s,
            self.background_tool_max_pending,
            self.background_tool_result_ttl_s,
            self.background_tool_interrupt_on_resolve,
            self.background_tool_at_end,
        )

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
