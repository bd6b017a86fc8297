"""Compacts a thread by a run of its own, so that every run after it begins with what that one left.

Such a run has no agent of the caller's and asks no model but the summarising one. It follows the thread's runs as any run does, and the
runs after it follow it: `ThreadMemory` says what that means where they overlap.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from afk_es.clock import Clock, Ids
from afk_es.core.config import RunnerConfig
from afk_es.core.driving import Opening
from afk_es.core.handle import Stretch
from afk_es.core.history import ThreadMemory
from afk_es.core.result import AgentResult
from afk_es.core.retention import CompactionResult, RetentionPolicy
from afk_es.core.wiring import compaction_binding
from afk_es.errors import CompactionFailedError, RunNotFoundError, RunOwnedError
from afk_es.handlers import Binding
from afk_es.llms import ChatModel
from afk_es.log import EventLog, RunHead
from afk_es.machine import AgentRunEvent, Draft, fold, initial_state
from afk_es.machine.events import TERMINAL
from afk_es.machine.retention import Measure, exceeds, measured, plan
from afk_es.machine.spec import Retention
from afk_es.machine.values import Messages, Usage

Drive = Callable[[Opening], Awaitable[Stretch]]
"""Claims a run and lets its loop go on."""


class ThreadCompactor:
    """Compacts threads for a Runner.

    Args:
        drive: as the Runner drives its runs.
    """

    def __init__(
        self, memory: ThreadMemory, config: RunnerConfig, clock: Clock, ids: Ids, default_model: Callable[[], ChatModel], drive: Drive
    ) -> None:
        self._memory = memory
        self._config = config
        self._clock = clock
        self._ids = ids
        self._default_model = default_model
        self._drive = drive

    async def compact(self, log: EventLog, thread_id: str, policy: RetentionPolicy) -> CompactionResult:
        """Finish a compaction that was cut off, then compact what is too large still. The log is open.

        Raises:
            RunNotFoundError, RunOwnedError, CompactionFailedError: as `Runner.compact_thread`.
        """
        heads = await log.thread(thread_id)
        if not heads:
            raise RunNotFoundError(f"{log.location} has no thread {thread_id!r}; `afk-es runs` lists the runs with their threads")
        binding = await compaction_binding(policy, self._config, self._clock, self._default_model)
        finished = None
        for head, first in await self._cut_off(log, heads):
            finished = await self._finish(log, binding, head, first)
        retention = binding.spec.retention
        assert retention is not None
        refs = await self._memory.latest(log, thread_id)
        history = await self._memory.read(log, refs)
        size = measured(history)
        if not _is_due(history, retention, size):
            if finished is not None and finished.compacted:
                return finished
            return CompactionResult(
                thread_id=thread_id, compacted=False, kept_messages=size.messages, tokens_before=size.tokens, tokens_after=size.tokens
            )
        state = initial_state(self._ids.new("run"), thread_id, history)
        started = Draft(
            "run_started",
            {
                "agent_name": binding.spec.agent_name,
                "resumed": False,
                "epoch": 1,
                "owner": log.owner,
                "agent": binding.data,
                "user_message": None,
                "context": {},
                "history": refs,
            },
        )
        return await self._result(log, await self._drive(Opening(binding, state, history, started, [])))

    async def _cut_off(self, log: EventLog, heads: list[RunHead]) -> list[tuple[RunHead, AgentRunEvent]]:
        """The compactions of this thread that have not ended, or only for the time being."""
        found = []
        for head in heads:
            if head.last_type not in TERMINAL or head.last_type == "run_interrupted":
                first = (await log.read(head.run_id, limit=1))[0]
                retention = first.data.get("agent", {}).get("retention")
                if retention is not None and retention.get("alone"):
                    found.append((head, first))
        return found

    async def _finish(self, log: EventLog, binding: Binding, head: RunHead, first: AgentRunEvent) -> CompactionResult:
        history = await self._memory.read(log, first.data.get("history", []))
        state = fold(initial_state(head.run_id, head.thread_id, history), await log.read(head.run_id))
        if not state.ended and await log.alive(state.owner, head.run_id):
            raise RunOwnedError(f"thread {head.thread_id!r} is being compacted by {state.owner}, which is alive; wait until it has done so")
        data = {"agent_name": binding.spec.agent_name, "resumed": True, "epoch": state.epoch + 1, "owner": log.owner}
        if binding.spec != state.spec:
            data["agent"] = binding.data
        return await self._result(log, await self._drive(Opening(binding, state, history, Draft("run_started", data), [])))

    async def _result(self, log: EventLog, stretch: Stretch) -> CompactionResult:
        ended = await stretch.result_or_cancel()
        events = await log.read(stretch.run_id)
        history = await self._memory.read(log, [{"run_id": stretch.run_id, "seq": events[-1].seq}])
        return _result(ended, events, measured(history))


def _is_due(history: Messages, retention: Retention, size: Measure) -> bool:
    return exceeds(retention, size) and plan(history, retention) is not None


def _result(ended: AgentResult, events: list[AgentRunEvent], size: Measure) -> CompactionResult:
    if ended.state != "completed":
        again = "" if ended.state == "failed" else "; compact_thread goes on with it when it is called again"
        raise CompactionFailedError(f"run {ended.run_id}: {ended.error}{again}", result=ended)
    done = next((event.data for event in events if event.type == "thread_compacted"), None)
    if done is None:
        return CompactionResult(
            thread_id=ended.thread_id,
            compacted=False,
            run_id=ended.run_id,
            kept_messages=size.messages,
            tokens_before=size.tokens,
            tokens_after=size.tokens,
        )
    usage = done.get("usage")
    return CompactionResult(
        thread_id=ended.thread_id,
        compacted=True,
        run_id=ended.run_id,
        dropped_messages=done["dropped_messages"],
        kept_messages=size.messages,
        summary=done["summary"],
        tokens_before=done["tokens_before"],
        tokens_after=done["tokens_after"],
        usage=Usage(**usage) if usage is not None else None,
        cost_usd=done.get("cost_usd"),
    )
