"""What a caller starts a run with: checked, and made the event that begins it. It reads no log."""

from __future__ import annotations

import re
from typing import Any

from afk_es.agents import Agent
from afk_es.errors import ConfigurationError, RunExistsError
from afk_es.handlers import Binding
from afk_es.llms import UserMessage
from afk_es.llms.content import content_of
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent, Draft
from afk_es.machine.values import plain

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def check_id(name: str, value: object) -> None:
    """Refuse what is no id, or no text where one has to be.

    Raises:
        ConfigurationError: it is no string, or an empty one.
    """
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} is a non-empty string; this is {value!r}")


def checked_run_id(run_id: object) -> str:
    """The id that a caller gives a run.

    Raises:
        ConfigurationError: it is none that a new run may have.
    """
    if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
        raise ConfigurationError(
            f"run_id is of 1 to 128 letters, digits, '_', '-' and '.', and begins with a letter or digit; this is {run_id!r:.160}"
        )
    return run_id


def json_context(agent: Agent, context: dict[str, Any] | None) -> dict[str, Any]:
    """The context of a run: the caller's over the agent's.

    Raises:
        ConfigurationError: it is no dict of JSON data.
    """
    if context is not None and not isinstance(context, dict):
        raise ConfigurationError(f"context is a dict or None, not {type(context).__name__}")
    try:
        merged: dict[str, Any] = plain({**agent.context_defaults, **(context or {})})
    except (TypeError, RecursionError) as error:
        raise ConfigurationError(
            f"context is recorded with the run, so it holds JSON data only: {error}. Hand live objects to tools by closure, and secrets "
            "by RunnerConfig.secret_scope_provider"
        ) from error
    return merged


def started(binding: Binding, owner: str, user_message: UserMessage | None, context: dict[str, Any]) -> Draft:
    """The event that begins a run that a caller asks for."""
    text, parts = content_of(user_message)
    data: dict[str, Any] = {
        "agent_name": binding.agent.name,
        "resumed": False,
        "epoch": 1,
        "owner": owner,
        "agent": binding.data,
        "user_message": text,
        "context": context,
    }
    if parts:
        data["user_parts"] = parts
    return Draft("run_started", data)


def check_same_request(first: AgentRunEvent, agent: Agent, user_message: UserMessage | None, thread_id: str | None) -> None:
    """Refuse to take a run for the one that is asked for, where its first event says that it is another.

    Raises:
        RunExistsError: it was started with another agent, message or thread.
    """
    text, parts = content_of(user_message)
    data = first.data
    asked = {"agent": agent.name, "message": (text, parts or None), "thread": thread_id or first.thread_id}
    recorded = {"agent": data["agent_name"], "message": (data.get("user_message"), data.get("user_parts")), "thread": first.thread_id}
    differing = [name for name in asked if asked[name] != recorded[name]]
    if differing:
        raise RunExistsError(
            f"run {first.run_id!r} was started with another {' and '.join(differing)}; an id stands for one request, so choose another"
        )


def taken(run_id: str, log: EventLog) -> RunExistsError:
    """The error of a start under an id that a run of the log has."""
    return RunExistsError(f"{log.location} has a run {run_id!r} already; choose another id, or call run_once to join it")
