"""What must be true of a conversation that was played: each sentence of it is checked against the recording, the log and the server."""

from __future__ import annotations

import json
from typing import Any

from afk_es.core import AgentResult, AgentRunEvent
from afk_es.core.history import ThreadMemory
from afk_es.llms import Message, chat_messages, chat_tools
from afk_es.log import EventLog
from afk_es.machine.values import Messages
from afk_es.views.requests import request_at
from afk_es.views.verification import problems
from tests.support.tau import Conversation, Recording, Run
from tests.tau.airline import CLOSING, answer_to

Body = dict[str, Any]


def check_results(conversation: Conversation, results: list[AgentResult]) -> None:
    """Final texts and tool calls are the recorded ones."""
    for run, result in zip(conversation.runs, results, strict=True):
        assert (result.state, result.error, result.final_text) == ("completed", None, answer_to(run))
        assert result.thread_id == conversation.key
        executed = [(record.tool_call_id, record.tool_name, record.success, record.output) for record in result.tool_executions]
        assert executed == [(call_id, name, True, conversation.result(call_id, name, arguments)) for call_id, name, arguments in run.calls]
        assert result.state_snapshot.tool_calls == len(run.calls)


async def check_log(log: EventLog, recording: Recording, conversation: Conversation, bodies: list[Body]) -> None:
    """The stored runs are whole, say what was recorded, and rebuild every request to what the server got.

    Args:
        bodies: the HTTP bodies of this conversation's requests, in order.
    """
    memory = ThreadMemory()
    heads = await log.thread(conversation.key)
    rebuilt: list[Body] = []
    for run, head in zip(conversation.runs, heads, strict=True):
        assert await log.verify(head.run_id) is None
        events = await log.read(head.run_id)
        history = await memory.read(log, events[0].data.get("history", []))
        assert not list(problems(events, history))
        assert events[0].data["user_message"] == run.user_message
        assert answers_in(events) == recorded_answers(run)
        rebuilt += requests_in(events, history, recording)
    for ours, body in zip(rebuilt, bodies, strict=True):
        for facet, value in ours.items():
            assert body[facet] == value, f"{facet} rebuilt from the log: {value}, received: {body[facet]}"


def answers_in(events: list[AgentRunEvent]) -> list[Any]:
    """Text and calls of every model answer in the log."""
    return [
        (event.data["text"], [(call["id"], call["tool_name"], call["arguments"]) for call in event.data["tool_calls"]])
        for event in events
        if event.type == "llm_completed"
    ]


def recorded_answers(run: Run) -> list[Any]:
    """The same of the recording, and ours where it has none."""
    recorded = [
        (
            turn["content"] or "",
            [(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in turn.get("tool_calls") or ()],
        )
        for turn in run.turns
        if turn["role"] == "assistant"
    ]
    return recorded if run.answered else [*recorded, (CLOSING, [])]


def requests_in(events: list[AgentRunEvent], history: Messages, recording: Recording) -> list[Body]:
    """Every request of a run as its HTTP body must have been, rebuilt from the log and proved by its hash."""
    bodies = []
    for event in events:
        if event.type != "llm_called":
            continue
        rebuilt = request_at(events, event.seq, history)
        assert rebuilt.proved
        request = rebuilt.request
        assert request.instructions == recording.instructions
        tools = chat_tools(request.tools)
        assert tools == list(recording.tools)
        messages = [_as_sent(turn) for turn in chat_messages([Message("system", request.instructions), *request.messages])]
        bodies.append({"model": request.model.rpartition("/")[2], "messages": messages, "tools": tools})
    return bodies


def _as_sent(turn: Body) -> Body:
    """LiteLLM leaves out what is null: the content of a turn that only calls."""
    return {name: value for name, value in turn.items() if value is not None}
