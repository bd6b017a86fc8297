"""Goal: a run that is lent for a time starts no effect after that time, keeps what its effects came to, and can be gone on with.

Method: leases that end at every moment at which they are asked, and at moments of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import AgentResult, Lease, Runner
from afk_es.errors import LeaseLostError
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.machine import AgentRunEvent
from afk_es.tools import ToolContext, middleware, prehook, tool
from afk_es.tools.permission import PERMISSION
from tests.core.scenario import Counted, Stuck, agent, asks, log_of, model_of, only, says, types


class Lent:
    """A lease that holds until somebody ends it, or so often.

    Args:
        times: how often it says yes; None: until it is over.
    """

    def __init__(self, times: int | None = None) -> None:
        self.over = False
        self.asked = 0
        self._times = times

    def held(self) -> bool:
        self.asked += 1
        return not self.over and (self._times is None or self.asked <= self._times)


async def lent(runner: Runner, described: Agent, lease: Lease, **options: Any) -> list[AgentRunEvent]:
    """Run under the lease until that is over; the events that are in the log then."""
    run = await runner.run_once(described, run_id="task", by="worker", lease=lease, **options)
    assert run.stretch is not None
    with pytest.raises(LeaseLostError, match="run task"):
        await run.stretch
    return await log_of(runner, "task")


async def gone_on(runner: Runner, described: Agent) -> list[AgentRunEvent]:
    """Go on with it, to its end."""
    assert (await runner.resume(described, run_id="task")).state == "completed"
    assert await runner.log.verify("task") is None
    return await log_of(runner, "task")


def working(counted: Counted) -> Agent:
    rule = PolicyRule(action="allow", rule_id="yes", condition=lambda event: True)
    return agent(
        [asks(("work", {}), ("work", {"n": 2})), asks(("work", {"n": 3})), says("done")],
        counted.tool,
        policy_engine=PolicyEngine(rules=(rule,)),
    )


async def test_a_lease_that_holds_is_asked_before_everything_that_starts(runner: Runner) -> None:
    lease, counted = Lent(), Counted()
    run = await runner.run_once(working(counted), run_id="task", by="worker", lease=lease)
    assert run.stretch is not None
    assert (await run.stretch).state == "completed"
    decisions = only(await log_of(runner, "task"), "policy_decision")
    # Each model call, each tool as it is dispatched and again as its function is called, each policy; and once for each time it is woken.
    assert lease.asked >= 3 + 2 * 3 + len(decisions)


@pytest.mark.parametrize("times", range(1, 31))
async def test_wherever_it_ends_nothing_starts_after_it_and_the_run_goes_on_elsewhere(times: int, clock: SimulatedClock) -> None:
    counted = Counted(idempotent=True)
    described = working(counted)
    lease = Lent(times)
    async with Runner(log=":memory:", clock=clock, ids=SeededIds(7)) as runner:
        run = await runner.run_once(described, run_id="task", by="worker", lease=lease)
        assert run.stretch is not None
        try:
            ended = await run.stretch
        except LeaseLostError:
            before = await log_of(runner, "task")
            started = (counted.ran, len(model_of(described).requests))
            assert lease.asked > times
            assert types(before)[-1] not in ("run_completed", "run_interrupted")
            await gone_on(runner, described)
            # What had a result in the log did not run again. What was announced and not started is in doubt, and runs once more.
            done = sum(event.data["success"] for event in only(before, "tool_completed"))
            assert counted.ran == started[0] + 3 - done
        else:
            assert (ended.state, counted.ran) == ("completed", 3)
            assert lease.asked <= times


async def test_what_effects_came_to_by_then_is_kept_and_nothing_is_decided_from_it(runner: Runner) -> None:
    lease, stuck = Lent(), Stuck()
    described = agent([asks(("stuck", {})), says("done")], stuck.tool)
    run = await runner.run_once(described, run_id="task", by="worker", lease=lease)
    await stuck.begun.wait()
    lease.over = True
    stuck.let_go.set()
    assert run.stretch is not None
    with pytest.raises(LeaseLostError):
        await run.stretch
    assert types(await log_of(runner, "task"))[-1] == "tool_completed"
    await gone_on(runner, described)
    assert stuck.ran == 1


async def test_where_another_has_the_run_by_then_it_is_the_lease_all_the_same(runner: Runner) -> None:
    lease, stuck = Lent(), Stuck()
    described = agent([asks(("stuck", {})), says("done")], stuck.tool)
    first = await runner.run_once(described, run_id="task", by="worker", lease=lease)
    await stuck.begun.wait()
    lease.over = True
    heir = await runner.run_once(
        agent([says("done by another")], stuck.tool), run_id="task", by="heir", take_over=True, allow_agent_change=True
    )
    assert (await heir.await_result()).final_text == "done by another"
    before = await log_of(runner, "task")
    stuck.let_go.set()
    assert first.stretch is not None
    with pytest.raises(LeaseLostError):
        await first.stretch
    assert await log_of(runner, "task") == before


async def test_what_is_said_to_a_run_whose_lease_is_over_is_for_whoever_has_it_next(runner: Runner) -> None:
    lease, stuck = Lent(), Stuck()
    described = agent([asks(("stuck", {})), says("done")], stuck.tool)
    run = await runner.run_once(described, run_id="task", by="worker", lease=lease)
    await stuck.begun.wait()
    lease.over = True
    await run.cancel("enough")
    assert run.stretch is not None
    with pytest.raises(LeaseLostError):
        await run.stretch
    assert types(await log_of(runner, "task"))[-1] == "tool_started"
    assert (await runner.resume(described, run_id="task")).state == "cancelled"


async def test_a_worker_that_drops_its_runs_writes_nothing_where_the_lease_is_over(runner: Runner) -> None:
    for over, last in ((True, "llm_called"), (False, "run_interrupted")):
        lease = Lent()
        asked = asyncio.Event()

        async def never(request: LLMRequest, asked: asyncio.Event = asked) -> LLMResponse:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

        run = await runner.run_once(agent([never]), run_id=f"task-{over}", by="worker", lease=lease)
        await asked.wait()
        lease.over = over
        assert run.stretch is not None
        run.stretch.cancel()
        await asyncio.wait([run.stretch])
        assert types(await log_of(runner, run.run_id))[-1] == last


async def test_what_an_effect_came_to_at_the_moment_at_which_the_run_is_dropped_is_kept(runner: Runner) -> None:
    lease = Lent()
    stretches: list[asyncio.Future[AgentResult]] = []
    ran: list[int] = []

    @tool
    async def pay() -> str:
        """Pay."""
        ran.append(1)
        lease.over = True
        stretches[0].cancel()
        return "paid"

    described = agent([asks(("pay", {})), says("done")], pay)
    run = await runner.run_once(described, run_id="task", by="worker", lease=lease)
    assert run.stretch is not None
    stretches.append(run.stretch)
    await asyncio.wait([run.stretch])
    assert run.stretch.cancelled()
    assert types(await log_of(runner, "task"))[-1] == "tool_completed"
    await gone_on(runner, described)
    assert ran == [1]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("where", ["prehook", "middleware"])
async def test_it_is_asked_again_right_before_a_tools_function_is_called(kind: str, where: str, runner: Runner) -> None:
    """In the thread of one that has its own. What a hook makes of the refusal is no answer of the tool's."""
    lease = Lent()
    ran: list[str] = []

    @prehook
    def last_moment(args: dict[str, Any], ctx: ToolContext) -> dict[str, Any]:
        lease.over = True
        return args

    @middleware
    async def swallowing(call_next: Callable[..., Any], args: Any, ctx: ToolContext) -> Any:
        lease.over = True
        try:
            return await call_next(args, ctx)
        except LeaseLostError:
            return "made up"

    hooks: dict[str, Any] = {"prehooks": [last_moment]} if where == "prehook" else {"middlewares": [swallowing]}

    @tool(name="pay", **hooks)
    def pay() -> str:
        """Pay."""
        ran.append("sync")
        return "paid"

    @tool(name="pay", **hooks)
    async def pay_async() -> str:
        """Pay."""
        ran.append("async")
        return "paid"

    described = agent([asks(("pay", {})), says("done")], pay if kind == "sync" else pay_async)
    events = await lent(runner, described, lease)
    assert (ran, types(events)[-1]) == ([], "tool_started")


