"""Recorded conversations with a model that sees a few messages only: every history is what the summary leaves of the recorded one."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from afk_es.core import RetentionPolicy, Runner
from afk_es.llms import Message
from afk_es.log import open_log
from afk_es.machine.retention import SUMMARY_LEAD
from tests.support.openai_server import OpenAIServer, Reply, Responder, error
from tests.support.tau import Conversation, Recording, difference
from tests.tau.airline import CLOSING, EXACT, play_all
from tests.tau.checks import check_log, check_results

pytestmark = pytest.mark.tau

SHOWN = 12
"""Messages that the model may see before the conversation is compacted."""


def counting(messages: list[Message]) -> str:
    """A summary that says how many messages of the recording it stands for."""
    found = re.search(r"stands for (\d+)", messages[0].content) if messages[0].content.startswith(SUMMARY_LEAD) else None
    return f"This stands for {len(messages) - 1 + int(found[1]) if found else len(messages)} messages."


def from_what_is_left(recording: Recording) -> Responder:
    """Answers with the recorded next turn, if what was sent is the recorded conversation without what the summary says it stands for."""

    def respond(body: dict[str, Any]) -> Reply:
        conversation = recording.conversations[str(body["model"]).rpartition("/")[2]]
        system, *sent = body["messages"]
        gone = 0
        if sent[0]["content"].startswith(SUMMARY_LEAD):
            gone = int(re.findall(r"stands for (\d+)", sent[0]["content"])[0])
            sent = sent[1:]
        position = gone + len(sent)
        expected = left(recording, conversation, gone, position, sent[0]["content"])
        wrong = difference([{"role": "system", "content": recording.instructions}, *expected], [system, *sent])
        if wrong is not None:
            return error(422, f"{conversation.key}: {wrong}")
        return {"content": CLOSING} if position >= len(conversation.messages) else conversation.messages[position]

    return respond


def left(recording: Recording, conversation: Conversation, gone: int, position: int, first: str) -> list[dict[str, Any]]:
    """The recorded history up to there without the first messages, but for the request of the run in which they went."""
    history = recording.history(conversation, position)[1:]
    if not gone or history[gone]["content"] == first:
        return history[gone:]
    own = max(index for index, turn in enumerate(history[: gone + 1]) if turn["role"] == "user" and turn["content"] == first)
    return [history[own], *history[gone + 1 :]]


def test_every_history_is_accepted_and_every_run_ends_as_it_was_recorded(tmp_path: Path) -> None:
    recording = Recording.load()
    longest = sorted(recording.conversations.values(), key=lambda each: -len(each.messages))[:12]
    policy = RetentionPolicy(max_messages=SHOWN, summariser=counting)
    path = tmp_path / "airline.db"

    async def played() -> None:
        with OpenAIServer(from_what_is_left(recording), piece=40) as server:
            runner = Runner(log=path, config=EXACT.model_copy(update={"thread_retention": policy}))
            results = await play_all(runner, recording, longest, server.url)
        log = open_log(path)
        await log.open()
        compactions = 0
        try:
            for conversation in longest:
                check_results(conversation, results[conversation.key])
                bodies = [received.body for received in server.requests if received.body["model"] == conversation.key]
                await check_log(log, recording, conversation, bodies)
                assert max(len(body["messages"]) for body in bodies) <= SHOWN + 3, "the system message, and the last answers"
                for head in await log.thread(conversation.key):
                    compactions += sum(event.type == "thread_compacted" for event in await log.read(head.run_id))
        finally:
            await log.close()
        assert compactions > len(longest), "each was compacted, and some again"

    asyncio.run(played())
