"""A remote agent as an agent of one's own: alone, as a subagent, on a thread, replayed, forked and diagnosed."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from afk_es.a2a import A2AClient
from afk_es.agents import Agent, FailSafeConfig
from afk_es.cli import main
from afk_es.clock import SimulatedClock
from afk_es.core import Runner
from afk_es.errors import AgentMismatchError
from afk_es.llms import Image, LLMRequest, LLMResponse, Message, TextDelta, ToolCall
from afk_es.testing import ScriptedModel
from tests.a2a.client import wire
from tests.a2a.client.servers import Remote, in_memory, over_http
from tests.a2a.client.wire import Wire, event, events, piece, refusal, status, task
from tests.core.scenario import log_of, only, until

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16


def quick() -> SimulatedClock:
    """A clock on which waiting costs nothing."""
    return SimulatedClock(autojump_threshold_s=0.0)


def boss(*subagents: Agent, task: str = "pay invoice 7") -> Agent:
    """An agent that hands a task to its first subagent, and tells what came of it."""

    def turn(request: LLMRequest) -> LLMResponse | str:
        if request.messages[-1].role == "tool":
            return request.messages[-1].content
        return LLMResponse(tool_calls=(ToolCall("c1", f"transfer_to_{subagents[0].name}", {"task": task}),))

    return Agent(name="boss", model=ScriptedModel(turn), subagents=subagents)


async def asked(model: object, *messages: Message, **fields: object) -> LLMResponse:
    """What the model of a remote agent answers to these."""
    request = LLMRequest(model="m", messages=messages, **{"idempotency_key": "k1", "metadata": {"thread_id": "th"}, **fields})
    response: LLMResponse = await model.chat(request)  # type: ignore[attr-defined]
    return response


# ----------------------------------------------------------------------------------------------------------------------- as an agent


async def test_run_by_itself_it_answers_what_the_remote_agent_answers() -> None:
    remote = Remote()
    result = await Runner(log=":memory:").run(in_memory(remote).agent(name="billing"), user_message="hello")
    assert (result.state, result.final_text) == ("completed", "you said: hello")
    assert (result.provider_adapter, result.requested_model, result.normalized_model) == ("a2a", "a2a/billing", "Remote one")
    assert (result.usage_aggregate.total_tokens, result.total_cost_usd) == (0, None)


async def test_as_a_subagent_it_is_told_the_task_and_nothing_else() -> None:
    remote = Remote()
    result = await Runner(log=":memory:").run(boss(in_memory(remote).agent(name="billing")), user_message="a secret of the boss")
    assert remote.heard == ["pay invoice 7"]
    assert (result.state, result.subagent_executions[0].output_text) == ("completed", "you said: pay invoice 7")


async def test_its_text_is_streamed_where_the_agent_streams() -> None:
    with over_http(Remote()) as url:
        handle = await Runner(log=":memory:").run_stream(A2AClient(url).agent(name="billing"), user_message="hello")
        deltas = [each.text_delta async for each in handle if each.type == "text_delta"]
    assert "".join(text or "" for text in deltas) == handle.result.final_text == "you said: hello"


async def test_runs_of_a_thread_share_a_context_and_are_told_what_is_new() -> None:
    remote = Remote()
    agent = in_memory(remote).agent(name="billing")
    async with Runner(log=":memory:") as runner:
        first = await runner.run(agent, user_message="one")
        await runner.run(agent, user_message="two", thread_id=first.thread_id)
        await runner.run(agent, user_message="three")
    assert remote.heard == ["one", "two", "three"]
    assert remote.contexts[0] == remote.contexts[1] != remote.contexts[2]
    assert first.thread_id not in remote.contexts[0]


async def test_without_contexts_each_message_begins_a_conversation() -> None:
    remote = Remote()
    agent = in_memory(remote).agent(name="billing", contexts=False)
    async with Runner(log=":memory:") as runner:
        first = await runner.run(agent, user_message="one")
        await runner.run(agent, user_message="two", thread_id=first.thread_id)
    assert remote.contexts[0] != remote.contexts[1]


async def test_images_go_along() -> None:
    agent = Wire(SendMessage={"task": task(text="seen")})
    await Runner(log=":memory:").run(
        agent.client().agent(name="eye"), user_message=["look", Image(data=PNG), Image(url="https://pictures.test/a.png")]
    )
    parts = agent.asked[0][1]["message"]["parts"]
    assert parts == [
        {"text": "look"},
        {"raw": base64.b64encode(PNG).decode(), "mediaType": "image/png"},
        {"url": "https://pictures.test/a.png"},
    ]


async def test_a_run_without_a_message_has_nothing_to_say() -> None:
    agent = Wire()
    result = await Runner(log=":memory:").run(agent.client().agent(name="billing"))
    assert (result.state, agent.asked) == ("failed", [])
    assert "nothing to say" in (result.error or "")


# ------------------------------------------------------------------------------------------------------------------------- the answer


class Invoice(BaseModel):
    """What is to be paid."""

    number: int
    total: float


async def test_data_is_the_structured_answer() -> None:
    done = {"task": {**task(), "artifacts": [{"artifactId": "a", "parts": [{"data": {"number": 7, "total": 9.5}}]}]}}
    agent = Wire(SendMessage=done).client().agent(name="billing", output_type=Invoice)
    result = await Runner(log=":memory:").run(agent, user_message="invoice 7")
    assert result.final_structured == Invoice(number=7, total=9.5)
    assert result.final_text == '{"number": 7, "total": 9.5}'


async def test_data_of_another_form_is_sent_back_with_what_is_wrong() -> None:
    def by_turn(params: dict[str, dict[str, list[dict[str, str]]]]) -> dict[str, object]:
        again = "required form" in params["message"]["parts"][0].get("text", "")
        value = {"number": 7, "total": 9.5} if again else {"number": "seven"}
        return {"task": {**task(), "artifacts": [{"artifactId": "a", "parts": [{"data": value}]}]}}

    agent = Wire(SendMessage=by_turn)
    result = await Runner(log=":memory:").run(agent.client().agent(name="billing", output_type=Invoice), user_message="invoice 7")
    assert result.final_structured == Invoice(number=7, total=9.5)
    ids = [params["message"]["messageId"] for _method, params in agent.asked]
    assert len(set(ids)) == 2


async def test_files_are_part_of_the_answer_as_far_as_they_are_small() -> None:
    def file(size: int, name: str) -> dict[str, str]:
        return {"raw": base64.b64encode(b"x" * size).decode(), "filename": name, "mediaType": "text/plain"}

    parts = [{"text": "two files"}, file(3, "small.txt"), file(300_000, "large.txt"), {"url": "https://elsewhere.test/r"}]
    agent = Wire(SendMessage={"task": {**task(), "artifacts": [{"artifactId": "a", "parts": parts}]}})
    result = await Runner(log=":memory:").run(agent.client().agent(name="billing"), user_message="both")
    small, large, elsewhere = result.final_structured["files"]
    assert (small["name"], base64.b64decode(small["content"])) == ("small.txt", b"xxx")
    assert (large["bytes"], large["left_out"], "content" in large) == (300_000, True, False)
    assert elsewhere["url"] == "https://elsewhere.test/r"
    assert result.final_text.splitlines() == [
        "two files",
        "[file small.txt, text/plain, 3 bytes]",
        "[file large.txt, text/plain, 300,000 bytes]",
        "[file without a name, of no known type, https://elsewhere.test/r]",
    ]


async def test_usage_and_cost_are_known_where_the_agent_says_them_and_makes_sense() -> None:
    said = {"afk_es/usage": {"input_tokens": 10, "output_tokens": 5}, "afk_es/cost_usd": 0.25}
    known = await asked(Wire(SendMessage={"task": task(text="x", metadata=said)}).client().agent(name="a").model, Message("user", "x"))
    assert known.usage is not None
    assert (known.usage.total_tokens, known.cost_usd) == (15, 0.25)
    nonsense = {"afk_es/usage": {"input_tokens": -10}, "afk_es/cost_usd": "free"}
    unknown = await asked(
        Wire(SendMessage={"task": task(text="x", metadata=nonsense)}).client().agent(name="a").model, Message("user", "x")
    )
    assert (unknown.usage, unknown.cost_usd) == (None, None)


async def test_what_a_degraded_agent_has_not_done_is_told() -> None:
    done = task(text="half of it", message="Incomplete:\n- the rest", metadata={"afk_es/state": "degraded"})
    response = await asked(Wire(SendMessage={"task": done}).client().agent(name="a").model, Message("user", "x"))
    assert response.text == "half of it\nIncomplete:\n- the rest"


# ------------------------------------------------------------------------------------------------------------------- how it may fail


@pytest.mark.parametrize(
    ("state", "error_type"), [("FAILED", "RemoteTaskError"), ("REJECTED", "LLMCapabilityError"), ("CANCELED", "LLMCancelledError")]
)
async def test_a_task_that_ends_badly_fails_the_run_and_is_not_begun_again(state: str, error_type: str) -> None:
    agent = Wire(SendMessage={"task": task(state, message="not today")})
    async with Runner(log=":memory:") as runner:
        result = await runner.run(agent.client().agent(name="billing"), user_message="pay")
        failed = only(await log_of(runner, result.run_id), "llm_failed")
    assert result.state == "failed"
    assert "not today" in (result.error or "")
    assert [(each.data["error_type"], each.data["classification"]) for each in failed] == [(error_type, "terminal")]
    assert agent.methods == ["SendMessage"]


async def test_a_failure_that_may_pass_is_retried_with_the_same_message() -> None:
    agent = Wire(SendMessage=[httpx.Response(503), httpx.ConnectError("no"), {"task": task(text="at last")}], ListTasks={"tasks": []})
    async with Runner(log=":memory:", clock=quick()) as runner:
        result = await runner.run(agent.client().agent(name="billing", fail_safe=FailSafeConfig(max_wall_time_s=None)), user_message="pay")
    assert result.final_text == "at last"
    sent = [params["message"]["messageId"] for method, params in agent.asked if method == "SendMessage"]
    assert len(sent) == 3
    assert len(set(sent)) == 1


async def test_a_parent_is_told_why_its_remote_subagent_failed() -> None:
    agent = Wire(SendMessage={"task": task("FAILED", message="the ledger is closed")})
    result = await Runner(log=":memory:").run(boss(agent.client().agent(name="billing")), user_message="go")
    assert result.state in ("completed", "degraded")
    assert "the ledger is closed" in (result.subagent_executions[0].error or "")


# --------------------------------------------------------------------------------------------------------- the record without the agent


async def test_a_replay_asks_nobody(tmp_path: Path) -> None:
    remote = Remote()
    team = boss(in_memory(remote).agent(name="billing"))
    async with Runner(log=tmp_path / "runs.db") as runner:
        run = await runner.run(team, user_message="go")
        dead = Wire()
        offline = Agent(name="boss", model=ScriptedModel([]), subagents=[dead.client().agent(name="billing")])
        replayed = await runner.replay(offline, run_id=run.run_id)
    assert replayed.result.final_text == run.final_text
    assert (len(remote.messages), dead.requests) == (1, [])


async def test_a_fork_asks_anew_where_it_leaves_the_record_and_nowhere_else() -> None:
    remote = Remote()
    agent = in_memory(remote).agent(name="billing")
    async with Runner(log=":memory:") as runner:
        run = await runner.run(agent, user_message="go")
        again = await runner.fork(agent, run_id=run.run_id, at=1)
    assert again.final_text == run.final_text
    assert len(set(remote.messages)) == len(remote.messages)


def test_triage_and_why_name_what_the_remote_agent_said(tmp_path: Path) -> None:
    agent = Wire(SendMessage={"task": task("FAILED", message="the ledger is closed")})
    log = tmp_path / "runs.db"
    run = Runner(log=log).run_sync(agent.client().agent(name="billing"), user_message="pay")
    for verb in ("triage", "why"):
        told = CliRunner().invoke(main, [verb, run.run_id, "--db", str(log)])
        assert "the ledger is closed" in told.output, told.output


async def test_another_address_is_the_same_agent_and_another_name_is_not() -> None:
    """A run goes on after its remote agent has moved, as it does after a database has."""
    here = Wire(SendMessage={"task": task("WORKING")}, GetTask=task("WORKING"))
    there = Wire(SendMessage={"task": task(text="moved")}, ListTasks={"tasks": []})
    async with Runner(log=":memory:") as runner:
        handle = await runner.run_handle(here.client().agent(name="billing"), user_message="pay")
        await until(lambda: "GetTask" in here.methods)
        await handle.interrupt()
        first = await handle.await_result()
        with pytest.raises(AgentMismatchError, match="agent_name"):
            await runner.resume(there.client().agent(name="paying"), run_id=first.run_id)
        result = await runner.resume(there.client().agent(name="billing"), run_id=first.run_id)
    assert (first.state, result.final_text) == ("interrupted", "moved")


async def test_pieces_that_are_taken_back_are_shown_once() -> None:
    agent = Wire(
        streaming=True,
        SendStreamingMessage=events(
            event(task=task("WORKING")),
            piece("Hel", artifact="answer", append=False),
            piece("lo", artifact="answer"),
            piece("Hello", artifact="answer", append=False),
            status("COMPLETED"),
        ),
    )
    request = LLMRequest(model="m", messages=[Message("user", "x")], idempotency_key="k")
    model = agent.client().agent(name="a").model
    parts = [part async for part in model.chat_stream(request)]
    assert [part.text for part in parts if isinstance(part, TextDelta)] == ["Hel", "lo"]
    assert parts[-1].text == "Hello"


async def test_a_refused_context_says_what_to_do() -> None:
    agent = Wire(SendMessage=refusal(wire.INVALID, "no contextId of yours"))
    result = await Runner(log=":memory:").run(agent.client().agent(name="billing"), user_message="pay")
    assert "no contextId of yours" in (result.error or "")
