"""afk_es: an event-sourced runtime for LLM agents, with a replay debugger.

The everyday names are here; `afk_es.core`, `afk_es.agents`, `afk_es.tools`, `afk_es.llms` have the rest. Importing this loads no model
client, no terminal library and no test library.
"""

from afk_es.agents import Agent, FailSafeConfig, PolicyEngine, PolicyRule
from afk_es.core import Runner
from afk_es.tools import tool

__all__ = ["Agent", "FailSafeConfig", "PolicyEngine", "PolicyRule", "Runner", "tool"]
