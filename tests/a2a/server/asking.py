"""The SDK's client before our server: in memory, where answers come whole, or over HTTP on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.types.a2a_pb2 import (
    GetTaskRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)

from afk_es.a2a import A2AServer
from afk_es.llms import LLMResponse, ToolCall

BINDINGS = ("JSONRPC", "HTTP+JSON")

COMPLETED = TaskState.TASK_STATE_COMPLETED
WORKING = TaskState.TASK_STATE_WORKING
FAILED = TaskState.TASK_STATE_FAILED
CANCELED = TaskState.TASK_STATE_CANCELED
INPUT_REQUIRED = TaskState.TASK_STATE_INPUT_REQUIRED
REJECTED = TaskState.TASK_STATE_REJECTED

URL = "http://127.0.0.1"


def calls(name: str, **arguments: object) -> LLMResponse:
    """The model asks for one call."""
    return LLMResponse(tool_calls=(ToolCall("c1", name, dict(arguments)),))


class Asker:
    """A client of one agent, with short words for what tests say."""

    def __init__(self, client: Client, streaming: Client) -> None:
        self.client = client
        self.streaming = streaming

    async def send(self, text: str, message_id: str = "m1", *, immediately: bool = False, **fields: Any) -> Task:
        """Send a message, and wait as the server does."""
        configuration = SendMessageConfiguration(return_immediately=immediately)
        events = [event async for event in self.client.send_message(_request(text, message_id, configuration, fields))]
        assert len(events) == 1
        assert events[0].WhichOneof("payload") == "task"
        return events[0].task

    def stream(self, text: str, message_id: str = "m1", **fields: Any) -> AsyncIterator[StreamResponse]:
        """Send a message, and be told of its task."""
        return self.streaming.send_message(_request(text, message_id, SendMessageConfiguration(), fields))

    def subscribe(self, task_id: str) -> AsyncIterator[StreamResponse]:
        """Be told of a task from now on."""
        return self.streaming.subscribe(SubscribeToTaskRequest(id=task_id))

    async def get(self, task_id: str) -> Task:
        """The task as it stands."""
        return await self.client.get_task(GetTaskRequest(id=task_id))


def _request(text: str, message_id: str, configuration: SendMessageConfiguration, fields: dict[str, Any]) -> SendMessageRequest:
    fields.setdefault("parts", [Part(text=text)])
    return SendMessageRequest(message=Message(message_id=message_id, role=Role.ROLE_USER, **fields), configuration=configuration)


@asynccontextmanager
async def asker(server: A2AServer, binding: str = "JSONRPC", *, token: str | None = None, agent: str = "") -> AsyncIterator[Asker]:
    """A client in memory, of a server that has a `url` of `URL`. The server is entered meanwhile."""
    http = httpx.AsyncClient(transport=httpx.ASGITransport(server.http_app()), base_url=URL)
    async with server, http, asker_at(f"{URL}{agent}", http, binding, token=token) as found:
        yield found


@asynccontextmanager
async def asker_at(url: str, http: httpx.AsyncClient, binding: str = "JSONRPC", *, token: str | None = None) -> AsyncIterator[Asker]:
    """A client of the agent at this address."""
    if token is not None:
        http.headers["Authorization"] = f"Bearer {token}"
    card = await A2ACardResolver(http, url).get_agent_card()
    configs = [ClientConfig(httpx_client=http, supported_protocol_bindings=[binding], streaming=streaming) for streaming in (False, True)]
    yield Asker(*(ClientFactory(config).create(card) for config in configs))


def answer_of(task: Task) -> str:
    """The text of the task's one artifact."""
    assert [artifact.artifact_id for artifact in task.artifacts] == ["answer"]
    return "".join(part.text for part in task.artifacts[0].parts)


def state_of(task: Task) -> str:
    """The name of its state, for messages of failures."""
    return str(TaskState.Name(task.status.state))
