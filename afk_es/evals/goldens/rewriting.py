"""A golden that says the same as today's afk_es would have recorded it: from the run that a check replays, so nothing of the world is reached."""

from __future__ import annotations

from typing import Any

import msgspec

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import SeededIds
from afk_es.core import RecordedPeople, Runner, RunnerConfig
from afk_es.debugger.exchange.golden_facts import Fact
from afk_es.errors import UsageError
from afk_es.evals.goldens.checking import RunnerFactory
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.recorded_config import recorded_config
from afk_es.redaction import Redaction


async def rewritten(
    golden: Golden,
    agent: Agent,
    *,
    policy_engine: PolicyEngine | None = None,
    config: RunnerConfig | None = None,
    runner_factory: RunnerFactory | None = None,
    redaction: Redaction | None = None,
) -> Golden:
    """The golden in today's events, types and keys. Where it comes from stays as it was told.

    Args:
        agent: one that the golden is kept by, but for what another version of afk_es records in another way.
        policy_engine, config, runner_factory, redaction: as of `check_golden`.

    Raises:
        UsageError: it holds several runs, which build on each other and not on replays; or it keeps back values that nobody tells.
    """
    if golden.header.secret_values and (redaction is None or not redaction.has_values):
        raise UsageError(
            f"golden {golden.name} keeps back values that only whoever recorded it knew, and today's agent may hold them: give the same "
            "redaction=, or record it anew"
        )
    if len(golden.runs) > 1:
        raise UsageError(
            f"golden {golden.name} holds {len(golden.runs)} runs of a conversation, which cannot be written anew from replays; record it "
            "anew with --golden-update=behaviour"
        )
    log = await golden.open_log()
    settings = config if config is not None else recorded_config(golden)
    if runner_factory is not None:
        runner = runner_factory(log, settings)
    else:
        people = RecordedPeople() if settings.interaction_mode == "interactive" else None
        runner = Runner(log=log, policy_engine=policy_engine, config=settings, interaction_provider=people, ids=SeededIds(0))
    async with runner:
        replayed = await runner.replay(agent, run_id=golden.runs[0], redaction=golden.redaction(redaction))
        # Secrets were kept back when it was recorded, and of today's agent when it was replayed.
        made = await Golden.of(
            runner.log, replayed.run_id, name=golden.name, mode=golden.mode, redaction=None, agent_ref=golden.header.agent
        )
    was, now = golden.header, made.header
    recorded = msgspec.structs.replace(was.recorded, afk_es=now.recorded.afk_es, event_schema=now.recorded.event_schema)
    header = msgspec.structs.replace(was, runs=now.runs, models=now.models, recorded=recorded)
    return Golden(header, tuple(map(_of_no_replay, made.facts)))


def _of_no_replay(fact: Fact) -> Fact:
    """The fact without what tells that its run was a replay."""
    data: dict[str, Any] = fact.value.get("data", {})
    if "replay_of" not in data:
        return fact
    kept = {key: value for key, value in data.items() if key != "replay_of"}
    return Fact(fact.kind, {**fact.value, "data": kept})
