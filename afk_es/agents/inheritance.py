"""What an agent is handed of the run of the agent above it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afk_es.agents.agent import Agent
from afk_es.machine.values import plain


def inherited_context(agent: Agent, parent_context: Mapping[str, Any]) -> dict[str, Any]:
    """The context that an agent begins with as a subagent: its `context_defaults`, and over them its `inherit_context_keys`.

    A key that the parent's context has not is left to the defaults. The values are copies, so neither run sees what the other does.

    Args:
        parent_context: the context of the parent's run.

    Raises:
        TypeError: a default that is not JSON.
    """
    inherited = {key: parent_context[key] for key in agent.inherit_context_keys if key in parent_context}
    context: dict[str, Any] = plain({**agent.context_defaults, **inherited})
    return context
