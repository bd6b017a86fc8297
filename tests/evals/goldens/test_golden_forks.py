"""A fork is a golden of its own: one run from its beginning, without the run that it was a variation of."""

from __future__ import annotations

import pytest

from afk_es.agents import PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import AgentResult, Runner, RunnerConfig
from afk_es.errors import UsageError
from afk_es.evals import Golden
from afk_es.handlers.edits import EditMessage, EditToolResult, SetInstructions
from afk_es.log.memory import MemoryEventLog
from tests.core.forked import World, clerk, seq_of
from tests.evals.recorded import check_whole


class Case:
    """A run, and forks of it."""

    def __init__(self, **config: object) -> None:
        self.log = MemoryEventLog()
        self.clock = SimulatedClock()
        self.agent = clerk(World())
        rules = PolicyEngine(
            rules=[PolicyRule(action="request_approval", condition=PolicyRuleCondition(tool_name="pay"), reason="money")] if config else []
        )
        self.runner = Runner(
            log=self.log, clock=self.clock, ids=SeededIds(), policy_engine=rules, config=RunnerConfig(approval_fallback="allow")
        )

    async def ran(self) -> str:
        """The id of the run."""
        await self.log.open()
        return (await self.runner.run(self.agent, user_message="Buy a lamp")).run_id

    async def golden(self, run: AgentResult) -> Golden:
        """Of the fork, after some time has gone by."""
        golden = await Golden.of(self.log, run.run_id, name="fork", redaction=None)
        await check_whole(golden)
        facts = golden.text().partition("\n")[2]
        for mark in ("forked", "reused", "edited", "answers_from", run.run_id):
            assert mark not in facts
        (record,) = await (await golden.open_log()).runs()
        assert record.forked_from is None
        outcome = golden.outcomes["run_1"]
        assert (outcome.state, outcome.final_text) == (run.state, run.final_text)
        assert (outcome.llm_calls, outcome.tool_calls) == (run.state_snapshot.llm_calls, run.state_snapshot.tool_calls)
        assert outcome.cost_usd == run.total_cost_usd
        return golden


async def test_a_fork_from_the_middle_is_one_run_with_the_edited_result() -> None:
    case = Case()
    run_id = await case.ran()
    at = seq_of(await case.log.read(run_id), "tool_completed")
    case.clock.advance(86_400)
    fork = await case.runner.fork(
        case.agent, run_id=run_id, edits=[EditToolResult(at, output="lamp costs 7")], tools={"pay": "recorded_or_live"}
    )
    golden = await case.golden(fork)
    events = await (await golden.open_log()).read("run_1")
    assert [event.type for event in events].count("run_started") == 1
    assert next(event.data["output"] for event in events if event.type == "tool_completed") == "lamp costs 7"
    assert (events[-1].at - events[0].at).total_seconds() < 60, "the day between the run and its fork is nobody's"


async def test_a_fork_of_a_fork_is_one_run() -> None:
    case = Case()
    run_id = await case.ran()
    events = await case.log.read(run_id)
    first = await case.runner.fork(case.agent, run_id=run_id, at=seq_of(events, "tool_completed"))
    again = await case.log.read(first.run_id)
    second = await case.runner.fork(case.agent, run_id=first.run_id, edits=[EditMessage(seq_of(again, "llm_completed", 3), "All is well.")])
    assert (await case.golden(second)).outcomes["run_1"].final_text == "All is well."


async def test_what_a_fork_asks_people_again_is_asked_once() -> None:
    case = Case(approvals=True)
    run_id = await case.ran()
    asked = seq_of(await case.log.read(run_id), "approval_requested")
    fork = await case.runner.fork(case.agent, run_id=run_id, at=asked, tools={"pay": "recorded_or_live"})
    golden = await case.golden(fork)
    types = [event.type for event in await (await golden.open_log()).read("run_1")]
    assert (types.count("approval_requested"), types.count("approval_resolved")) == (1, 1)


async def test_a_fork_that_begins_anew_may_have_other_instructions_and_one_from_the_middle_may_not() -> None:
    case = Case()
    run_id = await case.ran()
    whole = await case.runner.fork(case.agent, run_id=run_id, at=0, edits=[SetInstructions("Be quick.")], tools={"pay": "recorded_or_live"})
    assert '"Be quick."' in (await case.golden(whole)).text()
    at = seq_of(await case.log.read(run_id), "llm_called", 3)
    mixed = await case.runner.fork(case.agent, run_id=run_id, at=at, edits=[SetInstructions("Be quick.")])
    with pytest.raises(UsageError, match=r"another agent went on with it at seq .*instructions.*run today's agent"):
        await Golden.of(case.log, mixed.run_id, name="mixed")
