"""Which case of a suite a recorded run was of: by the agent's name and by what the user said. It judges nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from afk_es.evals.models import EvalCase
from afk_es.llms.content import content_of
from afk_es.log import EventLog


async def recorded_cases(log: EventLog, run_ids: Iterable[str], cases: Sequence[EvalCase]) -> dict[str, EvalCase | None]:
    """The case of each run, in the order of the runs; None for a run that is of none. Of cases that ask the same, the first.

    Args:
        log: open.
        run_ids: of runs that the log has.
    """
    asked: dict[tuple[str, str | None], EvalCase] = {}
    for case in cases:
        asked.setdefault((case.agent.name, content_of(case.user_message)[0]), case)
    found: dict[str, EvalCase | None] = {}
    for run_id in run_ids:
        (first,) = await log.read(run_id, limit=1)
        found[run_id] = asked.get((first.data.get("agent_name") or "", first.data.get("user_message")))
    return found
