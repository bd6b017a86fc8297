"""Goal: what holds for one run holds where its features meet. Method: people, tickets, joins, control and limits in teams of agents."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest

from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.clock import SystemClock
from afk_es.core import AgentResult, Runner, RunnerConfig
from afk_es.errors import RunOwnedError
from afk_es.handlers.people import approval_draft
from afk_es.interaction import ApprovalDecision, ApprovalRequest, InputDecision, InputRequest
from afk_es.llms import LLMRequest
from afk_es.machine import Draft
from afk_es.tools import ToolDeferredHandle, tool
from tests.core.scenario import Counted, Stuck, StuckModel, agent, always, asks, limits, log_of, model_of, only, says, types, until
from tests.core.test_subagents import child_ids, transfer

Action = Literal["allow", "deny", "defer", "request_approval", "request_user_input"]


def ruled(action: Action, *, subject: str = "tool", **more: Any) -> PolicyEngine:
    """Every call of that kind meets a rule of this action."""
    return PolicyEngine([PolicyRule(rule_id="four eyes", action=action, condition=always, subjects=(subject,), **more)])


def team_under_approval(work: Counted, *, depth: int = 1) -> Agent:
    """Agents one below the other, the lowest of which has to ask before it works."""
    low = agent([asks(("work", {"n": 7})), says("low done")], work.tool, name="low", policy_engine=ruled("request_approval"))
    for level in range(depth):
        low = agent([asks(transfer(low.name)), says("done")], name=f"level{level}", subagents=[low])
    return low


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("through", ["parent", "child"])
async def test_external_the_parents_result_names_what_its_subagent_waits_for(depth: int, through: str) -> None:
    work = Counted()
    boss = team_under_approval(work, depth=depth)
    async with Runner(log=":memory:", config=RunnerConfig(interaction_mode="external")) as runner:
        parked = await runner.run(boss)
        assert (parked.state, work.ran) == ("interrupted", 0)
        (request,) = parked.pending
        assert isinstance(request, ApprovalRequest)
        assert (request.tool_name, request.arguments, request.agent_path[-1]) == ("work", {"n": 7}, "low")
        assert request.run_id != parked.run_id
        again = await runner.resume(boss, run_id=parked.run_id)
        assert (again.state, again.pending) == ("interrupted", parked.pending)
        receipt = await runner.approve(run_id=parked.run_id if through == "parent" else request.run_id, by="ann")
        assert (receipt.run_id, receipt.status) == (request.run_id, "posted")
        result = await runner.resume(boss, run_id=parked.run_id)
        assert (result.state, result.pending, work.arguments) == ("completed", (), [7])
        asked = await log_of(runner, request.run_id)
        assert types(asked).count("approval_requested") == types(asked).count("tool_started") == 1
        assert len(await child_ids(runner, parked.run_id)) == 1


async def test_who_watches_a_team_from_outside_gets_the_result_that_its_process_gets() -> None:
    work = Counted()
    boss = team_under_approval(work)
    async with Runner(log=":memory:", config=RunnerConfig(interaction_mode="external")) as runner:
        parked = await runner.run(boss)
        attached = await runner.attach(run_id=parked.run_id, by="ann")
        assert await attached.await_result() == parked
        await attached.approve()
        result = await runner.resume(boss, run_id=parked.run_id)
        assert await attached.await_result() == result
    assert [record.tool_name for record in result.tool_executions] == ["work", "transfer_to_low"]


class People:
    """Grants what it is asked, once it is let go."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.asked: list[ApprovalRequest] = []
        self.let_go = asyncio.Event()
        if at_once:
            self.let_go.set()

    async def request_approval(self, request: ApprovalRequest) -> ApprovalDecision:
        self.asked.append(request)
        await self.let_go.wait()
        return ApprovalDecision(outcome="granted", by="ann")

    async def request_input(self, request: InputRequest) -> InputDecision:
        raise AssertionError("nobody asks for words here")


def interactive(people: People) -> Runner:
    return Runner(log=":memory:", interaction_provider=people, config=RunnerConfig(interaction_mode="interactive"))


async def test_interactive_whoever_is_asked_sees_which_agent_asks() -> None:
    work, people = Counted(), People()
    async with interactive(people) as runner:
        result = await runner.run(team_under_approval(work, depth=2))
    assert (result.state, work.ran) == ("completed", 1)
    assert [request.agent_path for request in people.asked] == [("level1", "level0", "low")]


async def test_headless_the_fallback_answers_in_a_subagent_too(runner: Runner) -> None:
    work = Counted()
    result = await runner.run(team_under_approval(work))
    assert (result.state, work.ran) == ("completed", 0)
    assert "nobody answered" in (result.tool_executions[0].error or "")


