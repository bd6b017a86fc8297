"""`afk-es run`: runs an agent."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click
import msgspec

from afk_es.agents import Agent
from afk_es.cli.agents import load_agent
from afk_es.cli.asking import Mode, asking_options, runner_for
from afk_es.cli.driving import Interrupts, Screen, finish
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.output import command
from afk_es.core import Runner
from afk_es.errors import ConfigurationError


@click.command("run", short_help="Run an agent.")
@click.argument("target", metavar="MODULE:AGENT")
@click.argument("message", required=False)
@click.option("--thread", "thread_id", metavar="ID", help="The thread to go on with; the agent remembers its earlier turns.")
@click.option("--context", metavar="JSON", help="The run's context: one JSON object.")
@asking_options
@common_options
@click.pass_obj
def run(invocation: Invocation, target: str, message: str | None, thread_id: str | None, context: str | None, asking: Mode | None) -> None:
    """Run the agent that MODULE:AGENT names, with MESSAGE ("-" reads it from stdin).

    MODULE is a module, found from the current directory too, or a .py file; AGENT an Agent, or a function that gives one. The answer
    goes to stdout. Exit code 0 for a run that completed or degraded, 1 for one that failed or was cancelled. Ctrl-C interrupts the run so
    that it can be resumed. Where a person has to answer and neither --interactive nor --external is given, the call is denied.
    """
    agent = load_agent(target)
    values = _object(context)
    if message == "-":
        message = sys.stdin.read()
    runner = runner_for(invocation.location, asking)
    screen = Screen(invocation)
    interrupts = Interrupts()
    with interrupts.installed():
        code = asyncio.run(_run(invocation, runner, target, agent, message, thread_id, values, screen, interrupts))
    finish(code, interrupts)


async def _run(
    invocation: Invocation,
    runner: Runner,
    target: str,
    agent: Agent,
    message: str | None,
    thread_id: str | None,
    context: dict[str, Any] | None,
    screen: Screen,
    interrupts: Interrupts,
) -> int:
    async with runner:
        handle = await runner.run_stream(agent, user_message=message, context=context, thread_id=thread_id)
        interrupts.watch(handle.interrupt, command("resume", handle.run_id, target, db=invocation.db))
        async for event in handle:
            screen.show(event)
        return screen.end(handle.result)


def _object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        values: dict[str, Any] = msgspec.json.decode(text, type=dict)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigurationError(f'--context is one JSON object, such as \'{{"user_id": "ada"}}\': {error}') from error
    return values
