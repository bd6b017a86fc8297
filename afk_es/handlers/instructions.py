"""Asks the functions that make an agent's instructions, once a step, so that what they said is recorded and a replay need not ask them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from afk_es.agents.prompts import joined
from afk_es.errors import text_of
from afk_es.handlers.binding import Binding
from afk_es.machine import Draft, RunState
from afk_es.machine.effects import ResolveInstructions
from afk_es.machine.values import clean_text, plain


class InstructionsHandler:
    """Performs `ResolveInstructions`."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    async def __call__(self, effect: ResolveInstructions, state: RunState) -> Draft:
        """The instructions for this step, or why there are none: what is the same at each step first, then what the roles say."""
        agent = self._binding.agent
        asked = "the instructions function"
        try:
            if callable(agent.instructions):
                text = joined(await _answer(agent.instructions, state), agent.skill_instructions())
            else:
                text = agent.static_instructions()
            for role in agent.instruction_roles:
                asked = f"the instruction role {_name(role)}"
                text = joined(text, await _answer(role, state, optional=True))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return _failed(state, asked, error)
        except Exception as error:  # noqa: BLE001 - the user's function; its failure is a fact of the run
            return _failed(state, asked, error)
        return Draft("instructions_resolved", {"instructions": clean_text(text or "")})


async def _answer(function: Callable[[dict[str, Any]], Any], state: RunState, *, optional: bool = False) -> str | None:
    answer: Any = function(plain(state.context))
    if inspect.isawaitable(answer):
        answer = await answer
    if isinstance(answer, str) or (answer is None and optional):
        return answer
    raise TypeError(f"it returned a {type(answer).__name__}; return a str{' or None' if optional else ''}")


def _name(role: Callable[..., Any]) -> str:
    return getattr(role, "__name__", type(role).__name__)


def _failed(state: RunState, asked: str, error: BaseException) -> Draft:
    message = f"{asked} of agent {state.spec.agent_name!r} failed: {clean_text(text_of(error) or type(error).__name__)}"
    data = {
        "error": message,
        "error_type": type(error).__name__,
        "classification": "terminal",
        "model": state.spec.models[0].model,
        "attempt": 0,
    }
    return Draft("llm_failed", data, message)
