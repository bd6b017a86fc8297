"""What the tests of workers share: a model that goes by the conversation, and tasks waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from afk_es.clock import SimulatedClock
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.queues import TaskItem, TaskQueue

PATIENCE_S = 20.0
"""After so many real seconds what is waited for is taken never to come."""


class ByTheBook:
    """A model that asks for these calls, one answer each, and then says something: in every run anew, whoever goes on with it.

    Args:
        calls: name and arguments of each.
        ends: what it says at the end.
    """

    provider_id = "book"

    def __init__(self, *calls: tuple[str, dict[str, Any]], ends: str = "done") -> None:
        self._calls = calls
        self._ends = ends
        self.asked = 0

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """The next call, or the end."""
        self.asked += 1
        made = sum(1 for message in request.messages if message.role == "assistant")
        if made < len(self._calls):
            name, arguments = self._calls[made]
            return LLMResponse(tool_calls=(ToolCall(f"call_{made + 1}", name, arguments),))
        return LLMResponse(text=self._ends)


async def task_when(queue: TaskQueue, task_id: str, check: Callable[[TaskItem], bool]) -> TaskItem:
    """The task as soon as that is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not check(item := await queue.get(task_id)):  # noqa: ASYNC110 - others write it
            await asyncio.sleep(0.005)
    return item


async def task_in_time(
    queue: TaskQueue, clock: SimulatedClock, task_id: str, check: Callable[[TaskItem], bool], step_s: float = 0.01
) -> TaskItem:
    """The task as soon as that is so, while time goes on by so much at a time."""

    def passed(item: TaskItem) -> bool:
        if check(item):
            return True
        clock.advance(step_s)
        return False

    return await task_when(queue, task_id, passed)


async def task_in(queue: TaskQueue, task_id: str, *states: str) -> TaskItem:
    """The task as soon as it is in one of these states."""
    return await task_when(queue, task_id, lambda item: item.state in states)


async def seen(holds: Callable[[], bool]) -> None:
    """Wait in real time until it holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)
