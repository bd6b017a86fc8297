"""What a remote agent asks in the middle of its work is asked of a person by our machine, once, and answered from anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from a2a.server.agent_execution import RequestContext
from a2a.server.tasks import TaskUpdater
from a2a.types import a2a_pb2 as pb

from afk_es.a2a.client.questions import ANSWER_REMOTE
from afk_es.agents import PolicyEngine, PolicyRule
from afk_es.clock import SimulatedClock
from afk_es.core import Runner, RunnerConfig
from afk_es.interaction import InMemoryInteraction, InputRequest
from tests.a2a.client.servers import Remote, in_memory, said
from tests.a2a.client.test_agent import boss
from tests.a2a.client.wire import Wire, task
from tests.core.scenario import log_of, only


def quick() -> SimulatedClock:
    """A clock on which waiting costs nothing."""
    return SimulatedClock(autojump_threshold_s=0.0)


async def pays_from(context: RequestContext, updater: TaskUpdater) -> None:
    """Asks which account, and then whether it is sure."""
    if context.current_task is None:
        await updater.requires_input(said(updater, "Which account?"))
        return
    answers = [part.text for message in context.current_task.history if message.role == pb.ROLE_USER for part in message.parts]
    answers.append(context.get_user_input())
    if "yes" in answers:
        await updater.add_artifact([pb.Part(text=f"paid: {' / '.join(answers)}")])
        await updater.complete()
        return
    await updater.requires_input(said(updater, "Sure?"))


def interactive(people: InMemoryInteraction) -> Runner:
    """A Runner that asks these."""
    return Runner(log=":memory:", config=RunnerConfig(interaction_mode="interactive"), interaction_provider=people)


async def test_a_question_is_put_to_a_person_and_the_answer_goes_to_the_same_task() -> None:
    remote, people = Remote(pays_from), InMemoryInteraction()
    async with interactive(people) as runner:
        handle = await runner.run_handle(in_memory(remote, clock=quick()).agent(name="billing"), user_message="pay")
        prompts = []
        for words in ("savings", "yes"):
            request = await people.next_request()
            assert isinstance(request, InputRequest)
            prompts.append(request.prompt)
            people.answer(request.request_id, words, by="ann")
        result = await handle.await_result()
    assert prompts == ["The remote agent 'billing' asks: Which account?", "The remote agent 'billing' asks: Sure?"]
    assert result.final_text == "paid: pay / savings / yes"
    assert len(set(remote.tasks)) == 1
    assert len(set(remote.messages)) == 3


async def test_the_question_waits_in_the_log_and_is_answered_in_another_process(tmp_path: Path) -> None:
    """In external mode the run is laid down with its parent; whoever answers needs neither the agent nor a process that drives it."""
    remote = Remote(pays_from)
    log, config = tmp_path / "runs.db", RunnerConfig(interaction_mode="external")
    client = in_memory(remote, clock=quick())
    async with Runner(log=log, config=config) as runner:
        result = await runner.run(boss(client.agent(name="billing")), user_message="go")
    for words in ("savings", "yes"):
        assert result.state == "interrupted"
        async with Runner(log=log, config=config) as elsewhere:
            attached = await elsewhere.attach(run_id=result.run_id, by="ann")
            await attached.answer(words)
        async with Runner(log=log, config=config) as runner:
            result = await runner.resume(boss(client.agent(name="billing")), run_id=result.run_id)
    assert result.subagent_executions[0].output_text == "paid: pay invoice 7 / savings / yes"
    assert len(set(remote.tasks)) == 1


async def test_where_nobody_answers_the_run_fails_with_the_question_and_the_task_is_cancelled() -> None:
    remote = Remote(pays_from)
    async with Runner(log=":memory:") as runner:
        result = await runner.run(in_memory(remote, clock=quick()).agent(name="billing"), user_message="pay")
        (failed,) = only(await log_of(runner, result.run_id), "llm_failed")
    assert result.state == "failed"
    assert "Which account?" in (result.error or "")
    assert "nobody answered (headless mode)" in (result.error or "")
    assert (failed.data["error_type"], failed.data["classification"]) == ("LLMCapabilityError", "terminal")
    assert remote.cancelled == remote.tasks


async def test_a_person_may_refuse_to_answer() -> None:
    remote, people = Remote(pays_from), InMemoryInteraction()
    async with interactive(people) as runner:
        handle = await runner.run_handle(in_memory(remote, clock=quick()).agent(name="billing"), user_message="pay")
        people.deny((await people.next_request()).request_id, by="ann", reason="ask Bob")
        result = await handle.await_result()
    assert "ask Bob" in (result.error or "")
    assert remote.cancelled == remote.tasks


@pytest.mark.parametrize("preamble", [True, False])
@pytest.mark.parametrize("words", ['Error: none of "these"', "two\nlines\nSystem: x", "{}", "ümläut 🎉", " "])
async def test_a_persons_words_arrive_whatever_they_look_like(words: str, preamble: bool) -> None:
    remote, people = Remote(pays_from), InMemoryInteraction()
    config = RunnerConfig(interaction_mode="interactive", untrusted_tool_preamble=preamble, sanitize_tool_output=preamble)
    async with Runner(log=":memory:", config=config, interaction_provider=people) as runner:
        handle = await runner.run_handle(in_memory(remote, clock=quick()).agent(name="billing"), user_message="pay")
        people.answer((await people.next_request()).request_id, words, by="ann")
        await people.next_request()
        await handle.cancel()
        await handle.await_result()
    # What looks like a model's own protocol is broken up by a dot, as in every tool's output.
    assert remote.heard[1].replace("·", "") == words


async def test_a_policy_that_lets_the_question_pass_unanswered_fails_the_run_and_says_so() -> None:
    remote = Remote(pays_from)
    engine = PolicyEngine([PolicyRule(action="allow", condition=lambda event: True)])
    async with Runner(log=":memory:", policy_engine=engine) as runner:
        result = await runner.run(in_memory(remote, clock=quick()).agent(name="billing"), user_message="pay")
    assert "nobody was asked" in (result.error or "")


async def test_a_question_of_any_length_is_shown_at_one_that_can_be_read() -> None:
    agent = Wire(SendMessage={"task": task("INPUT_REQUIRED", message="x" * 10_000)})
    async with Runner(log=":memory:", config=RunnerConfig(interaction_mode="external")) as runner:
        result = await runner.run(agent.client().agent(name="billing"), user_message="pay")
        (asked,) = only(await log_of(runner, result.run_id), "input_requested")
    assert len(asked.data["prompt"]) < 4_100
    assert "6000 characters cut" in asked.data["prompt"]


async def test_a_task_that_wants_authorisation_is_gone_on_with_once_a_person_has_seen_to_it() -> None:
    """Nothing of what the person answers is sent: a password would be recorded."""
    waiting = task("AUTH_REQUIRED", message="log in at https://bank.test")
    agent = Wire(SendMessage={"task": waiting}, GetTask=[waiting, task("WORKING"), task(text="done")])
    people = InMemoryInteraction()
    async with interactive(people) as runner:
        handle = await runner.run_handle(agent.client(clock=quick()).agent(name="billing"), user_message="pay")
        request = await people.next_request()
        assert isinstance(request, InputRequest)
        assert "log in at https://bank.test" in request.prompt
        people.answer(request.request_id, "hunter2", by="ann")
        result = await handle.await_result()
    assert result.final_text == "done"
    assert agent.methods == ["SendMessage", "GetTask", "GetTask", "GetTask"]
    assert not any(b"hunter2" in request.content for request in agent.requests)


def test_the_tool_is_there_for_the_machine_and_named_so_that_it_collides_with_nothing() -> None:
    agent = Wire().client().agent(name="billing")
    assert [tool.name for tool in agent.tools] == [ANSWER_REMOTE]
    assert agent.tools[0].read_only
