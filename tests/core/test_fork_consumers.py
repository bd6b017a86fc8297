"""Goal: whoever reads a run reads a fork as well: telemetry, metrics, families, the command line, and whoever ends it from outside."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from afk_es.agents import Agent
from afk_es.cli import main
from afk_es.core import EditedCall, EditMessage, EditToolResult, Runner, RunnerConfig
from afk_es.log import open_log
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import AgentRunEvent
from afk_es.telemetry import export_run
from afk_es.testing import CrashPoint, CrashScenario, CrashTrial
from afk_es.views import run_metrics, spans, timeline
from tests.core.forked import World, clerk, events_of, seq_of
from tests.core.test_fork_laws import sound, turns, writer
from tests.crash.test_forks import BATCH, Origin
from tests.telemetry.sinks import Remembering


async def test_telemetry_is_told_of_what_the_fork_did_itself_and_of_nothing_twice() -> None:
    world = World()
    sink = Remembering()
    runner = Runner(log=MemoryEventLog())
    run = await runner.run(clerk(world), user_message="Buy a lamp")
    fork = await Runner(log=runner.log, telemetry=sink).fork(clerk(world), run_id=run.run_id, at=12)
    live: list[AgentRunEvent] = sink.events
    assert [event.seq for event in live] == list(range(13, 24))
    async with runner:
        later = Remembering()
        assert (await export_run(runner.log, fork.run_id, later)).events == len(live)
        assert [event.seq for event in later.events] == [event.seq for event in live]
        whole = await runner.log.read(fork.run_id)
    (agent, *others) = spans(live)
    assert agent.links[0].trace_id == spans(await events_of(runner, run.run_id))[0].trace_id
    assert not any("usage" in name for span in (agent, *others) for name in span.attributes)
    assert [span.attributes.get("afk.reused") for span in others if span.name.startswith("chat")] == [True]
    metrics = run_metrics(whole)
    assert (metrics.llm_calls, metrics.cost_usd, metrics.models) == (0, None, ())
    lines = list(timeline(whole))
    assert lines[12].text == f"forked from {run.run_id} at seq 12"


async def test_metrics_count_what_a_fork_asked_itself() -> None:
    world = World()
    runner = Runner(log=":memory:")
    run = await runner.run(clerk(world), user_message="Buy a lamp")
    fork = await runner.fork(clerk(world, instructions="Be brief."), run_id=run.run_id, at=12)
    metrics = run_metrics(await events_of(runner, fork.run_id))
    assert (metrics.llm_calls, metrics.input_tokens, metrics.cost_usd) == (2, 20, 0.5)
    assert fork.usage_by_model["scripted-1"].requests == 2


async def test_a_request_under_way_at_the_fork_is_the_forks_where_it_answers_it() -> None:
    world = World()
    runner = Runner(log=":memory:", config=RunnerConfig(debug=True))
    run = await runner.run(clerk(world), user_message="Buy a lamp")
    events = await events_of(runner, run.run_id)
    # Its answer is taken out of the record by a log that ends before it.
    cut = MemoryEventLog()
    await cut.open()
    await cut.append(events[:12], epoch=1)
    other = Runner(log=cut)
    fork = await other.fork(clerk(world), run_id=run.run_id, at=12, tools="recorded_or_live")
    assert fork.state == "completed"
    assert fork.usage_by_model["scripted-1"].requests == 2
    assert run_metrics(await cut.read(fork.run_id)).llm_calls == 2
    assert (await cut.runs())[0].llm_calls == 2


async def test_a_fork_of_a_subagents_run_is_nobodys_subagent() -> None:
    world = World()
    helper = Agent(name="helper", model=turns(world, [("pay", {"item": "h"})], end="helped"), tools=[writer(world)])
    boss = Agent(name="boss", model=turns(world, [("transfer_to_helper", {"task": "t"})]), subagents=[helper])
    runner = Runner(log=":memory:", config=RunnerConfig(debug=True))
    run = await runner.run(boss, user_message="Go")
    child = run.subagent_executions[0].run_id
    for at in (0, 4, 9):
        fork = await runner.fork(helper, run_id=child, at=at)
        assert (fork.state, fork.final_text) == ("completed", "helped: pay h done")
        assert fork.tool_executions[0].agent_path == ("boss", "helper")
        async with runner:
            record = (await runner.log.runs(limit=1))[0]
            assert (record.run_id, record.parent_run_id) == (fork.run_id, None)
            from afk_es.debugger.family import head_of_family, parent_of

            assert (await parent_of(runner.log, fork.run_id), await head_of_family(runner.log, fork.run_id)) == (None, fork.run_id)
            assert await parent_of(runner.log, child) == run.run_id
        await sound(runner, fork.run_id)
    assert world.done == ["pay h"]


async def test_a_subagent_that_runs_again_is_the_forks_own_and_belongs_to_its_family() -> None:
    world = World()
    helper = Agent(name="helper", model=turns(world, [("pay", {"item": "h"})], end="helped"), tools=[writer(world)])
    boss = Agent(name="boss", model=turns(world, [("transfer_to_helper", {"task": "t"})]), subagents=[helper])
    runner = Runner(log=":memory:", config=RunnerConfig(debug=True))
    run = await runner.run(boss, user_message="Go")
    events = await events_of(runner, run.run_id)
    held = await runner.fork(boss, run_id=run.run_id, edits=[EditMessage(5, "t", (EditedCall("c", "transfer_to_helper", {"task": "u"}),))])
    assert "subagent 'transfer_to_helper' (c) has no recorded answer" in (held.error or "")
    fork = await runner.fork(boss, run_id=run.run_id, at=seq_of(events, "subagent_started"), tools="live")
    assert fork.subagent_executions[0].run_id != run.subagent_executions[0].run_id
    assert len(fork.tool_executions) == len(run.tool_executions)
    assert world.done == ["pay h", "pay h"]
    async with runner:
        child = await runner.log.read(fork.subagent_executions[0].run_id)
        assert child[0].data["parent"]["run_id"] == fork.run_id
        assert child[0].data["parent"]["root"] == fork.run_id
    edited = await runner.fork(boss, run_id=run.run_id, edits=[EditToolResult(seq_of(events, "subagent_completed"), output="otherwise")])
    assert edited.final_text.endswith("otherwise")
    failed = await runner.fork(boss, run_id=run.run_id, edits=[EditToolResult(seq_of(events, "subagent_completed"), error="gone")])
    assert "gone" in failed.final_text


def test_a_fork_that_is_ended_from_outside_has_nothing_in_doubt_that_touched_nothing() -> None:
    origin = Origin()
    words = EditMessage(5, "turn 1", tool_calls=(EditedCall("call_1_1", "pay", {"item": "another"}),))
    scenario = CrashScenario(agent=BATCH, before=origin.make, begin=origin.forked(edits=[words]), log="sqlite")
    with CrashTrial(scenario) as trial:
        appends = [point for point in _points(scenario) if point.when == "before" and "run_interrupted" in point.about]
        assert trial.run_until(appends[0])

        async def outside() -> list[AgentRunEvent]:
            async with Runner(log=trial.directory / "runs.db") as runner:
                attached = await runner.attach(run_id=trial.run_id, by="ann")
                await attached.interrupt()
                held = await runner.resume(trial.agent, run_id=trial.run_id)
                assert "never runs unasked" in (held.error or "")
                return await runner.log.read(trial.run_id)

        events = asyncio.run(outside())
    assert not {"effect_in_doubt"} & {event.type for event in events}


def _points(scenario: CrashScenario) -> list[CrashPoint]:
    from afk_es.testing import rehearse

    return list(rehearse(scenario).points)


def test_the_command_line_reads_forks(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"

    async def make() -> tuple[str, str]:
        runner = Runner(log=file)
        run = await runner.run(clerk(World()), user_message="Buy a lamp")
        fork = await runner.fork(None, run_id=run.run_id, at=8)
        return run.run_id, fork.run_id

    run_id, fork_id = asyncio.run(make())

    def said(*words: str) -> str:
        done: Any = CliRunner().invoke(main, ["--db", str(file), *words])
        assert done.exit_code == 0, done.output
        return str(done.output)

    assert "22" in said("verify", run_id)
    assert "23" in said("verify", fork_id)
    assert f"forked from {run_id} at seq 8" in said("log", fork_id)
    assert "lamp costs 5; paid lamp" in said("show", fork_id)
    assert "clerk" in said("runs")

    async def read_only() -> None:
        log = open_log(file, read_only=True)
        await log.open()
        assert len(await log.read(fork_id)) == 23
        await log.close()

    asyncio.run(read_only())
