"""Agents and the objects that run them, as one Runner keeps them: each agent is bound once, and anew when its servers offer something else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from afk_es.agents import Agent
from afk_es.core.recorded_agents import RecordedAgent
from afk_es.core.recorded_servers import recorded_offers, recorded_teams, still_offered
from afk_es.core.servers import Offered, Servers, servers_of
from afk_es.errors import ConfigurationError, UsageError
from afk_es.handlers import Binding
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent, RunSpec

_AGENTS_KEPT = 64


class Bindings:
    """The bindings of one Runner.

    Args:
        bind: makes the binding of an agent to which its servers offer this.
        servers: asked while the Runner is in use.
    """

    def __init__(self, bind: Callable[[Agent, Offered], Awaitable[Binding]], servers: Servers, log: EventLog) -> None:
        self._bind = bind
        self._servers = servers
        self._log = log
        self._known: dict[int, Binding] = {}

    async def runnable(self, agent: Agent, recorded: Sequence[AgentRunEvent] = ()) -> Binding:
        """The binding of an agent that is to run, or to go on with a run that is no fork and has these events.

        Raises:
            UsageError: a recorded agent, which can only fork.
            ConfigurationError, ToolError: as `bound`.
        """
        if isinstance(agent, RecordedAgent):
            raise UsageError("a recorded agent has no code of its own tools, so it can only fork: call fork, or pass the agent itself")
        return await self.bound(agent, recorded)

    async def bound(self, agent: Agent, recorded: Sequence[AgentRunEvent] = ()) -> Binding:
        """The binding of an agent, with what its servers offer now, and what they offered to a run with these events.

        Raises:
            ConfigurationError: it is no agent, or says what cannot be.
            ToolError: a server cannot be reached.
        """
        known = self._known.get(id(agent))
        if known is not None and not known.offered:
            return known
        if not _is_agent(agent):
            raise ConfigurationError(f"agent is an Agent, not {type(agent).__name__}")
        offered = await self._servers.offered(agent)
        if recorded:
            offered = await still_offered(offered, agent, self._log, recorded)
        if known is not None and known.offered == offered:
            return known
        binding = await self._bind(agent, offered)
        if len(self._known) >= _AGENTS_KEPT:
            self._known.pop(next(iter(self._known)))
        # The binding holds the agent, so its id stays taken for as long as the entry is here.
        self._known[id(agent)] = binding
        return binding

    async def bound_as_recorded(self, agent: Agent, recorded: RunSpec, others: Mapping[str, RunSpec]) -> Binding:
        """The binding for a replay, which asks no server."""
        if not is_served(agent):
            return await self.bound(agent)
        binding = await self._bind(agent, recorded_offers(agent, recorded, others))
        return recorded_teams(binding, recorded, others)


def is_served(agent: Agent) -> bool:
    """Whether the agent, or a subagent of its, has a server; False for what is no agent."""
    return _is_agent(agent) and next(servers_of(agent), None) is not None


def _is_agent(agent: object) -> bool:
    return isinstance(agent, Agent)
