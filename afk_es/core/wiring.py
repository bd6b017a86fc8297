"""Joins what a run's data says with the objects that do it. The default model adapter is named here, and imported when it is needed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from afk_es.agents import Agent, PolicyEngine
from afk_es.agents.transfer import transfer_tool
from afk_es.clock import Clock, Ids, RandomIds, SystemClock
from afk_es.core.config import RunnerConfig
from afk_es.core.retention import RetentionPolicy
from afk_es.core.servers import Offered
from afk_es.errors import AgentMismatchError, ConfigurationError, LLMConfigurationError
from afk_es.handlers import Binding
from afk_es.handlers.binding import SummaryFunction
from afk_es.interaction import InteractionProvider
from afk_es.llms import ChatModel, Link, LinkedChatModel, LLMRequest, LLMResponse, PricedChatModel
from afk_es.log import EventLog, default_location, open_log
from afk_es.machine.delegation import DelegationSpec
from afk_es.machine.spec import Limits, ModelSpec, Retention, RunSpec, ToolSpec
from afk_es.machine.values import digest_json, plain
from afk_es.redaction import Redaction
from afk_es.tools import Tool, ToolContext

if TYPE_CHECKING:
    from afk_es.telemetry import Delivery, TelemetrySink

T = TypeVar("T")


def event_log(log: str | os.PathLike[str] | EventLog | None, config: RunnerConfig) -> EventLog:
    """The log that a Runner's `log` argument means."""
    return open_log(default_location() if log is None else log, durability=config.durability)


def checked_clock(clock: Clock | None) -> Clock:
    """The clock that a Runner's `clock` argument means.

    Raises:
        ConfigurationError: it is none.
    """
    return SystemClock() if clock is None else _able("clock", clock, ("now", "monotonic", "sleep"), "SystemClock() or SimulatedClock()")


def checked_ids(ids: Ids | None) -> Ids:
    """The ids that a Runner's `ids` argument means.

    Raises:
        ConfigurationError: they are none.
    """
    return RandomIds() if ids is None else _able("ids", ids, ("new",), "RandomIds() or SeededIds(0)")


def _able(name: str, value: T, methods: tuple[str, ...], example: str) -> T:
    if isinstance(value, type) or not all(callable(getattr(value, method, None)) for method in methods):
        raise ConfigurationError(
            f"{name} is an object with {', '.join(methods)}, such as {example} of afk_es.clock, or None; this is {value!r:.80}"
        )
    return value


def checked_provider(provider: InteractionProvider | None, config: RunnerConfig) -> InteractionProvider | None:
    """The provider, if it goes with the mode.

    Raises:
        ConfigurationError: interactive mode without one, one in another mode, or an object that is none.
    """
    mode = config.interaction_mode
    if provider is None:
        if mode == "interactive":
            raise ConfigurationError(
                "interaction_mode is 'interactive', so somebody has to ask: pass interaction_provider=, such as "
                "afk_es.interaction.TerminalInteraction()"
            )
        return None
    if isinstance(provider, type) or not isinstance(provider, InteractionProvider):
        raise ConfigurationError(f"interaction_provider is an object with request_approval and request_input, not {provider!r:.80}")
    if mode != "interactive":
        raise ConfigurationError(
            f"an interaction_provider is given, and interaction_mode is {mode!r}, in which it is never asked: set "
            "RunnerConfig(interaction_mode='interactive'), or leave the provider out"
        )
    return provider


def default_model() -> ChatModel:
    """The adapter that model strings go to."""
    from afk_es.llms.litellm import LiteLLMModel

    return LiteLLMModel()


def delivery_to(telemetry: str | TelemetrySink, redaction: Redaction | None) -> Delivery:
    """What tells the sink that a Runner's `telemetry` argument means. Loaded where somebody wants it."""
    from afk_es.telemetry import Delivery, sink_of

    return Delivery(sink_of(telemetry), redaction)


