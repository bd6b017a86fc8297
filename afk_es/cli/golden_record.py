"""`afk-es golden record`: a golden of a recorded run, and what today's agent makes of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import get_args

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.agent_search import agents_named
from afk_es.cli.agents import load_agent
from afk_es.cli.goldens import DIRECTORY, policy_option
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.policies import load_engine
from afk_es.cli.reading import parse_name, reading
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.exchange.golden_facts import SUFFIX
from afk_es.debugger.naming import named_run
from afk_es.errors import UsageError
from afk_es.evals.goldens.check_text import verdict_text
from afk_es.evals.goldens.checking import check_golden_sync
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.store import GoldenStore
from afk_es.evals.goldens.updates import check_may_update
from afk_es.log import EventLog
from afk_es.redaction import Redaction


@click.command("record", short_help="Make a golden of a recorded run.")
@click.argument("run", metavar="[RUN]", default="@last")
@click.option("--name", metavar="NAME", help="What it is called; default, after the file of -o.")
@click.option("-o", "--output", "target", metavar="FILE", help=f"Where to; default, a file named after it in --dir. It ends with {SUFFIX}.")
@click.option("--dir", "directory", default=DIRECTORY, show_default=True, metavar="DIRECTORY", help="Where goldens lie that are named.")
@click.option("--agent", metavar="MODULE:AGENT", help="Whose golden it is; default, the agent here that has the run's name.")
@policy_option
@click.option("--mode", type=click.Choice(get_args(MatchMode)), default="strict", show_default=True, help="How much has to be the same.")
@click.option("--thread", is_flag=True, help="Check the earlier runs of its thread as well, as one conversation.")
@click.option("--force", is_flag=True, help="Replace a golden that is there.")
@common_options
@click.pass_obj
@redaction_options
def record(
    invocation: Invocation,
    run: str,
    name: str | None,
    target: str | None,
    directory: str,
    agent: str | None,
    policy: str | None,
    mode: MatchMode,
    thread: bool,
    force: bool,
    redaction: Redaction | None,
) -> None:
    """Make a golden of RUN, with its subagents' runs and what its thread remembered; default, the last run.

    Secrets are kept back. Where the agent is known, it is checked at once whether it does today what was recorded. Never in CI, where nobody
    would review the file.
    """
    check_may_update(os.environ)
    path, called = _file(name, target, directory)
    if path.exists() and not force:
        raise UsageError(
            f"{path} is there already; give another --name, look at it with `afk-es golden review`, or replace it with --force"
        )
    if agent is not None:
        load_agent(agent)
    engine = load_engine(policy) if policy is not None else None
    golden, reference = asyncio.run(_record(invocation, run, path, called, agent, mode, thread, redaction))
    report = None
    if reference is not None:
        report = check_golden_sync(golden, lambda: load_agent(reference), policy_engine=engine)
    if invocation.format != "text":
        data = {"name": golden.name, "path": str(path), "mode": golden.mode, "runs": golden.runs, "agent": golden.header.agent}
        write = output.write_json if invocation.format == "json" else output.write_json_line
        write({"schema": "afk_es.golden_recorded/1", **data, "report": msgspec.to_builtins(report) if report is not None else None})
    output.note(f"wrote {path}")
    if report is not None:
        output.note(f"today's agent: {verdict_text(report)}", "plain" if report.ok else "mark")


def _file(name: str | None, target: str | None, directory: str) -> tuple[Path, str]:
    if target is not None:
        path = Path(target).expanduser()
        if not path.name.endswith(SUFFIX) or path.name == SUFFIX:
            raise UsageError(f"{target}: the name of a golden file ends with {SUFFIX}")
        return path, name or path.name.removesuffix(SUFFIX)
    if not name:
        raise UsageError("say what the golden is called: --name NAME, or -o FILE")
    return GoldenStore(directory).path(name), name


async def _record(
    invocation: Invocation,
    run: str,
    path: Path,
    name: str,
    agent: str | None,
    mode: MatchMode,
    thread: bool,
    redaction: Redaction | None,
) -> tuple[Golden, str | None]:
    parsed = parse_name(run, invocation)
    async with reading(parsed.location) as log:
        run_id = await named_run(log, parsed.run)
        reference = agent if agent is not None else await _found(log, run_id)
        golden = await Golden.of(log, run_id, name=name, mode=mode, thread=thread, redaction=redaction, agent_ref=reference)
    path.parent.mkdir(parents=True, exist_ok=True)
    return golden.write(path), reference


async def _found(log: EventLog, run_id: str) -> str | None:
    """The agent below the current directory that has the name of the run's, if it is only one."""
    (first,) = await log.read(run_id, limit=1)
    name = str(first.data.get("agent_name"))
    found = agents_named(name, Path.cwd())
    if len(found) == 1:
        output.note(f"it is a golden of {found[0]}, which has the name of the run's agent; --agent MODULE:AGENT names another")
        return found[0]
    several = f"several agents here are called {name!r}: {', '.join(found)}" if found else f"no agent here is called {name!r}"
    output.note(f"{several}; without --agent MODULE:AGENT each check has to be told whose golden it is", "mark")
    return None
