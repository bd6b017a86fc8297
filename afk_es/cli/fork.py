"""`afk-es fork`: what if something had been otherwise? First the plan, then, unless only that was asked for, the fork."""

from __future__ import annotations

import asyncio
from typing import Literal, NamedTuple

import click
import msgspec

from afk_es.agents import Agent
from afk_es.cli import output
from afk_es.cli.agents import load_agent
from afk_es.cli.asking import Mode, asking_options, runner_for
from afk_es.cli.driving import Interrupts, Screen, finish
from afk_es.cli.failures import NEGATIVE, OK
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.places import place
from afk_es.cli.reading import Name, parse_name, reading
from afk_es.core import ForkPlan, Runner
from afk_es.core.handle import stream_event
from afk_es.core.pending import state_of
from afk_es.debugger.naming import named_run
from afk_es.debugger.recording import Recording
from afk_es.debugger.what_if import parsed_edit, plan_lines, tool_mode_of, unasked_writes
from afk_es.errors import UsageError
from afk_es.handlers.edits import Edit, ToolMode
from afk_es.log import EventLog
from afk_es.machine import RunSpec
from afk_es.machine.spec import Interaction
from afk_es.views import visible


class Wanted(NamedTuple):
    """What is to be tried, as the options have it."""

    at: str | None
    sets: tuple[str, ...]
    tools: tuple[str, ...]
    yes_write: tuple[str, ...]
    models: Literal["live", "recorded"]


class Meant(NamedTuple):
    """The same, found in the log: what `Runner.fork` takes."""

    run_id: str
    at: int | None
    edits: list[Edit]
    tools: dict[str, ToolMode]
    models: Literal["live", "recorded"]
    interaction: Interaction


@click.command("fork", short_help="Try a change: a run that shares another's beginning.")
@click.argument("run", metavar="RUN")
@click.argument("target", metavar="[MODULE:AGENT]", required=False)
@click.option("--at", metavar="POSITION", help="The last event that is shared, 0 for none; default the one before the first edit.")
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="WHAT=VALUE",
    help="result@POSITION=JSON, error@POSITION=TEXT, message@POSITION=TEXT, decision@POSITION=deny:reason, model=NAME, "
    "instructions=TEXT or instructions=@FILE; may be repeated.",
)
@click.option("--plan", "only_plan", is_flag=True, help="Say what would be reused, stubbed and run, and run nothing.")
@click.option("--agent", "agent_option", metavar="MODULE:AGENT", help="The same as MODULE:AGENT; without either, the agent of the log.")
@click.option(
    "--tool", "tools", multiple=True, metavar="NAME=MODE", help="recorded, live, recorded_or_live or stub:JSON; NAME * for all others."
)
@click.option(
    "--models",
    type=click.Choice(["live", "recorded"]),
    default="live",
    show_default=True,
    help="What becomes of a request without a recorded answer: the model is asked, or the fork is laid down.",
)
@click.option("--yes-write", multiple=True, metavar="TOOL", help="This tool may run for real although it may write; may be repeated.")
@asking_options
@common_options
@click.pass_obj
def fork(
    invocation: Invocation,
    run: str,
    target: str | None,
    at: str | None,
    sets: tuple[str, ...],
    only_plan: bool,
    agent_option: str | None,
    tools: tuple[str, ...],
    models: Literal["live", "recorded"],
    yes_write: tuple[str, ...],
    asking: Mode | None,
) -> None:
    """Fork RUN: share its beginning, change something, and go on from there. RUN itself is neither touched nor copied.

    Recorded answers are reused while what is asked stays the same, and cost nothing. The plan comes first, on stderr, or alone on stdout
    with --plan. A tool that is not known to be read-only never runs for real without --yes-write; where its answer is not recorded, the
    fork is laid down. Without MODULE:AGENT no tool can run at all. Exit code 1 for a fork that was or would be laid down, failed or was
    cancelled.
    """
    if target is not None and agent_option is not None:
        raise UsageError("MODULE:AGENT and --agent name the same; leave one of them out")
    target = target or agent_option
    name = parse_name(run, invocation)
    agent = load_agent(target) if target is not None else None
    wanted = Wanted(at, sets, tools, yes_write, models)
    if only_plan:
        code = asyncio.run(_only_plan(invocation, name, agent, wanted))
        if code:
            raise click.exceptions.Exit(code)
        return
    db = name.location if name.location != invocation.location else invocation.db
    screen = Screen(Invocation(db, invocation.format))
    interrupts = Interrupts()
    with interrupts.installed():
        code = asyncio.run(_fork(name, agent, target, db, wanted, asking, screen, interrupts))
    finish(code, interrupts)


