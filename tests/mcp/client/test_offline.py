"""What has been recorded can be looked at, replayed, checked and forked when the server is gone: nobody connects."""

from __future__ import annotations

import asyncio
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.core import Runner, recorded_agent
from afk_es.errors import AgentMismatchError, ToolError, UsageError
from afk_es.evals import Golden, check_golden
from afk_es.machine.spec import RunSpec
from afk_es.mcp import MCPClient
from afk_es.testing import ScriptedModel, Simulation, without_servers
from tests.core.scenario import laid_down, never
from tests.mcp.client.remote import agent_of, asks, shop

SCRIPT = [asks(("shop_find", {"order": "A"}), ("shop_find", {"order": 7}), ("shop_pay", {"order": "A"})), "done"]


def gone(**options: object) -> MCPClient:
    """The shop, where nobody is any more."""
    return MCPClient("http://127.0.0.1:9/mcp", name="shop", connect_timeout_s=5, **options)  # type: ignore[arg-type]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


async def recording(log: Path, agent: Agent) -> str:
    return (await Runner(log=log).run(agent, user_message="go")).run_id


async def test_a_replay_asks_no_server(log: Path) -> None:
    run_id = await recording(log, agent_of(MCPClient(shop()), script=SCRIPT))
    replayed = await Runner(log=log).replay(agent_of(gone(), script=[]), run_id=run_id)
    assert (replayed.result.state, replayed.leftovers, replayed.unanswered) == ("completed", (), ())
    records = sorted(replayed.result.tool_executions, key=lambda record: record.tool_call_id)
    assert [record.success for record in records] == [True, False, True]


async def test_a_golden_is_checked_with_the_server_gone(log: Path) -> None:
    runner = Runner(log=log)
    async with runner:
        run_id = (await runner.run(agent_of(MCPClient(shop()), script=SCRIPT), user_message="go")).run_id
        golden = await Golden.of(runner.log, run_id, name="shop")
    report = await check_golden(golden, agent_of(gone(), script=[]))
    assert (report.outcome, report.divergences) == ("passed", ())
    forbidden = PolicyEngine([PolicyRule(action="deny", condition=lambda event: event.tool_name == "shop_pay")])
    assert not (await check_golden(golden, agent_of(gone(), script=[]), policy_engine=forbidden)).ok


@pytest.mark.parametrize("asked", [True, False])
async def test_a_team_is_checked_whether_or_not_its_members_were_asked(log: Path, asked: bool) -> None:
    """What the servers of a subagent that never ran have to offer is in no log."""

    def team(server: MCPClient, own: MCPClient) -> Agent:
        desk = agent_of(server, script=[asks(("shop_find", {"order": "A"})), "found"], name="desk")
        turns = [asks(("transfer_to_desk", {"task": "find A"}))] if asked else [asks(("shop_find", {"order": "B"}))]
        return Agent(model=ScriptedModel([*turns, "done"]), subagents=[desk], mcp_servers=[own])

    runner = Runner(log=log)
    async with runner:
        run_id = (await runner.run(team(MCPClient(shop()), MCPClient(shop())), user_message="go")).run_id
        golden = await Golden.of(runner.log, run_id, name="team")
    report = await check_golden(golden, team(gone(), gone()))
    assert (report.outcome, report.divergences) == ("passed", ())


async def test_a_fork_without_code_asks_no_server(log: Path) -> None:
    runner = Runner(log=log)
    async with runner:
        run_id = (await runner.run(agent_of(MCPClient(shop()), script=SCRIPT), user_message="go")).run_id
        first = (await runner.log.read(run_id, limit=1))[0]
        as_recorded = recorded_agent(msgspec.convert(first.data["agent"], RunSpec))
        forked = await runner.fork(as_recorded, run_id=run_id, at=1)
    assert forked.state == "completed"


async def test_a_run_is_not_started_without_a_server_that_it_needs(log: Path) -> None:
    runner = Runner(log=log)
    expected = re.escape("server 'shop' (http://127.0.0.1:9/mcp) cannot be reached: nobody answers at that address")
    with pytest.raises(ToolError, match=expected):
        await runner.run(agent_of(gone(), script=SCRIPT), user_message="go")
    async with runner:
        assert not await runner.log.runs()


