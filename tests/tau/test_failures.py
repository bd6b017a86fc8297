"""A model server that fails on the way: the run asks again, ends as it was recorded, and every attempt is an event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from afk_es.core import Runner
from tests.support.openai_server import OpenAIServer, Reply, error
from tests.support.tau import FIXTURE, Recording
from tests.tau.airline import EXACT, airline_agent, airline_model, airline_responder, play
from tests.tau.checks import check_log, check_results

pytestmark = pytest.mark.tau

_TROUBLE = (error(429, "slow down", headers={"Retry-After": "0"}), error(500, "the model is being restarted"))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_conversation_gets_through_rate_limits_and_server_errors(streamed: bool, tmp_path: Path) -> None:
    """The first answer of two runs, one of them after a tool's result, comes after a 429 and a 500."""
    recording = Recording.load(FIXTURE)
    conversation = recording.conversations["tau-38-2"]
    troubled = {conversation.runs[1].start, len(conversation.messages) - 1}
    respond = airline_responder(recording)
    left = {position: list(_TROUBLE) for position in troubled}

    def answer(body: dict[str, Any]) -> Reply:
        due = left.get(len(body["messages"]) - 2)
        return due.pop(0) if due else respond(body)

    path = tmp_path / "airline.db"
    with OpenAIServer(answer) as server:
        agent = airline_agent(recording, conversation, airline_model(conversation, server.url))
        async with Runner(log=path, config=EXACT) as runner:
            results = await play(runner, agent, conversation, streamed=streamed)
            check_results(conversation, results)
            # Each attempt is an llm_called with the request that the server got, so this also shows that all attempts were alike.
            await check_log(runner.log, recording, conversation, [received.body for received in server.requests])
            events = [event for result in results for event in await runner.log.read(result.run_id)]
    assert not any(left.values())
    failed = [event.data for event in events if event.type == "llm_failed"]
    assert [(data["status_code"], data["classification"], data["attempt"]) for data in failed] == [
        (429, "retryable", 1),
        (500, "retryable", 2),
    ] * len(troubled)
    called = [event.data["attempt"] for event in events if event.type == "llm_called"]
    assert called.count(3) == len(troubled)
    assert len(called) == len(server.requests)


async def test_a_wrong_history_fails_the_run_with_what_is_wrong(tmp_path: Path) -> None:
    """So a run that had sent one in the other tests would have failed."""
    recording = Recording.load(FIXTURE)
    conversation = recording.conversations["tau-12-0"]
    with OpenAIServer(airline_responder(recording)) as server:
        agent = airline_agent(recording, conversation, airline_model(conversation, server.url))
        result = await Runner(log=tmp_path / "airline.db", config=EXACT).run(agent, user_message="I never said that.")
    assert result.state == "failed"
    assert result.error is not None
    assert "message 1 should be" in result.error
    assert len(server.requests) == 1
