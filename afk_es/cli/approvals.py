"""`afk-es approvals`: what the runs of a log wait for people with."""

from __future__ import annotations

import asyncio
import datetime as dt

import click

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.reading import parse_name, reading
from afk_es.clock import SystemClock
from afk_es.core.pending import pending_requests
from afk_es.debugger.figures import span
from afk_es.debugger.naming import named_run, short_ids
from afk_es.interaction import ApprovalRequest, InputRequest
from afk_es.log import EventLog
from afk_es.views import arguments_text, visible

Request = ApprovalRequest | InputRequest

_LEAD = 10
"""Columns of the words that lead the lines of a request."""


@click.command("approvals", short_help="List what runs wait for people with.")
@click.argument("run", metavar="[RUN]", required=False)
@common_options
@click.pass_obj
def approvals(invocation: Invocation, run: str | None) -> None:
    """List the open requests for approval and input: of RUN and the subagents it waits for, or of every run of the log.

    A request is answered with `afk-es approve`, `deny` or `answer`, from any terminal, while a process drives the run or not.
    """
    asyncio.run(_approvals(invocation, run))


async def _approvals(invocation: Invocation, run: str | None) -> None:
    name = parse_name(run, invocation) if run is not None else None
    location = name.location if name is not None else invocation.location
    async with reading(location) as log:
        run_id = await named_run(log, name.run) if name is not None and not name.whole_log else None
        pending = await pending_requests(log, run_id)
        rows = [request.model_dump(mode="json") for request in pending]
        match invocation.format:
            case "text":
                db = location if location != Invocation().location else None
                await _write_text(log, pending, db)
            case "json":
                output.write_json({"schema": "afk_es.approvals/1", "log": log.location, "pending": rows})
            case "jsonl":
                for row in rows:
                    output.write_json_line({"schema": "afk_es.approval/1", **row})


async def _write_text(log: EventLog, pending: tuple[Request, ...], db: str | None) -> None:
    if not pending:
        output.note(f"no run of {log.location} waits for anybody")
        return
    short = await short_ids(log, [request.run_id for request in pending])
    now = SystemClock().now()
    for number, request in enumerate(pending):
        if number:
            output.echo()
        write_request(request, short[request.run_id], now, db)


def write_request(request: Request, run: str, now: dt.datetime, db: str | None) -> None:
    """Write a request as a person should see it who decides: all of what would run, and the commands that answer."""
    asks = "wants to run" if isinstance(request, ApprovalRequest) else "asks for your words"
    output.echo(output.toned(visible(f"{request.tool_name} {asks}"), "strong"))
    said = request.prompt if isinstance(request, InputRequest) else request.reason
    if said:
        _line("", said)
    if request.proposed_arguments is not None:
        _line("asked", _arguments(request.proposed_arguments))
        _line("would run", _arguments(request.arguments))
    else:
        _line("arguments", _arguments(request.arguments))
    _line("rule", request.rule or "none")
    _line("agent", " > ".join(request.agent_path))
    _line("waits", f"{span((now - request.asked_at).total_seconds())}; {_term(request, now)}")
    request_id = request.request_id
    if isinstance(request, ApprovalRequest):
        _line("yes", output.command("approve", run, request_id, db=db))
    else:
        _line("answer", output.command("answer", run, "TEXT", "--request", request_id, db=db))
    _line("no", output.command("deny", run, request_id, db=db))


def _arguments(arguments: object) -> str:
    return arguments_text(arguments) if isinstance(arguments, (dict, str)) else visible(str(arguments))


def _line(lead: str, text: str) -> None:
    # Not clipped: whoever says yes has to have seen it all.
    output.echo(f"  {output.toned(lead.ljust(_LEAD), 'quiet')} {visible(text)}")


def _term(request: Request, now: dt.datetime) -> str:
    if request.deferred:
        return "put off, without a term"
    if request.expires_at is None:
        return "without a term"
    left = (request.expires_at - now).total_seconds()
    if left <= 0:
        return f"overdue since {span(-left)}: the fallback answers when the run goes on"
    return f"the fallback answers in {span(left)}"
