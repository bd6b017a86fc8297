"""Goal: a run is answered and controlled from any process, or there is a clear error and nothing was written.

Method: two Runners with a store each on one file, as two processes have them; owners that live, that lie down, and that are gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.clock import SystemClock
from afk_es.core import Runner, RunnerConfig
from afk_es.core.pending import pending_requests
from afk_es.core.retention import RetentionPolicy
from afk_es.errors import ConfigurationError, RunNotFoundError, UsageError
from afk_es.evals.recorded_results import recorded_result
from afk_es.interaction import InMemoryInteraction
from afk_es.log import EventLog, open_log
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import AgentRunEvent, Draft
from afk_es.views.verification import problems
from tests.core.scenario import Counted, Stuck, StuckModel, agent, always, asks, says, types
from tests.support.stories import Stories

OFTEN = RunnerConfig(background_tool_poll_interval_s=0.01)


class Gone(MemoryEventLog):
    """A log whose owners are all dead."""

    async def alive(self, owner: str, run_id: str) -> bool:
        return False


def ruled(action: Any, work: Counted, *, calls: int = 1) -> Agent:
    engine = PolicyEngine([PolicyRule(rule_id="four eyes", action=action, condition=always, subjects=("tool",))])
    script = [asks(*[("work", {"n": number}) for number in range(calls)]), says("ok")]
    return agent(script, work.tool, policy_engine=engine)


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncIterator[Runner]:
    """A Runner of another process."""
    async with Runner(log=tmp_path / "runs.db", config=OFTEN) as runner:
        yield runner


async def parked(tmp_path: Path, described: Agent) -> str:
    """The id of a run that lies there and waits for answers; the process that ran it is gone."""
    result = await Runner(log=tmp_path / "runs.db", config=RunnerConfig(interaction_mode="external")).run(described)
    assert result.state == "interrupted"
    return result.run_id


async def letters(log: EventLog) -> int:
    return await log.posted()


class TestAnswers:
    async def test_a_grant_waits_for_whoever_resumes_and_the_tool_runs_once(self, tmp_path: Path, outside: Runner) -> None:
        work = Counted()
        described = ruled("request_approval", work)
        run_id = await parked(tmp_path, described)
        (request,) = await outside.pending_requests(run_id=run_id)
        delivery = await outside.approve(run_id=run_id, request_id=request.request_id, by="ann", reason="fine")
        assert (delivery.status, delivery.run_id) == ("posted", run_id)
        assert await outside.pending_requests() == ()
        result = await Runner(log=tmp_path / "runs.db").resume(described, run_id=run_id)
        events = await outside.log.read(run_id)
        assert (result.state, work.ran) == ("completed", 1)
        assert types(events).count("approval_requested") == 1
        (answer,) = (event.data for event in events if event.type == "approval_resolved")
        assert (answer["by"], answer["reason"], answer["letter"]) == ("ann", "fine", delivery.letter)
        assert not list(problems(events))

    async def test_words_reach_a_live_run_and_it_is_said_that_they_did(self, tmp_path: Path, outside: Runner) -> None:
        people = InMemoryInteraction()
        config = RunnerConfig(interaction_mode="interactive", background_tool_poll_interval_s=0.01)
        runner = Runner(log=tmp_path / "runs.db", interaction_provider=people, config=config)
        handle = await runner.run_handle(ruled("request_user_input", Counted()))
        await people.next_request()
        delivery = await outside.answer(run_id=handle.run_id, value="blue", by="ann", wait_s=10)
        result = await handle.await_result()
        assert (delivery.status, result.state) == ("taken_in", "completed")
        assert result.tool_executions[0].output == "blue"

    async def test_an_answer_that_came_too_late_is_said_to_be_refused(self, tmp_path: Path, outside: Runner) -> None:
        """Between the look at the log and the post, somebody else answered."""
        people = InMemoryInteraction()
        config = RunnerConfig(interaction_mode="interactive", background_tool_poll_interval_s=0.01)
        runner = Runner(log=tmp_path / "runs.db", interaction_provider=people, config=config)
        stuck = Stuck("work")
        engine = PolicyEngine([PolicyRule(action="request_approval", condition=always, subjects=("tool",))])
        handle = await runner.run_handle(agent([asks(("work", {})), says("ok")], stuck.tool, policy_engine=engine))
        request = await people.next_request()
        attached = await outside.attach(run_id=handle.run_id, by="bob")
        post = outside.log.post

        async def overtaken(run_id: str, draft: Draft, *, at: Any) -> Any:
            people.approve(request.request_id, by="ann")
            await stuck.begun.wait()
            return await post(run_id, draft, at=at)

        outside.log.post = overtaken  # type: ignore[method-assign]
        delivery = await attached.deny(wait_s=10)
        stuck.let_go.set()
        assert (delivery.status, (await handle.await_result()).state) == ("refused", "completed")
        assert "no approval is pending" in (delivery.reason or "")

    async def test_put_off_from_outside_it_stays_open_and_the_run_lies_down(self, tmp_path: Path, outside: Runner) -> None:
        people = InMemoryInteraction()
        config = RunnerConfig(interaction_mode="interactive", background_tool_poll_interval_s=0.01)
        runner = Runner(log=tmp_path / "runs.db", interaction_provider=people, config=config)
        handle = await runner.run_handle(ruled("request_approval", Counted()))
        await people.next_request()
        attached = await outside.attach(run_id=handle.run_id, by="bob")
        await attached.defer(wait_s=10)
        assert (await handle.await_result()).state == "interrupted"
        (request,) = await attached.pending()
        assert request.deferred

    async def test_wrong_answers_are_errors_and_write_nothing(self, tmp_path: Path, outside: Runner) -> None:
        approval = await parked(tmp_path, ruled("request_approval", Counted(), calls=2))
        words = await parked(tmp_path, ruled("request_user_input", Counted()))
        ended = (await Runner(log=tmp_path / "runs.db").run(agent(["ok"]))).run_id
        wrong: list[tuple[Any, type[Exception], str]] = [
            (outside.approve(run_id="run_of_nobody", by="ann"), RunNotFoundError, "no run 'run_of_nobody'"),
            (outside.pending_requests(run_id="run_of_nobody"), RunNotFoundError, "no run"),
            (outside.approve(run_id="", by="ann"), ConfigurationError, "run_id is a non-empty string"),
            (outside.approve(run_id=approval, by=" "), ConfigurationError, "by is a non-empty string"),
            (outside.approve(run_id=approval, request_id="approval:1:0", by="fallback"), ConfigurationError, "name who did"),
            (outside.approve(run_id=approval, by="ann"), UsageError, "several requests are pending; say which: 'approval:1:0'"),
            (outside.approve(run_id=approval, request_id="approval:9:0", by="ann"), UsageError, "no pending request 'approval:9:0'"),
            (outside.approve(run_id=words, by="ann"), UsageError, "asks for words"),
            (outside.answer(run_id=approval, request_id="approval:1:0", value="x", by="ann"), UsageError, "asks for a yes or no"),
            (outside.answer(run_id=words, value=7, by="ann"), ConfigurationError, "value"),  # type: ignore[arg-type]
            (outside.deny(run_id=ended, by="ann"), UsageError, r"has ended \(completed\)"),
        ]
        for call, kind, message in wrong:
            with pytest.raises(kind, match=message):
                await call
        assert await letters(outside.log) == 0

    async def test_a_runs_own_request_is_meant_where_its_subagents_has_the_same_id(self, tmp_path: Path, outside: Runner) -> None:
        """Found by generated run 199: parent and child each wait for `approval:1:0`, and the parent's could not be named."""
        above, below = Counted(), Counted()
        child = ruled("request_approval", below).model_copy(update={"name": "clerk"})
        turns = [asks(("work", {}), ("transfer_to_clerk", {"task": "Do it."})), says("ok")]
        engine = PolicyEngine([PolicyRule(action="request_approval", condition=always, subjects=("tool",))])
        run_id = await parked(tmp_path, agent(turns, above.tool, subagents=[child], policy_engine=engine))
        pending = await outside.pending_requests(run_id=run_id)
        assert [request.request_id for request in pending] == ["approval:1:0", "approval:1:0"]
        await outside.approve(run_id=run_id, request_id="approval:1:0", by="ann")
        (left,) = await outside.pending_requests(run_id=run_id)
        assert left.run_id != run_id
        await outside.approve(run_id=run_id, request_id="approval:1:0", by="ann")
        assert await outside.pending_requests(run_id=run_id) == ()

    @pytest.mark.parametrize("resumed", [False, True])
    async def test_what_was_answered_is_not_answered_again(self, tmp_path: Path, outside: Runner, resumed: bool) -> None:
        described = ruled("request_approval", Counted(), calls=2)
        run_id = await parked(tmp_path, described)
        await outside.deny(run_id=run_id, request_id="approval:1:0", by="ann")
        if resumed:
            await Runner(log=tmp_path / "runs.db", config=RunnerConfig(interaction_mode="external")).resume(described, run_id=run_id)
        with pytest.raises(UsageError, match="'approval:1:0' was answered: denied by ann"):
            await outside.approve(run_id=run_id, request_id="approval:1:0", by="bob")
        assert await letters(outside.log) == 1

    async def test_forged_letters_answer_nothing(self, tmp_path: Path, outside: Runner) -> None:
        """Written past the library: for another request, for other arguments, and the genuine answer to another run's request."""
        work = Counted()
        described = ruled("request_approval", work)
        run_id = await parked(tmp_path, described)
        other = await parked(tmp_path, ruled("request_approval", Counted(), calls=2))
        genuine = {"tool_call_id": "c1", "outcome": "granted", "by": "eve", "reason": None}
        (request,) = await outside.pending_requests(run_id=run_id)
        second = (await outside.pending_requests(run_id=other))[1]
        assert request.kind == "approval"
        assert second.kind == "approval"
        for forged in (
            {"request_id": "approval:7:0", "arguments_hash": request.arguments_hash},
            {"request_id": request.request_id, "arguments_hash": "0" * 64},
            {"request_id": second.request_id, "arguments_hash": second.arguments_hash, "tool_call_id": second.tool_call_id},
        ):
            await outside.log.post(run_id, Draft("approval_resolved", {**genuine, **forged}), at=SystemClock().now())
        assert await outside.pending_requests(run_id=run_id) == (request,)
        result = await Runner(log=tmp_path / "runs.db", config=RunnerConfig(interaction_mode="external")).resume(described, run_id=run_id)
        assert (result.state, work.ran) == ("interrupted", 0)
        assert types(await outside.log.read(run_id)).count("warning") == 3

    async def test_requests_of_subagents_are_their_parents_too(self) -> None:
        """As the log of a parent names its children; the request of one that has ended is not open."""
        async with Runner(log=":memory:", config=RunnerConfig(interaction_mode="external")) as runner:
            children = [(await runner.run(ruled("request_approval", Counted()))).run_id for _ in range(2)]
            parent = await runner.run_handle(agent(StuckModel()))
            await parent.interrupt()
            await parent.await_result()
            events = await runner.log.read(parent.run_id)
            started = [{"subagent_name": "scout", "correlation_id": f"s{number}", "run_id": child} for number, child in enumerate(children)]
            ended: dict[str, Any] = {"subagent_name": "scout", "success": True, "latency_ms": 1.0, "error": None, "run_id": children[0]}
            data: dict[str, Any] = {"agent_name": "agent", "resumed": True, "epoch": 2, "owner": runner.log.owner}
            drafts = [("run_started", data), *(("subagent_started", each) for each in started), ("subagent_completed", ended)]
            last = events[-1]
            more = [
                AgentRunEvent(kind, last.run_id, last.thread_id, last.seq + number, last.at, "running", 1, "", {**data})
                for number, (kind, data) in enumerate(drafts, 1)
            ]
            await runner.log.append(more, epoch=2)
            (request,) = await pending_requests(runner.log, parent.run_id)
            assert request.run_id == children[1]
            delivery = await runner.approve(run_id=parent.run_id, by="ann")
            assert delivery.run_id == children[1]


