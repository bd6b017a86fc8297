"""A run whose log fails at one append, is given back a sound log, and is resumed; and everything that must hold of it then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afk_es.core import AgentRunEvent, Runner
from afk_es.errors import LogError
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing import comparable
from tests.crash.child import Gate, agent
from tests.crash.family import check_survival
from tests.crash.journal import Journal

Fault = Callable[["FaultyLog"], AbstractContextManager[object]]
"""What is wrong with the world while it is entered."""

INTENTS = {"llm_called": "model_{}", "tool_started": "{}"}
"""Events without which no effect may take place, and what the journal calls that effect."""


class FaultyLog(SqliteEventLog):
    """A store around which a fault begins just before its append number `at`, and lasts until `ends`."""

    def __init__(self, path: Path, at: int, fault: Fault | None) -> None:
        super().__init__(path, busy_timeout_s=0.02)
        self.appends = 0
        self._at = at
        self._fault = fault
        self._world = ExitStack()

    async def append(self, events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        self.appends += bool(events)
        if self.appends == self._at and self._fault is not None:
            fault, self._fault = self._fault, None
            self._world.enter_context(fault(self))
        await super().append(events, epoch=epoch)

    def ends(self) -> None:
        """The world is as it should be again."""
        self._world.close()


@dataclass(frozen=True)
class Faulted:
    """What a fault did to a run.

    Attributes:
        error: what the caller got.
        kept: events that the log had then.
        unknown: calls whose outcome nobody knows, and of which the model was told so.
    """

    error: LogError
    kept: int
    unknown: tuple[str, ...]


def appends_of(directory: Path, plan: str) -> tuple[int, dict[str, Any]]:
    """How often the run appends where nothing goes wrong, and its result."""

    async def run() -> tuple[int, dict[str, Any]]:
        log = FaultyLog(directory / "runs.db", 0, None)
        async with Runner(log=log) as runner:
            result = await runner.run(_clerk(directory, plan), user_message="Do it")
        await log.close()
        return log.appends, {"run_id": result.run_id, **comparable(result)}

    return asyncio.run(run())


def survive(directory: Path, plan: str, at: int, fault: Fault, expected: dict[str, Any], *, same_store: bool) -> Faulted:
    """Run, fail at this append, let the fault end, resume, and check every promise.

    Args:
        same_store: whether the store that met the fault goes on, or another is opened.
    """
    directory.mkdir(parents=True, exist_ok=True)
    error, run_id, prefix, result = asyncio.run(_survive(directory, plan, at, fault, same_store))
    assert result["run_id"] == run_id
    unknown = check_survival(directory, run_id, prefix, result, expected) if prefix else []
    if not prefix:
        assert _without_ids(result) == _without_ids(expected)
    return Faulted(error, len(prefix), tuple(unknown))


async def _survive(
    directory: Path, plan: str, at: int, fault: Fault, same_store: bool
) -> tuple[LogError, str, list[AgentRunEvent], dict[str, Any]]:
    log = FaultyLog(directory / "runs.db", at, fault)
    try:
        async with Runner(log=log) as runner:
            caught, run_id = await _fail(runner, log, _clerk(directory, plan))
            prefix = await log.read(run_id) if run_id else []
            _check_intents(directory, prefix)
            if same_store:
                return await _go_on(runner, directory, plan, run_id, prefix, caught)
    finally:
        await log.close()
    async with Runner(log=directory / "runs.db") as another:
        return await _go_on(another, directory, plan, run_id, prefix, caught)


async def _fail(runner: Runner, log: FaultyLog, clerk: Any) -> tuple[LogError, str]:
    run_id = ""
    try:
        handle = await runner.run_handle(clerk, user_message="Do it")
        run_id = handle.run_id
        await asyncio.wait_for(handle.await_result(), 20)
    except LogError as error:
        return error, run_id
    finally:
        log.ends()
    raise AssertionError("the append did not fail")


async def _go_on(
    runner: Runner, directory: Path, plan: str, run_id: str, prefix: list[AgentRunEvent], caught: LogError
) -> tuple[LogError, str, list[AgentRunEvent], dict[str, Any]]:
    clerk = _clerk(directory, plan)
    if not run_id:
        # The run was never acknowledged. Nobody was told of one that might be there all the same, and it can be gone on with.
        (run_id,) = [row.run_id for row in await runner.log.runs()] or [""]
        prefix = await runner.log.read(run_id)
    if run_id:
        result = await runner.resume(clerk, run_id=run_id)
    else:
        result = await runner.run(clerk, user_message="Do it")
        run_id = result.run_id
    return caught, run_id, prefix, {"run_id": result.run_id, **comparable(result)}


def _check_intents(directory: Path, prefix: list[AgentRunEvent]) -> None:
    """Nothing was done whose announcement is not in the log."""
    announced = {f"model_{event.step}" for event in prefix if event.type == "llm_called"}
    announced |= {event.data["tool_call_id"] for event in prefix if event.type == "tool_started"}
    done = {line["call_id"] for line in Journal(directory / "journal.jsonl").lines()}
    assert done <= announced, f"{done - announced} took effect, and the log announces only {announced}"


def _clerk(directory: Path, plan: str) -> Any:
    return agent(directory, plan, Gate("", False, 0.0))


def _without_ids(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "run_id"}
