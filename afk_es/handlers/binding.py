"""What a run's data stands for: the objects behind the names in its RunSpec. The machine never sees them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import Clock
from afk_es.interaction import InteractionProvider
from afk_es.llms import ChatModel
from afk_es.machine.spec import RunSpec
from afk_es.machine.values import Message
from afk_es.tools import SandboxProfile, Tool, ToolContext

Emit = Callable[[str], Awaitable[None]]
Report = Callable[[int, str, dict[str, Any]], None]
"""Shows how far a tool is: the seq of its `tool_started`, a sentence, and the data of a `tool_progress`."""
SummaryFunction = Callable[[list[Message]], str | Awaitable[str]]


def _no_secrets(context: ToolContext) -> Mapping[str, str]:
    return {}


def _no_sandbox(context: ToolContext) -> SandboxProfile | None:
    return None


@dataclass(frozen=True, slots=True)
class Binding:
    """An agent bound to the objects that run it; shared by all its runs. What users' code is handed of a run's data is always a copy.

    Attributes:
        data: the spec as the plain dict that `run_started` carries; one object, so that the log stores and decodes it once.
        models: the model objects, in the order of `spec.models`.
        tools: the tools by name.
        policy: the engine that decides, of the runner and of the agent together.
        offered: what the servers of the agent and its subagents had when it was bound, by the server's id; empty without servers.
        people: asks them; None where the run's mode is not interactive.
        subagents: the agents it may delegate to, bound as well, by name.
        ticket_ttl_s: seconds after which a deferred tool that names no term counts as failed.
        summariser: what sums up older turns where the spec has a retention with a summariser.
    """

    agent: Agent
    spec: RunSpec
    data: dict[str, Any]
    models: tuple[ChatModel, ...]
    tools: Mapping[str, Tool[..., Any]]
    policy: PolicyEngine
    clock: Clock
    secrets_for: Callable[[ToolContext], Mapping[str, str]] = _no_secrets
    sandbox_for: Callable[[ToolContext], SandboxProfile | None] = _no_sandbox
    subagents: Mapping[str, Binding] = field(default_factory=dict)
    ticket_ttl_s: float = 3600.0
    summariser: SummaryFunction | ChatModel | None = None
    people: InteractionProvider | None = None
    offered: Mapping[int, tuple[Tool[..., Any], ...]] = field(default_factory=dict)