async def test_the_runs_of_subagents_are_under_the_lease_of_their_parent(runner: Runner) -> None:
    lease, stuck, counted = Lent(), Stuck(), Counted()
    child = agent([asks(("stuck", {})), asks(("work", {})), says("found")], stuck.tool, counted.tool, name="searcher")
    parent = agent([asks(("transfer_to_searcher", {"task": "search"})), says("done")], name="parent", subagents=[child])
    run = await runner.run_once(parent, run_id="task", by="worker", lease=lease)
    await stuck.begun.wait()
    lease.over = True
    stuck.let_go.set()
    assert run.stretch is not None
    with pytest.raises(LeaseLostError):
        await run.stretch
    (begun,) = only(await log_of(runner, "task"), "subagent_started")
    assert types(await log_of(runner, begun.data["run_id"]))[-1] == "tool_completed"
    assert types(await log_of(runner, "task"))[-1] == "subagent_started"
    await gone_on(runner, parent)
    assert (stuck.ran, counted.ran) == (1, 1)


async def test_an_agent_that_a_tool_runs_by_itself_is_under_no_lease(runner: Runner) -> None:
    """The tool had begun: what it came to is kept, and what it does meanwhile is not refused halfway."""
    lease, counted = Lent(), Counted()

    @tool
    async def consult() -> str:
        """Ask another agent."""
        lease.over = True
        other = agent([asks(("work", {})), says("found")], counted.tool)
        return (await runner.run(other, run_id="other")).final_text

    events = await lent(runner, agent([asks(("consult", {})), says("done")], consult), lease)
    (ended,) = only(await log_of(runner, "other"), "tool_completed")
    assert (counted.ran, ended.data["error"]) == (1, None)
    assert (events[-1].type, events[-1].data["output"]) == ("tool_completed", "found")


async def test_a_run_without_a_lease_asks_for_no_permission(runner: Runner) -> None:
    seen: list[object] = []

    @tool
    async def look() -> str:
        """Look."""
        seen.append(PERMISSION.get())
        return "seen"

    assert (await runner.run(agent([asks(("look", {})), says("done")], look))).state == "completed"
    assert seen == [None]


async def test_a_lease_that_is_over_once_the_run_is_claimed_begins_the_run_and_nothing_else(runner: Runner) -> None:
    described = agent([says("done")])
    events = await lent(runner, described, Lent(1), user_message="go")
    assert types(events) == ["run_started"]
    await gone_on(runner, described)


async def test_a_lease_that_is_over_from_the_beginning_claims_nothing(runner: Runner) -> None:
    """Whoever was stopped on its way here would else take the run from whoever has been lent it since."""
    described = agent([says("done")])
    with pytest.raises(LeaseLostError, match="run task"):
        await runner.run_once(described, run_id="task", by="worker", lease=Lent(0), user_message="go")
    assert await runner.log.head("task") is None
    await lent(runner, described, Lent(1), user_message="go")
    before = await log_of(runner, "task")
    with pytest.raises(LeaseLostError, match="run task"):
        await runner.run_once(described, run_id="task", by="worker", lease=Lent(0), user_message="go", take_over=True)
    assert await log_of(runner, "task") == before
