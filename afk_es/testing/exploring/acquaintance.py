"""What an adversary knows of the agents that it plays against: their tools, their limits, and the words and numbers that their rules turn on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from afk_es.agents import Agent, PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.agents.transfer import transfer_tool
from afk_es.tools import Tool

Number = int | float


class Acquaintance:
    """What is known of some agents, and of all below them.

    Args:
        agents: the agents that a simulation begins with.
        policy_engine: the Runner's.
        context: the run's, whose words and numbers may matter.

    Attributes:
        agents: all of them, by name; of versions of one agent, the last.
        rules: of all policy engines.
        numbers: those that rules and context name, and their neighbours.
        texts: those that rules and context name.
    """

    def __init__(
        self, agents: Iterable[Agent], policy_engine: PolicyEngine | None = None, context: Mapping[str, Any] | None = None
    ) -> None:
        family = list(_family(agents))
        self.agents: dict[str, Agent] = {agent.name: agent for agent in family}
        engines = [agent.policy_engine for agent in family] + [policy_engine]
        self.rules: tuple[PolicyRule, ...] = tuple(
            {rule.rule_id: rule for engine in engines if engine is not None for rule in engine.rules}.values()
        )
        self._tools = {(agent.name, tool.name): tool for agent in family for tool in _tools(agent)}
        words = [*_words_of_rules(self.rules), *(_leaves(dict(context)) if context else ())]
        self.numbers: tuple[Number, ...] = tuple(dict.fromkeys(_neighbours(words)))
        self.texts: tuple[str, ...] = tuple(dict.fromkeys(word for word in words if isinstance(word, str) and len(word) <= 200))

    def tool(self, agent: str, name: str) -> Tool[..., Any] | None:
        """A tool of an agent; None for one that it was not given as an object, such as a server's."""
        return self._tools.get((agent, name))

    def cost_limit(self, agent: str) -> float | None:
        """What a run of this agent may cost."""
        known = self.agents.get(agent)
        return known.fail_safe.max_total_cost_usd if known is not None else None


def _family(agents: Iterable[Agent]) -> Iterator[Agent]:
    for agent in agents:
        yield agent
        yield from _family(agent.subagents)


def _tools(agent: Agent) -> Iterator[Tool[..., Any]]:
    yield from agent.tools
    yield from (transfer_tool(child) for child in agent.subagents)


def _words_of_rules(rules: Iterable[PolicyRule]) -> Iterator[Any]:
    for rule in rules:
        if isinstance(rule.condition, PolicyRuleCondition):
            yield from _leaves(rule.condition.model_dump(mode="json", exclude_unset=True))
        else:
            yield from _constants(rule.condition)


def _constants(function: Any) -> Iterator[Any]:
    """What a function's code compares with, and the plain globals that it names."""
    code = getattr(function, "__code__", None)
    if code is None:
        return
    yield from (each for each in code.co_consts if isinstance(each, (int, float, str)))
    yield from (each for constant in code.co_consts if isinstance(constant, (tuple, frozenset)) for each in constant)
    names = getattr(function, "__globals__", {})
    yield from (names[name] for name in code.co_names if isinstance(names.get(name), (int, float, str)))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _neighbours(words: Iterable[Any]) -> Iterator[Number]:
    for word in words:
        if isinstance(word, (int, float)) and not isinstance(word, bool):
            yield from (word, word - 1, word + 1, word / 2, word * 100, word + 0.01)


@lru_cache(maxsize=256)
def output_schema(tool: Tool[..., Any]) -> dict[str, Any] | None:
    """The schema of what a tool says that it returns; None where it does not say, or not in a way that JSON has."""
    annotation = getattr(tool.function, "__annotations__", {}).get("return")
    if isinstance(annotation, str):
        annotation = _evaluated(annotation, getattr(tool.function, "__globals__", {}))
    if annotation is None or annotation is Any:
        return None
    try:
        schema: dict[str, Any] = TypeAdapter(annotation).json_schema()
    except (PydanticUserError, TypeError, NameError):
        return None
    return schema or None


def _evaluated(annotation: str, names: dict[str, Any]) -> Any:
    try:
        return eval(annotation, dict(names))  # the author's own code, as typing.get_type_hints evaluates it
    except Exception:  # noqa: BLE001 - an annotation that names what is not there says nothing
        return None
