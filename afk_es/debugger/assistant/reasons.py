"""Why a run went wrong: triage, causes, and what the model was shown. The docstrings of the methods are what a model is told that knows nothing of afk_es."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from pydantic import Field

from afk_es.debugger.assistant.desk import WIDTH, AfterLine, Answer, Desk, Place, Run, told
from afk_es.debugger.assistant.pages import harmless
from afk_es.debugger.assistant.shelf import place
from afk_es.debugger.causes import cause_lines
from afk_es.debugger.causes import why as causes_of
from afk_es.debugger.context import Context, messages_of
from afk_es.debugger.context import context as context_of
from afk_es.debugger.context_text import context_lines, message_lines
from afk_es.debugger.recording import Recording
from afk_es.debugger.triage import Triage
from afk_es.debugger.triage import triage as triage_of
from afk_es.tools import ToolContext
from afk_es.views import redacted_facts

_PLACES = frozenset(
    {"ended", "first error", "fatal", "it got", "it returned", "model saw", "stopped by", "loops", "longest gap", "written"}
)
"""What of a triage is handed out as places too. The others say nothing of the course of the run."""

_MOST_PLACES = 8

_MESSAGES_READ = 100
"""Messages of a context that are read at once: a page seldom has more."""


class Reasons:
    """Asks for causes.

    Args:
        desk: of the log.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def triage(self, ctx: ToolContext, run: Run = "@last", after_line: AfterLine = 0) -> Answer:
        """Call this first: what went wrong with a run, on one screen, each line with the place that proves it.

        How the run ended, the first error and the fatal one, the failing call with its arguments, what the model saw before it, limits,
        loops, side effects, whether it can be run again, cost. A run is one execution of an LLM agent, recorded event by event; @75 is the
        event with number 75. The first error is often the cause, and the fatal one a consequence. "suspect": not shown to be a cause.

        From a failure to its cause in three calls: 1. `triage` with run="@last-failed". 2. `why` with the run and at=the first error (or
        the failing call): the chain of events that led to it, down to the model's answer that asked for the call. 3. `context` with
        at=that answer and whole=true: all that the model was shown when it decided so; or `show` with at=an event, for all of it.
        """
        async with self._desk.shelf.recorded(run) as rec:
            seen = redacted_facts(await triage_of(rec, told(ctx, "events read")), self._desk.redaction)
        shown = self._desk.page(_triage_lines(seen), after_line)
        places: dict[str, list[str]] = {}
        for line in seen.lines:
            if line.positions and line.label in _PLACES:
                places.setdefault(line.label, [harmless(each) for each in line.positions[:_MOST_PLACES]])
        return {
            "run": harmless(rec.run_id),
            "status": seen.status,
            "events": seen.seq,
            "places": places,
            "next": [
                *self._desk.rest(shown.next, "triage", run=rec.run_id),
                *(self._desk.call("why", run=rec.run_id, at=at) for at in _worth_asking(seen)),
            ],
            "text": shown.text,
        }

    async def why(
        self,
        run: Run = "@last",
        at: Place = "end",
        after_line: AfterLine = 0,
    ) -> Answer:
        """Why an event of a run happened, as a chain of recorded causes back to the start of the run, and what came of it.

        The first line is the event; each line with <- is the cause of the line above it: a result comes from a call, a call was asked for by
        an answer of the model, an answer follows a request, a request showed the model earlier results. -> lines are consequences. Each
        link is recorded, none is guessed. To see what the model was shown before an answer, call `context` with its number.
        """
        async with self._desk.shelf.recorded(run) as rec:
            causes = redacted_facts(await causes_of(rec, await place(rec, at)), self._desk.redaction)
        shown = self._desk.page([text for text, _tone in cause_lines(causes, WIDTH)], after=after_line)
        asked = next(
            (link.seq for link in (causes.event, *causes.chain) if link.type == "llm_completed" and link.run_id == rec.run_id), None
        )
        return {
            "run": harmless(rec.run_id),
            "at": causes.event.seq,
            "causes": [link.seq for link in causes.chain if link.run_id == rec.run_id],
            "consequences": [link.seq for link in causes.caused if link.run_id == rec.run_id],
            "next": [
                *self._desk.rest(shown.next, "why", run=rec.run_id, at=causes.event.seq),
                *([self._desk.call("context", run=rec.run_id, at=asked, whole=True)] if asked is not None else []),
            ],
            "text": shown.text,
        }

    async def context(
        self,
        run: Run = "@last",
        at: Place = "end",
        vs: Annotated[str | int, Field(description='The model call to compare with: a place, or "prev" for the call before.')] = "prev",
        whole: Annotated[
            bool, Field(description="Every message; without it only those that are new since the call compared with.")
        ] = False,
        after_line: AfterLine = 0,
    ) -> Answer:
        """What the model was sent at a call: model, instructions, tools, messages, rebuilt from the log and proved by a recorded hash.

        `at` names the call or any place after it. Without `whole` only what is new since the call before, which is what it answered to.
        Lines with + are new messages. Token counts with ~ are estimates.
        """
        async with self._desk.shelf.recorded(run) as rec:
            seen = await context_of(rec, await place(rec, at), vs=None if vs == "prev" else await place(rec, vs))
            shown = await self._desk.page_of(self._context_lines(rec, seen, whole), after_line)
        same = {"at": seen.seq, "vs": vs if vs != "prev" else None}
        return {
            "run": harmless(rec.run_id),
            "at": seen.seq,
            "call": seen.position,
            "messages": seen.messages,
            "proved": seen.proved,
            "next": [
                *self._desk.rest(shown.next, "context", run=rec.run_id, **same, whole=whole or None),
                *([self._desk.call("context", run=rec.run_id, **same, whole=True)] if seen.new_from and not whole else []),
            ],
            "text": shown.text,
        }

    async def _context_lines(self, rec: Recording, seen: Context, whole: bool) -> AsyncIterator[str]:
        for text, _tone in context_lines(redacted_facts(seen, self._desk.redaction), WIDTH):
            yield text
        start = 0 if whole else seen.new_from
        # A summary that a compaction has put in front is new as well.
        spans = [(0, 1)] if start and seen.replaced else []
        spans += [(begin, begin + _MESSAGES_READ) for begin in range(start, seen.messages, _MESSAGES_READ)]
        for begin, end in spans:
            messages = [redacted_facts(message, self._desk.redaction) for message in await messages_of(rec, seen, begin, end)]
            for text, _tone in message_lines(messages):
                yield text


def _triage_lines(seen: Triage) -> Iterator[str]:
    """The triage without the columns and bars that a screen has."""
    yield f"{seen.run_id}: {seen.agent_name} {seen.status}, {seen.seq} events, step {seen.step}"
    for line in seen.lines:
        proof = "".join(f" @{position}" for position in line.positions[:_MOST_PLACES])
        yield f"{line.label}: {'suspect: ' if line.suspect else ''}{line.text}{proof}"


def _worth_asking(seen: Triage) -> list[str]:
    """The places that are worth a `why`, the likeliest cause first."""
    places = [seen.first_error.seq] if seen.first_error is not None else []
    if seen.failing is not None:
        places.append(seen.failing.result_seq)
    return [str(seq) for seq in dict.fromkeys(places or [seen.seq])]
