"""Agents with servers, for replays and for runs that go on without one of them: what a server has to offer is what the log has of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace as with_fields

import msgspec

from afk_es.agents import Agent
from afk_es.core.servers import Offered, recorded_of, servers_of
from afk_es.core.wiring import transfer_spec
from afk_es.handlers import Binding
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent
from afk_es.machine.delegation import TRANSFER
from afk_es.machine.spec import RunSpec
from afk_es.machine.values import plain


def recorded_offers(agent: Agent, spec: RunSpec, others: Mapping[str, RunSpec]) -> Offered:
    """What the servers of an agent had when it was recorded, without asking them.

    Args:
        spec: the agent as it was recorded.
        others: its subagents as they were, by name, as far as they ran.
    """
    found = {id(server): recorded_of(server, spec) for server in agent.mcp_servers}
    for each in agent.subagents:
        known = others.get(each.name)
        found |= recorded_offers(each, known, others) if known is not None else {id(server): () for server in servers_of(each)}
    return found


async def still_offered(offered: Offered, agent: Agent, log: EventLog, events: Sequence[AgentRunEvent]) -> Offered:
    """What the servers of an agent have for a run that goes on. One that can be done without, and has nothing to offer now, has what it had
    when the run began, since a call may come when it is back; that of a subagent, as far as this ran.
    """
    if all(offered.values()):
        return offered
    others: dict[str, RunSpec] = {}
    unread = [events]
    while unread:
        for event in unread.pop():
            if event.type == "subagent_started" and (below := await log.read(event.data["run_id"])):
                others.setdefault(below[0].data["agent_name"], _spec_of(below[0]))
                unread.append(below)
    had = recorded_offers(agent, _spec_of(events[0]), others)
    return {server: now or had[server] for server, now in offered.items()}


def _spec_of(started: AgentRunEvent) -> RunSpec:
    return msgspec.convert(started.data["agent"], RunSpec)


def recorded_teams(binding: Binding, spec: RunSpec, others: Mapping[str, RunSpec]) -> Binding:
    """The binding of an agent made with `recorded_offers`, in which a subagent that never ran is taken to be the recorded one: what its
    servers had to offer then, nobody knows.
    """
    team = {name: recorded_teams(below, others[name], others) if name in others else below for name, below in binding.subagents.items()}
    tools = []
    for tool in binding.spec.tools:
        if tool.subagent is not None and next(servers_of(team[tool.subagent].agent), None) is not None:
            was = spec.tool(tool.name)
            if tool.subagent in others:
                transfer = transfer_spec(binding.tools[TRANSFER + tool.subagent], team[tool.subagent].spec)
                tool = msgspec.structs.replace(tool, subagent_digest=transfer.subagent_digest)
            elif was is not None:
                tool = msgspec.structs.replace(tool, subagent_digest=was.subagent_digest)
        tools.append(tool)
    own = msgspec.structs.replace(binding.spec, tools=tuple(tools))
    return with_fields(binding, spec=own, data=plain(msgspec.to_builtins(own)), subagents=team)
