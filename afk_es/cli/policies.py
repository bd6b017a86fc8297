"""From MODULE:POLICY to the policy. The user's code runs here, so whatever it raises is told as what it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from afk_es.agents import Agent, PolicyEngine
from afk_es.cli.agents import called, load_value
from afk_es.errors import ConfigurationError
from afk_es.evals.policies.tried_policy import Policy

_FORM = "name a policy as MODULE:POLICY, such as shop.policies:strict or ./policies.py:strict"


def load_policy(target: str) -> Policy:
    """The policy that `MODULE:POLICY` names.

    Raises:
        ConfigurationError: there is none.
    """
    value = load_value(target, "a policy", _FORM)
    if not isinstance(value, (PolicyEngine, Agent)) and callable(value) and not _parameters(value, target):
        value = called(value, target)
    if isinstance(value, (PolicyEngine, Agent)):
        return value
    if callable(value) and _parameters(value, target) == 1:
        decide: Policy = value
        return decide
    raise ConfigurationError(
        f"{target} is of the type {type(value).__name__}, not a PolicyEngine, an Agent, a function of the event, or a function that gives one of these"
    )


def _parameters(function: Callable[..., Any], target: str) -> int:
    """How many arguments a function has to be given."""
    if inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"{target} is async, and a policy decides from the event alone")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the signature of {target} cannot be read; wrap it in a function") from error
    return sum(each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters)


def load_engine(target: str) -> PolicyEngine:
    """The `PolicyEngine` that `MODULE:POLICY` names, as a Runner takes it.

    Raises:
        ConfigurationError: there is none.
    """
    policy = load_policy(target)
    if not isinstance(policy, PolicyEngine):
        raise ConfigurationError(f"{target} is no PolicyEngine, which is what a Runner takes; an agent has its own policy with it")
    return policy
