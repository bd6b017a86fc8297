"""What a remote agent asks in the middle of its work, as a call of a tool that a person answers: asked once, recorded, and answered from anywhere.

The call carries the names of the remote task and its context, so the next message finds them in the conversation, in whatever process.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

from afk_es.a2a.client.tasks import RemoteTask
from afk_es.agents import PolicyDecision, PolicyEvent
from afk_es.errors import ToolError
from afk_es.llms import Message, ToolCall
from afk_es.machine.rendering import PREAMBLE
from afk_es.tools import Tool, tool

ANSWER_REMOTE = "answer_remote_agent"
"""The tool's name."""

_LONGEST_QUESTION = 4000
"""Characters of a question that a person is shown."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a remote agent waits for.

    Attributes:
        question: its words.
        task_id, context_id: of the task that waits.
        authorisation: whether it waits to be authorised, and not for words.
    """

    question: str
    task_id: str
    context_id: str = ""
    authorisation: bool = False


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A question and what came of it.

    Attributes:
        words: the person's; None where nobody has answered.
        why: why nobody has.
    """

    question: Question
    words: str | None
    why: str = ""


def question_of(task: RemoteTask) -> Question:
    """What a task waits for."""
    authorisation = task.state == "auth-required"
    words = task.message or ("It wants to be authorised." if authorisation else "It needs your input.")
    if len(words) > _LONGEST_QUESTION:
        words = f"{words[:_LONGEST_QUESTION]} [{len(words) - _LONGEST_QUESTION} characters cut]"
    return Question(question=words, task_id=task.id or "", context_id=task.context_id or "", authorisation=authorisation)


def call_of(question: Question, call_id: str) -> ToolCall:
    """The call that puts the question to a person."""
    return ToolCall(call_id, ANSWER_REMOTE, msgspec.to_builtins(question))


def answer_tool() -> Tool[..., Any]:
    """The tool. The person's words come in as an argument, put there by the policy that asks."""

    @tool(
        name=ANSWER_REMOTE,
        description="Get an answer from a person to what a remote agent asks.",
        read_only=True,
        open_world=False,
    )
    async def answer(
        question: str, task_id: str, context_id: str = "", authorisation: bool = False, answer: str | None = None
    ) -> dict[str, str]:
        if answer is None:
            raise ToolError("nobody was asked: a policy let the call pass as it was")
        return {"answer": answer}

    return answer


def asks_a_person(agent_name: str) -> Callable[[PolicyEvent], PolicyDecision | None]:
    """The policy role that puts the questions of a remote agent to a person."""

    def ask_about_remote_agent(event: PolicyEvent) -> PolicyDecision | None:
        if event.tool_name != ANSWER_REMOTE or event.event_type != "tool_before_execute":
            return None
        said = event.tool_args.get("question", "")
        if event.tool_args.get("authorisation"):
            prompt = (
                f"The remote agent {agent_name!r} wants to be authorised: {said}\nDo that where it has to be done, then answer anything. "
                "Write no password or token here: the answer is recorded."
            )
        else:
            prompt = f"The remote agent {agent_name!r} asks: {said}"
        return PolicyDecision(
            action="request_user_input", reason="a remote agent waits for it", request_payload={"prompt": prompt, "argument": "answer"}
        )

    return ask_about_remote_agent


def put_by(asked: Message) -> Question | None:
    """The question that a turn of the model's puts; None where it puts none."""
    calls = [call for call in asked.tool_calls if call.tool_name == ANSWER_REMOTE and isinstance(call.arguments, dict)]
    return msgspec.convert(calls[0].arguments, Question, strict=False) if calls else None


def answered(asked: Message, result: Message) -> Answered | None:
    """The question that a turn of the model's put, with the answer that the tool brought; None where it put none."""
    for call in asked.tool_calls:
        if call.tool_name == ANSWER_REMOTE and call.id == result.tool_call_id and isinstance(call.arguments, dict):
            question = msgspec.convert(call.arguments, Question, strict=False)
            text = result.content.removeprefix(PREAMBLE)
            try:
                found = json.loads(text)
            except ValueError:
                return Answered(question=question, words=None, why=text)
            if isinstance(found, dict) and isinstance(found.get("answer"), str):
                return Answered(question=question, words=found["answer"])
            return Answered(question=question, words=None, why=text)
    return None
