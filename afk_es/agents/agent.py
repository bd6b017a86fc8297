"""`Agent`: a frozen description of who is to act. It runs nothing and remembers nothing."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    PrivateAttr,
    SkipValidation,
    ValidationError,
    field_validator,
    model_validator,
)

from afk_es.agents.delegation import SubagentRouter
from afk_es.agents.fail_safe import FailSafeConfig, require_model
from afk_es.agents.policy import PolicyDecision, PolicyEngine, PolicyEvent
from afk_es.agents.prompts import joined, read_prompt
from afk_es.errors import ConfigurationError, ToolError
from afk_es.machine.delegation import TRANSFER
from afk_es.machine.joins import JoinPolicy
from afk_es.tools import SkillPolicy, Tool, ToolServer, tool
from afk_es.tools.decorator import require_name
from afk_es.tools.scoped import ScopedDirectory
from afk_es.tools.skills import SkillLibrary, skills_in

Instructions = str | Callable[[dict[str, Any]], str | Awaitable[str]]
"""The system message, or a function of the run's context that answers it, sync or async, asked at each step."""

InstructionRole = Callable[[dict[str, Any]], str | Awaitable[str | None] | None]
"""A function of the run's context that answers what is to be added to the instructions of this step, or None; sync or async."""

PolicyRole = Callable[[PolicyEvent], PolicyDecision | None]
"""A function of the event that answers a decision, or None where it has nothing to say. Not async, as it is asked between two events."""