@pytest.mark.parametrize(
    ("action", "more", "task", "state"),
    [
        ("request_approval", {}, "go", "completed"),
        ("defer", {}, "go", "completed"),
        ("request_approval", {"updated_tool_args": {"task": "go slowly"}}, "go slowly", "completed"),
        ("request_user_input", {"request_payload": {"argument": "task"}}, "said ann", "completed"),
    ],
)
async def test_a_transfer_itself_may_need_a_persons_word(action: Action, more: dict[str, Any], task: str, state: str) -> None:
    low = agent([says("low done")], name="low")
    boss = agent(
        [asks(transfer("low")), says("ok")], subagents=[low], policy_engine=ruled(action, subject="subagent_before_execute", **more)
    )
    async with Runner(log=":memory:", config=RunnerConfig(interaction_mode="external")) as runner:
        parked = await runner.run(boss)
        (request,) = parked.pending
        assert (parked.state, request.tool_name, request.run_id) == ("interrupted", "transfer_to_low", parked.run_id)
        assert model_of(low).requests == []
        if action == "request_user_input":
            await runner.answer(run_id=parked.run_id, value="said ann", by="ann")
        else:
            await runner.approve(run_id=parked.run_id, by="ann")
        result = await runner.resume(boss, run_id=parked.run_id)
    assert (result.state, [record.success for record in result.subagent_executions]) == (state, [True])
    assert model_of(low).requests[0].messages[-1].content == task


async def test_a_rule_that_leaves_no_task_is_told_and_nobody_is_asked_to_do_nothing(runner: Runner) -> None:
    low = agent([says("low done")], name="low")
    engine = ruled("allow", subject="subagent_before_execute", updated_tool_args={"task": ""})
    boss = agent([asks(transfer("low")), says("ok")], subagents=[low], policy_engine=engine)
    result = await runner.run(boss)
    assert (result.state, [record.success for record in result.tool_executions]) == ("completed", [False])
    assert model_of(low).requests == []


async def test_a_join_withdraws_the_question_about_a_transfer_and_a_late_answer_is_a_warning() -> None:
    quick, slow = StuckModel("quick"), Stuck()
    low = agent(quick, name="low")
    other = agent([], name="other")
    rule = PolicyRule(
        rule_id="ask",
        action="request_approval",
        subjects=("subagent_before_execute",),
        condition=lambda event: event.subagent_name == "other",
    )
    boss = agent(
        [asks(transfer("low"), transfer("other"), ("stuck", {})), says("ok")],
        slow.tool,
        subagents=[low, other],
        join_policy="first_success",
        policy_engine=PolicyEngine([rule]),
    )
    async with Runner(log=":memory:", config=RunnerConfig(interaction_mode="external")) as runner:
        handle = await runner.run_handle(boss)
        await until(lambda: slow.ran == 1 and quick.asked.is_set())
        attached = await runner.attach(run_id=handle.run_id, by="ann")
        (request,) = await attached.pending()
        # The answer is on its way when the join is decided.
        quick.let_go.set()
        await until(lambda: any(event.type == "subagent_completed" for event in handle.events._events))
        assert await attached.pending() == ()
        assert isinstance(request, ApprovalRequest)
        late = approval_draft(request, ApprovalDecision(outcome="granted", by="ann"))
        await runner.log.post(handle.run_id, late, at=SystemClock().now())
        runner._inbox.look()
        await until(lambda: any(event.type == "warning" for event in handle.events._events))
        slow.let_go.set()
        result = await handle.await_result()
    assert (result.state, [record.success for record in result.tool_executions]) == ("completed", [True, False, True])


@pytest.mark.parametrize("other_is", ["asked about", "laid down"])
async def test_two_things_end_at_the_very_moment_at_which_the_join_is_decided(other_is: str) -> None:
    """The answer about a transfer, or a subagent that lies down, comes in one breath with the success that makes it superfluous."""
    quick, late, people = StuckModel("quick"), StuckModel("late"), People(at_once=False)
    low, other = agent(quick, name="low"), agent(late, name="other")
    about_other = PolicyRule(
        action="request_approval", subjects=("subagent_before_execute",), condition=lambda event: event.subagent_name == "other"
    )
    boss = agent(
        [asks(transfer("low"), transfer("other")), says("ok")],
        subagents=[low, other],
        join_policy="first_success",
        policy_engine=PolicyEngine([about_other] if other_is == "asked about" else []),
    )
    async with interactive(people) as runner:
        handle = await runner.run_handle(boss)
        await until(lambda: quick.asked.is_set() and (bool(people.asked) or late.asked.is_set()))
        loop = runner._inbox._loops[handle.run_id]
        take_in = loop._take_in
        if other_is == "asked about":
            answer = approval_draft(people.asked[0], ApprovalDecision(outcome="granted", by="ann"))
        else:
            run_id = (await child_ids(runner, handle.run_id))[1]
            answer = Draft("subagent_waiting", {"subagent_name": "other", "tool_call_id": "c2", "run_id": run_id, "reason": "a whim"})

        def with_the_other() -> None:
            ended = [draft for _effect, draft in loop._inbox if draft.type == "subagent_completed"]
            if ended and ended[0].data["tool_call_id"] == "c1":
                others = {effect_id for effect_id in loop._running if effect_id.startswith(("ask:", "subagent:"))} - {loop._inbox[0][0]}
                loop._inbox.append((others.pop(), answer))
            take_in()

        loop._take_in = with_the_other  # type: ignore[method-assign]
        quick.let_go.set()
        result = await handle.await_result()
    assert (result.state, [record.success for record in result.tool_executions]) == ("completed", [True, False])


