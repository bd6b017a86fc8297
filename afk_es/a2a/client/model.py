"""A remote agent as a model: a conversation is a message to it, and what comes of the message is the answer.

What is asked follows from the request alone. So a call that is made again, after a failure or in another process, is the same message: its id is the
request's idempotency key, its context is derived from the thread, and a question that was answered names its task in the conversation.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from a2a.types import a2a_pb2 as pb

from afk_es.a2a.client.exchange import Exchange
from afk_es.a2a.client.failures import RemoteTaskError, told
from afk_es.a2a.client.questions import Answered, answered, call_of, put_by, question_of
from afk_es.a2a.client.remote import Remote
from afk_es.a2a.client.tasks import RemoteFile, RemoteTask, RemoteUpdate
from afk_es.a2a.client.writing import message_of, parts_of, text_part
from afk_es.errors import LLMCancelledError, LLMCapabilityError, LLMConfigurationError, LLMError, LLMInvalidResponseError
from afk_es.llms import LLMRequest, LLMResponse, Message, StreamPart, TextDelta, Usage
from afk_es.machine.values import digest

AskedAgain = Literal["look", "send", "never"]
"""What a message is that may have been sent before: looked for first, sent again as it was, or not sent."""

USAGE = "afk_es/usage"
COST = "afk_es/cost_usd"
STATE = "afk_es/state"
"""Keys of a task's metadata under which an agent may say what its work has cost, and that it did a part of it only; ours does."""

MAX_FILE_BYTES = 256 * 1024
"""Of all files of an answer together that go into the log; larger ones are told of and left out."""