async def bind(
    agent: Agent,
    config: RunnerConfig,
    policy: PolicyEngine | None,
    clock: Clock,
    default_model: Callable[[], ChatModel],
    people: InteractionProvider | None = None,
    offered: Offered | None = None,
    *,
    cost_limited: bool = False,
) -> Binding:
    """The agent with the objects that run it, and its subagents with theirs.

    Args:
        people: asks them, in interactive mode.
        default_model: answers for model strings where the agent has no resolver; not called where none needs it.
        offered: the tools that the servers of the agent and its subagents have now; needed where there are any.
        cost_limited: whether an agent above it has a cost limit, so that the prices of its models must be known.

    Raises:
        ConfigurationError: the agent cannot be run.
    """
    cost_limited = cost_limited or agent.fail_safe.max_total_cost_usd is not None
    team = {
        each.name: await bind(each, config, policy, clock, default_model, people, offered, cost_limited=cost_limited)
        for each in agent.subagents
    }
    transfers = {each.name: transfer_tool(each) for each in agent.subagents}
    tools = _tools(agent, offered or {}, transfers)
    chain = (agent.model, *agent.fail_safe.fallback_model_chain)
    asked = [link for model in chain for link in _links(name_of(model), resolved(agent, model, default_model))]
    specs = tuple([await _model_spec(name, link, cost_limited) for name, link in asked])
    retention, summariser = await _summariser(config.thread_retention, cost_limited, default_model)
    spec = RunSpec(
        agent_name=agent.name,
        models=specs,
        instructions=agent.static_instructions(),
        dynamic_instructions=agent.dynamic_instructions,
        skills=agent.skills,
        tools=(
            *(tool.spec() for tool in tools),
            *(transfer_spec(transfers[name], child.spec) for name, child in team.items()),
        ),
        parameters=_parameters(agent),
        output_schema=None if agent.output_type is None else plain(agent.output_type.model_json_schema()),
        limits=_limits(agent),
        policies=agent.fail_safe.policies(),
        breaker=agent.fail_safe.breaker(),
        rendering=config.rendering(),
        interaction=config.interaction(),
        in_doubt=config.in_doubt,
        retention=retention,
        background=config.background(),
        delegation=_delegation(agent, config) if team else None,
    )
    return Binding(
        agent=agent,
        spec=spec,
        data=plain(msgspec.to_builtins(spec)),
        models=tuple(link.model for _name, link in asked),
        tools={tool.name: tool for tool in (*tools, *transfers.values())},
        policy=PolicyEngine.combined(policy, agent.policy_engine),
        clock=clock,
        secrets_for=config.secret_scope_provider or _no_secrets,
        sandbox_for=config.sandbox_for,
        subagents=team,
        ticket_ttl_s=config.background_tool_result_ttl_s,
        summariser=summariser,
        people=people,
        offered=offered or {},
    )


def _tools(agent: Agent, offered: Offered, transfers: Mapping[str, Tool[..., Any]]) -> tuple[Tool[..., Any], ...]:
    """The agent's own tools and those of its servers.

    Raises:
        ConfigurationError: two are of one name.
    """
    tools = agent.offered_tools()
    taken = {tool.name: "its own" for tool in tools} | {tool.name: "a subagent" for tool in transfers.values()}
    for server in agent.mcp_servers:
        for tool in offered[id(server)]:
            if tool.name in taken:
                raise ConfigurationError(
                    f"agent {agent.name!r}: server {server.name!r} has a tool {tool.name!r}, and so has {taken[tool.name]}; give the server "
                    "another prefix, or leave the tool out"
                )
            taken[tool.name] = f"server {server.name!r}"
        tools += offered[id(server)]
    return tools


COMPACTING = "thread_compaction"
"""The agent's name of a run that compacts a thread."""


class _NoModel:
    """Stands for the model of a run that asks none."""

    provider_id = "none"
    model = "none"

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """There is nothing to ask."""
        raise LLMConfigurationError("a run that compacts a thread asks no model but its summariser")


