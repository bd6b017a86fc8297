"""One trial from its beginning to its verdict."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from afk_es.log.location import open_log
from afk_es.queues import TaskQueue
from tests.queues.kills.errands import errands
from tests.queues.kills.evidence import Evidence, gathered
from tests.queues.kills.judge import Verdict, judged
from tests.queues.kills.scene import Scene, Told, Trial
from tests.support.zygote import Zygote

MODULES = ("tests.queues.kills.processes", "tests.queues.kills.preloaded")
"""What the zygote imports."""


class Tried(NamedTuple):
    """What was done, and what it came to."""

    told: Told
    verdict: Verdict
    evidence: Evidence


def tried(zygote: Zygote, trial: Trial) -> Tried:
    """Push, carry out, kill, and judge."""
    told = asyncio.run(played(zygote, trial))
    zygote.end_all()
    evidence = asyncio.run(gathered(trial.directory, trial.log))
    return Tried(told, judged(errands(trial.seed, trial.runs), told, evidence), evidence)


async def played(zygote: Zygote, trial: Trial) -> Told:
    """What becomes of it, unjudged."""
    log = open_log(trial.log, durability=trial.durability)
    async with TaskQueue(log) as queue:

        async def still_open() -> int:
            return sum(each.queued + each.running + each.waiting for each in await queue.stats())

        told = await Scene(zygote, trial, still_open).play()
    await log.close()
    return told
