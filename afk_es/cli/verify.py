"""`afk-es verify`: whether a log is what was written, and whether what was written makes sense."""

from __future__ import annotations

import asyncio
from typing import Any

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.failures import INTEGRITY
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.reading import Name, events_of, history_of, parse_name, reading
from afk_es.debugger.keyframe_file import KeyframeFile, states_in
from afk_es.debugger.naming import all_runs, named_run
from afk_es.errors import InvariantError, LogError, LogFormatError
from afk_es.log import EventLog
from afk_es.machine import RunState
from afk_es.views import Problem, Verification, clipped


class Verified(msgspec.Struct, frozen=True):
    """What was found of one run.

    Attributes:
        requests: model requests that rebuild to the hash recorded before they were sent.
        keyframes: kept states of the run, in the user's cache, that the fold from the start agrees with.
    """

    run_id: str
    events: int
    requests: int
    keyframes: int
    problems: tuple[Problem, ...]


@click.command("verify", short_help="Check the hash chain and the story of one run, or of all.")
@click.argument("run", metavar="[RUN]", required=False)
@common_options
@click.pass_obj
def verify(invocation: Invocation, run: str | None) -> None:
    """Check RUN, or all runs of the log.

    The stored bytes against the hash chain; the events against each other: the run folds, every intent has at most one result and every
    result an intent, each stretch ends once, every model request rebuilds to the hash that was recorded before it was sent. States that
    the debugger keeps of a long run in the user's cache are compared with the fold.
    """
    name = parse_name(run, invocation) if run is not None else Name(invocation.location, "", True)
    if not asyncio.run(_verify(invocation, name)):
        raise click.exceptions.Exit(INTEGRITY)


async def _verify(invocation: Invocation, name: Name) -> bool:
    found: list[Verified] = []
    async with reading(name.location) as log:
        run_ids = await _listed(log) if name.whole_log else [await named_run(log, name.run)]
        for run_id in run_ids:
            verified = await verified_run(log, run_id)
            found.append(verified)
            if invocation.format == "jsonl":
                output.write_json_line({"schema": "afk_es.verified_run/1", **msgspec.to_builtins(verified)})
        ok = not any(each.problems for each in found)
        if invocation.format == "json":
            output.write_json({"schema": "afk_es.verify/1", "log": log.location, "ok": ok, "runs": msgspec.to_builtins(found)})
        elif invocation.format == "text":
            _write_text(log, found)
    return ok


async def _listed(log: EventLog) -> list[str]:
    try:
        return [record.run_id async for record in all_runs(log)]
    except LogError:
        # Damaged data may keep the list from being made. Ids lie in a table of their own, and name where the damage is.
        return await log.find("")


async def verified_run(log: EventLog, run_id: str) -> Verified:
    """What there is to find of this run: first in its bytes, then in its story."""
    problems: list[Problem] = []
    fault = await log.verify(run_id)
    if fault is not None:
        problems.append(Problem(fault.seq, "chain", fault.reason))
    verification = Verification()
    kept = await _kept(log, run_id)
    agreed = 0
    try:
        verification = Verification(await history_of(log, run_id))
        async for event in events_of(log, run_id):
            problems += verification.check(event)
            if kept and event.seq == kept[-1].seq:
                if kept.pop() == verification.state:
                    agreed += 1
                elif not problems:
                    problems.append(Problem(event.seq, "keyframe", f"the kept state is not the fold's; delete {KeyframeFile().path}"))
    except InvariantError as error:
        # Only a run that this one builds upon is folded elsewhere than in the checks.
        problems.append(Problem(1, "history", str(error)))
    except (LogFormatError, KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        # Data that was changed by hand need not have the shape it was written with.
        problems.append(Problem(verification.events + 1, "unreadable", f"{type(error).__name__}: {error}"))
    return Verified(run_id, verification.events, verification.requests, agreed, tuple(problems))


async def _kept(log: EventLog, run_id: str) -> list[RunState]:
    """The states that are kept of the run, the last first; those that were kept of other events are not of this run."""
    batches = await asyncio.to_thread(KeyframeFile().load, run_id)
    if not batches or await log.link(run_id, batches[-1][0]) != batches[-1][1]:
        return []
    return [state for _last, _link, batch in batches for state in states_in(batch)][::-1]


def _write_text(log: EventLog, found: list[Verified]) -> None:
    columns = output.width()
    for verified in found:
        for problem in verified.problems:
            line = f"{verified.run_id} seq {problem.seq}: {problem.rule}: {problem.message}"
            output.echo(output.toned(clipped(line, max(columns, 200)), "bad"))
    sound = sum(not verified.problems for verified in found)
    output.echo(f"{log.location}: {summary(found)}")
    if sound < len(found):
        output.echo(output.toned(f"{len(found) - sound} of {len(found)} runs are not sound", "bad"))


def summary(found: list[Verified]) -> str:
    """What was checked, in a line."""
    data: dict[str, Any] = {
        "runs": len(found),
        "events": sum(each.events for each in found),
        "requests": sum(each.requests for each in found),
        "problems": sum(len(each.problems) for each in found),
    }
    checked = f"{data['runs']} run{'s' if data['runs'] != 1 else ''}, {data['events']} events, "
    chain = "hash chains whole, " if not data["problems"] else ""
    return f"{checked}{chain}{data['requests']} requests rebuilt and equal to their hash, {data['problems']} problem{'s' if data['problems'] != 1 else ''}"
