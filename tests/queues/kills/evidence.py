"""What a kill test leaves behind: the journal of the world, the events of every run, the rows of the tasks. It judges nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afk_es.log.location import open_log
from afk_es.machine import AgentRunEvent
from afk_es.queues import TaskItem, TaskQueue
from tests.support.zygote import lines_of

_PAGE = 500


@dataclass(frozen=True)
class Evidence:
    """All of it.

    Attributes:
        journal: the lines that the tools and models wrote, in order.
        items: the tasks, by id.
        runs: the events of each run of the log, by id.
        faults: what `verify` found, by run.
    """

    journal: Sequence[Mapping[str, Any]]
    items: Mapping[str, TaskItem]
    runs: Mapping[str, Sequence[AgentRunEvent]]
    faults: Mapping[str, str]


async def gathered(directory: Path, location: str) -> Evidence:
    """Read it, when all processes are gone."""
    journal = [json.loads(line) for line in lines_of(directory / "journal.jsonl")]
    items: dict[str, TaskItem] = {}
    runs: dict[str, Sequence[AgentRunEvent]] = {}
    faults: dict[str, str] = {}
    log = open_log(location)
    async with TaskQueue(log) as queue:
        before: str | None = None
        while page := await queue.list(limit=_PAGE, before=before):
            items |= {item.id: item for item in page}
            before = page[-1].id
        before = None
        while records := await log.runs(limit=_PAGE, before=before):
            before = records[-1].run_id
            for record in records:
                runs[record.run_id] = await log.read(record.run_id)
                if (fault := await log.verify(record.run_id)) is not None:
                    faults[record.run_id] = fault.reason
    await log.close()
    return Evidence(journal, items, runs, faults)