class TestControl:
    async def test_a_live_run_of_another_process_is_paused_goes_on_and_is_cancelled(self, tmp_path: Path, outside: Runner) -> None:
        model = StuckModel()
        handle = await Runner(log=tmp_path / "runs.db", config=OFTEN).run_handle(agent(model))
        attached = await outside.attach(run_id=handle.run_id, by="ann")
        with pytest.raises(UsageError, match="not paused"):
            await attached.resume()
        assert (await attached.pause("for lunch", wait_s=10)).status == "taken_in"
        with pytest.raises(UsageError, match="paused already"):
            await attached.pause()
        assert (await attached.resume(wait_s=10)).status == "taken_in"
        assert (await attached.cancel("enough", wait_s=10)).status == "taken_in"
        assert (await handle.await_result()).state == "cancelled"
        controls = [event.data for event in await outside.log.read(handle.run_id) if event.type == "control_requested"]
        assert [(each["action"], each["origin"]) for each in controls] == [("pause", "ann"), ("resume", "ann"), ("cancel", "ann")]

    @pytest.mark.parametrize(("action", "state"), [("cancel", "cancelled"), ("interrupt", "interrupted")])
    async def test_a_run_whose_process_is_gone_is_ended_without_its_agent(self, action: str, state: str) -> None:
        log = Gone()
        runner, other = Runner(log=log), Runner(log=log)
        stuck = Stuck()
        await log.open()
        handle = await runner.run_handle(agent([asks(("stuck", {})), says("ok")], stuck.tool))
        await stuck.begun.wait()
        attached = await other.attach(run_id=handle.run_id, by="ann")
        with pytest.raises(UsageError, match="no process drives it"):
            await attached.pause()
        delivery = await getattr(attached, action)("its machine burnt")
        events = await log.read(handle.run_id)
        assert delivery.status == "taken_in"
        assert [event.data["epoch"] for event in events if event.type == "run_started"] == [1, 2]
        result = await attached.await_result()
        assert (result.state, result.error) == (state, "its machine burnt")
        assert types(events)[-1] == f"run_{state}"
        assert "tool_started" not in types(events)[types(events).index("run_started", 1) :]
        if action == "cancel":
            assert [record.error is not None for record in result.tool_executions] == [True]
        assert not list(problems(events))
        # The owner that was taken for dead finds that it is stale.
        stuck.let_go.set()
        with pytest.raises(Exception, match="run"):
            await handle.await_result()

    async def test_a_run_that_lies_there_can_be_cancelled_and_not_be_paused_or_interrupted(self, tmp_path: Path, outside: Runner) -> None:
        work = Counted()
        described = ruled("request_approval", work)
        run_id = await parked(tmp_path, described)
        attached = await outside.attach(run_id=run_id, by="ann")
        for action, message in (("pause", "not running"), ("resume", "not running"), ("interrupt", "laid down")):
            with pytest.raises(UsageError, match=message):
                await getattr(attached, action)()
        assert await letters(outside.log) == 0
        assert (await attached.cancel()).status == "taken_in"
        assert await outside.pending_requests() == ()
        result = await Runner(log=tmp_path / "runs.db").resume(described, run_id=run_id)
        assert (result.state, work.ran) == ("cancelled", 0)
        with pytest.raises(UsageError, match=r"has ended \(cancelled\)"):
            await attached.cancel()

    async def test_a_grant_that_waits_starts_nothing_when_the_run_is_cancelled(self, tmp_path: Path, outside: Runner) -> None:
        work = Counted()
        run_id = await parked(tmp_path, ruled("request_approval", work))
        attached = await outside.attach(run_id=run_id, by="ann")
        await attached.approve()
        await attached.cancel()
        assert (await attached.await_result()).state == "cancelled"
        assert "tool_started" not in types(await outside.log.read(run_id))

    async def test_of_two_who_cancel_a_dead_run_at_once_one_does_and_the_other_is_told(self, tmp_path: Path, outside: Runner) -> None:
        run_id = await parked(tmp_path, ruled("request_approval", Counted()))
        async with Runner(log=tmp_path / "runs.db") as third:
            one, two = await outside.attach(run_id=run_id, by="ann"), await third.attach(run_id=run_id, by="bob")
            done = await asyncio.gather(one.cancel(wait_s=5), two.cancel(wait_s=5), return_exceptions=True)
        assert any(getattr(each, "status", "") == "taken_in" for each in done), done
        assert all(isinstance(each, UsageError) or getattr(each, "status", "") in ("taken_in", "refused") for each in done), done
        events = await outside.log.read(run_id)
        assert events[-1].type == "run_cancelled"
        assert not list(problems(events))


