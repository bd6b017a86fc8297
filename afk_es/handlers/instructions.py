"""Calls the agent's instructions function, once a step, so that what it said is recorded and a replay need not call it."""

from __future__ import annotations

import asyncio
import inspect

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
        """The instructions for this step, or why there are none."""
        function = self._binding.agent.instructions
        try:
            text = function(plain(state.context)) if callable(function) else function
            if inspect.isawaitable(text):
                text = await text
            if not isinstance(text, str):
                raise TypeError(f"it returned a {type(text).__name__}; return a str")
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return _failed(state, error)
        except Exception as error:  # noqa: BLE001 - the user's function; its failure is a fact of the run
            return _failed(state, error)
        return Draft("instructions_resolved", {"instructions": clean_text(text)})


def _failed(state: RunState, error: BaseException) -> Draft:
    message = f"the instructions function of agent {state.spec.agent_name!r} failed: {clean_text(text_of(error) or type(error).__name__)}"
    data = {
        "error": message,
        "error_type": type(error).__name__,
        "classification": "terminal",
        "model": state.spec.models[0].model,
        "attempt": 0,
    }
    return Draft("llm_failed", data, message)
