"""A support desk for the tests of suites: agents on scripts, tools that hang, and what they cost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from afk_es import Agent, Runner, tool
from afk_es.evals.models import EvalCase, EvalCaseResult, EvalSuiteConfig, EvalSuiteResult
from afk_es.evals.suite import run_suite
from afk_es.llms import LLMRequest, LLMResponse, ToolCall, Usage
from afk_es.testing import ScriptedModel

TOKENS = 60
COST = 0.01


def answer(text: str = "done", *, tokens: int | None = TOKENS, cost: float | None = COST) -> LLMResponse:
    """A final answer."""
    return LLMResponse(text=text, usage=_usage(tokens), cost_usd=cost)


def wants(*names: str, tokens: int | None = TOKENS, cost: float | None = COST) -> LLMResponse:
    """An answer that asks for these tools."""
    calls = tuple(ToolCall(f"c{number}", name, {}) for number, name in enumerate(names, 1))
    return LLMResponse(text="", tool_calls=calls, usage=_usage(tokens), cost_usd=cost)


def _usage(tokens: int | None) -> Usage | None:
    return None if tokens is None else Usage(tokens - 10, 10, tokens)


@tool
def look() -> str:
    """Look something up."""
    return "found"


@tool
async def hang() -> str:
    """Never return."""
    await asyncio.Event().wait()
    return ""


LET_GO = threading.Event()
"""Never set: what waits for it is left behind."""


@tool
def hang_in_a_thread() -> str:
    """Never return, and occupy a thread."""
    LET_GO.wait()
    return ""


def agent(*script: LLMResponse | str | Exception, tools: tuple[Any, ...] = (), **fields: Any) -> Agent:
    """An agent on a script."""
    return Agent(model=ScriptedModel(list(script)), tools=tools, **fields)


class Tireless:
    """An agent whose model asks for a tool again and again; `asked` says how often."""

    def __init__(self, **answers: Any) -> None:
        self.asked = 0
        self._answers = answers
        self.agent = Agent(model=ScriptedModel(self._next), tools=(look,))

    def _next(self, request: LLMRequest) -> LLMResponse:
        self.asked += 1
        return wants("look", **self._answers)


def polite(name: str = "polite", **fields: Any) -> EvalCase:
    """A case that passes."""
    return EvalCase(**{"name": name, "agent": agent(answer()), "user_message": "hi", **fields})


def in_memory() -> Runner:
    """A Runner with a log of its own."""
    return Runner(log=":memory:")


def ran(*cases: EvalCase, factory: Callable[[], Any] = in_memory, **config: Any) -> EvalSuiteResult:
    """What a suite of these cases came to."""
    return run_suite(runner_factory=factory, cases=cases, config=EvalSuiteConfig(**config))


def row_of(case: EvalCase, **config: Any) -> EvalCaseResult:
    """The row of a suite of this one case."""
    (row,) = ran(case, **config).results
    return row


def why(row: EvalCaseResult) -> list[tuple[str, str]]:
    """Names and messages of the reasons."""
    return [(reason.name, reason.message) for reason in row.reasons]
