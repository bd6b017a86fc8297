"""Runs that came in over MCP or A2A look like it: who asked for them is shown, and who goes on with them is told instead of `afk-es resume`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.core import Runner, RunnerConfig
from afk_es.debugger.overview_text import overview_lines
from afk_es.llms import LLMResponse, ToolCall
from afk_es.testing import ScriptedModel
from afk_es.tools import tool
from afk_es.views import overview
from tests.cli.conftest import Afk

GOES_ON = {
    "mcp": "nobody drives this run; it came in over MCP, and goes on when its client makes the same call again",
    "a2a": "nobody drives this run; it came in over A2A, and goes on by its server, which is `afk-es a2a serve` on this log",
}


@tool
def refund(order: str) -> str:
    """Pay an order back."""
    return f"{order} refunded"


def parked(log: Path, door: str | None) -> str:
    """A run that waits for an approval, as a server leaves it."""
    ask = PolicyRule(rule_id="two", action="request_approval", condition=lambda event: event.tool_name == "refund")
    model = ScriptedModel([LLMResponse(tool_calls=(ToolCall("c1", "refund", {"order": "A1"}),)), "Done."])
    agent = Agent(model=model, tools=[refund], policy_engine=PolicyEngine(rules=[ask]))
    context = {"user_id": "alice", "door": door} if door is not None else {}
    runner = Runner(log=log, config=RunnerConfig(interaction_mode="external"))
    return asyncio.run(runner.run(agent, user_message="Refund A1", context=context)).run_id


@pytest.mark.parametrize("door", ["mcp", "a2a"])
def test_who_approves_is_told_who_goes_on(door: str, log: Path, afk: Afk) -> None:
    done = afk("approve", parked(log, door))
    assert done.exit_code == 0
    assert GOES_ON[door] in done.stderr
    assert "resume" not in done.stderr


@pytest.mark.parametrize(("door", "name"), [("mcp", "MCP"), ("a2a", "A2A")])
def test_who_asked_is_shown(door: str, name: str, log: Path, afk: Afk) -> None:
    assert f"asked for by alice, over {name}" in afk("show", parked(log, door)).stdout.splitlines()


@pytest.mark.parametrize(("door", "who"), [("mcp", "the same call"), ("a2a", "the next server on this log")])
async def test_where_the_process_died_it_is_said_who_goes_on(door: str, who: str, log: Path) -> None:
    run_id = await asyncio.to_thread(parked, log, door)
    async with Runner(log=log) as runner:
        seen = overview(await runner.log.read(run_id))
    lines = ["".join(text for text, _style in line) for line in overview_lines(seen, "crashed", 200)]
    assert lines[1] == f"its process died after seq {seen.seq}; {who} goes on with it"


def test_of_a_run_of_ones_own_nothing_of_that_is_said(log: Path, afk: Afk) -> None:
    run_id = parked(log, None)
    assert "asked for by" not in afk("show", run_id).stdout
    assert f"go on with it: afk-es resume {run_id} MODULE:AGENT" in afk("approve", run_id).stderr


def test_a_request_without_a_reason_has_no_empty_one(log: Path, afk: Afk) -> None:
    lines = afk("log", parked(log, None)).stdout.splitlines()
    (asked,) = [line for line in lines if "approval_requested" in line]
    assert asked.rstrip().endswith("  refund")


def test_a_group_without_a_verb_shows_its_help_and_no_error(afk: Afk) -> None:
    told = afk("mcp")
    assert told.exit_code == 2
    assert "Error" not in told.output
    assert told.output.count("Usage:") == 1
