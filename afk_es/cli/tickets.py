"""`afk-es tickets`: what a run has going on in the background, and what came of it."""

from __future__ import annotations

import asyncio

import click
import msgspec
from msgspec import structs

from afk_es.cli import output, reading
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.places import redacted
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.naming import named_run
from afk_es.log import EventLog
from afk_es.redaction import Redaction
from afk_es.views import TicketBook, TicketRecord, visible


@click.command("tickets", short_help="List what goes on in the background of a run.")
@click.argument("run", metavar="RUN", default="@last")
@click.option("--all", "all_", is_flag=True, help="Also those that have ended.")
@common_options
@click.pass_obj
@redaction_options
def tickets(invocation: Invocation, run: str, all_: bool, redaction: Redaction | None) -> None:
    """List what goes on in the background of RUN, with the ticket of each; default the last run."""
    asyncio.run(_tickets(invocation, run, all_, redaction))


async def _tickets(invocation: Invocation, run: str, all_: bool, redaction: Redaction | None) -> None:
    name = reading.parse_name(run, invocation)
    async with reading.reading(name.location) as log:
        run_id = await named_run(log, name.run)
        found = [record for record in await _records(log, run_id) if all_ or record.status == "pending"]
    # By its ticket it is answered, so that stands as it is.
    records = [structs.replace(redacted(record, redaction), ticket_id=record.ticket_id) for record in found]
    match invocation.format:
        case "json":
            output.write_json(
                {"schema": "afk_es.tickets/1", "run_id": run_id, "tickets": [msgspec.to_builtins(record) for record in records]}
            )
        case "jsonl":
            for record in records:
                output.write_json_line({"schema": "afk_es.ticket/1", **msgspec.to_builtins(record)})
        case "text":
            _write_text(run_id, records, all_)


async def _records(log: EventLog, run_id: str) -> tuple[TicketRecord, ...]:
    book = TicketBook()
    async for event in reading.events_of(log, run_id):
        book.take(event)
    for letter in await log.letters(after=book.last_letter, run_ids=[run_id]):
        book.expect(letter.draft, letter.at, letter.position)
    return book.records


def _write_text(run_id: str, records: list[TicketRecord], all_: bool) -> None:
    if not records:
        output.note(f"{run_id} has no background tool{'' if all_ else ' going on; --all shows those that have ended'}")
        return
    header, *lines = output.table(("status", "ticket", "tool", "since", "about"), [_cells(one) for one in records], total=output.width())
    output.echo(output.toned(header, "quiet"))
    for line, record in zip(lines, records, strict=True):
        mark = len(record.status)
        output.echo(output.toned(line[:mark], output.TICKET_TONES[record.status]) + line[mark:])


def _cells(record: TicketRecord) -> tuple[str, ...]:
    # The ticket is to be pasted, so it stands whole.
    tool = visible(record.tool_name)[:24]
    return record.status, visible(record.ticket_id), tool, output.local(record.deferred_at)[5:], record.story