_WITHDRAWAL_S = 10.0
_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be said to the agent.

    Attributes:
        parts: of the message; empty where nothing is to be sent and the task is only waited for.
        answers: the question that it answers.
    """

    parts: tuple[pb.Part, ...]
    answers: Answered | None = None


class RemoteModel:
    """The model of `A2AClient.agent`.

    Args:
        name: of the agent that it is the model of.
        contexts: whether messages of a thread share a context at the agent.
    """

    provider_id = "a2a"

    def __init__(self, remote: Remote, name: str, *, contexts: bool, asked_again: AskedAgain) -> None:
        # Where the agent is may change from one process to the next, as a database's address may; what it is to the run does not.
        self.model: str = f"a2a/{name}"
        self._remote = remote
        self._contexts = contexts
        self._asked_again = asked_again
        # The tasks of calls under way, by idempotency key: only to cancel them.
        self._under_way: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"RemoteModel({self.model!r}, {str(self._remote)!r})"

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """What came of the message.

        Raises:
            LLMError: of the class that says whether asking again can help.
        """
        response: LLMResponse | None = None
        async with aclosing(self.chat_stream(request)) as parts:
            async for part in parts:
                if isinstance(part, LLMResponse):
                    response = part
        assert response is not None
        return response

    async def chat_stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
        """The same with the answer's text as it comes, where the agent streams.

        Raises:
            LLMError: of the class that says whether asking again can help.
        """
        turn = turn_of(request)
        exchange = await self._remote.exchange(request.timeout_s)
        key = request.idempotency_key or ""
        if turn.answers is not None and turn.answers.words is None:
            await self._given_up(exchange, turn.answers)
        task: RemoteTask | None = None
        try:
            async with aclosing(self._done(exchange, request, turn)) as updates:
                async for update in updates:
                    if update.task_id is not None:
                        self._note(key, update.task_id)
                    if update.text:
                        yield TextDelta(update.text)
                    task = update.task
        except Exception:
            self._under_way.pop(key, None)
            raise
        self._under_way.pop(key, None)
        assert task is not None
        yield response_of(task, request, (await self._remote.card()).told.name)

    async def withdraw(self, request: LLMRequest) -> None:
        """Have the agent cancel what it is doing for this request, as far as it can be reached and found within some seconds."""
        exchange = await self._remote.exchange(_WITHDRAWAL_S)
        last = request.messages[len(request.messages) - 1]
        if last.role == "assistant":
            question = put_by(last)
            if question is not None:
                await exchange.cancelled(question.task_id)
            return
        turn = turn_of(request)
        task_id = self._under_way.pop(request.idempotency_key or "", None)
        if task_id is None and turn.answers is not None:
            task_id = turn.answers.question.task_id
        if task_id is not None:
            await exchange.cancelled(task_id)
            return
        for number in range(request.attempt, 0, -1):
            found = await exchange.found(self._message(request, turn, _message_id(request, number)))
            if found is not None and found.id is not None:
                if not found.ended:
                    await exchange.cancelled(found.id)
                return

    # ------------------------------------------------------------------------------------------------------------------ the inside

    async def _done(self, exchange: Exchange, request: LLMRequest, turn: Turn) -> AsyncGenerator[RemoteUpdate, None]:
        """The course of the request at the agent. Every attempt may have been withdrawn by a run that then got more time."""
        if not turn.parts and turn.answers is not None:
            async for update in exchange.followed(turn.answers.question.task_id, through_waiting=True):
                yield update
            return
        for number in range(1, request.attempt + 1):
            message = self._message(request, turn, _message_id(request, number))
            withdrawn = False
            async for update in self._said(exchange, message, again=request.attempt > 1):
                withdrawn = update.task is not None and update.task.state == "canceled" and number < request.attempt
                if not withdrawn:
                    yield update
            if not withdrawn:
                return

    async def _said(self, exchange: Exchange, message: pb.Message, *, again: bool) -> AsyncGenerator[RemoteUpdate, None]:
        if again and self._asked_again != "send":
            found = await exchange.found(message)
            if found is not None and found.id is not None:
                async for update in exchange.followed(found.id):
                    yield update
                return
            if self._asked_again == "never":
                raise RemoteTaskError(
                    f"{self._remote} may or may not have received this message before the last attempt was cut off, knows nothing of it now, "
                    "and it is not to be sent twice (asked_again='never')"
                )
        async for update in exchange.sent(message):
            yield update

    def _message(self, request: LLMRequest, turn: Turn, message_id: str) -> pb.Message:
        if turn.answers is not None:
            question = turn.answers.question
            return message_of([*turn.parts], message_id=message_id, context_id=question.context_id, task_id=question.task_id)
        return message_of([*turn.parts], message_id=message_id, context_id=context_of(request) if self._contexts else None)

    async def _given_up(self, exchange: Exchange, unanswered: Answered) -> None:
        """Nobody answers the agent's question: it need not wait any longer, and the run cannot go on."""
        question = unanswered.question
        left = "its task was cancelled"
        try:
            await exchange.cancelled(question.task_id)
        except LLMError as error:
            left = f"its task could not be cancelled ({error})"
        raise LLMCapabilityError(
            f"the remote agent at {self._remote} asks, and got no answer: {told(question.question)!r} ({told(unanswered.why)}); {left}"
        )

    def _note(self, key: str, task_id: str) -> None:
        self._under_way[key] = task_id
        while len(self._under_way) > _KEPT:
            del self._under_way[next(iter(self._under_way))]


def turn_of(request: LLMRequest) -> Turn:
    """What of a conversation the agent has not been told yet: the user's turns since the model spoke last, or the answer to its question.

    Raises:
        LLMConfigurationError: there is nothing.
    """
    messages = request.messages
    since: list[Message] = []
    asked: Message | None = None
    for at in range(len(messages) - 1, -1, -1):
        message = messages[at]
        if message.role == "assistant":
            asked = message
            break
        since.insert(0, message)
    if asked is not None and since and since[-1].role == "tool":
        found = answered(asked, since[-1])
        if found is not None:
            said = () if found.words is None or found.question.authorisation else (text_part(found.words),)
            return Turn(said, found)
    parts = [part for message in since if message.role in ("system", "user") for part in parts_of(message)]
    if not parts:
        raise LLMConfigurationError("there is nothing to say to the remote agent: the run has no message of the user's")
    return Turn(tuple(parts))


