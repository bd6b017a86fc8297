"""A run of a log as a golden, and as a test of today's agent: `afk-es export --to golden|pytest`."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from afk_es.agents import Agent
from afk_es.cli import output
from afk_es.cli.agent_search import agents_named
from afk_es.cli.agents import load_agent
from afk_es.cli.invocation import Invocation
from afk_es.cli.reading import parse_name, reading
from afk_es.debugger.naming import named_run
from afk_es.errors import UsageError
from afk_es.evals.goldens.check_text import verdict_text
from afk_es.evals.goldens.checking import check_golden
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.pinning import AgentReference, write_golden, write_pinned
from afk_es.log import EventLog
from afk_es.redaction import Redaction


async def pin(
    invocation: Invocation,
    run: str,
    path: Path | None,
    *,
    agent: str | None,
    test: bool,
    mode: MatchMode,
    redaction: Redaction | None,
    force: bool,
) -> None:
    """Write a golden of the run, and the test around it if that is wanted.

    Args:
        path: of the golden, or of the test; None for one named after the run.
        agent: `MODULE:AGENT`; None to find it.
    """
    from afk_es.cli.exporting import file_of

    name = parse_name(run, invocation)
    async with reading(name.location) as log:
        run_id = await _head_of_family(log, await named_run(log, name.run))
        if not test:
            written = await write_golden(log, run_id, path or file_of(run_id, "golden"), mode=mode, redaction=redaction, force=force)
            output.note(f"wrote {written}")
            return
        found = agent if agent is not None else await _found(log, run_id)
        today = load_agent(found)
        reference = AgentReference.of(found, called=_is_called(found))
        target = path or file_of(run_id, "pytest")
        written, golden = await write_pinned(log, run_id, target, agent=reference, mode=mode, redaction=redaction, force=force)
    output.note(f"wrote {written}")
    output.note(f"wrote {golden}")
    if agent is None:
        output.note(f"it runs {found}, which has the name of the run's agent; --agent MODULE:AGENT names another")
    report = await check_golden(Golden.read(golden), today)
    output.note(f"today's agent: {verdict_text(report)}", "plain" if report.ok else "mark")


async def _head_of_family(log: EventLog, run_id: str) -> str:
    """The run at the head of the family: a subagent runs again with the run that it belongs to, and not by itself."""
    (first,) = await log.read(run_id, limit=1)
    parent = first.data.get("parent")
    if parent is None:
        return run_id
    head = str(parent.get("root", parent["run_id"]))
    output.note(f"{run_id} is a subagent's run; what is written is {head}, which it belongs to")
    return head


async def _found(log: EventLog, run_id: str) -> str:
    """The agent below the current directory that has the name of the run's.

    Raises:
        UsageError: there is none, or more than one.
    """
    (first,) = await log.read(run_id, limit=1)
    name = str(first.data["agent_name"])
    found = agents_named(name, Path.cwd())
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"several agents here are called {name!r}; name the one that the test runs: --agent {' or '.join(found)}")
    raise UsageError(
        f"a test runs today's agent, and no module here has one called {name!r}: name it with --agent MODULE:AGENT. What the log knows of "
        "an agent is data, which no change of its code would change; `--to golden` writes the record alone"
    )


def _is_called(target: str) -> bool:
    """Whether a target that `load_agent` has loaded is a function that gives the agent."""
    module, _colon, attribute = target.rpartition(":")
    loaded = sys.modules[Path(module).stem if module.endswith(".py") else module]
    return not isinstance(functools.reduce(getattr, attribute.split("."), loaded), Agent)