async def test_a_transfer_that_was_put_off_keeps_its_share_of_the_money() -> None:
    low = agent(lambda request: says("low done", cost=0.2), name="low")
    boss = agent(
        [asks(transfer("low"), transfer("low"), cost=0.2), says("ok", cost=0.1)],
        subagents=[low],
        fail_safe=limits(max_total_cost_usd=1.0),
        policy_engine=ruled("defer", subject="subagent_before_execute"),
    )
    async with Runner(log=":memory:") as runner:
        parked = await runner.run(boss)
        await runner.approve(run_id=parked.run_id, request_id="approval:1:0", by="ann")
        await runner.resume(boss, run_id=parked.run_id)
        await runner.approve(run_id=parked.run_id, by="ann")
        result = await runner.resume(boss, run_id=parked.run_id)
        started = only(await log_of(runner, parked.run_id), "subagent_started")
    assert [event.data["cost_budget_usd"] for event in started] == pytest.approx([0.4, 0.6])
    assert result.state == "completed"
    assert result.total_cost_usd == pytest.approx(0.7)


async def until_logged(runner: Runner, run_id: str, kind: str) -> None:
    """Let everybody else in this event loop go on until the run's log has an event of that type."""
    # What is waited for in another run's log has no event of its own.
    while not only(await log_of(runner, run_id), kind):  # noqa: ASYNC110
        await asyncio.sleep(0)


def clerk(name: str = "low") -> Agent:
    """An agent whose tool goes on in the background, and who then says what that came to."""

    @tool(name="order")
    async def order() -> ToolDeferredHandle:
        """Order something that takes long."""
        return ToolDeferredHandle(ticket_id="t1", summary="ordered")

    def answer(request: LLMRequest) -> Any:
        return asks(("order", {})) if len(request.messages) == 1 else request.messages[-1].content.splitlines()[-1]

    return agent(answer, order, name=name)


async def test_a_subagent_waits_for_its_ticket_and_its_record_is_among_its_parents(runner: Runner) -> None:
    boss = agent([asks(("order", {}), transfer("low")), says("ok"), says("ok")], *clerk().tools, name="boss", subagents=[clerk()])
    handle = await runner.run_handle(boss)
    await until(lambda: any(event.type == "subagent_started" for event in handle.events._events))
    (low_id,) = await child_ids(runner, handle.run_id)
    await until_logged(runner, low_id, "tool_deferred")
    thread_id = (await log_of(runner, low_id))[0].thread_id
    for run_id, thread in ((low_id, thread_id), (handle.run_id, handle.thread_id)):
        await runner.resolve_background_tool(thread_id=thread, run_id=run_id, ticket_id="t1", output=f"for {run_id}")
    result = await handle.await_result()
    assert result.state == "completed"
    records = {(record.tool_name, record.agent_path): record.output for record in result.tool_executions}
    assert records == {
        ("order", ("boss",)): f"for {handle.run_id}",
        ("order", ("boss", "low")): f"for {low_id}",
        ("transfer_to_low", ("boss",)): f"for {low_id}",
    }
    assert (await runner.resume(boss, run_id=handle.run_id)) == result


async def test_a_background_call_keeps_its_record_where_a_subagents_call_has_the_same_step_and_id(runner: Runner) -> None:
    work = Counted()
    low = agent([asks(("work", {})), says("low done")], work.tool, name="low")
    boss = agent([asks(("order", {}), transfer("low")), says("wait"), says("ok")], *clerk().tools, name="boss", subagents=[low])
    handle = await runner.run_handle(boss)
    await until(lambda: any(event.type == "subagent_completed" for event in handle.events._events))
    await runner.resolve_background_tool(thread_id=handle.thread_id, run_id=handle.run_id, ticket_id="t1", output="there")
    result = await handle.await_result()
    assert sorted(record.tool_name for record in result.tool_executions) == ["order", "transfer_to_low", "work"]