def context_of(request: LLMRequest) -> str | None:
    """The context at the agent that stands for the thread: another for every thread, and the same for each of its runs."""
    thread_id = request.metadata.get("thread_id")
    return digest(f"a2a:context:{thread_id}".encode()) if isinstance(thread_id, str) else None


def _message_id(request: LLMRequest, number: int) -> str:
    key = request.idempotency_key
    if key is None:
        raise LLMConfigurationError("a remote agent is asked with an idempotency_key, which becomes the id of the message")
    return key if number == 1 else digest(f"{key}:{number}".encode())


def response_of(task: RemoteTask, request: LLMRequest, said_by: str) -> LLMResponse:
    """The answer that a settled task is.

    Raises:
        LLMError: it ended without one.
    """
    match task.state:
        case "completed":
            return LLMResponse(
                text=_text(task),
                finish_reason="stop",
                usage=_usage(task),
                cost_usd=_cost(task),
                model=said_by[:200] or None,
                structured_response=_structured(task),
            )
        case "input-required" | "auth-required" if task.id is not None:
            call = call_of(question_of(task), f"remote_{(request.idempotency_key or '')[:12]}")
            return LLMResponse(tool_calls=(call,), finish_reason="tool_calls", usage=_usage(task), cost_usd=_cost(task))
        case "canceled":
            raise LLMCancelledError(f"the remote agent has cancelled its task{_because(task)}")
        case "rejected":
            raise LLMCapabilityError(f"the remote agent rejects the task{_because(task)}")
        case "failed":
            raise RemoteTaskError(f"the remote agent failed{_because(task)}", task_id=task.id, state="failed")
        case _:
            raise LLMInvalidResponseError(f"the remote agent left its task {task.state}")


def _because(task: RemoteTask) -> str:
    return f": {told(task.message)}" if task.message else ""


def _text(task: RemoteTask) -> str:
    """The answer's text: without any, its JSON; and what else there is to know of it."""
    said = [task.text or ("" if task.data is None else json.dumps(task.data, ensure_ascii=False)), *map(_mention, task.files)]
    if task.metadata.get(STATE) == "degraded" and task.message not in said:
        said.append(task.message)
    return "\n".join(line for line in said if line)


def _structured(task: RemoteTask) -> Any:
    """The answer's JSON value; with files it stands beside them."""
    if not task.files:
        return task.data
    room = MAX_FILE_BYTES
    files: list[dict[str, Any]] = []
    for file in task.files:
        about: dict[str, Any] = {"name": file.name, "media_type": file.media_type}
        if file.content is None:
            files.append({**about, "url": file.url})
        elif len(file.content) > room:
            files.append({**about, "bytes": len(file.content), "left_out": True})
        else:
            room -= len(file.content)
            files.append({**about, "bytes": len(file.content), "content": base64.b64encode(file.content).decode()})
    return {"data": task.data, "files": files}


def _mention(file: RemoteFile) -> str:
    where = file.url if file.content is None else f"{len(file.content):,} bytes"
    return f"[file {file.name or 'without a name'}, {file.media_type or 'of no known type'}, {where}]"


def _usage(task: RemoteTask) -> Usage | None:
    said = task.metadata.get(USAGE)
    if not isinstance(said, dict):
        return None
    counts = [said.get(name, 0) for name in ("input_tokens", "output_tokens", "total_tokens")]
    if not all(isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**53 for count in counts):
        return None
    return Usage(counts[0], counts[1], counts[2] or counts[0] + counts[1])


def _cost(task: RemoteTask) -> float | None:
    said = task.metadata.get(COST)
    return float(said) if isinstance(said, (int, float)) and not isinstance(said, bool) and said >= 0 else None
