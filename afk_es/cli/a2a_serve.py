"""`afk-es a2a serve`: agents that other programs can ask over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from afk_es.agents import Agent
from afk_es.cli.agents import AGENT_FORM, called, load_value
from afk_es.cli.callers import Door, door_options
from afk_es.cli.invocation import Invocation, common_options
from afk_es.errors import ConfigurationError

if TYPE_CHECKING:
    from afk_es.a2a import A2AServer


@click.command("serve", short_help="Serve agents to other programs over HTTP.")
@click.argument("targets", metavar="MODULE:AGENT", nargs=-1, required=True)
@door_options(http="127.0.0.1:0")
@click.option("--url", metavar="URL", help="Where clients reach it from outside, as the agents' cards say; default where it listens.")
@click.option("--push-file", metavar="FILE", help="Where callbacks of clients are kept; default beside the log's file.")
@click.option("--no-push", is_flag=True, help="Call no clients back.")
@common_options
@click.pass_obj
def serve(
    invocation: Invocation,
    targets: tuple[str, ...],
    door: Door,
    url: str | None,
    push_file: str | None,
    no_push: bool,
) -> None:
    """Serve the agents that MODULE:AGENT names, over A2A. Each task is a run in the log of --db.

    MODULE is a module, found from the current directory too, or a .py file; AGENT an Agent, a ServedAgent, an A2AServer, or a function that gives one of
    them. A single agent answers at the root, several each under /NAME. A task that needs an approval or an input waits for its client, and for
    `afk-es approve` and its kin. Tasks that a server before this one left are gone on with. Ctrl-C ends it, and lays down what is under way.
    """
    from afk_es.a2a import A2AServer  # noqa: F401 - says what to install where that is missing, before anything of the user's is loaded

    options: dict[str, Any] = {
        "url": url,
        "log": invocation.db,
        "push": False if no_push else None,
        "push_file": push_file,
    }
    server = load_server(targets, {name: value for name, value in options.items() if value is not None} | door.settings())
    asyncio.run(door.serve(server.serve, server.names))


def load_server(targets: tuple[str, ...], options: dict[str, Any]) -> A2AServer:
    """The server that these name, or one that is made of the agents they name.

    Args:
        options: of the server that is made.

    Raises:
        ConfigurationError: there is something that is no agent, or a server that has its options already.
    """
    from afk_es.a2a import A2AServer, ServedAgent

    found = []
    for target in targets:
        value = load_value(target, "an agent", AGENT_FORM)
        if not isinstance(value, Agent | ServedAgent | A2AServer) and callable(value):
            value = called(value, target)
        if not isinstance(value, Agent | ServedAgent | A2AServer):
            raise ConfigurationError(f"{target} is of the type {type(value).__name__}, not an Agent, a ServedAgent or an A2AServer")
        found.append(value)
    agents = [each for each in found if not isinstance(each, A2AServer)]
    if len(agents) == len(found):
        return A2AServer(agents, **options)
    (server, *others) = found
    if others or options or not isinstance(server, A2AServer):
        raise ConfigurationError("an A2AServer is served alone, and has its log and options where it is made: say them there")
    return server