async def _only_plan(invocation: Invocation, name: Name, agent: Agent | None, wanted: Wanted) -> int:
    async with reading(name.location) as log:
        meant = await _meant(log, name, agent, wanted)
        async with Runner(log=log) as runner:
            plan = await _plan(runner, agent, meant)
    if invocation.format == "text":
        for text, tone in plan_lines(plan):
            output.echo(output.toned(visible(text), tone))
    else:
        data = {"schema": "afk_es.fork_plan/1", **msgspec.to_builtins(plan)}
        (output.write_json if invocation.format == "json" else output.write_json_line)(data)
    return NEGATIVE if plan.stops is not None else OK


async def _fork(
    name: Name,
    agent: Agent | None,
    target: str | None,
    db: str | None,
    wanted: Wanted,
    asking: Mode | None,
    screen: Screen,
    interrupts: Interrupts,
) -> int:
    async with reading(name.location) as log:
        meant = await _meant(log, name, agent, wanted)
    async with runner_for(name.location, asking, meant.interaction) as runner:
        for text, tone in plan_lines(await _plan(runner, agent, meant)):
            output.note(text, tone)
        handle = await runner.fork_handle(
            agent, run_id=meant.run_id, at=meant.at, edits=meant.edits, tools=meant.tools, models=meant.models
        )
        interrupts.watch(handle.interrupt, output.command("resume", handle.run_id, target or "MODULE:AGENT", db=db))
        async for event in handle.events:
            told = stream_event(event)
            if told is not None:
                screen.show(told)
        code = screen.end(await handle.await_result())
    output.note(f"compare the two with: {output.command('diff', meant.run_id, handle.run_id, db=db)}")
    return code


async def _plan(runner: Runner, agent: Agent | None, meant: Meant) -> ForkPlan:
    return await runner.plan_fork(agent, run_id=meant.run_id, at=meant.at, edits=meant.edits, tools=meant.tools, models=meant.models)


async def _meant(log: EventLog, name: Name, agent: Agent | None, wanted: Wanted) -> Meant:
    """What is to be tried, checked before anything is planned."""
    run_id = await named_run(log, name.run)
    rec = await Recording.open(log, run_id)
    at = None if wanted.at is None else 0 if wanted.at.strip() == "0" else await place(rec, wanted.at)
    edits = [await parsed_edit(rec, text) for text in wanted.sets]
    modes = dict(tool_mode_of(text) for text in wanted.tools)
    for tool in wanted.yes_write:
        modes.setdefault(tool, "recorded_or_live")
    spec = msgspec.convert(rec.first.data["agent"], RunSpec)
    if agent is None and (live := [tool for tool, mode in modes.items() if mode in ("live", "recorded_or_live")]):
        raise UsageError(f"without MODULE:AGENT there is no code of {', '.join(live)} that could run; name the agent, or stub the tool")
    if unasked := unasked_writes(modes.items(), _read_only(spec, agent), wanted.yes_write):
        raise UsageError(
            f"{', '.join(unasked)} may write, and would run for real: allow it with "
            + " ".join(f"--yes-write {tool}" for tool in unasked)
            + ", or leave the recorded answers, or stub it with --tool NAME=stub:JSON"
        )
    interaction = (await state_of(log, await log.read(run_id, limit=1))).spec.interaction
    return Meant(run_id, at, edits, modes, wanted.models, interaction)


def _read_only(spec: RunSpec, agent: Agent | None) -> list[str]:
    """The tools that change nothing, by the word of the log and of the agent that is to run."""
    recorded = {tool.name: tool.read_only for tool in spec.tools}
    if agent is None:
        return [name for name, read_only in recorded.items() if read_only]
    # Of its servers' tools the log tells: nobody is asked before it is known what is to be tried.
    servers = {server.name for server in agent.mcp_servers}
    offered = {tool.name: tool.read_only for tool in spec.tools if tool.server in servers}
    offered |= {tool.name: tool.read_only for tool in agent.offered_tools()}
    return [name for name, read_only in offered.items() if read_only and recorded.get(name, True)]