async def test_a_subagent_that_is_laid_down_with_its_ticket_parks_its_parent_and_is_resolved_by_its_own_id() -> None:
    boss = agent([asks(transfer("low")), says("ok")], name="boss", subagents=[clerk()])
    async with Runner(log=":memory:", config=RunnerConfig(background_tool_at_end="park")) as runner:
        parked = await runner.run(boss)
        assert (parked.state, "waits for background tools" in (parked.error or "")) == ("interrupted", True)
        (low_id,) = await child_ids(runner, parked.run_id)
        thread_id = (await log_of(runner, low_id))[0].thread_id
        assert (await runner.resume(boss, run_id=parked.run_id)).state == "interrupted"
        await runner.resolve_background_tool(thread_id=thread_id, run_id=low_id, ticket_id="t1", output="there")
        result = await runner.resume(boss, run_id=parked.run_id)
        deferred = only(await log_of(runner, low_id), "tool_deferred")
    assert (result.state, len(deferred)) == ("completed", 1)
    assert [(record.tool_name, record.success) for record in result.tool_executions] == [("order", True), ("transfer_to_low", True)]


# ------------------------------------------------------------------------------------------------------------------- control from outside


@pytest.mark.parametrize("depth", [1, 2])
async def test_cancelling_a_parked_parent_from_outside_ends_the_whole_family(depth: int) -> None:
    work = Counted()
    boss = team_under_approval(work, depth=depth)
    async with Runner(log=":memory:", config=RunnerConfig(interaction_mode="external")) as runner:
        parked = await runner.run(boss)
        attached = await runner.attach(run_id=parked.run_id, by="ann")
        receipt = await attached.cancel("enough")
        assert receipt.status == "taken_in"
        result = await runner.resume(boss, run_id=parked.run_id)
        assert (result.state, result.error, work.ran) == ("cancelled", "enough", 0)
        run_id = parked.run_id
        for _ in range(depth):
            (run_id,) = await child_ids(runner, run_id)
            assert (await log_of(runner, run_id))[-1].type == "run_cancelled"
        assert await runner.pending_requests() == ()


async def test_a_letter_cancels_a_living_family_and_one_member_alone(runner: Runner) -> None:
    def team() -> tuple[Agent, Stuck]:
        stuck = Stuck()
        low = agent([asks(("stuck", {}))], stuck.tool, name="low")
        return agent([asks(transfer("low")), says("ok")], name="boss", subagents=[low]), stuck

    ends = []
    for whose in ("parent", "child"):
        boss, stuck = team()
        handle = await runner.run_handle(boss)
        await stuck.begun.wait()
        (low_id,) = await child_ids(runner, handle.run_id)
        attached = await runner.attach(run_id=handle.run_id if whose == "parent" else low_id, by="ann")
        await attached.cancel("enough", wait_s=5)
        result = await handle.await_result()
        assert (stuck.cancelled, (await log_of(runner, low_id))[-1].type) == (True, "run_cancelled")
        assert [record.success for record in result.subagent_executions] == [False]
        ends.append(result.state)
    assert ends == ["cancelled", "completed"]


async def test_a_paused_parent_lets_its_child_come_to_its_end_and_starts_nothing_after_it(runner: Runner) -> None:
    stuck = StuckModel("low done")
    boss = agent([asks(transfer("low")), says("ok")], name="boss", subagents=[agent(stuck, name="low")])
    handle = await runner.run_handle(boss)
    await stuck.asked.wait()
    attached = await runner.attach(run_id=handle.run_id, by="ann")
    await attached.pause(wait_s=5)
    stuck.let_go.set()
    await until(lambda: any(event.type == "subagent_completed" for event in handle.events._events))
    assert len(model_of(boss).requests) == 1
    await attached.resume(wait_s=5)
    assert (await handle.await_result()).final_text == "ok"


async def test_two_runners_resume_one_parked_parent_and_one_of_them_goes_on_with_its_child(tmp_path: Path) -> None:
    work = Counted()
    boss, path = team_under_approval(work), tmp_path / "runs.db"
    config = RunnerConfig(interaction_mode="external")
    async with Runner(log=path, config=config) as one, Runner(log=path, config=config) as two:
        parked = await one.run(boss)
        await one.approve(run_id=parked.run_id, by="ann")
        ends = await asyncio.gather(*(each.resume(boss, run_id=parked.run_id) for each in (one, two)), return_exceptions=True)
        (result,) = [end for end in ends if isinstance(end, AgentResult)]
        assert [type(end) for end in ends if end is not result] == [RunOwnedError]
        assert (result.state, work.ran) == ("completed", 1)
        assert len(await child_ids(one, parked.run_id)) == 1
        assert len(await one.log.runs(limit=10)) == 2
