"""`Debugger`: the way in for programs. It opens recorded runs, and lets a live one be watched line by line."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from afk_es.debugger.keyframe_file import KeyframeFile
from afk_es.debugger.naming import named_run
from afk_es.debugger.session import Session
from afk_es.log import EventLog, default_location, open_log
from afk_es.machine import AgentRunEvent
from afk_es.machine.events import TERMINAL
from afk_es.redaction import Redaction
from afk_es.views import Line, Timeline, clipped, redacted_event, render_line, visible

if TYPE_CHECKING:
    from afk_es.core import AgentResult, AgentRunHandle, AgentStreamEvent, AgentStreamHandle, Runner

Sink = Callable[[str], object]
"""Takes a line of text, as `print` does."""

_BASIC = frozenset(
    {"run_started", "step_started", "tool_completed", "subagent_completed", "approval_requested", "input_requested", *TERMINAL}
)


class DebuggerConfig(BaseModel):
    """What a `Debugger` shows of live runs.

    Attributes:
        enabled: False makes `runner` an ordinary Runner, and `attach` silent.
        verbosity: "basic" tells of steps, results, questions and ends; "detailed" of every event; "trace" of every event with its data.
        include_content: whether what models, tools and people wrote is shown, or only what happened.
        redact_secrets: whether secrets are replaced, by `afk_es.redaction`.
        max_payload_chars: characters of one event's data that are shown.
        emit_timestamps: whether lines begin with the time since the run's start.
        emit_step_snapshots: whether a line after each step says where the run stands: calls, tokens, cost.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    verbosity: Literal["basic", "detailed", "trace"] = "detailed"
    include_content: bool = True
    redact_secrets: bool = True
    max_payload_chars: int = Field(default=4000, ge=1)
    emit_timestamps: bool = True
    emit_step_snapshots: bool = False


class Debugger:
    """Opens runs for time travel, and tells of live ones.

    Args:
        config: what is told of live runs; default `DebuggerConfig()`.
    """

    def __init__(self, config: DebuggerConfig | None = None) -> None:
        self.config: DebuggerConfig = config if config is not None else DebuggerConfig()

    def runner(self, **kwargs: Any) -> Runner:
        """A Runner that checks itself: after each write it folds the run again from the log and compares (`RunnerConfig.debug`).

        Args:
            kwargs: those of `Runner`.
        """
        from afk_es.core import Runner, RunnerConfig

        if self.config.enabled:
            kwargs["config"] = (kwargs.get("config") or RunnerConfig()).model_copy(update={"debug": True})
        return Runner(**kwargs)

    async def attach(self, handle: AgentRunHandle, sink: Sink = print) -> AgentResult:
        """Tell of a live run until it ends, from its first event on.

        Args:
            sink: called with each line.

        Returns:
            The run's result.
        """
        if self.config.enabled:
            teller = _Teller(self.config, sink)
            async for event in handle.events:
                teller.tell(event)
        return await handle.await_result()

    async def attach_stream(self, handle: AgentStreamHandle, sink: Sink = print) -> AgentResult:
        """Tell of a streamed run while it is consumed here.

        Args:
            sink: called with each line.

        Returns:
            The run's result.
        """
        async for event in handle:
            if self.config.enabled and (line := self._streamed(event)):
                sink(line)
        return handle.result

    def _streamed(self, event: AgentStreamEvent) -> str:
        told = [event.type]
        if event.tool_name is not None:
            told.append(event.tool_name)
        if self.config.include_content:
            told += [str(each) for each in (event.text_delta, event.tool_output, event.tool_error, event.error) if each]
        text = " ".join(told)
        return clipped(visible(Redaction().text(text) if self.config.redact_secrets else text), self.config.max_payload_chars)

    @asynccontextmanager
    async def open(
        self, log: str | os.PathLike[str] | EventLog | None = None, run_id: str = "@last", *, at: str | int = "start"
    ) -> AsyncIterator[Session]:
        """A session on a recorded run, for `async with`.

        Args:
            log: a path, a `sqlite:///` or `postgresql://` URL or an EventLog; default as for `Runner`. A path is opened read-only, and the file is
                not changed; states of long runs are kept in the user's cache directory (see `afk_es.debugger.keyframe_file`).
            run_id: an id, the unique beginning of one, "@last" or "@last-failed".
            at: where the cursor begins, a position.

        Raises:
            LogError: there is no such log, or it cannot be read.
            RunNotFoundError: the log has no such run.
            PositionError: the run has no such position.
        """
        opened = open_log(default_location() if log is None else log, read_only=True) if not isinstance(log, EventLog) else log
        await opened.open()
        try:
            yield await Session.open(opened, await named_run(opened, run_id), at, keyframes=KeyframeFile())
        finally:
            if opened is not log:
                await opened.close()


class _Teller:
    """Makes lines of the events of one run."""

    def __init__(self, config: DebuggerConfig, sink: Sink) -> None:
        self._config = config
        self._sink = sink
        self._reader = Timeline()
        self._redaction = Redaction() if config.redact_secrets else None
        self._calls = self._tokens = 0
        self._cost = 0.0

    def tell(self, event: AgentRunEvent) -> None:
        config = self._config
        event = redacted_event(event, self._redaction)
        line = self._reader.line(event)
        self._count(event)
        if config.verbosity != "basic" or event.type in _BASIC:
            self._sink(self._text(line))
            if config.verbosity == "trace" and config.include_content:
                data = msgspec.json.encode(event.data).decode()
                self._sink("      " + clipped(visible(data), config.max_payload_chars))
        if config.emit_step_snapshots and event.type in ("step_started", *TERMINAL):
            self._sink(f"      so far: {self._calls} model and tool calls, {self._tokens} tokens, ${self._cost:.6g}")

    def _text(self, line: Line) -> str:
        if not self._config.include_content:
            line = msgspec.structs.replace(line, text="")
        text = render_line(line, self._config.max_payload_chars)
        return text if self._config.emit_timestamps else text[:5] + text[15:]

    def _count(self, event: AgentRunEvent) -> None:
        self._calls += event.type in ("llm_called", "tool_started")
        if event.type == "llm_completed":
            usage = event.data.get("usage")
            self._tokens += usage["total_tokens"] if usage is not None else 0
            self._cost += event.data.get("cost_usd") or 0.0