async def compaction_binding(
    policy: RetentionPolicy, config: RunnerConfig, clock: Clock, default_model: Callable[[], ChatModel]
) -> Binding:
    """What a run that only compacts a thread is bound to.

    Raises:
        ConfigurationError: the summarising model cannot be used.
    """
    retention, summariser = await _summariser(policy, False, default_model, alone=True)
    agent = Agent(name=COMPACTING, model=_NoModel())
    models = (ModelSpec("none", "none"),) if retention is None or retention.model is None else (retention.model,)
    # No deadline: one that has passed would keep a compaction that was cut off from ever being finished.
    spec = RunSpec(agent.name, models, limits=Limits(max_wall_time_s=None), rendering=config.rendering(), retention=retention)
    return Binding(
        agent=agent,
        spec=spec,
        data=plain(msgspec.to_builtins(spec)),
        models=(_NoModel(),),
        tools={},
        policy=PolicyEngine(),
        clock=clock,
        summariser=summariser,
    )


async def _summariser(
    policy: RetentionPolicy | None, cost_limited: bool, default_model: Callable[[], ChatModel], *, alone: bool = False
) -> tuple[Retention | None, SummaryFunction | ChatModel | None]:
    """A retention policy as data, and the object that sums up."""
    if policy is None:
        return None, None
    summariser = policy.summariser
    if isinstance(summariser, str):
        name, summariser = summariser, default_model()
    elif isinstance(summariser, ChatModel):
        name = name_of(summariser)
    else:
        return policy.retention(None, alone=alone), summariser
    return policy.retention(await _model_spec(name, Link(summariser, None), cost_limited), alone=alone), summariser


def transfer_spec(tool: Tool[..., Any], child: RunSpec) -> ToolSpec:
    """A subagent as its parent's model and log have it, with a digest of what it is."""
    return msgspec.structs.replace(
        tool.spec(), kind="subagent", subagent=child.agent_name, subagent_digest=digest_json(msgspec.to_builtins(_identity(child)))
    )


def _identity(spec: RunSpec) -> RunSpec:
    """What an agent is, without what the operator chooses; its tools carry the digests of its own subagents."""
    delegation = spec.delegation
    return RunSpec(
        agent_name=spec.agent_name,
        models=tuple(ModelSpec(model.model, "") for model in spec.models[:1]),
        instructions=spec.instructions,
        dynamic_instructions=spec.dynamic_instructions,
        skills=spec.skills,
        tools=spec.tools,
        parameters=spec.parameters,
        output_schema=spec.output_schema,
        limits=spec.limits,
        policies=spec.policies,
        delegation=msgspec.structs.replace(delegation, max_parallel=1) if delegation is not None else None,
    )


def _delegation(agent: Agent, config: RunnerConfig) -> DelegationSpec:
    parallel = config.max_parallel_subagents_per_parent
    if agent.subagent_parallelism_mode == "single":
        parallel = 1
    elif agent.max_concurrent_subagents is not None:
        parallel = min(parallel, agent.max_concurrent_subagents)
    return DelegationSpec(agent.join_policy, agent.join_quorum, parallel, agent.subagent_router is not None)


def _no_secrets(context: ToolContext) -> Mapping[str, str]:
    return {}


def name_of(model: str | ChatModel) -> str:
    """The name under which a model stands in the log."""
    if isinstance(model, str):
        return model
    name = getattr(model, "model", None)
    return name if isinstance(name, str) and name else model.provider_id


def resolved(agent: Agent, model: str | ChatModel, default_model: Callable[[], ChatModel]) -> ChatModel:
    """The object behind a model: itself, what the agent's resolver says, or the default adapter."""
    if not isinstance(model, str):
        return model
    if agent.model_resolver is None:
        return default_model()
    found: object = agent.model_resolver(model)
    if isinstance(found, ChatModel):
        return found
    raise ConfigurationError(
        f"the model_resolver of agent {agent.name!r} answered {found!r:.80} for {model!r}; it must answer an object with provider_id and chat"
    )


def _links(name: str, model: ChatModel) -> list[tuple[str, Link]]:
    """The models behind one, each with its name: of a model that retries and falls back by itself, those that it would ask."""
    if not isinstance(model, LinkedChatModel):
        return [(name, Link(model, None))]
    first, *others = model.links()
    return [(name, first), *((name_of(link.model), link) for link in others)]


