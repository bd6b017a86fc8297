"""A golden as today's afk_es would have recorded it: its run is replayed, offline and for free, and the replay is recorded."""

from __future__ import annotations

import msgspec

from afk_es.agents import Agent
from afk_es.clock import SeededIds
from afk_es.core import RecordedPeople, Runner
from afk_es.errors import UsageError
from afk_es.evals.golden import Golden
from afk_es.evals.recorded_config import recorded_config


async def rewritten(golden: Golden, agent: Agent) -> Golden:
    """The golden of a replay of its run, under the same name, in the same mode, from the same place.

    Raises:
        GoldenError: it cannot be loaded.
        UsageError: it checks several runs of one conversation, which a replay takes one by one.
    """
    if len(golden.runs) != 1:
        raise UsageError(
            f"golden {golden.name} checks {len(golden.runs)} runs of one conversation; record it anew with `afk-es golden record`"
        )
    log = await golden.open_log()
    settings = recorded_config(golden)
    people = RecordedPeople() if settings.interaction_mode == "interactive" else None
    async with Runner(log=log, config=settings, interaction_provider=people, ids=SeededIds(0)) as runner:
        replayed = await runner.replay(agent, run_id=golden.runs[0])
        # What was to be kept back is not in the file any more.
        made = await Golden.of(log, replayed.run_id, name=golden.name, mode=golden.mode, redaction=None, agent_ref=golden.header.agent)
    then, now = golden.header.recorded, made.header.recorded
    recorded = msgspec.structs.replace(then, afk_es=now.afk_es, event_schema=now.event_schema)
    return msgspec.structs.replace(
        made, header=msgspec.structs.replace(made.header, recorded=recorded, redacted=golden.header.redacted, update=golden.header.update)
    )
