"""Goal: right histories violate nothing, and the invariants look at all of them: models, tools, people, crashes, stalls and subagents.

Method: agents of the planted bugs, without the bugs, played by seeds; and the scripts that once found bugs of the product itself.
"""

from __future__ import annotations

import pytest

from afk_es.testing.invariants import SHIPPED, checked
from afk_es.testing.simulation.facts import (
    Answer,
    Call,
    Control,
    Crash,
    ModelAnswers,
    PersonSays,
    StalledProcess,
    TicketEnds,
    TimePasses,
    ToolDefers,
    ToolReturns,
)
from afk_es.testing.simulation.world import playing
from tests.bugs.agents import CLERK, SCOUT, look_up, shop
from tests.bugs.hunting import hunt
from tests.bugs.planting import Bug


@pytest.mark.parametrize(
    "agent",
    [
        shop(),
        shop(subagents=(CLERK, SCOUT), max_total_cost_usd=0.5, max_parallel_tools=1),
        shop(subagents=(SCOUT,), tool_failure_policy="retry_then_fail", approval_denial_policy="fail", max_wall_time_s=40.0),
    ],
)
def test_a_wild_world_finds_nothing(agent: object) -> None:
    bug = Bug(name="none", mistake="", slips=(), agent=agent, found_by=())  # type: ignore[arg-type]
    found = hunt(bug, first=500, most=25)
    assert found is None, found


def test_a_long_story_in_three_processes() -> None:
    """Approvals, a subagent, a stall, a ticket, a pause and a crash."""
    calls = (Call("c0", "refund", {"order": "A-17", "amount": 10}), Call("c1", "transfer_to_scout", {"task": "look"}))
    simulation = playing(
        (
            Answer("model:shop:1", ModelAnswers(calls=calls, cost_usd=0.01)),
            Answer("model:scout:1", ModelAnswers("found", cost_usd=0.1)),
            StalledProcess(),
            Answer("approval:refund:2", PersonSays("yes", outside=True)),
            Answer("tool:refund:1", ToolDefers()),
            Control("pause"),
            TicketEnds(output="paid"),
            Crash(appends=2, downtime_s=3.0),
        ),
        shop(subagents=(SCOUT,)),
        observers=checked(SHIPPED),
    )
    simulation.close()
    assert [result.state for result in simulation.results] == ["completed"]
    assert simulation.processes == 3


def test_what_the_subagents_of_a_child_have_spent_counts_where_the_child_ran_out_of_time() -> None:
    """Found by ChildrenAddUp: the child's parent was told of the child's own costs alone."""
    to_clerk = (Call("c0", "transfer_to_clerk", {"task": "write"}),)
    to_scout = (Call("c0", "transfer_to_scout", {"task": "look"}),)
    simulation = playing(
        (
            Answer("model:shop:1", ModelAnswers(calls=to_clerk, cost_usd=0.01)),
            # A paused run's time stands still, and its subagents' does not.
            Control("pause"),
            Answer("model:clerk:1", ModelAnswers(calls=to_scout, cost_usd=0.02)),
            Answer("model:scout:1", ModelAnswers(calls=(Call("c0", "look_up", {"order": "A-17"}),), cost_usd=0.5)),
            Answer("tool:look_up:1", ToolReturns("nothing")),
            TimePasses(400.0),
        ),
        shop(tools=(look_up,), subagents=(CLERK,)),
        observers=checked(SHIPPED),
    )
    simulation.close()
    (result,) = simulation.results
    assert result.total_cost_usd == pytest.approx(0.53)
