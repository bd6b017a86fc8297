"""From MODULE to what a worker needs: the agents, job handlers and contracts in it, or a worker or queue that it has made. The user's code runs
here, and nothing but the module that was named is imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from afk_es.agents import Agent
from afk_es.cli.agents import called, load_module, load_value
from afk_es.errors import ConfigurationError
from afk_es.queues.contracts import Contract
from afk_es.queues.queue import TaskQueue
from afk_es.tools import Tool

if TYPE_CHECKING:
    from afk_es.queues.worker import Worker

FORM = "name a module with agents, tools or contracts in it, such as shop.tasks or ./tasks.py; or one of them, or a list, as MODULE:NAME"


@dataclass
class Workplace:
    """What was found.

    Attributes:
        agents, handlers, contracts: what tasks may name.
        worker: one that the user has made, which has its own.
        queue: one that the user has made.
    """

    agents: list[Agent] = field(default_factory=list)
    handlers: list[Tool[..., Any]] = field(default_factory=list)
    contracts: list[Contract] = field(default_factory=list)
    worker: Worker | None = None
    queue: TaskQueue | None = None

    def __bool__(self) -> bool:
        """Whether anything was."""
        return bool(self.agents or self.handlers or self.contracts or self.worker or self.queue)


def loaded(target: str) -> Workplace:
    """What `MODULE` or `MODULE:NAME` names. Of a module it is what has a name in it that does not begin with '_'; NAME may be one thing, a list
    of them, or a function that gives either.

    Raises:
        ConfigurationError: there is nothing of the kind in it.
    """
    from afk_es.queues.worker import Worker

    if ":" in target:
        value = load_value(target, "what a worker needs", FORM)
        if not isinstance(value, (Agent, Tool, Contract, Worker, TaskQueue)) and callable(value):
            value = called(value, target)
        found = list(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping, Agent)) else [value]
        strange = [each for each in found if not isinstance(each, (Agent, Tool, Contract, Worker, TaskQueue))]
        if strange:
            raise ConfigurationError(f"{target} has a {type(strange[0]).__name__} in it, which is no agent, tool or contract; {FORM}")
    else:
        found = [value for name, value in vars(load_module(target, FORM)).items() if not name.startswith("_")]
    workplace = Workplace()
    # One thing may have two names in a module.
    for value in {id(value): value for value in found}.values():
        match value:
            case Agent():
                workplace.agents.append(value)
            case Tool():
                workplace.handlers.append(value)
            case Contract():
                workplace.contracts.append(value)
            case Worker():
                workplace.worker = _only(workplace.worker, value, target)
            case TaskQueue():
                workplace.queue = _only(workplace.queue, value, target)
            case _:
                pass
    if not workplace:
        raise ConfigurationError(f"{target} has no agent, tool, contract, Worker or TaskQueue in it; {FORM}")
    return workplace


def _only(before: Any, value: Any, target: str) -> Any:
    if before is not None:
        raise ConfigurationError(f"{target} has two objects of the type {type(value).__name__}; name the one that is meant, as MODULE:NAME")
    return value