async def test_a_run_starts_without_a_server_that_it_can_do_without(log: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = await Runner(log=log).run(agent_of(gone(required=False), script=["done"]), user_message="go")
    assert result.state == "completed"
    assert "going on without the tools of server 'shop'" in caplog.text


async def interrupted(log: Path) -> str:
    """A run that was laid down before its second step."""
    server = shop()
    began = asyncio.Event()

    @server.tool()
    async def wait() -> str:
        began.set()
        await asyncio.sleep(3600)
        return ""

    runner = Runner(log=log)
    async with runner:
        handle = await runner.run_handle(agent_of(MCPClient(server), script=[asks(("shop_wait", {})), "done"]))
        await began.wait()
        await handle.interrupt()
        await handle.await_result()
    return handle.run_id


async def test_a_run_is_not_resumed_without_a_server_that_it_needs(log: Path) -> None:
    run_id = await interrupted(log)
    async with Runner(log=log) as runner:
        before = await runner.log.head(run_id)
        with pytest.raises(ToolError, match="cannot be reached"):
            await runner.resume(agent_of(gone(), script=[]), run_id=run_id)
        assert await runner.log.head(run_id) == before


async def test_a_run_goes_on_without_a_server_that_it_can_do_without(log: Path) -> None:
    """It still is the same agent, and a call of the server's says what is the matter."""
    run_id = await interrupted(log)
    agent = agent_of(gone(required=False), script=[asks(("shop_find", {"order": "A"})), "done"])
    result = await Runner(log=log).resume(agent, run_id=run_id)
    assert result.state == "completed"
    assert "cannot be reached" in str(result.tool_executions[-1].error)


def team(server: MCPClient, *, script: list[Any], below: list[Any], **options: Any) -> Agent:
    """An agent above the one that has the server, two levels down."""
    desk = agent_of(server, script=below, name="desk", **options)
    middle = Agent(name="middle", model=ScriptedModel([asks(("transfer_to_desk", {"task": "wait"})), "passed on"]), subagents=[desk])
    return Agent(model=ScriptedModel(script), subagents=[middle])


async def interrupted_team(log: Path) -> str:
    """A run that was laid down where a tool of the one at the bottom waits."""
    server = shop()
    began = asyncio.Event()

    @server.tool()
    async def wait() -> str:
        began.set()
        await asyncio.sleep(3600)
        return ""

    script = [asks(("transfer_to_middle", {"task": "wait"})), "done"]
    agent = team(MCPClient(server), script=script, below=[asks(("shop_wait", {})), "done"])
    async with Runner(log=log) as runner:
        handle = await runner.run_handle(agent, user_message="go")
        await began.wait()
        await handle.interrupt()
        assert (await handle.await_result()).state == "interrupted"
    return handle.run_id


async def test_a_run_goes_on_without_a_server_that_its_subagent_can_do_without(log: Path) -> None:
    """What the server had to offer is in the log of the subagent's own run, at whatever level."""
    run_id = await interrupted_team(log)
    agent = team(gone(required=False), script=["done"], below=[asks(("shop_find", {"order": "A"})), "found nothing"])
    async with Runner(log=log) as runner:
        result = await runner.resume(agent, run_id=run_id)
        below = await runner.log.read(result.subagent_executions[0].run_id)
        bottom = next(event.data["run_id"] for event in below if event.type == "subagent_started")
        failures = [event.data["error"] for event in await runner.log.read(bottom) if event.type == "tool_failed"]
    assert result.state == "completed"
    assert "cannot be reached" in str(failures[-1])


async def test_a_subagent_that_is_another_by_now_is_told_though_its_server_is_gone(log: Path) -> None:
    run_id = await interrupted_team(log)
    agent = team(gone(required=False), script=["done"], below=[], instructions="Be quick.")
    with pytest.raises(AgentMismatchError, match="transfer_to_middle differs in subagent_digest"):
        await Runner(log=log).resume(agent, run_id=run_id)


async def test_what_the_server_of_a_subagent_that_never_ran_had_to_offer_is_in_no_log(log: Path) -> None:
    async with Runner(log=log) as runner:
        described = team(MCPClient(shop()), script=[never, "done"], below=[])
        run_id = await laid_down(runner, described)
    with pytest.raises(AgentMismatchError, match="transfer_to_middle differs in subagent_digest"):
        await Runner(log=log).resume(team(gone(required=False), script=["done"], below=[]), run_id=run_id)


async def test_a_run_is_not_resumed_with_other_tools(log: Path) -> None:
    run_id = await interrupted(log)
    with pytest.raises(AgentMismatchError, match="tool shop_wait is gone"):
        await Runner(log=log).resume(agent_of(MCPClient(shop()), script=[]), run_id=run_id)


def test_a_simulation_says_how_to_do_without_servers() -> None:
    agent = agent_of(MCPClient(shop()), script=[])
    with pytest.raises(UsageError, match=r"without_servers\(agent\)"):
        Simulation(agent)
    known = asyncio.run(without_servers(agent))
    assert [tool.name for tool in known.tools][:2] == ["shop_find", "shop_pay"]
    with closing(Simulation(known)) as simulation:
        simulation.begin()
        assert len(simulation.runs) == 1
