"""What a router is told, and what it may answer: which subagents are to be asked before the model is, and in what order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from afk_es.errors import ConfigurationError
from afk_es.machine.joins import JoinPolicy
from afk_es.machine.values import Message


class _Frozen(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    if not TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise ConfigurationError(f"{type(self).__name__}: {error}") from error


class DelegationNode(_Frozen):
    """One task for one subagent.

    Attributes:
        id: its name within the plan, not empty.
        subagent: the name of one of the agent's subagents.
        task: what it is asked to do; it sees this, its inputs, and nothing of the conversation.
        timeout_s: seconds for an attempt, above 0; the subagent is cancelled then; default None, its own limits alone.
        retries: how often a failed attempt is made again, each as a run of its own; default 0.
        required: whether its failure is the plan's under the policy "allow_optional_failures"; default True.
        inputs: per name, the id of a node upstream, whose answer is put into the task, marked as data; default none.

    Raises:
        ConfigurationError: a field is missing or not what it should be.
    """

    id: str = Field(min_length=1, max_length=64)
    subagent: str
    task: str
    timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    retries: int = Field(default=0, ge=0, le=10)
    required: bool = True
    inputs: dict[str, str] = {}


class DelegationPlan(_Frozen):
    """What is to be done before the model is asked.

    Attributes:
        nodes: the tasks, at least one.
        edges: pairs of ids; the second starts once the first is over.
        join_policy: "all_required" (the default), "allow_optional_failures", "first_success" or "quorum"; the last two count the nodes
            that nothing follows.
        quorum: how many must succeed under "quorum"; default None, more than half.

    Raises:
        ConfigurationError: a field is missing or not what it should be. Whether the nodes exist and the edges make sense is checked when
            a router answers the plan: it is recorded as the router's failure.
    """

    nodes: tuple[DelegationNode, ...]
    edges: tuple[tuple[str, str], ...] = ()
    join_policy: JoinPolicy = "all_required"
    quorum: int | None = Field(default=None, ge=1)


class RouterInput(BaseModel):
    """What a router knows when it is asked, once a step.

    Attributes:
        run_id, thread_id, step: where.
        agent_name: the agent that delegates.
        context: a copy of the run's context.
        messages: the conversation so far, without the system message.
        subagents: the names it may use in a plan.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    run_id: str
    thread_id: str
    step: int
    agent_name: str
    context: dict[str, Any] = {}
    messages: tuple[Message, ...] = ()
    subagents: tuple[str, ...] = ()

    @property
    def user_message(self) -> str:
        """The last thing the user said, or ""."""
        return next((message.content for message in reversed(self.messages) if message.role == "user"), "")


SubagentRouter = Callable[[RouterInput], DelegationPlan | Awaitable[DelegationPlan | None] | None]
"""Answers what to delegate before the model is asked, sync or async; None for nothing."""
