"""What an agent may use up, and what follows when something fails."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from afk_es.machine.spec import BreakerRule, FailurePolicy, Limits, Policies


class FailSafeConfig(BaseModel):
    """Limits and failure policies of an agent. Limits hold exactly.

    Attributes:
        llm_failure_policy: when the model cannot be asked; default "retry_then_fail".
        tool_failure_policy: when a tool fails; default "continue_with_error", the model is told.
        subagent_failure_policy: when a delegation fails, as the agent's join policy has it, or its router does; default "continue", the
            model is told. A `retry_*` policy makes another run of a subagent that failed.
        approval_denial_policy: when a person says no; default "skip_action".
        max_steps: turns of the model; default 20. The agent's own `max_steps` holds as well.
        max_wall_time_s: seconds in which a process ran the run; a hard deadline; default 300, None for none.
        max_llm_calls: requests sent, retries included; default 50.
        max_tool_calls: tool calls begun, those that go to subagents included; default 200.
        max_parallel_tools: of one batch at once; default 16.
        max_subagent_depth: levels below this agent; default 3. It holds for all below, whatever they say themselves.
        max_subagent_fanout_per_step: subagents of one step; default 4. Those beyond are not asked, and the model is told.
        max_total_cost_usd: dollars, of subagents too, each of which gets a share of what is left; default None, no limit. Fails at once
            with a model whose price is unknown.
        fallback_model_chain: models, by name or as objects, asked in turn when the agent's own fails; default none.
        breaker_failure_threshold: retryable failures in a row, over the steps of a run, after which a model of it is not asked for a
            while and the next of the chain is; default 5. Without a next one the call has failed for good.
        breaker_cooldown_s: how long that while is, in seconds; default 30. After it one request finds out whether the model is back.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    llm_failure_policy: FailurePolicy = "retry_then_fail"
    tool_failure_policy: FailurePolicy = "continue_with_error"
    subagent_failure_policy: FailurePolicy = "continue"
    approval_denial_policy: FailurePolicy = "skip_action"
    max_steps: int = Field(default=20, ge=1)
    max_wall_time_s: float | None = Field(default=300.0, gt=0)
    max_llm_calls: int = Field(default=50, ge=1)
    max_tool_calls: int = Field(default=200, ge=0)
    max_parallel_tools: int = Field(default=16, ge=1)
    max_subagent_depth: int = Field(default=3, ge=0)
    max_subagent_fanout_per_step: int = Field(default=4, ge=1)
    max_total_cost_usd: float | None = Field(default=None, ge=0)
    fallback_model_chain: tuple[Any, ...] = ()
    breaker_failure_threshold: int = Field(default=5, ge=1)
    breaker_cooldown_s: float = Field(default=30.0, ge=0)

    @field_validator("fallback_model_chain", mode="before")
    @classmethod
    def _only_models(cls, chain: Any) -> Any:
        if isinstance(chain, str):
            raise ValueError(f"must be a sequence of models, not one: ({chain!r},)")
        for model in chain:
            require_model(model)
        return chain

    def limits(self) -> Limits:
        """The limits, as the machine takes them."""
        return Limits(
            max_steps=self.max_steps,
            max_wall_time_s=self.max_wall_time_s,
            max_llm_calls=self.max_llm_calls,
            max_tool_calls=self.max_tool_calls,
            max_parallel_tools=self.max_parallel_tools,
            max_total_cost_usd=self.max_total_cost_usd,
            max_subagent_depth=self.max_subagent_depth,
            max_subagent_fanout_per_step=self.max_subagent_fanout_per_step,
        )

    def breaker(self) -> BreakerRule:
        """When a model is left alone, as the machine takes it."""
        return BreakerRule(self.breaker_failure_threshold, self.breaker_cooldown_s)

    def policies(self) -> Policies:
        """The failure policies, as the machine takes them."""
        return Policies(
            llm_failure=self.llm_failure_policy,
            tool_failure=self.tool_failure_policy,
            subagent_failure=self.subagent_failure_policy,
            approval_denial=self.approval_denial_policy,
        )


def require_model(model: object) -> None:
    """Check that this names a model or is one.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(model, str):
        if not model.strip():
            raise ValueError("a model's name must not be empty")
    elif not (isinstance(getattr(model, "provider_id", None), str) and callable(getattr(model, "chat", None))):
        raise ValueError(
            f"a model is a name such as 'gpt-5.2-mini', or an object with provider_id: str and async chat(request), not {model!r}"
        )
