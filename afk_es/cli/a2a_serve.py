"""`afk-es a2a serve`: agents that other programs can ask over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from afk_es.agents import Agent
from afk_es.cli import output
from afk_es.cli.agents import AGENT_FORM, called, load_value
from afk_es.cli.callers import api_keys, rate_limit
from afk_es.cli.extras import of_extra
from afk_es.cli.invocation import Invocation, common_options
from afk_es.errors import ConfigurationError

if TYPE_CHECKING:
    from afk_es.a2a import A2AServer
    from afk_es.serving import Authenticator


@click.command("serve", short_help="Serve agents to other programs over HTTP.")
@click.argument("targets", metavar="MODULE:AGENT", nargs=-1, required=True)
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", help="Where to listen; default 127.0.0.1.")
@click.option("--port", metavar="N", type=click.IntRange(0, 65_535), default=0, help="Default 0: any that is free.")
@click.option("--url", metavar="URL", help="Where clients reach it from outside, as the agents' cards say; default where it listens.")
@click.option(
    "--allow-host", "allow_hosts", metavar="HOST", multiple=True, help="A name by which clients call it, such as that of a proxy before it."
)
@click.option(
    "--token-env",
    "token_envs",
    metavar="[NAME=]VARIABLE",
    multiple=True,
    help="Let in only who has the key in this environment variable; NAME is who that is. May be repeated.",
)
@click.option("--jwks", metavar="URL", help="Let in only who has a token signed by a key of this JSON Web Key Set.")
@click.option("--audience", metavar="TEXT", help="Whom such tokens must be meant for.")
@click.option("--issuer", metavar="TEXT", help="Whom they must come from; default: not looked at.")
@click.option("--algorithm", "algorithms", metavar="NAME", multiple=True, help="How they may be signed; default RS256. May be repeated.")
@click.option("--rate", metavar="CALLS/SECONDS", help="What each client may do at most; default: as much as it likes.")
@click.option("--push-file", metavar="FILE", help="Where callbacks of clients are kept; default beside the log's file.")
@click.option("--no-push", is_flag=True, help="Call no clients back.")
@common_options
@click.pass_obj
def serve(
    invocation: Invocation,
    targets: tuple[str, ...],
    host: str,
    port: int,
    url: str | None,
    allow_hosts: tuple[str, ...],
    token_envs: tuple[str, ...],
    jwks: str | None,
    audience: str | None,
    issuer: str | None,
    algorithms: tuple[str, ...],
    rate: str | None,
    push_file: str | None,
    no_push: bool,
) -> None:
    """Serve the agents that MODULE:AGENT names, over A2A. Each task is a run in the log of --db.

    MODULE is a module, found from the current directory too, or a .py file; AGENT an Agent, a ServedAgent, an A2AServer, or a function that gives one of
    them. A single agent answers at the root, several each under /NAME. A task that needs an approval or an input waits for its client, and for
    `afk-es approve` and its kin. Tasks that a server before this one left are gone on with. Ctrl-C ends it, and lays down what is under way.
    """
    if token_envs and jwks is not None:
        raise ConfigurationError("--token-env and --jwks are two ways to know callers; take one")
    if jwks is None and (audience is not None or issuer is not None or algorithms):
        raise ConfigurationError("--audience, --issuer and --algorithm are about the tokens of --jwks")
    with of_extra("a2a"):
        import afk_es.a2a.server.server  # noqa: F401 - whether it can be had
    options: dict[str, Any] = {
        "authenticator": _authenticator(token_envs, jwks, audience, issuer, algorithms),
        "rate_limit": rate_limit(rate) if rate is not None else None,
        "url": url,
        "log": invocation.db,
        "push": False if no_push else None,
        "push_file": push_file,
    }
    server = load_server(targets, {name: value for name, value in options.items() if value is not None})
    asyncio.run(_serve(server, host, port, allow_hosts))


async def _serve(server: A2AServer, host: str, port: int, allow_hosts: tuple[str, ...]) -> None:
    async with server.serve(host, port, allow_hosts=allow_hosts) as served:
        told = f"serving {', '.join(server.names)} at {served.url}; Ctrl-C ends it"
        await served.until_stopped(lambda: output.note(told, "strong"))


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


def _authenticator(
    token_envs: tuple[str, ...], jwks: str | None, audience: str | None, issuer: str | None, algorithms: tuple[str, ...]
) -> Authenticator | None:
    if token_envs:
        return api_keys(token_envs)
    if jwks is None:
        return None
    from afk_es.serving import JWTs

    if audience is None:
        raise ConfigurationError("--jwks needs --audience: without one, a token for any other service would do")
    return JWTs(jwks=jwks, audience=audience, issuer=issuer, algorithms=algorithms or ("RS256",))
