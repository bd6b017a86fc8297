"""Takes back what a model was asked for a run that is over. What was asked for a run that was laid down stands: it is asked for again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from afk_es.handlers.binding import Binding
from afk_es.handlers.models import request_of
from afk_es.llms import LLMRequest, WithdrawableChatModel
from afk_es.machine import Draft, RunState
from afk_es.machine.effects import CallModel

_WAITED_S = 5.0
"""How long the end of a call waits until it is taken back. The Runner itself waits less for what it has cut."""


class WithdrawingHandler:
    """Performs `CallModel` by another handler, and tells a model that works on by itself when a call of it was cut for good.

    Args:
        inner: makes the call.
        standing: where the run stands now. A call is cut only once the log says why.
    """

    def __init__(
        self, inner: Callable[[CallModel, RunState], Awaitable[Draft]], binding: Binding, standing: Callable[[], RunState]
    ) -> None:
        self._inner = inner
        self._binding = binding
        self._standing = standing

    async def __call__(self, effect: CallModel, state: RunState) -> Draft:
        """What the inner handler says."""
        try:
            return await self._inner(effect, state)
        except asyncio.CancelledError:
            model = self._binding.models[effect.model_index]
            if isinstance(model, WithdrawableChatModel) and given_up(self._standing()):
                # In a task of its own: whoever cuts this one a second time means the waiting.
                await asyncio.wait([asyncio.create_task(_withdrawn(model, request_of(effect, state)))], timeout=_WAITED_S)
            raise


def given_up(state: RunState) -> bool:
    """Whether the run is over for good, or has used up its time. With more time it can go on, and then asks anew."""
    return state.ended and (state.status != "interrupted" or state.overdue)


async def _withdrawn(model: WithdrawableChatModel, request: LLMRequest) -> None:
    # The run has ended, and its log with it: there is nobody left to tell of a failure, and nothing that it would change.
    with suppress(Exception):
        await model.withdraw(request)
