"""`afk-es demo --debug`: makes the log of recorded runs, says what is in it, and how to look."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from afk_es.cli import output
from afk_es.cli.agents import load_agent
from afk_es.cli.debug import has_screen
from afk_es.cli.demo_runs.recording import DEMO_RUNS, DemoRun, record_demo_runs
from afk_es.cli.demo_screen import short_path
from afk_es.cli.invocation import Invocation
from afk_es.cli.output import program, toned
from afk_es.errors import ConfigurationError
from afk_es.views import clipped, padded

FILE = "stories.db"


def show_demo_runs(invocation: Invocation, directory: Path, *, keep: bool) -> None:
    """Make the demo log in this directory and show it.

    Args:
        keep: use the demo log that is there already, with what was forked or resumed in it since.

    Raises:
        ConfigurationError: the directory has another file of that name.
    """
    log = directory / FILE
    made = _made(log, keep=keep)
    match invocation.format:
        case "text":
            present(log, made)
        case "json":
            output.write_json({"schema": "afk_es.demo_runs/1", "log": str(log), "runs": msgspec.to_builtins(made)})
        case "jsonl":
            for run in made:
                output.write_json_line({"schema": "afk_es.demo_run/1", "log": str(log), **msgspec.to_builtins(run)})


def present(log: Path, runs: Sequence[DemoRun]) -> None:
    """Show the demo log to a person: what is in it and how to look; where there is a screen, the debugger opens on the run that failed."""
    output.echo("\n".join(_screen(log, runs, output.screen_width())))
    if not has_screen():
        return
    from debugger.main import run_app  # With Textual, which nobody else here waits for.

    agents = {agent.name: agent for agent in map(load_agent, {run.agent for run in runs})}
    run_app(log, "run_failing", agent=agents.get)


def _made(log: Path, *, keep: bool) -> tuple[DemoRun, ...]:
    if log.exists():
        if not _is_demo_log(log):
            raise ConfigurationError(f"{log} was not made by a demo; name another directory")
        if keep:
            return DEMO_RUNS
        for file in (log, log.with_name(f"{FILE}-wal"), log.with_name(f"{FILE}-shm")):
            file.unlink(missing_ok=True)
    return asyncio.run(record_demo_runs(log))


def _is_demo_log(log: Path) -> bool:
    """Whether this file has all the runs of the demo. A log of one's own has run ids that are drawn, and none of these."""
    try:
        with closing(sqlite3.connect(f"{log.as_uri()}?mode=ro", uri=True)) as connection:
            found = {run_id for (run_id,) in connection.execute("SELECT run_id FROM runs")}
    except sqlite3.Error:
        return False
    return found >= {run.run_id for run in DEMO_RUNS}


def _screen(log: Path, runs: Sequence[DemoRun], width: int) -> Iterator[str]:
    path, name = short_path(str(log)), program()
    yield toned("Recorded runs to look into, made by scripted agents: no key, no network", "strong")
    longest = max(len(run.name) for run in runs)
    for run in runs:
        yield f"  {padded(run.name, longest)}  {clipped(run.why, width - longest - 4)}"
    yield ""
    yield f"{name} debug {path}:run_failing"
    yield f"{name} triage {path}:run_crashed"
    yield f"{name} diff --db {path} run_trial_1 run_trial_2 --first"
    yield f"{name} verify --db {path}"
    yield f"{name} resume {path}:run_crashed afk_es.cli.demo_runs.crashed:agent"
