"""The recorded conversations: what they are split into, and that the server which plays them back takes the right history and no other."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from afk_es.llms import Messages, ToolSpec, chat_messages
from afk_es.llms.chat import chat_tools, message_from_chat, tool_from_chat
from tests.support.openai_server import HttpAnswer
from tests.support.tau import FIXTURE, Conversation, Recording, recorded_turns

Turn = dict[str, Any]

_FEW = Recording.load(FIXTURE)


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording.load()


def _body(conversation: Conversation, messages: list[Turn]) -> dict[str, Any]:
    return {"model": f"openai/{conversation.key}", "messages": messages}


def test_every_conversation_is_its_runs_one_after_the_other(recording: Recording) -> None:
    for conversation in recording.conversations.values():
        assert [turn for run in conversation.runs for turn in run.turns] == list(conversation.messages)
        assert all(run.answered for run in conversation.runs[:-1])
        assert not conversation.runs[-1].answered


def test_every_call_has_its_own_result_though_ids_repeat(recording: Recording) -> None:
    for conversation in recording.conversations.values():
        recorded = [turn["content"] for turn in conversation.messages if turn["role"] == "tool"]
        calls = [call for run in conversation.runs for call in run.calls]
        assert [conversation.result(*call) for call in calls] == recorded


@pytest.mark.tau
def test_every_assistant_turn_is_served_to_its_own_history_as_our_messages_render_it(recording: Recording) -> None:
    """Through our own Message and back, which is the way a run's history takes."""
    respond = recorded_turns(recording)
    for conversation in recording.conversations.values():
        messages = Messages(message_from_chat(turn) for turn in recording.history(conversation, len(conversation.messages)))
        sent = chat_messages(messages)
        for position, turn in enumerate(conversation.messages):
            if turn["role"] == "assistant":
                assert respond(_body(conversation, sent[: position + 1])) is turn


def test_the_recorded_tools_are_the_same_after_the_way_through_our_own() -> None:
    tools = tuple(tool_from_chat(tool) for tool in _FEW.tools)
    assert all(isinstance(tool, ToolSpec) for tool in tools)
    assert chat_tools(tools) == list(_FEW.tools)


def _without_system(history: list[Turn]) -> None:
    del history[0]


def _without_a_tool_result(history: list[Turn]) -> None:
    del history[_first(history, "tool")]


def _with_another_call_id(history: list[Turn]) -> None:
    history[_first(history, "tool")]["tool_call_id"] = "call_of_somebody_else"


def _with_a_trimmed_tool_result(history: list[Turn]) -> None:
    turn = history[_first(history, "tool")]
    turn["content"] = turn["content"][:-1]


def _with_other_arguments(history: list[Turn]) -> None:
    calling = next(turn for turn in history if turn.get("tool_calls"))
    calling["tool_calls"][0]["function"]["arguments"] = '{"user_id": "somebody_else"}'


def _with_the_last_user_message_twice(history: list[Turn]) -> None:
    history.append(history[_first(history, "user")])


def _without_its_text_beside_calls(history: list[Turn]) -> None:
    calling = next(turn for turn in history if turn.get("tool_calls") and turn["content"])
    calling["content"] = None


def _first(history: list[Turn], role: str) -> int:
    return next(index for index, turn in enumerate(history) if turn["role"] == role)


@pytest.mark.parametrize(
    "spoil",
    [
        _without_system,
        _without_a_tool_result,
        _with_another_call_id,
        _with_a_trimmed_tool_result,
        _with_other_arguments,
        _with_the_last_user_message_twice,
        _without_its_text_beside_calls,
    ],
)
def test_a_wrong_history_is_refused_with_an_explanation(spoil: Callable[[list[Turn]], None]) -> None:
    conversation = _FEW.conversations["tau-38-2"]
    history = copy.deepcopy(_FEW.history(conversation, len(conversation.messages)))
    respond = recorded_turns(_FEW, closing="over")
    assert respond(_body(conversation, history)) == {"content": "over"}
    spoil(history)
    refusal = respond(_body(conversation, history))
    assert isinstance(refusal, HttpAnswer)
    assert refusal.status == 422
    assert "message" in refusal.body["error"]["message"]


def test_a_history_is_compared_with_tool_outputs_as_they_were_rendered() -> None:
    def rendered(tool_name: str, recorded: str) -> str:
        return f"<{tool_name}>{recorded}"

    conversation = _FEW.conversations["tau-12-0"]
    position = next(index for index, turn in enumerate(conversation.messages) if turn["role"] == "tool") + 1
    respond = recorded_turns(_FEW, render=rendered)
    assert respond(_body(conversation, _FEW.history(conversation, position, rendered))) is conversation.messages[position]
    assert isinstance(respond(_body(conversation, _FEW.history(conversation, position))), HttpAnswer)


@pytest.mark.parametrize(("model", "length", "status"), [("tau-12-0", None, 409), ("tau-12-0", 0, 422), ("tau-99-9", 1, 404)])
def test_what_was_not_recorded_is_refused(model: str, length: int | None, status: int) -> None:
    conversation = _FEW.conversations["tau-12-0"]
    history = _FEW.history(conversation, len(conversation.messages) if length is None else length)
    refusal = recorded_turns(_FEW)({"model": model, "messages": history})
    assert isinstance(refusal, HttpAnswer)
    assert refusal.status == status


@pytest.mark.kill
def test_the_server_runs_as_a_process_of_its_own() -> None:
    conversation = _FEW.conversations["tau-12-0"]
    command = [sys.executable, "-m", "tests.support.openai_server", "--recording", str(FIXTURE), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(FIXTURE.parents[1])}) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            body = _body(conversation, _FEW.history(conversation, 1))
            request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
            with urllib.request.urlopen(request, timeout=10) as response:
                answer = json.load(response)
            with urllib.request.urlopen(f"{url}/requests", timeout=10) as response:
                assert json.load(response) == [body]
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=10)
        finally:
            server.kill()
    assert answer["choices"][0]["message"]["content"] == conversation.messages[1]["content"]
