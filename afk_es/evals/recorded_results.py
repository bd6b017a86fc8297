"""The result of a recorded run, from its log alone: no agent is needed, and nothing is run or written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from afk_es.core import AgentResult
from afk_es.core.pending import state_of
from afk_es.core.result import whole_result
from afk_es.errors import RunNotFoundError, UsageError
from afk_es.evals.evidence import Evidence
from afk_es.log import EventLog
from afk_es.machine.events import TERMINAL

if TYPE_CHECKING:
    from afk_es.evals.models import EvalCase


async def recorded_result(log: EventLog, run_id: str) -> AgentResult:
    """What a run that has ended, or was laid down, came to. A structured answer is JSON data in it.

    Args:
        log: open, and left open.

    Raises:
        RunNotFoundError: the log has no such run.
        UsageError: the run has not ended.
    """
    return (await recorded_evidence(log, run_id)).result


async def recorded_evidence(log: EventLog, run_id: str, case: EvalCase | None = None) -> Evidence:
    """The evidence that a recorded run is, for any assertion or scorer; errors as of `recorded_result`.

    Args:
        case: the case that it was for.
    """
    events = await log.read(run_id)
    if not events:
        raise RunNotFoundError(f"{log.location} has no run {run_id!r}")
    if events[-1].type not in TERMINAL:
        raise UsageError(f"run {run_id} has not ended, so there is no result to look at; Runner.resume goes on with it")
    state = await state_of(log, events)
    return Evidence(await whole_result(log, state, events, state.output), log, case, events=events)
