"""afk_es: an event-sourced runtime for LLM agents, with a replay debugger.

The everyday names are here; `afk_es.core`, `afk_es.agents`, `afk_es.tools`, `afk_es.llms` have the rest. Importing this loads no model
client, no terminal library and no test library. A name is loaded when it is first used, so that the command line answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.agents import Agent, FailSafeConfig, PolicyEngine, PolicyRule
    from afk_es.core import Runner
    from afk_es.tools import tool

__all__ = ["Agent", "FailSafeConfig", "PolicyEngine", "PolicyRule", "Runner", "tool"]

_HOMES = {
    "Agent": "afk_es.agents",
    "FailSafeConfig": "afk_es.agents",
    "PolicyEngine": "afk_es.agents",
    "PolicyRule": "afk_es.agents",
    "Runner": "afk_es.core",
    "tool": "afk_es.tools",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'afk_es' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