async def _model_spec(name: str, link: Link, cost_limited: bool) -> ModelSpec:
    priced, model = None, link.model
    if cost_limited and isinstance(model, PricedChatModel):
        # It may have to load a price list.
        priced = await asyncio.to_thread(model.prices, name)
    return ModelSpec(name, model.provider_id, priced, link.retry)


def _limits(agent: Agent) -> Limits:
    fail_safe = agent.fail_safe
    parallel = fail_safe.max_parallel_tools
    if agent.tool_parallelism is not None:
        parallel = min(parallel, agent.tool_parallelism)
    # Both places have a max_steps. Where only one was set, the other's default must not undercut it.
    stated = [owner.max_steps for owner in (agent, fail_safe) if "max_steps" in owner.model_fields_set] or [
        agent.max_steps,
        fail_safe.max_steps,
    ]
    return msgspec.structs.replace(fail_safe.limits(), max_steps=min(stated), max_parallel_tools=parallel)


def _parameters(agent: Agent) -> dict[str, Any]:
    names = ("reasoning_enabled", "reasoning_effort", "reasoning_max_tokens")
    return {name: value for name in names if (value := getattr(agent, name)) is not None}


def check_same_agent(recorded: RunSpec, offered: RunSpec) -> None:
    """Refuse to go on with another agent than the one the log recorded.

    What the operator chooses, such as rendering or in_doubt, may differ; it is recorded when it does.

    Raises:
        AgentMismatchError: naming every difference and the way out.
    """
    differences = list(_differences(recorded, offered))
    if differences:
        raise AgentMismatchError(
            "the agent is not the one the run was started with: "
            + "; ".join(differences)
            + ". Resume with the recorded agent, or pass allow_agent_change=True to go on with this one"
        )


def _differences(recorded: RunSpec, offered: RunSpec) -> list[str]:
    found = []
    for field in ("agent_name", "instructions", "dynamic_instructions", "parameters", "output_schema"):
        before, after = getattr(recorded, field), getattr(offered, field)
        if before != after:
            found.append(f"{field} {_short(before)} -> {_short(after)}" if field != "instructions" else _apart(before, after))
    found += [f"skill {name} is gone" for name in recorded.skills if name not in offered.skills]
    found += [f"skill {name} is new" for name in offered.skills if name not in recorded.skills]
    for group in ("limits", "policies"):
        before, after = getattr(recorded, group), getattr(offered, group)
        for field in before.__struct_fields__:
            if getattr(before, field) != getattr(after, field):
                found.append(f"{group}.{field} {_short(getattr(before, field))} -> {_short(getattr(after, field))}")
    for field in ("join_policy", "quorum", "routed"):
        before, after = (getattr(spec.delegation, field, None) for spec in (recorded, offered))
        if before != after and recorded.delegation is not None and offered.delegation is not None:
            found.append(f"{field} {_short(before)} -> {_short(after)}")
    names = ([model.model for model in recorded.models], [model.model for model in offered.models])
    if names[0] != names[1]:
        found.append(f"models {_short(names[0])} -> {_short(names[1])}")
    before_tools = {tool.name: tool for tool in recorded.tools}
    after_tools = {tool.name: tool for tool in offered.tools}
    for name in sorted(before_tools.keys() | after_tools.keys()):
        if name not in after_tools:
            found.append(f"tool {name} is gone")
        elif name not in before_tools:
            found.append(f"tool {name} is new")
        elif before_tools[name] != after_tools[name]:
            fields = [f for f in before_tools[name].__struct_fields__ if getattr(before_tools[name], f) != getattr(after_tools[name], f)]
            found.append(f"tool {name} differs in {', '.join(fields)}")
    return found


def _apart(before: str | None, after: str | None) -> str:
    """How two instructions differ, from a little before where they begin to: the beginning may be the same for pages."""
    same = 0
    if before is not None and after is not None:
        same = next((at for at, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), min(len(before), len(after)))
    begin = max(same - 20, 0) if same > 40 else 0
    shown = [_short(text[begin:] if text is not None else None) for text in (before, after)]
    return f"instructions {f'from character {begin} on ' if begin else ''}{shown[0]} -> {shown[1]}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
