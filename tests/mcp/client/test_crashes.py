"""Goal: a call of a server's tool whose process dies anywhere is made again only where the server is trusted and has said that it may be.

Method: the run killed before and after each of its events and effects, and resumed; the server counts what reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations

from afk_es.agents import Agent
from afk_es.core import AgentResult
from afk_es.llms import LLMRequest
from afk_es.mcp import MCPClient
from afk_es.testing import CrashScenario, CrashTrial, ScriptedModel, crash_everywhere
from tests.mcp.client.remote import asks


def payer(trusted: bool) -> Callable[[Path], Agent]:
    """Makes the agent of a process, whose server leaves the key of each call in a file."""

    def answered(request: LLMRequest) -> Any:
        return "done" if any(message.role == "tool" for message in request.messages) else asks(("bank_pay", {"order": "A"}))

    def made(directory: Path) -> Agent:
        server = MCPServer("bank")

        @server.tool(annotations=ToolAnnotations(idempotent_hint=True))
        def pay(order: str, ctx: Context) -> str:
            """Pay an order."""
            with (directory / "paid").open("a", encoding="utf-8") as paid:
                paid.write(f"{(ctx.request_context.meta or {}).get('afk_es/idempotency_key')}\n")
            return f"{order} is paid"

        return Agent(model=ScriptedModel([answered] * 4), mcp_servers=[MCPClient(server, trusted=trusted)])

    return made


@pytest.mark.parametrize("trusted", [True, False])
def test_a_call_survives_a_crash_at_every_point(trusted: bool) -> None:
    def check(trial: CrashTrial, result: AgentResult) -> Iterator[str]:
        (record,) = result.tool_executions
        file = trial.directory / "paid"
        keys = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        if result.state != "completed":
            yield f"the run is {result.state}"
        if trusted and not record.success:
            yield f"it may be repeated, and was not: {record.error}"
        if not trusted and len(keys) > 1:
            yield "it was repeated"
        if len(set(keys)) > 1:
            yield "it was called under several keys"
        if not record.success and "the outcome of this call is unknown" not in (record.error or ""):
            yield f"it failed otherwise: {record.error}"

    matrix = crash_everywhere(CrashScenario(agent=payer(trusted), user_message="Pay A."), check)
    assert matrix.problems == []
    assert matrix.summary()["points"] > 20
    assert bool(matrix.summary()["reported_unknown"]) is not trusted