class TestWatching:
    async def test_the_events_of_another_process_as_they_come_and_its_result(self, tmp_path: Path, outside: Runner) -> None:
        model = StuckModel()
        handle = await Runner(log=tmp_path / "runs.db", config=OFTEN).run_handle(agent(model))
        attached = await outside.attach(run_id=handle.run_id, by="ann")
        seen: list[str] = []
        async for event in attached.events:
            seen.append(event.type)
            if event.type == "llm_called":
                model.let_go.set()
        assert seen == types(await outside.log.read(handle.run_id))
        result = await attached.await_result()
        assert (result.state, result.final_text, attached.thread_id) == ("completed", "late", handle.thread_id)
        assert result.model_dump() == (await handle.await_result()).model_dump()

    async def test_a_run_that_nobody_drives_has_no_result_to_wait_for(self) -> None:
        log = Gone()
        await log.open()
        handle = await Runner(log=log).run_handle(agent(StuckModel()))
        attached = await Runner(log=log).attach(run_id=handle.run_id, by="ann")
        with pytest.raises(UsageError, match="no process drives it"):
            await attached.await_result()
        await handle.cancel()
        await handle.await_result()

    async def test_an_unknown_run_cannot_be_attached_to(self, outside: Runner) -> None:
        with pytest.raises(RunNotFoundError, match="'run_9'"):
            await outside.attach(run_id="run_9", by="ann")


