"""A message that may have been sent before: what the remote agent does for it is done once, wherever our process dies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.server.agent_execution import RequestContext
from a2a.server.tasks import TaskUpdater

from afk_es.a2a import A2AClient
from afk_es.a2a.client.questions import Question, call_of
from afk_es.agents import Agent, FailSafeConfig
from afk_es.clock import SimulatedClock
from afk_es.core import AgentResult, Runner, RunnerConfig
from afk_es.errors import LLMRetryableError
from afk_es.llms import LLMRequest, Message
from afk_es.llms.caching import request_hash
from afk_es.testing import CrashScenario, CrashTrial, ScriptedModel, crash_at, crash_everywhere, crash_points
from tests.a2a.client import wire
from tests.a2a.client.servers import Many, echo, said, served
from tests.a2a.client.test_agent import asked, boss
from tests.a2a.client.wire import Answer, Wire, refusal, task

ROOT = Path(__file__).parents[3]
UNLIMITED = FailSafeConfig(max_wall_time_s=None)


@pytest.fixture
def worlds() -> Iterator[Many]:
    """A remote agent for each trial, that works and answers."""
    many = Many()
    with served(many.at):
        yield many


def once(many: Many, messages: int = 1) -> Callable[[CrashTrial, AgentResult], Iterable[str]]:
    """The promise that the agent of a trial has worked on so many messages, and on each of them once."""

    def check(trial: CrashTrial, result: AgentResult) -> Iterable[str]:
        worked_on = many.agents[trial.directory.name].messages
        if len(worked_on) != messages or len(set(worked_on)) != messages:
            yield f"the remote agent worked on {worked_on}, and should have on {messages} different messages"

    return check


def test_a_run_that_is_killed_anywhere_has_the_remote_agent_work_once(worlds: Many) -> None:
    scenario = CrashScenario(
        agent=lambda directory: A2AClient(f"{worlds.url}/{directory.name}").agent(name="billing", fail_safe=UNLIMITED), user_message="pay"
    )
    matrix = crash_everywhere(scenario, once(worlds))
    assert matrix.problems == []
    assert matrix.unkilled.final_text == "you said: pay"
    assert len(matrix.outcomes) >= 10


def test_without_looking_an_agent_that_keeps_no_account_of_messages_works_twice(worlds: Many) -> None:
    """Why "look" is the default: the servers of the SDKs do the work of a message as often as it comes."""
    scenario = CrashScenario(
        agent=lambda directory: A2AClient(f"{worlds.url}/{directory.name}").agent(name="billing", fail_safe=UNLIMITED, asked_again="send"),
        user_message="pay",
    )
    (point,) = [point for point in crash_points(scenario) if (point.when, point.what) == ("after", "effect:llm:4")]
    outcome = crash_at(scenario, [point], check=once(worlds))
    assert [breach.promise for breach in outcome.breaches] == ["own"]


DRIVER = """
import sys
from afk_es import FailSafeConfig, Runner
from afk_es.a2a import A2AClient

url, log = sys.argv[1:]
agent = A2AClient(url).agent(name="billing", fail_safe=FailSafeConfig(max_wall_time_s=None))
Runner(log=log).run_sync(agent, user_message="pay", run_id="run_killed")
"""


@pytest.mark.kill
@pytest.mark.parametrize("streaming", [True, False])
def test_a_process_that_is_killed_while_the_remote_agent_works_finds_its_task_again(tmp_path: Path, streaming: bool) -> None:
    begun, let_go = threading.Event(), threading.Event()

    async def slow(context: RequestContext, updater: TaskUpdater) -> None:
        await updater.start_work()
        begun.set()
        await asyncio.to_thread(let_go.wait, 30)
        await echo(context, updater)

    many = Many(slow, streaming=streaming)
    log = tmp_path / "runs.db"
    with served(many.at):
        url = f"{many.url}/billing"
        driver = subprocess.Popen([sys.executable, "-c", DRIVER, url, str(log)], cwd=ROOT)
        try:
            assert begun.wait(30)
        finally:
            driver.kill()
            driver.wait(30)
        let_go.set()
        agent = A2AClient(url).agent(name="billing", fail_safe=UNLIMITED)
        result = asyncio.run(Runner(log=log).resume(agent, run_id="run_killed"))
    assert result.final_text == "you said: pay"
    assert len(many.agents["billing"].messages) == 1


def test_a_remote_subagent_that_asks_is_answered_once_wherever_the_process_dies() -> None:
    """The run of the parent, the subagent's, the question and its answer from outside: all of it in processes that die."""

    async def asks_once(context: RequestContext, updater: TaskUpdater) -> None:
        if context.current_task is None:
            await updater.requires_input(said(updater, "Which account?"))
        else:
            await echo(context, updater)

    many = Many(asks_once)

    def team(directory: Path) -> Agent:
        described = A2AClient(f"{many.url}/{directory.name}").agent(name="billing", fail_safe=UNLIMITED)
        return boss(described).model_copy(update={"fail_safe": UNLIMITED})

    async def answer(runner: Runner, result: AgentResult) -> bool:
        attached = await runner.attach(run_id=result.run_id, by="ann")
        if await attached.pending():
            await attached.answer("savings")
        return True

    with served(many.at):
        scenario = CrashScenario(agent=team, user_message="go", config=RunnerConfig(interaction_mode="external"), answer=answer)
        matrix = crash_everywhere(scenario, once(many, messages=2), points=12)
    assert matrix.problems == []
    assert "you said: savings" in matrix.unkilled.final_text


# -------------------------------------------------------------------------------------------------------- what each kind of agent allows

