"""Runs a tool. Whatever it does, returning, raising, timing out or going to the background, becomes an event."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import suppress
from typing import Any

import msgspec

from afk_es.errors import ToolArgumentsError, ToolError, ToolTimeoutError, ToolUnavailableError, UnknownToolError
from afk_es.handlers.binding import Binding, Report
from afk_es.machine import Draft, RunState
from afk_es.machine.effects import ExecuteTool
from afk_es.machine.values import clean_text, plain
from afk_es.tools import ToolContext, ToolDeferredHandle, failure_text, unknown_tool
from afk_es.tools.context import Progress

_LONGEST_TTL_S = 365 * 86_400.0
"""A ticket's term beyond a year is no term; datetime could not hold them all."""


class ToolHandler:
    """Performs `ExecuteTool`."""

    def __init__(self, binding: Binding, report: Report | None = None) -> None:
        self._binding = binding
        self._report = report

    async def __call__(self, effect: ExecuteTool, state: RunState) -> Draft:
        """Run the tool, and say how it went."""
        began = self._binding.clock.monotonic()
        try:
            output = await self._output(effect, state)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return self._failed(effect, ToolError(f"{effect.call.tool_name} cancelled itself"), began)
        except Exception as error:  # noqa: BLE001 - the user's tool; its failure is a fact of the run
            return self._failed(effect, error, began)
        if isinstance(output, ToolDeferredHandle):
            return self._deferred(effect, state, output, began)
        spec = state.spec
        return Draft(
            "tool_completed",
            {
                "tool_name": effect.call.tool_name,
                "tool_call_id": effect.call.id,
                "success": True,
                "output": output,
                "error": None,
                "agent_name": spec.agent_name,
                "agent_depth": len(spec.agent_path),
                "agent_path": [*spec.agent_path, spec.agent_name],
                "outcome": "returned",
                "latency_ms": self._latency_ms(began),
            },
        )

    async def _output(self, effect: ExecuteTool, state: RunState) -> Any:
        call = effect.call
        tool = self._binding.tools.get(call.tool_name)
        if tool is None:
            # Started by an agent that had it, and resumed with one that has not.
            raise UnknownToolError(unknown_tool(call.tool_name, self._binding.tools))
        user_id = state.context.get("user_id")
        context = ToolContext(
            run_id=state.run_id,
            thread_id=state.thread_id,
            tool_call_id=call.id,
            idempotency_key=effect.idempotency_key,
            user_id=user_id if isinstance(user_id, str) else None,
            metadata=plain(state.context),
            agent_name=state.spec.agent_name,
            step=state.step,
            progress=None if self._report is None else _progress(self._report, effect),
        )
        secrets = self._binding.secrets_for(context)
        if secrets:
            context = msgspec.structs.replace(context, secrets=secrets)
        arguments = tool.validate(call.arguments)
        return await tool.execute(arguments, context, timeout_s=effect.timeout_s, sandbox=self._binding.sandbox_for(context))

    def _deferred(self, effect: ExecuteTool, state: RunState, handle: ToolDeferredHandle, began: float) -> Draft:
        ttl_s = handle.expires_in_s if handle.expires_in_s is not None else self._binding.ticket_ttl_s
        # By the clock of the stretch, as every deadline: the time of day may have been set since that was read, and the term would be over
        # at once, or never. The last event is the announcement of this call or came while it waited for its turn.
        moment = state.at + dt.timedelta(seconds=self._binding.clock.monotonic() - began)
        expires = moment + dt.timedelta(seconds=min(ttl_s, _LONGEST_TTL_S))
        return Draft(
            "tool_deferred",
            {
                "tool_name": effect.call.tool_name,
                "tool_call_id": effect.call.id,
                "ticket_id": clean_text(handle.ticket_id) if handle.ticket_id else f"{state.run_id}:{effect.ordinal}",
                "status": clean_text(handle.status),
                "summary": plain(handle.summary),
                "resume_hint": plain(handle.resume_hint),
                "expires_at": expires.isoformat(),
            },
            clean_text(handle.summary or ""),
        )

    def _failed(self, effect: ExecuteTool, error: BaseException, began: float) -> Draft:
        data: dict[str, Any] = {
            "tool_name": effect.call.tool_name,
            "tool_call_id": effect.call.id,
            "attempt": effect.attempt,
            "error": clean_text(failure_text(error)),
            "error_type": type(error).__name__,
            "classification": _classification(error),
            "latency_ms": self._latency_ms(began),
        }
        return Draft("tool_failed", data, data["error"])

    def _latency_ms(self, began: float) -> float:
        return round((self._binding.clock.monotonic() - began) * 1000, 3)


def _progress(report: Report, effect: ExecuteTool) -> Progress:
    """Tells of this call, in the event loop's own thread and without waiting for it."""
    loop = asyncio.get_running_loop()

    def told(progress: float, total: float | None, message: str) -> None:
        about = {"tool_name": effect.call.tool_name, "tool_call_id": effect.call.id, "progress": progress, "total": total}
        # A tool that ran into its deadline may still report from its thread when the event loop is closed.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(report, effect.seq, clean_text(message), about)

    return told


def _classification(error: BaseException) -> str:
    """A tool that says in its own words what is wrong means it; anything else may go better the next time."""
    if isinstance(error, ToolArgumentsError):
        return "non_fatal"
    if isinstance(error, ToolError) and not isinstance(error, (ToolTimeoutError, ToolUnavailableError)):
        return "terminal"
    return "retryable"