async def test_what_this_process_posts_is_looked_at_at_once() -> None:
    """The inbox would look an hour later."""
    config = RunnerConfig(background_tool_poll_interval_s=3600.0)
    async with Runner(log=":memory:", config=config) as runner:
        handle = await runner.run_handle(agent(StuckModel()))
        attached = await runner.attach(run_id=handle.run_id, by="ann")
        for _ in range(3):
            assert (await attached.pause(wait_s=10)).status == "taken_in"
            assert (await attached.resume(wait_s=10)).status == "taken_in"
        await asyncio.gather(*(attached.cancel() for _ in range(5)))
        assert (await handle.await_result()).state == "cancelled"


async def test_a_log_is_only_read_by_whoever_lists(tmp_path: Path) -> None:
    run_id = await parked(tmp_path, ruled("request_approval", Counted()))
    log = open_log(tmp_path / "runs.db", read_only=True)
    await log.open()
    (request,) = await pending_requests(log)
    await log.close()
    assert request.run_id == run_id


async def test_a_run_that_compacted_what_its_thread_remembered_is_seen_and_answered_from_outside(tmp_path: Path, outside: Runner) -> None:
    """What a compaction replaces may be older than the run. Found by the shipped invariants (seed 473 of a wild world); kept as what it was:
    to look at such a run's questions broke the fold.
    """
    config = RunnerConfig(interaction_mode="external", thread_retention=RetentionPolicy(max_messages=6))
    work = Counted()
    described = ruled("request_approval", work)
    runner = Runner(log=tmp_path / "runs.db", config=config)
    for _ in range(3):
        assert (await runner.run(agent(["so"]), user_message="before", thread_id="t")).state == "completed"
    run_id = (await runner.run(described, user_message="now", thread_id="t")).run_id
    assert "thread_compacted" in types(await outside.log.read(run_id))
    (request,) = await outside.pending_requests(run_id=run_id)
    assert (await outside.approve(run_id=run_id, request_id=request.request_id, by="ann")).status == "posted"
    recorded = await recorded_result(outside.log, run_id)
    assert recorded.state == "interrupted"
    assert (await runner.resume(described, run_id=run_id)).state == "completed"
    assert work.ran == 1


async def test_a_run_that_has_compacted_what_its_thread_remembered_is_told_of_from_outside(stories: Stories) -> None:
    """Its compaction makes no sense without what was there before it, so that is read as well."""
    async with Runner(log=stories.log) as runner:
        attached = await runner.attach(run_id=stories.run_ids["complete"], by="ada")
        assert (await attached.await_result()).state == "completed"
        assert await attached.pending() == ()
        with pytest.raises(UsageError, match="has ended"):
            await attached.cancel()
