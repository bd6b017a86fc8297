"""Goal: whatever bytes an A2AServer is sent, it answers in its protocol or closes, tells nothing of its inside, begins no task, and goes on.

Method: the requests of the SDK's client, by JSON-RPC and by REST, with seeded mistakes in them, byte for byte. `AFK_ES_EXAMPLES=5000` tries more.
"""

from __future__ import annotations

import os

import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.types import GetTaskRequest, ListTasksRequest, Message, Part, Role, SendMessageRequest

from afk_es.a2a import A2AServer
from afk_es.agents import Agent
from afk_es.core import Runner, RunnerConfig
from afk_es.log.memory import MemoryEventLog
from afk_es.testing import ScriptedModel
from tests.support.garbage import Request, Server, garbled, no_http

NUMBER = int(os.environ.get("AFK_ES_EXAMPLES", "120"))


def _message(message_id: str) -> SendMessageRequest:
    return SendMessageRequest(message=Message(message_id=message_id, role=Role.ROLE_USER, parts=[Part(text="hi")]))


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_near_misses_over_http(binding: str) -> None:
    log = MemoryEventLog()
    requests: list[Request] = []

    async def noted(request: httpx.Request) -> None:
        requests.append(Request(request.method, request.url.raw_path.decode(), dict(request.headers), await request.aread()))

    agent = Agent(name="echo", model=ScriptedModel(lambda request: request.messages[-1].content))
    served = A2AServer(agent, runner=Runner(log=log, config=RunnerConfig(interaction_mode="external")))
    async with served.serve() as http, httpx.AsyncClient(event_hooks={"request": [noted]}) as sending:
        config = ClientConfig(httpx_client=sending, streaming=False, supported_protocol_bindings=[binding])
        client = await create_client(http.url, config)
        answers = [answer async for answer in client.send_message(_message("m1"))]
        await client.get_task(GetTaskRequest(id=answers[-1].task.id))
        await client.list_tasks(ListTasksRequest())
        right = [request for request in requests if not request.path.startswith("/.well-known")]
        assert len(right) == 3
        server = Server(http.url)
        runs = len(await log.runs(limit=10_000))
        assert runs == 1
        for request in garbled(right, 7, NUMBER):
            answer = await server.judged(request.on_the_wire())
            now = len(await log.runs(limit=10_000))
            if answer.refused and now > runs:
                server.problems.append(f"a task began, and it was refused: {request.path} {request.body[:300]!r} {answer.body[:300]!r}")
            runs = now
        for sent in no_http(http.url.split("/")[2], right[0].path):
            await server.judged(sent, ends=True)
        assert len(await log.runs(limit=10_000)) == runs
        assert not server.problems, "\n".join(server.problems)
        assert [answer async for answer in client.send_message(_message("m2"))][-1].task.artifacts
