"""Goal: letters that another program wrote into the file keep no run from its own. Method: rows put there with sqlite3, then the way back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from afk_es import Agent, PolicyEngine, PolicyRule, Runner, tool
from afk_es.agents import PolicyRuleCondition
from afk_es.core import RunnerConfig
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.testing import ScriptedModel

_FAR = 2**63 - 1
"""Microseconds that no date has."""


@tool
def pay() -> str:
    """Pay."""
    return "paid"


def paying(request: LLMRequest) -> LLMResponse | str:
    return "done" if len(request.messages) > 1 else LLMResponse(tool_calls=(ToolCall("c1", "pay", {}),))


RULE = PolicyRule(action="request_approval", subjects=("tool",), condition=PolicyRuleCondition(tool_name="pay"))


@pytest.mark.parametrize(
    ("at", "type_", "data"),
    [
        (1, "approval_resolved", "no json"),
        (1, "approval_resolved", "[]"),
        (1, "approval_resolved", '{"request_id": 5}'),
        (1, "run_completed", "{}"),
        (1, "invented", "{}"),
        (1, "control_requested", '{"action": [], "reason": {}, "origin": 1}'),
        (1, "approval_resolved", '{"x": ' + "[" * 5_000 + "]" * 5_000 + "}"),
        (_FAR, "control_requested", "{}"),
        (-_FAR, "control_requested", "{}"),
    ],
)
async def test_a_letter_that_is_none_is_a_warning_and_the_answers_beside_it_count(tmp_path: Path, at: int, type_: str, data: str) -> None:
    path = tmp_path / "runs.db"
    agent = Agent(model=ScriptedModel(paying), tools=[pay], policy_engine=PolicyEngine([RULE]))
    async with Runner(log=path, config=RunnerConfig(interaction_mode="external")) as runner:
        parked = await runner.run(agent, user_message="go")
        with sqlite3.connect(path) as other:
            other.execute("INSERT INTO letters (run, at, type, message, data) SELECT min(rowid), ?, ?, '', ? FROM runs", (at, type_, data))
        other.close()
        assert [request.run_id for request in await runner.pending_requests()] == [parked.run_id]
        await runner.approve(run_id=parked.run_id, by="ann")
        result = await runner.resume(agent, run_id=parked.run_id)
        events = await runner.log.read(parked.run_id)
    assert (result.state, [record.output for record in result.tool_executions]) == ("completed", ["paid"])
    assert [event.data["kind"] for event in events if event.type == "warning"] == ["letter_unreadable"]
