"""What an adversary knows of the agents that it plays against: their tools, their limits, and the words and numbers that their rules turn on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, get_type_hints

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
        promises: the invariants, for the same reason.

    Attributes:
        agents: all of them, by name; of versions of one agent, the last.
        rules: of all policy engines.
        numbers: those that rules, promises and context name.
        near: their neighbours.
        texts: those that rules and context name; a promise's are mostly names of events and keys.
        ruled: the tools that rules and promises name.
    """

    def __init__(
        self,
        agents: Iterable[Agent],
        policy_engine: PolicyEngine | None = None,
        context: Mapping[str, Any] | None = None,
        promises: Iterable[Any] = (),
    ) -> None:
        everyone = list(family(agents))
        self.agents: dict[str, Agent] = {agent.name: agent for agent in everyone}
        engines = [agent.policy_engine for agent in everyone] + [policy_engine]
        self.rules: tuple[PolicyRule, ...] = tuple(
            {rule.rule_id: rule for engine in engines if engine is not None for rule in engine.rules}.values()
        )
        self._tools = {(agent.name, tool.name): tool for agent in everyone for tool in _tools(agent)}
        words = [*_words_of_rules(self.rules), *(_leaves(dict(context)) if context else ())]
        promised = list(_words_of_promises(promises))
        names = {name for _agent, name in self._tools}
        keys = {key for tool in self._tools.values() for key in tool.parameters.get("properties", ())}
        self.numbers: tuple[Number, ...] = tuple(dict.fromkeys(_numbers([*words, *promised])))
        self.near: tuple[Number, ...] = tuple(dict.fromkeys(_neighbours(self.numbers)))
        texts = (word for word in words if isinstance(word, str) and word not in names | keys and 0 < len(word) <= 200)
        self.texts: tuple[str, ...] = tuple(dict.fromkeys(texts))
        self.ruled: frozenset[str] = frozenset(name for name in names if any(_names(word, name) for word in (*words, *promised)))

    def tool(self, agent: str, name: str) -> Tool[..., Any] | None:
        """A tool of an agent; None for one that it was not given as an object, such as a server's."""
        return self._tools.get((agent, name))

    def cost_limit(self, agent: str) -> float | None:
        """What a run of this agent may cost."""
        known = self.agents.get(agent)
        return known.fail_safe.max_total_cost_usd if known is not None else None


def family(agents: Iterable[Agent]) -> Iterator[Agent]:
    """The agents, each before its subagents at every level."""
    for agent in agents:
        yield agent
        yield from family(agent.subagents)


def _tools(agent: Agent) -> Iterator[Tool[..., Any]]:
    yield from agent.tools
    yield from (transfer_tool(child) for child in agent.subagents)


def _words_of_rules(rules: Iterable[PolicyRule]) -> Iterator[Any]:
    for rule in rules:
        if isinstance(rule.condition, PolicyRuleCondition):
            yield from _leaves(rule.condition.model_dump(mode="json", exclude_unset=True))
        else:
            yield from _words_of_code(rule.condition)


def _words_of_promises(promises: Iterable[Any]) -> Iterator[Any]:
    """Of functions; classes are promises about any agent."""
    for each in promises:
        if not isinstance(each, type):
            yield from _words_of_code(each)


def _words_of_code(function: Any, depth: int = 3) -> Iterator[Any]:
    """What a function's code compares with, the plain globals that it names, and the same of what it was made with."""
    code = getattr(function, "__code__", None)
    if code is None or depth == 0:
        return
    for constant in code.co_consts:
        yield from _leaves(list(constant) if isinstance(constant, frozenset) else constant)
    names = getattr(function, "__globals__", {})
    yield from (names[name] for name in code.co_names if isinstance(names.get(name), (int, float, str)))
    for cell in function.__closure__ or ():
        yield from _words_of_value(cell, depth)


def _words_of_value(cell: Any, depth: int) -> Iterator[Any]:
    try:
        value = cell.cell_contents
    except ValueError:  # not filled yet
        return
    yield from _words_of_code(value, depth - 1) if callable(value) else _leaves(value)


def _names(word: Any, tool: str) -> bool:
    """Whether a word is a tool's name, or a pattern of it."""
    return isinstance(word, str) and word != "*" and fnmatchcase(tool, word)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _numbers(words: Iterable[Any]) -> Iterator[Number]:
    yield from (word for word in words if isinstance(word, (int, float)) and not isinstance(word, bool))


def _neighbours(numbers: Iterable[Number]) -> Iterator[Number]:
    for number in numbers:
        yield from (number - 1, number + 1, number / 2, number * 100, number + 0.01)


@lru_cache(maxsize=256)
def output_schema(tool: Tool[..., Any]) -> dict[str, Any] | None:
    """The schema of what a tool says that it returns; None where it does not say, or not in a way that JSON has."""
    annotation = _returned(tool.function)
    if annotation is None or annotation is type(None) or annotation is Any:
        return None
    try:
        schema: dict[str, Any] = TypeAdapter(annotation).json_schema()
    except (PydanticUserError, TypeError, NameError):
        return None
    return schema or None


def _returned(function: Any) -> Any:
    said = getattr(function, "__annotations__", {}).get("return")
    if not isinstance(said, str):
        return said
    # Looked up alone: what arguments are may be local classes, and they cannot be.
    alone = SimpleNamespace(__annotations__={"return": said})
    try:
        return get_type_hints(alone, getattr(function, "__globals__", {}), include_extras=True)["return"]
    except Exception:  # noqa: BLE001 - the author's annotation is evaluated; one that names what is not there says nothing
        return None
