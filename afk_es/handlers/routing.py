"""Asks the agent's router what to delegate before the model is asked, so that what it said is recorded and a replay need not ask again."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import msgspec

from afk_es.agents import DelegationPlan, RouterInput
from afk_es.errors import text_of
from afk_es.handlers.binding import Binding
from afk_es.machine import Draft, RunState
from afk_es.machine.delegation import Plan, flaw
from afk_es.machine.effects import RouteSubagents
from afk_es.machine.values import clean_text, plain


class RouteHandler:
    """Performs `RouteSubagents`."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    async def __call__(self, effect: RouteSubagents, state: RunState) -> Draft:
        """The plan, or that there is none, or why what the router did is no plan."""
        try:
            plan = await self._plan(effect, state)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return _failed(state, error)
        except Exception as error:  # noqa: BLE001 - the user's function; its failure is a fact of the run
            return _failed(state, error)
        return Draft("subagents_routed", {"plan": plan})

    async def _plan(self, effect: RouteSubagents, state: RunState) -> dict[str, Any] | None:
        router = self._binding.agent.subagent_router
        if router is None:
            return None
        names = tuple(self._binding.subagents)
        answer = router(
            RouterInput(
                run_id=state.run_id,
                thread_id=state.thread_id,
                step=effect.step,
                agent_name=state.spec.agent_name,
                context=plain(state.context),
                messages=tuple(state.messages),
                subagents=names,
            )
        )
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is None:
            return None
        if not isinstance(answer, DelegationPlan):
            raise TypeError(f"it returned a {type(answer).__name__}; return a DelegationPlan or None")
        data: dict[str, Any] = plain(answer.model_dump(mode="json", exclude_defaults=True))
        limits = state.spec.limits
        room = limits.max_subagent_fanout_per_step - state.delegated if limits.max_subagent_depth > 0 else 0
        problem = flaw(msgspec.convert(data, Plan), frozenset(names), room)
        if problem is not None:
            raise ValueError(problem if limits.max_subagent_depth > 0 else "max_subagent_depth is reached: nothing may be delegated here")
        return data


def _failed(state: RunState, error: BaseException) -> Draft:
    message = f"the router of agent {state.spec.agent_name!r} failed: {clean_text(text_of(error) or type(error).__name__)}"
    return Draft("subagents_routed", {"plan": None, "error": message, "error_type": type(error).__name__}, message)
