"""Commands between runs: which there are, going over to another one, taking one along."""

from __future__ import annotations

from pathlib import Path

from afk_es.debugger.exchange.exporting import FORMS, export_run
from afk_es.debugger.naming import all_runs, short_ids, status_of
from afk_es.debugger.plain.console import Command, Console, Reply, count_of, needed
from afk_es.debugger.plain.looking import run_lines
from afk_es.debugger.plain.moving import arrived
from afk_es.errors import UsageError
from afk_es.log import RunRecord

_LISTED = 20


async def _runs(console: Console, rest: str) -> Reply:
    most = count_of(rest, _LISTED)
    records: list[RunRecord] = []
    async for record in all_runs(console.log):
        if len(records) == most:
            break
        records.append(record)
    short = await short_ids(console.log, [record.run_id for record in records])
    lines = []
    for record in records:
        here = " here" if record.run_id == console.recording.run_id else ""
        about = record.message if record.ended and record.state != "completed" else record.user_message or ""
        status = await status_of(console.log, record)
        lines.append(f"{short[record.run_id]} {status}{here} {record.agent_name}, {record.seq} events, {record.errors} errors: {about}")
    return console.written(lines, ok=bool(lines))


async def _run(console: Console, rest: str) -> Reply:
    return await _switch(console, rest) if rest else console.written(await run_lines(console))


async def _switch(console: Console, rest: str) -> Reply:
    name, _space, at = needed(rest, "switch", "a run, as `runs` lists them").partition(" ")
    return await switched(console, name, at.strip() or "start")


async def switched(console: Console, name: str, at: str) -> Reply:
    """Go over to a place in another run, and say what is there."""
    await console.switch(name, at)
    reply = await arrived(console, console.session.seq)
    return reply._replace(lines=(*console.written([f"run {console.recording.run_id}"]).lines, *reply.lines))


async def _export(console: Console, rest: str) -> Reply:
    """Writes a file, and nothing into the log."""
    form, _space, target = needed(rest, "export", f"a form and a file; forms: {', '.join(FORMS)}").partition(" ")
    if form not in FORMS:
        raise UsageError(f"{form!r} is no form; there are: {', '.join(FORMS)}")
    path = Path(needed(target.strip(), "export", "a file to write to"))
    written = await export_run(console.log, console.recording.run_id, form, path, redaction=console.redaction)
    return console.written([f"wrote {each}" for each in written])


COMMANDS: tuple[Command, ...] = (
    Command("runs", "[N]", "The last runs of this log, the newest first.", _runs, repeats=False),
    Command("run", "[RUN [POSITION]]", "Where this run stands; or over to another one.", _run, repeats=False),
    Command(
        "export",
        "FORM FILE",
        "Write the run to a file.\n" + "\n".join(f"{form}: {meaning}" for form, meaning in FORMS.items()),
        _export,
        repeats=False,
    ),
    Command("switch", "RUN [POSITION]", "Over to another run of this log. Breakpoints and displays stay.", _switch, repeats=False),
)
