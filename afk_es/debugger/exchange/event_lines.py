"""A run and what it builds on as lines of JSON: a first line that says what follows, then an event a line, exact. And back into a log.

Written with its secrets kept back (`redacted`), the events are no longer what was sent, so requests do not rebuild to their hashes; the
first line says so, and whoever reads it back is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from afk_es.debugger.exchange.kin import Kin, own_after
from afk_es.debugger.exchange.sources import EXPORT_SCHEMA, Source, shown
from afk_es.debugger.exchange.transcript import Place, TranscriptError
from afk_es.debugger.exchange.writing import provenance
from afk_es.errors import AfkError, InvariantError
from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.log.upcast import UPCASTERS, upcast
from afk_es.machine import AgentRunEvent
from afk_es.machine.events import EVENT_TYPES, SCHEMA_VERSION, RunRef
from afk_es.redaction import Redaction
from afk_es.views import redacted_event, visible_json
from afk_es.views.verification import Verification

EVENT_SCHEMA = "afk_es.event/1"
_PAGE = 250


async def event_lines(log: EventLog, kin: Kin, redaction: Redaction | None) -> AsyncIterator[str]:
    """The lines of an export, each with its line end."""
    heads = [
        {"run_id": head.run_id, "thread_id": head.thread_id, "after": own_after(head), "events": head.seq - own_after(head)}
        for head in kin.heads
    ]
    if redaction is not None:
        heads = [{**head, "thread_id": redaction.text(str(head["thread_id"]))} for head in heads]
    first = {"schema": EXPORT_SCHEMA, "run_id": kin.run_id, "runs": heads, "redacted": redaction is not None, **provenance(log)}
    yield _line(first)
    for head in kin.heads:
        after = own_after(head)
        while after < head.seq and (page := await log.read(head.run_id, after=after, limit=min(_PAGE, head.seq - after))):
            for event in page:
                yield _line({"schema": EVENT_SCHEMA, **msgspec.to_builtins(redacted_event(event, redaction))})
            after = page[-1].seq


def _line(value: dict[str, Any]) -> str:
    return visible_json(value).decode() + "\n"


async def exported_runs(log: EventLog, source: Source) -> list[tuple[list[list[AgentRunEvent]], Any]]:
    """The runs of an export, stretch by stretch, with what there is to report of each. Checked as `verify` checks a log.

    Args:
        log: where they are to go.

    Raises:
        TranscriptError: a line is missing, changed or none of ours; a run makes no sense; the log has one of them already.
    """
    from afk_es.debugger.exchange.importing import Imported

    place, first = source.values[0]
    header = _header(place, first)
    runs = _by_run(source, header)
    for run_id in runs:
        if await log.head(run_id) is not None:
            raise place.wrong(f"{log.location} has run {run_id} already; import it into another log with --db")
    beside = MemoryEventLog()
    await beside.open()
    found = []
    try:
        stretches = {run_id: _stretches(events) for run_id, events in runs.items()}
        for run_id, each in stretches.items():
            try:
                for stretch in each:
                    await beside.append(stretch, epoch=stretch[0].data["epoch"])
            except AfkError as error:
                raise place.wrong(f"run {run_id} cannot be stored: {error}") from error
        for run_id, events in runs.items():
            notes = await _checked(place, beside, run_id, redacted=header["redacted"])
            report = Imported(run_id, events[0].thread_id, str(place), events[-1].state, len(events), notes)
            found.append((stretches[run_id], report))
    finally:
        await beside.close()
    return found


def _header(place: Place, first: Any) -> dict[str, Any]:
    if not isinstance(first, dict) or first.get("schema") != EXPORT_SCHEMA:
        schema = first.get("schema") if isinstance(first, dict) else first
        raise place.wrong(f"the first line of an exported run has the schema {EXPORT_SCHEMA}, and not {shown(schema)}")
    runs = first.get("runs")
    if not isinstance(runs, list) or not all(isinstance(run, dict) and isinstance(run.get("events"), int) for run in runs):
        raise place.wrong("`runs` is a list of the runs that follow, with the number of their events")
    return {**first, "redacted": bool(first.get("redacted"))}


def _by_run(source: Source, header: dict[str, Any]) -> dict[str, list[AgentRunEvent]]:
    runs: dict[str, list[AgentRunEvent]] = {str(run.get("run_id")): [] for run in header["runs"]}
    shared = {str(run.get("run_id")): run.get("after", 0) for run in header["runs"]}
    for place, value in source.values[1:]:
        event = _event(place, value)
        if event.run_id not in runs:
            raise place.wrong(f"the first line names no run {event.run_id!r}")
        events = runs[event.run_id]
        before = events[-1].seq if events else shared[event.run_id]
        if event.seq != before + 1:
            raise place.wrong(f"seq {event.seq} of run {event.run_id} follows seq {before}")
        events.append(event)
    for run in header["runs"]:
        if len(runs[str(run.get("run_id"))]) != run["events"] or not run["events"]:
            raise source.values[0][0].wrong(
                f"run {run.get('run_id')} has {run['events']} events, and {len(runs[str(run.get('run_id'))])} are in the file: it was cut off"
            )
    return runs


def _event(place: Place, value: Any) -> AgentRunEvent:
    if not isinstance(value, dict) or value.get("schema") != EVENT_SCHEMA:
        raise place.wrong(f"a line of an exported run is an event with the schema {EVENT_SCHEMA}, and not {shown(value)}")
    try:
        event = msgspec.convert({key: item for key, item in value.items() if key != "schema"}, AgentRunEvent)
        if event.at.tzinfo is None:
            raise ValueError("its time has no zone")
        if event.type not in EVENT_TYPES or event.schema_version == SCHEMA_VERSION:
            return event
        if event.schema_version > SCHEMA_VERSION:
            raise ValueError(f"it has schema version {event.schema_version}, this afk_es understands up to {SCHEMA_VERSION}; upgrade it")
        data = upcast(UPCASTERS, event.type, event.data, stored=event.schema_version, wanted=SCHEMA_VERSION)
        return msgspec.structs.replace(event, data=data, schema_version=SCHEMA_VERSION)
    except (msgspec.ValidationError, ValueError, AfkError) as error:
        raise place.wrong(f"it is no event: {error}") from error


def _stretches(events: list[AgentRunEvent]) -> list[list[AgentRunEvent]]:
    found: list[list[AgentRunEvent]] = []
    for event in events:
        if event.type == "run_started" or not found:
            found.append([])
        found[-1].append(event)
    return found


async def _checked(place: Place, log: EventLog, run_id: str, *, redacted: bool) -> tuple[str, ...]:
    from afk_es.core.history import ThreadMemory

    # With what a fork shares.
    events = await log.read(run_id)
    first = events[0]
    refs: list[RunRef] = first.data.get("history", [])
    try:
        verification = Verification(await ThreadMemory().read(log, refs))
    except (AfkError, InvariantError) as error:
        raise place.wrong(f"run {first.run_id}: what it builds on is missing or makes no sense: {error}") from error
    unproved = 0
    for event in events:
        for problem in verification.check(event):
            if not (redacted and problem.rule == "request_hash"):
                raise place.wrong(f"run {first.run_id}, seq {problem.seq}: {problem.rule}: {problem.message}")
            unproved += 1
    if not unproved:
        return ()
    return (f"the file was redacted: {unproved} of {unproved + verification.requests} requests cannot be proved by their hash",)


__all__ = ["event_lines", "exported_runs", "TranscriptError"]
