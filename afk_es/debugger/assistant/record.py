"""What is recorded: the runs of a log, the events of a run, one event whole. The docstrings of the methods are what a model is told that knows nothing of afk_es."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from afk_es.debugger.assistant.desk import WIDTH, AfterLine, Answer, Desk, Place, Run
from afk_es.debugger.assistant.pages import harmless, squeezed
from afk_es.debugger.assistant.shelf import place
from afk_es.debugger.expression import parse
from afk_es.debugger.family import descendants, parent_of
from afk_es.debugger.listing import Range, Wanted, around, type_patterns, wanted_lines
from afk_es.debugger.overview_text import family_lines, overview_lines
from afk_es.debugger.run_table import HEADER, cells, selected_runs
from afk_es.debugger.showing import SeenEvent, event_text, request_messages, seen_event, seen_whole, whole_message
from afk_es.debugger.styled import plain_lines
from afk_es.errors import UsageError
from afk_es.redaction import Redaction
from afk_es.views import compact_json, heading, render_line, table

RUNS_LOOKED_AT = 1_000
"""Runs that one call looks at for those of a state."""

SHOWN_WHOLE = 50_000
"""Events of the longest run that is shown at a glance: all of them are held in memory for it."""

State = Literal["running", "paused", "completed", "degraded", "failed", "cancelled", "interrupted", "crashed"]


class Record:
    """Asks for what is recorded.

    Args:
        desk: of the log.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def runs(
        self,
        state: Annotated[list[State] | None, Field(description='Only runs in one of these states: ["failed", "crashed"].')] = None,
        thread: Annotated[str | None, Field(description="Only runs of this thread (a conversation over several runs).")] = None,
        after: Annotated[
            str | None, Field(description="The id of a run: list those that are older. For the next page, as `next` has it.")
        ] = None,
        limit: Annotated[int, Field(ge=1, le=100, description="Runs to list, at most.")] = 20,
    ) -> Answer:
        """List the recorded runs of LLM agents, the newest first: status, id, agent, what it was asked or why it ended.

        A run is one execution of an agent on one request: model calls and tool calls, recorded event by event in an append-only log. A
        "crashed" run has no end: its process died. If you only want to know why the latest run failed, call `triage` with "@last-failed"
        right away.
        """
        async with self._desk.shelf.opened() as log:
            found = await selected_runs(
                log, thread_id=thread, states=state or (), limit=limit, before=after, most=RUNS_LOOKED_AT, redaction=self._desk.redaction
            )
            rows = [cells(run, run.record.run_id) for run in found.runs]
            shown = self._desk.page(squeezed(table(HEADER, rows, total=WIDTH)))
            # What there was no room for begins the next page. The first line is the header.
            listed = found.runs if shown.next is None else found.runs[: max(shown.lines - 1, 1)]
            last = found.last if shown.next is None else listed[-1].record.run_id
        options = {"state": state, "thread": thread, "limit": limit if limit != 20 else None}
        more = [self._desk.call("runs", **options, after=last)] if last is not None else []
        wrong = [run.record.run_id for run in listed if run.status in ("failed", "crashed")]
        return {
            "runs": [{"run": harmless(run.record.run_id), "status": harmless(run.status)} for run in listed],
            "next": [*more, *(self._desk.call("triage", run=run_id) for run_id in wrong[:1])],
            "text": shown.text if rows else "no run fits",
        }

    async def log(
        self,
        run: Run = "@last",
        after: Annotated[int, Field(ge=0, description="Begin behind the event with this number. For the next page, as `next` has it.")] = 0,
        at: Annotated[str | int | None, Field(description="Instead: the event at this place, with the 5 before and after it.")] = None,
        types: Annotated[list[str] | None, Field(description='Only events of these types, or globs: ["tool_*", "llm_failed"].')] = None,
        where: Annotated[
            str | None, Field(description='Only where this holds: tool = "search" and latency > 5s; error ~ "timeout"; cost > 0.1.')
        ] = None,
        limit: Annotated[int, Field(ge=1, le=500, description="Events, at most.")] = 60,
    ) -> Answer:
        """The events of a run, a line each: number, time since the start, step, type, and what matters of it, cut where it is long.

        For the whole of an event call `show` with its number. `where` is judged on what is shown, without what is kept back. A run of hundreds of events is better entered by `triage` than read through.
        """
        expression = parse(where) if where is not None else None
        patterns = type_patterns(tuple(types or ()))
        async with self._desk.shelf.recorded(run) as rec:
            span = Range(after, None) if at is None else around(await place(rec, at))
            lines, end = [heading()], await rec.last_seq()
            seqs: list[int] = []
            more = False
            async for line in wanted_lines(rec, Wanted(span, patterns, expression), self._desk.redaction):
                if len(seqs) == limit:
                    more = True
                    break
                seqs.append(line.seq)
                lines.append(render_line(line, WIDTH))
        shown = self._desk.page(squeezed(lines))
        if shown.next is not None:
            # The first line is the heading.
            seqs, more = seqs[: max(shown.lines - 1, 1)], True
        rest = {"types": types, "where": where, "limit": limit if limit != 60 else None}
        return {
            "run": harmless(rec.run_id),
            "first": seqs[0] if seqs else None,
            "last": seqs[-1] if seqs else None,
            "events": end,
            "next": [self._desk.call("log", run=rec.run_id, **rest, after=seqs[-1])] if more and seqs and at is None else [],
            "text": shown.text if seqs else "no event fits",
        }

    async def show(self, run: Run = "@last", at: Place | None = None, after_line: AfterLine = 0) -> Answer:
        """A run at a glance: how it ended, its conversation, its tool calls with outcomes, its use of limits, its subagents.

        With `at`, one event in full, outputs and errors uncut; of an llm_called the exact request, of an llm_completed the whole answer
        with the arguments of the calls that it asks for.
        """
        async with self._desk.shelf.recorded(run) as rec:
            if at is not None:
                seq = await place(rec, at)
                # Its line has what earlier events said of it: of the start of a call, the arguments.
                told = [render_line(line, WIDTH) async for line in wanted_lines(rec, _only(seq), self._desk.redaction)]
                seen_one = await seen_event(rec, seq, self._desk.redaction)
                shown = self._desk.page([*told, *_event_lines(seen_one, self._desk.redaction)], after=after_line)
                return {
                    "run": harmless(rec.run_id),
                    "at": seq,
                    "next": self._desk.rest(shown.next, "show", run=rec.run_id, at=seq),
                    "text": shown.text,
                }
            if (end := await rec.last_seq()) > SHOWN_WHOLE:
                raise UsageError(f"run {rec.run_id} has {end} events, too many to be shown at a glance; use triage, log, or show with `at`")
            seen, status = await seen_whole(rec, self._desk.redaction)
            family = family_lines(await parent_of(rec.log, rec.run_id), await descendants(rec.log, rec.run_id), WIDTH)
            shown = self._desk.page(plain_lines([*overview_lines(seen, status, WIDTH), *family]), after=after_line)
        return {
            "run": harmless(rec.run_id),
            "status": harmless(status),
            "events": seen.seq,
            "next": self._desk.rest(shown.next, "show", run=rec.run_id),
            "text": shown.text,
        }


def _only(seq: int) -> Wanted:
    return Wanted(Range(seq - 1, seq + 1), (), None)


def _event_lines(seen: SeenEvent, redaction: Redaction | None) -> Iterable[str]:
    yield event_text(seen.data)
    if seen.rebuilt is None:
        return
    yield "the request, rebuilt" + ("; its hash is the recorded one" if seen.rebuilt.proved else "; its hash is NOT the recorded one")
    for message in request_messages(seen.rebuilt, redaction):
        first, *more = whole_message(message)
        yield f"{message.role:<10} {first}"
        yield from more
    for tool in seen.data["request"]["tools"]:
        yield f"tool {tool['name']}: {tool['description']} {compact_json(tool['parameters'])}"