HISTORY = [{"messageId": "k1", "role": "ROLE_USER", "parts": [{"text": "pay"}]}]


async def again(agent: Wire, *, attempt: int = 2, messages: tuple[Message, ...] = (Message("user", "pay"),), **options: Any) -> str:
    """What comes of a second attempt at the same question."""
    described = agent.client(clock=SimulatedClock(autojump_threshold_s=0.0)).agent(name="billing", **options)
    return (await asked(described.model, *messages, attempt=attempt)).text


async def test_a_first_attempt_looks_for_nothing() -> None:
    agent = Wire(SendMessage={"task": task(text="done")})
    assert await again(agent, attempt=1) == "done"
    assert agent.methods == ["SendMessage"]


async def test_a_task_that_is_found_is_gone_on_with() -> None:
    agent = Wire(ListTasks={"tasks": [{**task("WORKING"), "history": HISTORY}]}, GetTask=[task("WORKING"), task(text="done")])
    assert await again(agent) == "done"
    assert agent.methods == ["ListTasks", "GetTask", "GetTask"]


async def test_it_is_looked_for_on_every_page_and_in_its_context_alone() -> None:
    pages: list[Answer] = [
        {"tasks": [task(id="other")], "nextPageToken": "2"},
        {"tasks": [{**task(), "history": HISTORY}]},
    ]
    agent = Wire(ListTasks=[*pages], GetTask=task(text="done"))
    assert await again(agent) == "done"
    assert [params.get("pageToken") for _method, params in agent.asked[:2]] == [None, "2"]
    assert len({params["contextId"] for _method, params in agent.asked[:2]}) == 1


async def test_pages_without_end_are_not_read_without_end() -> None:
    agent = Wire(ListTasks={"tasks": [task(id="other")], "nextPageToken": "more"}, SendMessage={"task": task(text="done")})
    assert await again(agent) == "done"
    assert agent.methods.count("ListTasks") == 20


@pytest.mark.parametrize(
    "answer", [refusal(wire.NO_METHOD, "?"), refusal(wire.UNSUPPORTED, "?"), refusal(wire.INVALID, "?"), {"tasks": []}]
)
async def test_where_it_is_not_found_or_nobody_can_say_the_same_message_is_sent_again(answer: Any) -> None:
    agent = Wire(ListTasks=answer, SendMessage={"task": task(text="done")})
    assert await again(agent) == "done"
    assert agent.methods == ["ListTasks", "SendMessage"]
    assert agent.asked[-1][1]["message"]["messageId"] == "k1"


async def test_an_agent_that_keeps_account_of_messages_needs_no_looking() -> None:
    agent = Wire(SendMessage={"task": task(text="done")})
    assert await again(agent, asked_again="send") == "done"
    assert agent.methods == ["SendMessage"]


@pytest.mark.parametrize("found", [True, False])
async def test_a_message_that_must_not_be_sent_twice_is_not(found: bool) -> None:
    listed = {"tasks": [{**task(), "history": HISTORY}] if found else []}
    agent = Wire(ListTasks=listed, GetTask=task(text="done"), SendMessage={"task": task(text="done twice")})
    if found:
        assert await again(agent, asked_again="never") == "done"
    else:
        with pytest.raises(Exception, match="not to be sent twice"):
            await again(agent, asked_again="never")
    assert "SendMessage" not in agent.methods


async def test_without_a_context_there_is_nothing_to_look_in() -> None:
    agent = Wire(SendMessage={"task": task(text="done")})
    assert await again(agent, contexts=False) == "done"
    assert agent.methods == ["SendMessage"]


async def test_a_message_to_a_task_is_looked_for_in_that_task() -> None:
    call = call_of(Question(question="Which?", task_id="t1", context_id="c1"), "q1")
    conversation = (
        Message("user", "pay"),
        Message("assistant", "", (call,)),
        Message("tool", '{"answer":"savings"}', tool_call_id="q1"),
    )
    there = Wire(GetTask=[{**task("WORKING"), "history": HISTORY}, task(text="done")])
    assert await again(there, messages=conversation) == "done"
    assert set(there.methods) == {"GetTask"}
    not_there = Wire(GetTask={**task("INPUT_REQUIRED"), "history": []}, SendMessage={"task": task(text="done")})
    assert await again(not_there, messages=conversation) == "done"
    assert not_there.methods == ["GetTask", "SendMessage"]
    assert not_there.asked[-1][1]["message"]["taskId"] == "t1"


async def test_a_connection_that_is_lost_while_looking_is_a_failure_that_may_pass() -> None:
    agent = Wire(ListTasks=httpx.ConnectError("no"))
    with pytest.raises(Exception, match="cannot be reached"):
        await again(agent)
    assert agent.methods == ["ListTasks"]


async def test_a_request_says_which_attempt_it_is_and_an_equal_question_is_still_equal() -> None:
    first, second = (LLMRequest(model="m", messages=[Message("user", "x")], attempt=attempt) for attempt in (1, 2))
    assert request_hash(first) == request_hash(second)


async def test_each_attempt_of_a_run_says_which_it_is_over_all_processes() -> None:
    model = ScriptedModel([LLMRetryableError("busy"), LLMRetryableError("busy"), "at last", "and then"])
    described = Agent(model=model, fail_safe=UNLIMITED)
    async with Runner(log=":memory:", clock=SimulatedClock(autojump_threshold_s=0.0)) as runner:
        await runner.run(described, user_message="x")
        await runner.run(described, user_message="y")
    assert [request.attempt for request in model.requests] == [1, 2, 3, 1]
    first, second, third, other = (request.idempotency_key for request in model.requests)
    assert first == second == third != other
