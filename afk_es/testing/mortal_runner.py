"""A Runner that is watched: each of its effects is a place where its process may die, and is entered in an account that outlives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from afk_es.core import Runner
from afk_es.core.loop import Handler, Handlers
from afk_es.handlers import Binding
from afk_es.handlers.binding import Emit, Report
from afk_es.machine import Draft, Effect, RunState
from afk_es.machine.effects import CallModel, ExecuteTool, Summarise
from afk_es.testing.mortal import CrashPoint, within

World = Callable[[Handlers], Handlers]
"""Is given the handlers of a process, and gives those that are to be used instead."""


@dataclass(slots=True)
class Dispatch:
    """An effect as the world saw it: started in a process, and perhaps come to its end there.

    Attributes:
        process: 1 for the first of the trial.
        id: the effect's id, such as "tool:7".
        kind: "model", "tool" or "summary".
        name: of the model, tool or summariser.
        key: the idempotency key.
        run_id: the run, which may be a subagent's.
        returned: whether the handler came to an end, well or not; if the process died after that, nobody ever heard of it.
    """

    process: int
    id: str
    kind: Literal["model", "tool", "summary"]
    name: str
    tool_call_id: str | None
    step: int
    attempt: int
    key: str
    run_id: str
    returned: bool = False


class MortalRunner(Runner):
    """A Runner whose effects are points of its process.

    Args:
        root: the run that was started; points of other runs bear their ids.
        process: which process this is, from 1.
        reach: the process is at this point, and may not live beyond it.
        enter: enters an effect in the account, before it starts.
        left: told when one that was entered has come to its end.
        world: stands before the handlers.
        settings: as for `Runner`.
    """

    def __init__(
        self,
        *,
        root: str,
        process: int,
        reach: Callable[[CrashPoint], None],
        enter: Callable[[Dispatch], None],
        left: Callable[[Dispatch], None],
        world: World | None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._root = root
        self._process = process
        self._reach = reach
        self._enter = enter
        self._left = left
        self._world = world

    def _handlers(self, binding: Binding, emit: Emit | None, report: Report) -> Handlers:
        table = super()._handlers(binding, emit, report)
        if self._world is not None:
            table = self._world(table)
        return {kind: self._mortal(handler) for kind, handler in table.items()}

    def _mortal(self, handler: Handler) -> Handler:
        async def perform(effect: Effect, state: RunState) -> Draft:
            what, about = f"{within(state.run_id, self._root)}effect:{effect.id}", _about(effect)
            self._reach(CrashPoint("before", what, about))
            dispatch = _dispatch(effect, state, self._process)
            if dispatch is not None:
                self._enter(dispatch)
            draft = await handler(effect, state)
            if dispatch is not None:
                self._left(dispatch)
            self._reach(CrashPoint("after", what, about))
            return draft

        return perform


def _about(effect: Effect) -> str:
    match effect:
        case CallModel():
            return effect.model
        case ExecuteTool():
            return effect.call.tool_name
        case _:
            return type(effect).__name__


def _dispatch(effect: Effect, state: RunState, process: int) -> Dispatch | None:
    match effect:
        case CallModel():
            return Dispatch(
                process, effect.id, "model", effect.model, None, state.step, effect.attempt, effect.idempotency_key, state.run_id
            )
        case ExecuteTool():
            call = effect.call
            return Dispatch(
                process, effect.id, "tool", call.tool_name, call.id, state.step, effect.attempt, effect.idempotency_key, state.run_id
            )
        case Summarise():
            name = (state.spec.retention.name if state.spec.retention is not None else None) or ""
            return Dispatch(process, effect.id, "summary", name, None, state.step, effect.attempt, effect.idempotency_key, state.run_id)
        case _:
            return None
