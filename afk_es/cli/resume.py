"""`afk-es resume`: goes on with a run from its log."""

from __future__ import annotations

import asyncio

import click

from afk_es.agents import Agent
from afk_es.cli import output
from afk_es.cli.agents import load_agent
from afk_es.cli.asking import Mode, asking_options, runner_for
from afk_es.cli.driving import Interrupts, Screen, finish
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.reading import Name, parse_name, reading
from afk_es.core.handle import stream_event
from afk_es.core.pending import state_of
from afk_es.debugger.naming import named_run
from afk_es.errors import AgentMismatchError


@click.command("resume", short_help="Go on with a run that was interrupted or whose process died.")
@click.argument("run", metavar="RUN")
@click.argument("target", metavar="MODULE:AGENT")
@click.option("--allow-agent-change", is_flag=True, help="Go on although the agent is not the recorded one; the change is recorded.")
@click.option("--reopen", is_flag=True, help="Go on with a run that failed, too: what failed is tried again, or the model is told of it.")
@asking_options
@common_options
@click.pass_obj
def resume(invocation: Invocation, run: str, target: str, allow_agent_change: bool, reopen: bool, asking: Mode | None) -> None:
    """Go on with RUN, as the agent that MODULE:AGENT names.

    Nothing that has returned is run again. A run that had ended already gives its answer, and nothing runs, save that one which failed
    goes on with --reopen; a limit that it reached has to be raised first (--allow-agent-change). Answers that were given meanwhile (`afk-es approve` and its kin) are taken in; what is still open is asked with --interactive, else as the run asked
    so far. A live run that is paused goes on with `afk-es unpause`.
    """
    name = parse_name(run, invocation)
    agent = load_agent(target)
    db = name.location if name.location != invocation.location else invocation.db
    screen = Screen(Invocation(db, invocation.format))
    interrupts = Interrupts()
    with interrupts.installed():
        code = asyncio.run(_resume(name, target, db, agent, allow_agent_change, reopen, asking, screen, interrupts))
    finish(code, interrupts)


async def _resume(
    name: Name,
    target: str,
    db: str | None,
    agent: Agent,
    allow_agent_change: bool,
    reopen: bool,
    asking: Mode | None,
    screen: Screen,
    interrupts: Interrupts,
) -> int:
    async with reading(name.location) as log:
        run_id = await named_run(log, name.run)
        recorded = (await state_of(log, await log.read(run_id))).spec.interaction
    async with runner_for(name.location, asking, recorded) as runner:
        try:
            handle = await runner.resume_handle(agent, run_id=run_id, allow_agent_change=allow_agent_change, reopen=reopen)
        except AgentMismatchError as error:
            raise AgentMismatchError(f"{error} (here: --allow-agent-change)") from error
        if handle.done:
            way = f"; it failed, and --reopen goes on with it: {output.command('resume', run_id, target, '--reopen', db=db)}"
            output.note(f"this run had ended; nothing was run again{way if (await handle.await_result()).state == 'failed' else ''}")
        interrupts.watch(handle.interrupt, output.command("resume", run_id, target, db=db))
        async for event in handle.events:
            told = stream_event(event)
            if told is not None:
                screen.show(told)
        return screen.end(await handle.await_result())
