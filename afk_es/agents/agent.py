"""`Agent`: a frozen description of who is to act. It runs nothing and remembers nothing."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, PrivateAttr, ValidationError, field_validator, model_validator

from afk_es.agents.delegation import SubagentRouter
from afk_es.agents.fail_safe import FailSafeConfig, require_model
from afk_es.agents.policy import PolicyEngine
from afk_es.errors import ConfigurationError
from afk_es.machine.delegation import TRANSFER
from afk_es.machine.joins import JoinPolicy
from afk_es.tools import Tool, tool

Instructions = str | Callable[[dict[str, Any]], str | Awaitable[str]]
"""The system message, or a function of the run's context that answers it, sync or async, asked at each step."""

SubagentParallelism = Literal["single", "parallel", "configurable"]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]

NOT_YET: dict[str, str] = {
    "skills": "put what the agent should know into its instructions",
    "skills_dir": "put what the agent should know into its instructions",
    "mcp_servers": "wrap the server's tools in functions and pass them as tools",
    "instruction_roles": "pass a function as instructions",
    "policy_roles": "write the rules of a policy_engine",
}
"""Fields whose feature this release does not have, each with the way out. Another value than the default is refused, never ignored."""


class Agent(BaseModel):
    """An agent, described. Keyword-only; may be shared by any number of runs.

    Attributes:
        model: a model's name ("gpt-5.2-mini", "anthropic/...", "ollama/..."), or an object with `provider_id` and `chat`.
        name: letters, digits, '_' and '-', at most 64; default "agent".
        instructions: the system message, or a function of the run's context; default None.
        instruction_file: a UTF-8 file with the instructions, read at construction; relative to `prompts_dir` if that is given.
        prompts_dir: a directory; `<name>.md` in it holds the instructions where neither of the others is given.
        tools: functions the model may call; plain functions are made tools of. Default none, and none is added.
        description: what other agents are told of this one where it is their subagent; default None.
        subagents: agents the model may hand work to, each offered as a tool `transfer_to_<name>` that takes a task.
        subagent_router: a function of a RouterInput, asked once a step before the model, that answers a DelegationPlan or None; default
            None. A plan's answers join the conversation before the model is asked.
        join_policy: when the subagents that one answer asks for are joined: "all_required" (the default; one failure fails the
            delegation, and the others are cancelled), "allow_optional_failures" (each failure is told to the model),
            "first_success" (the others are cancelled) or "quorum" (enough of them). `fail_safe.subagent_failure_policy` says what
            follows from a delegation that failed; a plan has a policy of its own.
        join_quorum: how many must succeed under "quorum", or all where fewer were asked; default None, more than half.
        context_defaults: the run's context, where the caller does not say otherwise; JSON values.
        inherit_context_keys: keys of a parent's context that this agent gets as a subagent; default none.
        policy_engine: asked, with the runner's, before each call of the model, a tool or a subagent; default None, all is allowed.
        max_concurrent_subagents: subagents of one run at once; default None, the runner's limits alone.
        max_steps: turns of the model; default 20. `fail_safe.max_steps` holds as well.
        tool_parallelism: tool calls of one batch at once; default None, `fail_safe.max_parallel_tools` alone.
        subagent_parallelism_mode: "single" (one after the other), "parallel" (all of a step, as far as the runner's limits let them), or
            "configurable" (as `max_concurrent_subagents` says; the default).
        fail_safe: limits and failure policies.
        reasoning_enabled: whether the model should think first; default None, as the provider has it.
        reasoning_effort: how hard; default None, as the provider has it.
        reasoning_max_tokens: how long at most, in tokens; default None.
        output_type: a Pydantic model of the final answer; an answer that does not satisfy it goes back to the model. Default None, text.
        model_resolver: a function of a model's name that answers the model object; default None, LiteLLM.
        skills, skills_dir, mcp_servers, instruction_roles, policy_roles: not in this release; see `NOT_YET`.

    Raises:
        ConfigurationError: an unknown field, or one that cannot work, with what to change.
    """

    # Built at the first use, as all models of the edge are: to build them all would be most of what `import afk_es` costs.
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True)

    model: Any
    name: str = Field(default="agent", pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    instructions: Instructions | None = None
    description: str | None = None
    instruction_file: Path | None = None
    prompts_dir: Path | None = None
    tools: tuple[InstanceOf[Tool[..., Any]], ...] = ()
    subagents: tuple[Agent, ...] = ()
    context_defaults: dict[str, Any] = {}
    inherit_context_keys: tuple[str, ...] = ()
    model_resolver: Callable[..., Any] | None = None
    skills: tuple[str, ...] = ()
    skills_dir: Path | None = None
    mcp_servers: tuple[Any, ...] = ()
    instruction_roles: tuple[Callable[..., Any], ...] = ()
    policy_roles: tuple[Callable[..., Any], ...] = ()
    policy_engine: PolicyEngine | None = None
    subagent_router: SubagentRouter | None = None
    join_policy: JoinPolicy = "all_required"
    join_quorum: int | None = Field(default=None, ge=1)
    max_concurrent_subagents: int | None = Field(default=None, ge=1)
    max_steps: int = Field(default=20, ge=1)
    tool_parallelism: int | None = Field(default=None, ge=1)
    subagent_parallelism_mode: SubagentParallelism = "configurable"
    fail_safe: FailSafeConfig = Field(default_factory=FailSafeConfig)
    reasoning_enabled: bool | None = None
    reasoning_effort: ReasoningEffort | None = None
    reasoning_max_tokens: int | None = Field(default=None, ge=1)
    output_type: type[BaseModel] | None = None

    _file_text: str | None = PrivateAttr(default=None)

    if TYPE_CHECKING:
        # What may be passed is wider than what is kept: any iterable, plain functions, paths as text.
        def __init__(
            self,
            *,
            model: object,
            name: str = ...,
            instructions: Instructions | None = ...,
            description: str | None = ...,
            instruction_file: str | Path | None = ...,
            prompts_dir: str | Path | None = ...,
            tools: Iterable[Callable[..., Any]] = ...,
            subagents: Iterable[Agent] = ...,
            context_defaults: Mapping[str, Any] = ...,
            inherit_context_keys: Iterable[str] = ...,
            model_resolver: Callable[..., Any] | None = ...,
            skills: Iterable[str] = ...,
            skills_dir: str | Path | None = ...,
            mcp_servers: Iterable[Any] = ...,
            instruction_roles: Iterable[Callable[..., Any]] = ...,
            policy_roles: Iterable[Callable[..., Any]] = ...,
            policy_engine: PolicyEngine | None = ...,
            subagent_router: SubagentRouter | None = ...,
            join_policy: JoinPolicy = ...,
            join_quorum: int | None = ...,
            max_concurrent_subagents: int | None = ...,
            max_steps: int = ...,
            tool_parallelism: int | None = ...,
            subagent_parallelism_mode: SubagentParallelism = ...,
            fail_safe: FailSafeConfig = ...,
            reasoning_enabled: bool | None = ...,
            reasoning_effort: ReasoningEffort | None = ...,
            reasoning_max_tokens: int | None = ...,
            output_type: type[BaseModel] | None = ...,
        ) -> None: ...

    else:

        def __init__(self, **fields: Any) -> None:
            for field in fields:
                if field not in type(self).model_fields:
                    raise ConfigurationError(_unknown_field(field, type(self).model_fields))
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise ConfigurationError(_explained(error, fields.get("name", "agent"))) from error

    @field_validator("model")
    @classmethod
    def _a_model(cls, model: Any) -> Any:
        require_model(model)
        return model

    @field_validator("tools", mode="before")
    @classmethod
    def _made_tools(cls, tools: Any) -> Any:
        if callable(tools) or isinstance(tools, str):
            raise ValueError("must be a sequence of tools, not one tool; write [tool]")
        if not isinstance(tools, Iterable):
            raise ValueError(f"must be a sequence of tools, not {tools!r}; leave it out for none")
        return tuple(_as_tool(each) for each in tools)

    @field_validator("subagents", "mcp_servers", "instruction_roles", "policy_roles", "skills", "inherit_context_keys", mode="before")
    @classmethod
    def _sequence(cls, items: Any) -> Any:
        if isinstance(items, (str, Agent)) or callable(items):
            raise ValueError(f"must be a sequence, not {items!r} alone; write [...]")
        if not isinstance(items, Iterable):
            raise ValueError(f"must be a sequence, not {items!r}; leave it out for none")
        return tuple(items)

    @model_validator(mode="after")
    def _consistent(self) -> Agent:
        for field, way_out in NOT_YET.items():
            if getattr(self, field) != type(self).model_fields[field].default:
                raise ValueError(f"{field} is not available in 0.1; {way_out}")
        _require_unique("tools", [each.name for each in self.tools])
        _require_unique("subagents", [each.name for each in self.subagents])
        self._require_team()
        if self.instructions is not None and self.instruction_file is not None:
            raise ValueError("instructions and instruction_file are both given; keep one of them")
        self._file_text = self._read_instructions()
        return self

    def _require_team(self) -> None:
        taken = {each.name for each in self.tools}
        for each in self.subagents:
            name = TRANSFER + each.name
            if name in taken:
                raise ValueError(f"a tool is named {name!r}, which is what subagent {each.name!r} is offered as; rename one")
            if len(name) > 64:
                raise ValueError(f"subagent {each.name!r}: as a tool it is {name!r}, which is longer than the 64 characters there may be")
        if self.subagents:
            return
        for field in ("subagent_router", "join_quorum", "max_concurrent_subagents"):
            if getattr(self, field) is not None:
                raise ValueError(f"{field} needs subagents, and there are none")

    def _read_instructions(self) -> str | None:
        if self.instructions is not None:
            return None
        if self.instruction_file is not None:
            path = self.instruction_file if self.prompts_dir is None else self.prompts_dir / self.instruction_file
            return _text(path, "instruction_file")
        if self.prompts_dir is not None:
            return _text(self.prompts_dir / f"{self.name}.md", "prompts_dir")
        return None

    def static_instructions(self) -> str | None:
        """The instructions as text, from wherever they come; None where there are none, or where a function answers them."""
        return self.instructions if isinstance(self.instructions, str) else self._file_text

    def __repr__(self) -> str:
        model = self.model if isinstance(self.model, str) else self.model.provider_id
        return f"Agent(name={self.name!r}, model={model!r})"

    __str__ = __repr__


def _as_tool(each: Any) -> Tool[..., Any]:
    if isinstance(each, Tool):
        return each
    if not callable(each):
        raise ValueError(f"{each!r:.80} is no tool; write the function itself, with or without @tool")
    made: Tool[..., Any] = tool(each)
    return made


def _text(path: Path, field: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{field}: {path} cannot be read: {error}") from error


def _require_unique(field: str, names: list[str]) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"two {field} are named {name!r}, and the model could not tell them apart; rename one")


def _unknown_field(field: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(field, known, n=1)
    return f"Agent has no field {field!r}; " + (f"did you mean {close[0]!r}?" if close else f"its fields are: {', '.join(known)}")


def _explained(error: ValidationError, name: object) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        path = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{path}: {text}" if path else text)
    return f"agent {name!r}: " + "; ".join(lines)
