"""A golden of another afk_es, written as today's would: from its replay, with nothing but the engine's own words changed."""

from __future__ import annotations

import msgspec
import pytest

from afk_es.errors import UsageError
from afk_es.evals.goldens.checking import check_golden
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.rewriting import rewritten
from afk_es.evals.goldens.updates import of_report
from tests.evals.desk import agent, ran, rules


async def recorded() -> Golden:
    log, result = await ran(policy=rules())
    return await Golden.of(log, result.run_id, name="desk", agent_ref="desk:agent")


def of_another_afk_es(golden: Golden) -> Golden:
    """The golden with a key of policy decisions that today's version does not write."""
    facts = []
    for fact in golden.facts:
        found = fact.value.get("type") == "policy_decision"
        facts.append(
            msgspec.structs.replace(fact, value={**fact.value, "data": {**fact.value["data"], "since_gone": 1}}) if found else fact
        )
    header = msgspec.structs.replace(golden.header, recorded=msgspec.structs.replace(golden.header.recorded, afk_es="0.0.1"))
    return msgspec.structs.replace(golden, header=header, facts=tuple(facts))


async def test_what_another_version_recorded_otherwise_is_written_as_today() -> None:
    today = await recorded()
    other = of_another_afk_es(today)
    report = await check_golden(other, agent(), policy_engine=rules())
    assert not report.ok
    assert (of_report(report) or ("",))[0] == "representation", (report.reason, report.divergences)
    made = await rewritten(other, agent(), policy_engine=rules())
    assert (await check_golden(made, agent(), policy_engine=rules())).ok
    assert made.header.agent == "desk:agent"
    assert made.header.recorded.run == today.header.recorded.run
    assert made.header.recorded.afk_es == today.header.recorded.afk_es
    assert "since_gone" not in made.text()
    assert "replay_of" not in made.text()


async def test_a_conversation_is_not_written_from_replays_of_its_single_runs() -> None:
    golden = await recorded()
    several = msgspec.structs.replace(golden, header=msgspec.structs.replace(golden.header, runs=("run_1", "run_2")))
    with pytest.raises(UsageError, match="--golden-update=behaviour"):
        await rewritten(several, agent())
