"""A policy that is tried on what was recorded. It decides from a `PolicyEvent` alone, and knows neither logs nor runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from afk_es.agents import Agent, PolicyDecision, PolicyEngine, PolicyEvent
from afk_es.agents.agent import PolicyRole
from afk_es.errors import ConfigurationError
from afk_es.handlers.policies import decided
from afk_es.machine.spec import ToolSpec
from afk_es.machine.values import clean_text, plain
from afk_es.tools import Tool

Policy: TypeAlias = PolicyEngine | Agent | Callable[[PolicyEvent], PolicyDecision | None]
"""What can be tried: an engine; an agent, whose engine and roles are meant; or one function of the event, asked as a policy role is."""

_RAISED = re.compile(r"\A(rule|role).{0,400} could not be (evaluated|asked), so the call is denied: ", re.DOTALL)

_DEEPEST = 16
"""Levels of a schema that are looked into for defaults; one may refer to itself."""


class Decision(msgspec.Struct, frozen=True):
    """A decision as data, whoever made it.

    Attributes:
        action, reason, policy_id, matched_rules: as in `PolicyDecision`.
        arguments: those to go on with, where a rule changed some.
        payload: what a person who is asked is shown.
        raised: it is a denial because a rule or a role could not be evaluated.
    """

    action: str
    reason: str | None = None
    policy_id: str | None = None
    matched_rules: tuple[str, ...] = ()
    arguments: dict[str, Any] | None = None
    payload: dict[str, Any] = {}
    raised: bool = False


ALLOWED = Decision("allow")
"""What a policy that has nothing to say comes to."""


def recorded_decision(data: Mapping[str, Any]) -> Decision:
    """The decision of a `policy_decision`."""
    reason = data["reason"]
    return Decision(
        data["action"],
        reason,
        data["policy_id"],
        tuple(data["matched_rules"]),
        data.get("updated_tool_args"),
        data.get("request_payload", {}),
        _raised(reason),
    )


def _raised(reason: str | None) -> bool:
    return reason is not None and _RAISED.match(reason) is not None


@dataclass(frozen=True)
class TriedPolicy:
    """A policy, and what its agent knows beside it.

    Attributes:
        engine, roles: as the runner would ask them.
        agent_name: whose policy it is; None: of all agents alike.
        tools: the agent's, which say what arguments come to; of a policy of all agents there are none.
        team: the policies of its subagents, by name.
    """

    engine: PolicyEngine = field(default_factory=PolicyEngine)
    roles: tuple[PolicyRole, ...] = ()
    agent_name: str | None = None
    tools: Mapping[str, Tool[..., Any]] = field(default_factory=dict)
    team: Mapping[str, TriedPolicy] = field(default_factory=dict)

    @classmethod
    def of(cls, policy: Policy) -> TriedPolicy:
        """What is to be tried.

        Raises:
            ConfigurationError: it is none of what `Policy` allows.
        """
        if isinstance(policy, PolicyEngine):
            return cls(policy)
        if isinstance(policy, Agent):
            return cls(
                policy.policy_engine or PolicyEngine(),
                policy.policy_roles,
                policy.name,
                {tool.name: tool for tool in policy.offered_tools()},
                {each.name: cls.of(each) for each in policy.subagents},
            )
        if callable(policy):
            return cls(PolicyEngine(), (policy,))
        raise ConfigurationError(f"a policy is a PolicyEngine, an Agent, or a function of the PolicyEvent, not {policy!r:.80}")

    def among(self, agent_name: str, above: TriedPolicy | None) -> TriedPolicy | None:
        """The policy for a run of that agent, which is a subagent of one with the policy `above`; None where this one is not about it."""
        if self.agent_name is None:
            return self
        if above is not None and agent_name in above.team:
            return above.team[agent_name]
        return self if agent_name == self.agent_name else None

    def asks(self, event_type: str) -> bool:
        """Whether it has anything to say about events of this type; otherwise it allows them."""
        return bool(self.roles) or any(rule.concerns(event_type) for rule in self.engine.rules)

    def decide(self, event: PolicyEvent) -> Decision:
        """What it decides, as a run would record it.

        Raises:
            ConfigurationError: a rule shows people what is not JSON, so no run could record it.
        """
        decision = decided(self.engine, self.roles, event)
        reason = clean_text(decision.reason) if decision.reason is not None else None
        try:
            arguments = plain(decision.updated_tool_args) if decision.updated_tool_args is not None else None
            payload = plain(decision.request_payload) if decision.request_payload else {}
        except TypeError as error:
            raise ConfigurationError(f"policy {decision.policy_id} answers what no log can hold: {error}") from error
        return Decision(decision.action, reason, decision.policy_id, decision.matched_rules, arguments, payload, _raised(reason))

    def arguments(self, name: str, spec: ToolSpec | None, recorded: dict[str, Any] | str) -> dict[str, Any]:
        """What the policy is shown of a call's arguments; always an object of its own.

        With the agent's tools that is exact, for they validate it. Without them, defaults are filled in from the recorded schema, and a
        value that the tool would have coerced, such as a number written as a text, is shown as the model wrote it.
        """
        tool = self.tools.get(name)
        if tool is not None:
            # Where the tool has changed so that it refuses them now, what was put before the policy then is the better answer.
            with suppress(Exception):  # Validators of the user's model run here, and may raise anything.
                return tool.json_arguments(tool.validate(recorded))
        given = _decoded(recorded)
        # A server's tool gets what was sent and no more: its defaults are the server's affair.
        return given if spec is None or spec.server is not None else _filled(given, spec.parameters, spec.parameters, _DEEPEST)

    def read_only(self, name: str, spec: ToolSpec | None) -> bool | None:
        """Whether the tool says that it only reads; None for what is no tool."""
        tool = self.tools.get(name)
        if tool is not None:
            return tool.read_only
        return spec.read_only if spec is not None else None


def _decoded(recorded: dict[str, Any] | str) -> dict[str, Any]:
    value = plain(recorded)
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value) if value.strip() else {}
        except msgspec.DecodeError:
            value = {}
    return value if isinstance(value, dict) else {}


def _filled(value: Any, schema: Any, root: dict[str, Any], depth: int) -> Any:
    """The value with the defaults of its schema, at every level that says what it has."""
    schema = _meant(value, schema, root, depth)
    if not depth or not isinstance(schema, dict):
        return value
    if isinstance(value, list):
        return [_filled(item, schema.get("items"), root, depth - 1) for item in value]
    properties = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(properties, dict):
        return value
    filled = dict(value)
    for name, described in properties.items():
        if name in filled:
            if isinstance(filled[name], (dict, list)):
                filled[name] = _filled(filled[name], described, root, depth - 1)
        elif isinstance(described, dict) and "default" in described:
            filled[name] = plain(described["default"])
    # In the order of the parameters, as a tool that validates gives them.
    return {name: filled[name] for name in (*(name for name in properties if name in filled), *(n for n in filled if n not in properties))}


def _meant(value: Any, schema: Any, root: dict[str, Any], depth: int) -> Any:
    """The schema behind references, and of several alternatives the one that fits, if it is only one."""
    for _level in range(depth):
        if not isinstance(schema, dict):
            return None
        if isinstance(reference := schema.get("$ref"), str):
            schema = _referred(reference, root)
            continue
        given = next((schema[key] for key in ("anyOf", "oneOf", "allOf") if isinstance(schema.get(key), list)), None)
        if given is None:
            return schema
        wanted = "object" if isinstance(value, dict) else "array"
        behind = [_meant(value, each, root, depth - 1) for each in given]
        fitting = [each for each in behind if isinstance(each, dict) and each.get("type") == wanted]
        return fitting[0] if len(fitting) == 1 else None
    return None


def _referred(reference: str, root: dict[str, Any]) -> Any:
    """What a reference within a schema means, such as `#/$defs/Address`."""
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part) if isinstance(found, dict) else None
    return found
