"""Whose run is over for good has the remote task cancelled; whose run is laid down finds it again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent, FailSafeConfig
from afk_es.clock import SimulatedClock
from afk_es.core import Runner, RunnerConfig
from afk_es.interaction import InMemoryInteraction
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.testing import ScriptedModel
from tests.a2a.client import wire
from tests.a2a.client.test_agent import boss
from tests.a2a.client.wire import Wire, refusal, task
from tests.core.scenario import log_of, only, until

WORKING = task("WORKING")
UNLIMITED = FailSafeConfig(max_wall_time_s=None)


def busy(**said: Any) -> Wire:
    """An agent that works for ever, until it is told to stop."""
    return Wire(**{"SendMessage": {"task": WORKING}, "GetTask": WORKING, "CancelTask": task("CANCELED"), **said})


def cancelled(agent: Wire) -> list[str]:
    """The tasks that the agent was told to cancel."""
    return [params["id"] for method, params in agent.asked if method == "CancelTask"]


async def test_a_run_that_is_cancelled_has_its_task_cancelled() -> None:
    agent = busy()
    async with Runner(log=":memory:") as runner:
        handle = await runner.run_handle(agent.client().agent(name="billing"), user_message="pay")
        await until(lambda: "GetTask" in agent.methods)
        await handle.cancel("enough")
        result = await handle.await_result()
    assert (result.state, cancelled(agent)) == ("cancelled", ["t1"])


async def test_a_run_that_is_laid_down_leaves_its_task_and_finds_it_again() -> None:
    sent: list[str] = []

    def begun(params: dict[str, Any]) -> dict[str, Any]:
        sent.append(params["message"]["messageId"])
        return {"task": WORKING}

    def listed(params: dict[str, Any]) -> dict[str, Any]:
        history = [{"messageId": sent[0], "role": "ROLE_USER", "parts": [{"text": "pay"}]}]
        return {"tasks": [task("WORKING", id="another"), {**WORKING, "history": history}]}

    agent = busy(SendMessage=begun, ListTasks=listed)
    described = agent.client().agent(name="billing")
    async with Runner(log=":memory:") as runner:
        handle = await runner.run_handle(described, user_message="pay")
        await until(lambda: "GetTask" in agent.methods)
        await handle.interrupt("the shop closes")
        laid_down = await handle.await_result()
        assert (laid_down.state, cancelled(agent)) == ("interrupted", [])
        agent.says(GetTask=task(text="paid"))
        result = await runner.resume(described, run_id=handle.run_id)
    assert (result.final_text, len(sent), cancelled(agent)) == ("paid", 1, [])


async def test_a_run_whose_event_loop_ends_leaves_its_task() -> None:
    agent = busy()

    def dies() -> None:
        async def main() -> None:
            runner = Runner(log=":memory:")
            await runner.run_handle(agent.client().agent(name="billing"), user_message="pay")
            await until(lambda: "GetTask" in agent.methods)

        asyncio.run(main())

    await asyncio.to_thread(dies)
    assert cancelled(agent) == []


async def test_a_run_out_of_time_has_its_task_cancelled_and_with_more_time_begins_another() -> None:
    """The message of the second task has an id of its own: under the first the agent would only tell of the cancelled one again."""
    sent: list[str] = []

    def begun(params: dict[str, Any]) -> dict[str, Any]:
        message_id = params["message"]["messageId"]
        if message_id in sent:
            return {"task": task("CANCELED")}
        sent.append(message_id)
        return {"task": WORKING if len(sent) == 1 else task(text="paid", id="t2")}

    agent = busy(SendMessage=begun, ListTasks=refusal(wire.NO_METHOD, "no lists"))
    clock = SimulatedClock()
    client = agent.client()
    async with Runner(log=":memory:", clock=clock) as runner:
        handle = await runner.run_handle(client.agent(name="billing", fail_safe=FailSafeConfig(max_wall_time_s=5.0)), user_message="pay")
        await until(lambda: "GetTask" in agent.methods)
        clock.advance(6.0)
        cut = await handle.await_result()
        assert (cut.state, cancelled(agent)) == ("interrupted", ["t1"])
        assert "max_wall_time_s" in (cut.error or "")
        patient = client.agent(name="billing", fail_safe=FailSafeConfig(max_wall_time_s=60.0))
        result = await runner.resume(patient, run_id=handle.run_id, allow_agent_change=True)
    assert result.final_text == "paid"
    assert len(sent) == 2


async def test_cancelling_a_parent_cancels_what_its_remote_subagent_does() -> None:
    agent = busy()
    async with Runner(log=":memory:") as runner:
        handle = await runner.run_handle(boss(agent.client().agent(name="billing")), user_message="go")
        await until(lambda: "GetTask" in agent.methods)
        await handle.cancel()
        assert (await handle.await_result()).state == "cancelled"
    assert cancelled(agent) == ["t1"]


async def test_a_subagent_that_is_not_needed_any_more_is_cancelled_and_its_parent_goes_on() -> None:
    slow, fast = busy(), Wire(SendMessage={"task": task(text="mine")})
    both = [ToolCall(f"c{n}", f"transfer_to_{name}", {"task": "race"}) for n, name in enumerate(("slow", "fast"))]

    top = Agent(
        name="boss",
        model=ScriptedModel([LLMResponse(tool_calls=tuple(both)), "done"]),
        subagents=[slow.client().agent(name="slow"), fast.client().agent(name="fast")],
        join_policy="first_success",
    )
    result = await Runner(log=":memory:").run(top, user_message="go")
    assert result.final_text == "done"
    assert cancelled(slow) in (["t1"], [])
    if "SendMessage" in slow.methods:
        assert cancelled(slow) == ["t1"]


@pytest.mark.parametrize("answer", [refusal(wire.NOT_CANCELABLE, "it is over"), refusal(wire.NO_METHOD, "?"), ConnectionError("gone")])
async def test_an_agent_that_cannot_be_stopped_holds_nothing_up(answer: Any) -> None:
    agent = busy(CancelTask=answer)
    async with Runner(log=":memory:") as runner:
        handle = await runner.run_handle(agent.client().agent(name="billing"), user_message="pay")
        await until(lambda: "GetTask" in agent.methods)
        await handle.cancel("enough")
        result = await handle.await_result()
        assert [event.type for event in await log_of(runner, handle.run_id)][-1] == "run_cancelled"
    assert (result.state, cancelled(agent)) == ("cancelled", ["t1"])


async def test_a_task_whose_name_is_not_known_yet_is_looked_for_by_its_message() -> None:
    sent: list[str] = []
    hanging = asyncio.Event()

    async def hangs(request: Any) -> Any:
        await hanging.wait()

    agent = busy()
    answer = agent.transport.handler

    async def slow(request: Any) -> Any:
        if b'"SendMessage"' in request.content:
            answer(request)
            sent.append(agent.asked[-1][1]["message"]["messageId"])
            agent.says(
                ListTasks={"tasks": [{**WORKING, "history": [{"messageId": sent[0], "role": "ROLE_USER", "parts": [{"text": "pay"}]}]}]}
            )
            await hangs(request)
        return answer(request)

    agent.transport.handler = slow
    async with Runner(log=":memory:") as runner:
        handle = await runner.run_handle(agent.client().agent(name="billing"), user_message="pay")
        await until(lambda: bool(sent))
        await handle.cancel("enough")
        await handle.await_result()
    assert cancelled(agent) == ["t1"]


ASKING = {"task": task("INPUT_REQUIRED", message="Which account?")}


def asked_by(agent: Wire) -> tuple[Runner, InMemoryInteraction]:
    """A Runner whose people are asked what this agent asks."""
    people = InMemoryInteraction()
    agent.says(SendMessage=ASKING)
    return Runner(log=":memory:", config=RunnerConfig(interaction_mode="interactive"), interaction_provider=people), people


async def test_a_run_that_is_cancelled_while_a_person_is_asked_has_its_task_cancelled() -> None:
    agent = busy()
    runner, people = asked_by(agent)
    async with runner:
        handle = await runner.run_handle(agent.client().agent(name="billing"), user_message="pay")
        await people.next_request()
        await handle.cancel("enough")
        result = await handle.await_result()
    assert (result.state, cancelled(agent)) == ("cancelled", ["t1"])


async def test_a_parent_that_is_cancelled_while_a_person_is_asked_for_its_subagent_has_the_task_cancelled() -> None:
    agent = busy()
    runner, people = asked_by(agent)
    async with runner:
        handle = await runner.run_handle(boss(agent.client().agent(name="billing")), user_message="go")
        await people.next_request()
        await handle.cancel()
        assert (await handle.await_result()).state == "cancelled"
    assert cancelled(agent) == ["t1"]


async def test_a_run_that_is_laid_down_while_a_person_is_asked_leaves_its_task_waiting() -> None:
    agent = busy()
    runner, people = asked_by(agent)
    async with runner:
        handle = await runner.run_handle(agent.client().agent(name="billing"), user_message="pay")
        await people.next_request()
        await handle.interrupt("the shop closes")
        assert (await handle.await_result()).state == "interrupted"
    assert cancelled(agent) == []


async def test_a_run_that_is_out_of_time_while_a_person_is_asked_has_its_task_cancelled_and_the_answer_comes_too_late() -> None:
    over = refusal(wire.UNSUPPORTED, "the task is over")
    agent, people, clock = busy(SendMessage=[ASKING, over]), InMemoryInteraction(), SimulatedClock()
    client, config = agent.client(), RunnerConfig(interaction_mode="interactive")
    async with Runner(log=":memory:", clock=clock, config=config, interaction_provider=people) as runner:
        hasty = client.agent(name="billing", fail_safe=FailSafeConfig(max_wall_time_s=5.0))
        handle = await runner.run_handle(hasty, user_message="pay")
        await people.next_request()
        clock.advance(6.0)
        cut = await handle.await_result()
        assert (cut.state, cancelled(agent)) == ("interrupted", ["t1"])
        patient = client.agent(name="billing", fail_safe=FailSafeConfig(max_wall_time_s=60.0))
        again = await runner.resume_handle(patient, run_id=handle.run_id, allow_agent_change=True)
        people.answer((await people.next_request()).request_id, "savings", by="ann")
        result = await again.await_result()
    assert result.state == "failed"
    assert "the task is over" in (result.error or "")


async def test_a_run_that_is_cancelled_while_the_agent_takes_in_the_answer_has_its_task_cancelled_once() -> None:
    agent = busy()
    runner, people = asked_by(agent)
    async with runner:
        handle = await runner.run_handle(agent.client().agent(name="billing"), user_message="pay")
        request = await people.next_request()
        agent.says(SendMessage={"task": WORKING})
        people.answer(request.request_id, "savings", by="ann")
        await until(lambda: "GetTask" in agent.methods)
        await handle.cancel()
        assert (await handle.await_result()).state == "cancelled"
    assert cancelled(agent) == ["t1"]


async def test_a_run_that_ends_with_an_answer_that_was_not_passed_on_has_its_task_cancelled() -> None:
    """The person answered, and the agent will never be told."""
    agent = busy()
    runner, people = asked_by(agent)
    async with runner:
        handle = await runner.run_handle(agent.client().agent(name="billing", fail_safe=FailSafeConfig(max_steps=1)), user_message="pay")
        people.answer((await people.next_request()).request_id, "savings", by="ann")
        result = await handle.await_result()
    assert (result.state, cancelled(agent)) == ("failed", ["t1"])


async def test_a_run_whose_process_died_over_a_question_and_that_is_cancelled_as_it_goes_on_has_its_task_cancelled(tmp_path: Path) -> None:
    """The conversation in the log names the task; the process that asked is gone."""
    agent, log = busy(SendMessage=ASKING), tmp_path / "runs.db"
    asked: list[str] = []

    def dies() -> None:
        async def main() -> None:
            people = InMemoryInteraction()
            runner = Runner(log=log, config=RunnerConfig(interaction_mode="interactive"), interaction_provider=people)
            handle = await runner.run_handle(agent.client().agent(name="billing"), user_message="pay")
            await people.next_request()
            asked.append(handle.run_id)

        asyncio.run(main())

    await asyncio.to_thread(dies)
    assert cancelled(agent) == []
    people = InMemoryInteraction()
    async with Runner(log=log, config=RunnerConfig(interaction_mode="interactive"), interaction_provider=people) as runner:
        handle = await runner.resume_handle(agent.client().agent(name="billing"), run_id=asked[0])
        await handle.cancel()
        assert (await handle.await_result()).state == "cancelled"
    assert cancelled(agent) == ["t1"]


async def test_a_run_that_nobody_drives_is_cancelled_in_its_log_alone() -> None:
    """Whoever cancels it has no client; the task is named by the call."""
    agent = busy(SendMessage=ASKING)
    async with Runner(log=":memory:", config=RunnerConfig(interaction_mode="external")) as runner:
        result = await runner.run(agent.client().agent(name="billing"), user_message="pay")
        attached = await runner.attach(run_id=result.run_id, by="ann")
        await attached.cancel()
        assert (await attached.await_result()).state == "cancelled"
    assert cancelled(agent) == []


async def test_a_replay_and_a_fork_of_a_question_leave_the_task_to_the_run_that_asked() -> None:
    agent = busy()
    described = agent.client().agent(name="billing")
    runner, people = asked_by(agent)
    async with runner:
        handle = await runner.run_handle(described, user_message="pay")
        await people.next_request()
        await handle.interrupt()
        await handle.await_result()
        (answered,) = only(await log_of(runner, handle.run_id), "llm_completed")
        fork = await runner.fork_handle(described, run_id=handle.run_id, at=answered.seq)
        await people.next_request()
        await fork.cancel()
        forked = await fork.await_result()
        await (await runner.attach(run_id=handle.run_id, by="ann")).cancel()
        replayed = await runner.replay(described, run_id=handle.run_id)
    assert (forked.state, replayed.result.state) == ("cancelled", "cancelled")
    assert (cancelled(agent), agent.methods.count("SendMessage")) == ([], 1)


async def test_models_that_have_nothing_to_take_back_are_left_alone() -> None:
    """A call that is cut is told of once it is cut, and a model without `withdraw` is not asked about it."""
    asked = asyncio.Event()

    class Slow:
        provider_id = "slow"

        async def chat(self, request: LLMRequest) -> LLMResponse:
            asked.set()
            await asyncio.Event().wait()
            return LLMResponse()

    class Stoppable(Slow):
        def __init__(self) -> None:
            self.withdrawn: list[LLMRequest] = []

        async def withdraw(self, request: LLMRequest) -> None:
            self.withdrawn.append(request)
            raise RuntimeError("cannot be stopped")

    stoppable = Stoppable()
    for model in (Slow(), stoppable):
        asked.clear()
        async with Runner(log=":memory:") as runner:
            handle = await runner.run_handle(Agent(model=model, fail_safe=UNLIMITED), user_message="x")
            await asked.wait()
            await handle.cancel()
            assert (await handle.await_result()).state == "cancelled"
            assert only(await log_of(runner, handle.run_id), "warning") == []
    (request,) = stoppable.withdrawn
    assert (request.attempt, [message.content for message in request.messages]) == (1, ["x"])
