"""`afk-es demo`: an agent is killed in the middle of a refund, resumed, and shown not to have paid twice.

Everything on its screen is read from the log and from the shop's database after the fact; nothing is staged but the moment of the kill.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
from itertools import count
from pathlib import Path

import click
import msgspec

import afk_es
from afk_es.cli import output
from afk_es.cli.demo_agent import agent
from afk_es.cli.demo_screen import screen
from afk_es.cli.demo_shop import Shop, is_demo_shop
from afk_es.cli.demo_story import Story
from afk_es.cli.failures import NEGATIVE
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.reading import reading
from afk_es.cli.verify import verified_run
from afk_es.core import Runner
from afk_es.errors import AfkError, ConfigurationError
from afk_es.log import default_location
from afk_es.log.location import ENVIRONMENT

_CHILD_S = 30.0
"""A child that has not come to the refund by then never will."""

_MOST_DIRECTORIES = 10_000


class DemoError(AfkError):
    """The demo could not be shown: its child did not come to the point."""


@click.command("demo", short_help="See an agent killed in the middle of a refund, and go on without paying twice.")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), help="Where to put its files; default a fresh directory in your state directory."
)
@click.option("--keep", is_flag=True, help="With --dir: keep the log of an earlier demo there, and add this run to it.")
@click.option("--debug", is_flag=True, help="Make a log of recorded runs that went wrong in various ways instead, to look into.")
@common_options
@click.pass_obj
def demo(invocation: Invocation, directory: Path | None, keep: bool, debug: bool) -> None:
    """See an agent killed in the middle of a refund, and go on without paying twice.

    A support desk works over a real SQLite shop; its model is a script, so no key and no network are needed. A child process runs it and
    is really killed (SIGKILL) after the refund is committed and before the tool returns; this process resumes the run from the log.
    Afterwards the log is yours to look into.

    With --debug it makes a log of other runs: one that fails, one that loops, one cut by its cost limit, a crashed one, a team and more.
    """
    if keep and directory is None:
        raise ConfigurationError("--keep goes with --dir: without it the demo makes a fresh directory anyway")
    if invocation.db is not None:
        raise ConfigurationError("the demo has a log of its own; use --dir to say where, and not --db")
    if debug:
        from afk_es.cli.demo_debug import show_demo_runs  # With eight agents that the other demo need not wait for.

        show_demo_runs(invocation, _fresh_directory() if directory is None else directory.expanduser().absolute(), keep=keep)
        return
    place = _fresh_directory() if directory is None else _given_directory(directory, keep=keep)
    story = asyncio.run(_told(place))
    match invocation.format:
        case "text":
            output.echo(screen(story, output.screen_width()))
        case "json":
            output.write_json({"schema": "afk_es.demo/1", **msgspec.to_builtins(story)})
        case "jsonl":
            output.write_json_line({"schema": "afk_es.demo/1", **msgspec.to_builtins(story)})
    if not story.as_claimed:
        raise click.exceptions.Exit(NEGATIVE)


async def _told(place: Path) -> Story:
    log, shop = place / "log.db", Shop(place / "shop.db")
    shop.create()
    run_id, pid, returncode = _run_and_kill(log, shop.path)
    async with reading(str(log)) as killed:
        head = await killed.head(run_id)
    assert head is not None
    result = await Runner(log=log).resume(agent, run_id=run_id)
    async with reading(str(log)) as opened:
        events = await opened.read(run_id)
        verified = await verified_run(opened, run_id)
    return Story(
        log=str(log),
        shop=str(shop.path),
        run_id=run_id,
        killed_pid=pid,
        returncode=returncode,
        killed_at=head.seq,
        resumed_by=os.getpid(),
        state=result.state,
        answer=result.final_text,
        refunds=shop.count("refunds"),
        notifications=shop.count("notifications"),
        verified=verified,
        events=tuple(events),
    )


def _run_and_kill(log: Path, shop: Path) -> tuple[str, int, int]:
    """Let a child run the agent until it has refunded, and kill it there. The run's id, the child's pid, and how it died."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        child = subprocess.Popen(
            # -P: a file of the user's in the current directory must not stand in for a module of ours.
            [sys.executable, "-P", "-m", "afk_es.cli.demo_child", str(log), str(shop)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            encoding="utf-8",
            env=_environment(),
        )
        assert child.stdout is not None
        overdue = threading.Timer(_CHILD_S, child.kill)
        overdue.daemon = True
        overdue.start()
        try:
            with child.stdout:
                run_id = child.stdout.readline().strip()
            # On Windows this is TerminateProcess, which is as little of a farewell.
            child.kill()
            returncode = child.wait()
        finally:
            overdue.cancel()
            if child.poll() is None:
                child.kill()
                child.wait()
        if not run_id:
            complaints.seek(0)
            raise DemoError(f"the child process ended with code {returncode} before it came to the refund:\n{complaints.read()[-2_000:]}")
    return run_id, child.pid, returncode


def _environment() -> dict[str, str]:
    """The child finds the same afk_es as this process, also where it is not installed."""
    home = str(Path(afk_es.__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _fresh_directory() -> Path:
    elsewhere = {name: value for name, value in os.environ.items() if name != ENVIRONMENT}
    home = Path(default_location(elsewhere)).parent
    try:
        home.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            try:
                (home / f"demo-{number}").mkdir()
            except FileExistsError:
                if number < _MOST_DIRECTORIES:
                    continue
                raise
            return home / f"demo-{number}"
    except OSError:
        # A home that cannot be written, as in many containers.
        pass
    return Path(tempfile.mkdtemp(prefix="afk-es-demo-"))


def _given_directory(directory: Path, *, keep: bool) -> Path:
    directory = directory.expanduser().absolute()
    directory.mkdir(parents=True, exist_ok=True)
    log, shop = directory / "log.db", directory / "shop.db"
    if (log.exists() or shop.exists()) and not is_demo_shop(shop):
        raise ConfigurationError(f"{directory} has a log.db or shop.db that no demo made; name another directory")
    stale = [shop] if keep else [shop, log, log.with_name("log.db-wal"), log.with_name("log.db-shm")]
    for file in stale:
        file.unlink(missing_ok=True)
    return directory
