"""`afk-es debug`: the time-travel debugger on the screen, in a browser, as lines, or as one page of triage. The app is imported only here."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Literal

import click

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.plain import Script, plain_options, run_plain
from afk_es.cli.reading import GOLDEN, Name, opened, parse_name, reading
from afk_es.debugger.naming import named_run
from afk_es.errors import ConfigurationError, UsageError
from afk_es.log.location import ENVIRONMENT
from afk_es.log.postgres_address import is_postgres
from afk_es.redaction import Redaction

_IN_A_BROWSER = "TEXTUAL_DRIVER"
"""Set where textual-serve runs the app: then there is a screen, although there is no terminal."""


@click.command("debug", short_help="Step through a run, both ways; find out why it failed.")
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--at", metavar="POSITION", help="Where to begin: 1234, 50%, step:12, err:last, tool:search#3, t:+1m30s.")
@plain_options
@click.option("--keys", type=click.Choice(["default", "less"]), help="The preset of keys.")
@click.option("--theme", type=click.Choice(["dark", "light", "ansi"]), default="dark", help="Colours; default dark.")
@click.option("--no-redact", is_flag=True, help="Show what looks like a password, a key or a token too.")
@click.option(
    "--redact-key", "redact_keys", multiple=True, metavar="NAME", help="A further name whose values are secrets; may be repeated."
)
@click.option("--agent", "target", metavar="MODULE:AGENT", help="The agent whose tools what-if may run; without it, they are replayed.")
@click.option("--web", is_flag=True, help="In a browser, on this machine only.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="With --web: the port; default one that is free.")
@click.option("--host", default="127.0.0.1", metavar="HOST", help="With --web: where to listen; default 127.0.0.1.")
@click.option("--expose", is_flag=True, help="With --web: listen where other machines can reach it.")
@common_options
@click.pass_obj
def debug(
    invocation: Invocation,
    run: str | None,
    at: str | None,
    plain: Script | None,
    keys: Literal["default", "less"] | None,
    theme: str,
    no_redact: bool,
    redact_keys: tuple[str, ...],
    target: str | None,
    web: bool,
    port: int,
    host: str,
    expose: bool,
) -> None:
    """Open the debugger on RUN, or on the list of runs.

    A run that failed or crashed is shown by its triage first. Without a terminal, or with --format json, the triage is printed. The log is
    read, and nothing is written, until an answer is sent or a what-if is started.
    """
    if plain is not None and invocation.format != "text":
        raise UsageError("--plain answers in lines; the verbs (`afk-es triage`, `why`, `find`, ...) have the same as JSON")
    if web and plain is not None:
        raise UsageError("--web is the app in a browser, and --plain is no app; leave one of them out")
    if (expose or port or host != "127.0.0.1") and not web:
        raise UsageError("--host, --port and --expose say where --web listens; add --web")
    if no_redact and redact_keys:
        raise UsageError("--no-redact shows everything, and --redact-key keeps something back; leave one of them out")
    redaction = None if no_redact else Redaction(keys=redact_keys)
    name = _named(invocation, run)
    if web:
        page = _page(name, at, keys, theme, no_redact, redact_keys, target)
        _serve(name, page, host, port, expose)
    elif invocation.format != "text" or not (plain is not None or has_screen()):
        from afk_es.cli.triage import print_triage

        asyncio.run(print_triage(invocation, run or "@last", redaction))
    elif plain is not None:
        if code := run_plain(name, at=at, script=plain, redaction=redaction):
            raise click.exceptions.Exit(code)
    else:
        _open(name, at, redaction, keys, theme, target)


def _named(invocation: Invocation, run: str | None) -> Name:
    if run is None:
        return Name(invocation.location, "@last", True)
    return parse_name(run, invocation)


def has_screen() -> bool:
    """Whether the app can be shown: on a terminal, or where textual-serve stands in for one."""
    return bool(os.environ.get(_IN_A_BROWSER)) or (sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb")


def _open(
    name: Name, at: str | None, redaction: Redaction | None, keys: Literal["default", "less"] | None, theme: str, target: str | None
) -> None:
    if name.location == ":memory:":
        raise ConfigurationError("a log in memory is gone with its process; name a file with --db")
    agent = None
    if target is not None:
        from afk_es.cli.agents import load_agent

        agent = load_agent(target)
    from debugger.main import run_app

    run = None if name.whole_log and at is None else name.run
    # A golden is read into memory, where the app finds it as it finds a log that a program made.
    log = asyncio.run(opened(name.location)) if name.location.endswith(GOLDEN) else name.location
    code = run_app(log, run, at, redaction=redaction, show_secrets=redaction is None, keys=keys, theme=theme, agent=agent)
    if code:
        raise click.exceptions.Exit(code)


def _page(
    name: Name, at: str | None, keys: str | None, theme: str, no_redact: bool, redact_keys: tuple[str, ...], target: str | None
) -> list[str]:
    """The command that shows on a screen of its own what was asked for here."""
    options = (("--at", at), ("--keys", keys), ("--theme", theme), ("--agent", target), *(("--redact-key", key) for key in redact_keys))
    # Of each option, name and value in one word: a value may begin with a dash.
    chosen = [f"{option}={value}" for option, value in options if value is not None]
    run = [] if name.whole_log else ["--", name.run]
    log = [f"--db={name.location}"]
    if is_postgres(name.location):
        # Its password is nothing for the list of processes, which everybody on the machine can read.
        os.environ[ENVIRONMENT] = name.location
        log = []
    return [sys.executable, "-m", "afk_es.cli", "debug", *log, *chosen, *(["--no-redact"] if no_redact else []), *run]


def _serve(name: Name, page: list[str], host: str, port: int, expose: bool) -> None:
    asyncio.run(_look(name))
    from debugger.web import serve

    def ready(address: str) -> None:
        output.echo(address)
        output.note("open this address, key and all, in a browser of this machine; ctrl-c ends it")

    serve(page, host=host, port=port, expose=expose, ready=ready)


async def _look(name: Name) -> None:
    """Find out now whether there is such a run: a page could only show that its process has ended."""
    async with reading(name.location) as log:
        if not name.whole_log:
            await named_run(log, name.run)