SubagentParallelism = Literal["single", "parallel", "configurable"]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class Agent(BaseModel):
    """An agent, described. Keyword-only; may be shared by any number of runs.

    Attributes:
        model: a model's name ("gpt-5.2-mini", "anthropic/...", "ollama/..."), or an object with `provider_id` and `chat`.
        name: letters, digits, '_' and '-', at most 64; default "agent".
        instructions: the system message, or a function of the run's context; default None.
        instruction_file: a UTF-8 file with the instructions, read at construction, at most 1 MB; relative to `prompts_dir` if that is
            given, and then it must be in there, links followed.
        prompts_dir: a directory; `<name>.md` in it holds the instructions where neither of the others is given.
        instruction_roles: functions of the run's context, asked in their order at each step; what they answer, a text or None, follows
            the instructions. One that raises fails the run, as an instructions function does.
        tools: functions the model may call; plain functions are made tools of. Default none, and only `skills` and `subagents` add any.
        skills: names of directories in `skills_dir`, each with a SKILL.md in the Agent Skills format. The instructions then list them, and
            four tools are added: list_skills, read_skill_md, read_skill_file, run_skill_command.
        skills_dir: where they are. Names and descriptions are read at construction, all else when the model asks.
        skill_policy: what `run_skill_command` may run; default `SkillPolicy()`, nothing.
        description: what other agents are told of this one where it is their subagent, and clients where it is served; default None.
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
        policy_roles: functions of the `PolicyEvent`, asked in their order where no rule of either engine matched; the first that answers a
            decision decides. One that raises, or answers something else, denies. Not async, and not to wait for anything: no deadline
            cuts a policy.
        max_concurrent_subagents: subagents of one run at once; default None, the runner's limits alone.
        max_steps: turns of the model; default 20. `fail_safe.max_steps` holds as well.
        tool_parallelism: tool calls of one batch at once; default None, `fail_safe.max_parallel_tools` alone.
        subagent_parallelism_mode: "single" (one after the other), "parallel" (all of a step, as far as the runner's limits let them), or
            "configurable" (as `max_concurrent_subagents` says; the default).
        fail_safe: limits and failure policies.
        reasoning_enabled: whether the model should think first; default None, as the provider has it.
        reasoning_effort: how hard; default None, as the provider has it.
        reasoning_max_tokens: how long at most, in tokens; default None. It goes before the effort where the model takes both. A model
            that cannot do what is asked of it fails the call with LLMCapabilityError, and the next of the fallback chain is asked.
        output_type: a Pydantic model of the final answer; an answer that does not satisfy it goes back to the model. Default None, text.
        model_resolver: a function of a model's name that answers the model object; default None, LiteLLM.
        mcp_servers: servers whose tools the agent has beside its own, such as `afk_es.mcp.MCPClient`; asked for them when a run starts,
            goes on or is forked. A replay takes them from the record.

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
    skill_policy: SkillPolicy = Field(default_factory=SkillPolicy)
    mcp_servers: tuple[SkipValidation[ToolServer], ...] = ()
    instruction_roles: tuple[InstructionRole, ...] = ()
    policy_roles: tuple[PolicyRole, ...] = ()
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
    _skills: SkillLibrary | None = PrivateAttr(default=None)
    _skill_tools: tuple[Tool[..., Any], ...] = PrivateAttr(default=())

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
            skill_policy: SkillPolicy = ...,
            mcp_servers: Iterable[ToolServer] = ...,
            instruction_roles: Iterable[InstructionRole] = ...,
            policy_roles: Iterable[PolicyRole] = ...,
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

    @field_validator("mcp_servers")
    @classmethod
    def _servers(cls, servers: tuple[ToolServer, ...]) -> tuple[ToolServer, ...]:
        for server in servers:
            if isinstance(server, (type, str)) or not isinstance(server, ToolServer):
                raise ValueError(f"{server!r:.80} is no server; write afk_es.mcp.MCPClient(...) around its address or command")
            require_name(server.name, "server")
        _require_unique("mcp_servers", [server.name for server in servers])
        return servers

    @field_validator("policy_roles")
    @classmethod
    def _synchronous(cls, roles: tuple[PolicyRole, ...]) -> tuple[PolicyRole, ...]:
        for role in roles:
            if inspect.iscoroutinefunction(role) or inspect.iscoroutinefunction(type(role).__call__):
                raise ValueError("must not be async: no deadline cuts a policy, so it decides from the event alone")
        return roles

    @model_validator(mode="after")
    def _consistent(self) -> Agent:
        self._skills = self._read_skills()
        self._skill_tools = () if self._skills is None else self._skills.tools()
        _require_unique("tools", [each.name for each in self.offered_tools()])
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
            return read_prompt(self.instruction_file, "instruction_file", self.prompts_dir)
        if self.prompts_dir is not None:
            return read_prompt(Path(f"{self.name}.md"), "prompts_dir", self.prompts_dir)
        return None

    def _read_skills(self) -> SkillLibrary | None:
        if self.skills and self.skills_dir is None:
            raise ValueError("skills are listed without skills_dir, the directory that they are in")
        if self.skills_dir is None or (not self.skills and "skills" in self.model_fields_set):
            return None
        if self.skills:
            return SkillLibrary(self.skills_dir, self.skills, self.skill_policy)
        try:
            found = skills_in(ScopedDirectory(self.skills_dir))
        except ToolError as error:
            raise ValueError(f"skills_dir: {self.skills_dir}: {error}") from error
        raise ValueError(f"skills_dir is given, and no skill of it is listed; there are: skills={found}")

    @property
    def dynamic_instructions(self) -> bool:
        """Whether the instructions are made anew at each step: by a function, or by roles."""
        return callable(self.instructions) or bool(self.instruction_roles)

    def static_instructions(self) -> str | None:
        """What of the instructions is the same at each step: their text, from wherever it comes, and the list of the skills.

        None where there is neither, and where a function answers the instructions.
        """
        if callable(self.instructions):
            return None
        return joined(self.instructions if self.instructions is not None else self._file_text, self.skill_instructions())

    def skill_instructions(self) -> str | None:
        """What the instructions say of the skills; None without any."""
        return None if self._skills is None else self._skills.instructions()

    def skill_headings(self) -> tuple[tuple[str, str], ...]:
        """The name and description of each skill."""
        return () if self._skills is None else tuple((name, description) for name, description in self._skills.skills)

    def offered_tools(self) -> tuple[Tool[..., Any], ...]:
        """The tools that the model is offered: `tools`, and the four of the skills where there are skills."""
        return (*self.tools, *self._skill_tools)

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
