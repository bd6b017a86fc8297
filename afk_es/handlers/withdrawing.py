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

_END_WAITED_S = 1.0
"""How long the end of a run waits until what its model has left open is taken back."""


class WithdrawingHandler:
    """Performs `CallModel` by another handler, and tells models that work on by themselves when nobody wants their answer any more: the one
    whose call was cut for good, or all of them where the run ended so after a turn of theirs that asks for something.

    Args:
        inner: makes the call.
        standing: where the run stands now. A call is cut only once the log says why.
        own: whether all turns of the conversation came of this run's calls. A fork's may be another run's, which goes on with them.
    """

    def __init__(
        self,
        inner: Callable[[CallModel, RunState], Awaitable[Draft]],
        binding: Binding,
        standing: Callable[[], RunState],
        *,
        own: bool,
    ) -> None:
        self._inner = inner
        self._models = [model if isinstance(model, WithdrawableChatModel) else None for model in binding.models]
        self._standing = standing
        self._own = own
        self._told = False

    async def __call__(self, effect: CallModel, state: RunState) -> Draft:
        """What the inner handler says."""
        self._own = True
        try:
            return await self._inner(effect, state)
        except asyncio.CancelledError:
            model = self._models[effect.model_index]
            if model is not None and given_up(self._standing()) and not self._told:
                self._told = True
                # In a task of its own: whoever cuts this one a second time means the waiting.
                await asyncio.wait([asyncio.create_task(_withdrawn(model, request_of(effect, state)))], timeout=_WAITED_S)
            raise

    async def ended(self, state: RunState) -> None:
        """The stretch is over. Without a call under way, what a model waits for stands in the conversation alone."""
        if self._told or not self._own or state.status == "completed" or not given_up(state) or not _left_open(state):
            return
        self._told = True
        named = zip(self._models, state.spec.models, strict=True)
        telling = [asyncio.create_task(_withdrawn(model, _conversation(spec.model, state))) for model, spec in named if model is not None]
        if telling:
            await asyncio.wait(telling, timeout=_END_WAITED_S)


def given_up(state: RunState) -> bool:
    """Whether the run is over for good, or has used up its time. With more time it can go on, and then asks anew."""
    return state.ended and (state.status != "interrupted" or state.overdue)


def _left_open(state: RunState) -> bool:
    """Whether the last turn of the model's asks for something, and has at most been given what it asked for."""
    for at in range(len(state.messages) - 1, -1, -1):
        message = state.messages[at]
        if message.role != "tool":
            return message.role == "assistant" and bool(message.tool_calls)
    return False


def _conversation(model: str, state: RunState) -> LLMRequest:
    return LLMRequest(model=model, messages=state.messages, metadata={"run_id": state.run_id, "thread_id": state.thread_id})


async def _withdrawn(model: WithdrawableChatModel, request: LLMRequest) -> None:
    # The run has ended, and its log with it: there is nobody left to tell of a failure, and nothing that it would change.
    with suppress(Exception):
        await model.withdraw(request)
