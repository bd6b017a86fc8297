"""What the events of a run come to, and what differs: states, and two runs side by side. The docstrings of the methods are what a model is told that knows nothing of afk_es."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import Field

from afk_es.debugger.assistant.desk import WIDTH, AfterLine, Answer, Desk, Place, Run, told
from afk_es.debugger.assistant.pages import harmless, squeezed
from afk_es.debugger.assistant.shelf import place
from afk_es.debugger.changes import change_lines
from afk_es.debugger.comparison import compare, first_divergence, states_at
from afk_es.debugger.comparison_text import comparison_lines, divergence_lines
from afk_es.debugger.recording import Progress, Recording
from afk_es.debugger.state_diff import diff as states_differ
from afk_es.debugger.state_diff import tree_at
from afk_es.debugger.state_text import state_lines, value_at
from afk_es.tools import ToolContext
from afk_es.views import redacted_facts


class States:
    """Asks for states and differences.

    Args:
        desk: of the log.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def state(
        self,
        run: Run = "@last",
        at: Place = "end",
        path: Annotated[
            str | None, Field(description="Only this part, whole: messages[-1].content, batch.turns[0].status, spec.tools.")
        ] = None,
        after_line: AfterLine = 0,
    ) -> Answer:
        """The state of a run after an event: all that its next decision depends on, a value a line with its path; what is not set is left out.

        With `path`, one value whole. Paths are those that `state` and `diff` print.
        """
        async with self._desk.shelf.recorded(run) as rec:
            seq = await place(rec, at)
            if path is None:
                tree = await tree_at(rec, seq)
                shown_tree = tree if self._desk.redaction is None else self._desk.redaction.value(tree)
                lines = tuple(squeezed(state_lines(shown_tree, WIDTH)))
            else:
                lines = (_whole(await value_at(rec, seq, path, self._desk.redaction)),)
        shown = self._desk.page(lines, after=after_line)
        return {
            "run": harmless(rec.run_id),
            "at": seq,
            "next": self._desk.rest(shown.next, "state", run=rec.run_id, at=seq, path=path),
            "text": shown.text,
        }

    async def diff(
        self,
        ctx: ToolContext,
        run: Run = "@last",
        other_run: Annotated[
            str | None, Field(description="Another run, to compare with event by event; without it two places of `run`.")
        ] = None,
        at: Place = "end",
        vs: Place = "start",
        first: Annotated[bool, Field(description="Of two runs: only where they part first, and how their states differ there.")] = False,
        after_line: AfterLine = 0,
    ) -> Answer:
        """What differs: between the states of a run at `vs` and `at`, or between two runs, event by event, with where they part first.

        To find out why one run failed and a similar one did not, compare them with first=true. Ids, times and tokens are not compared.
        """
        if other_run is None:
            async with self._desk.shelf.recorded(run) as rec:
                found = redacted_facts(await states_differ(rec, await place(rec, vs), await place(rec, at)), self._desk.redaction)
            lines = change_lines(found.changes, WIDTH, truncated=found.truncated) or ("the states are the same",)
            shown = self._desk.page(squeezed(lines), after=after_line)
            return {
                "run": harmless(rec.run_id),
                "vs": found.before,
                "at": found.after,
                "equal": not found.changes,
                "next": self._desk.rest(shown.next, "diff", run=rec.run_id, at=found.after, vs=found.before),
                "text": shown.text,
            }
        async with self._desk.shelf.opened() as log:
            a, b = await self._desk.shelf.recording(log, run), await self._desk.shelf.recording(log, other_run)
            equal, texts = await (self._parting(a, b) if first else self._side_by_side(a, b, told(ctx, "events compared")))
        shown = self._desk.page(texts, after=after_line)
        return {
            "run": harmless(a.run_id),
            "other_run": harmless(b.run_id),
            "equal": equal,
            "next": self._desk.rest(shown.next, "diff", run=a.run_id, other_run=b.run_id, first=first or None),
            "text": shown.text,
        }

    async def _side_by_side(self, a: Recording, b: Recording, progress: Progress) -> tuple[bool, list[str]]:
        found = redacted_facts(await compare((a,), (b,), progress=progress), self._desk.redaction)
        return found.equal, [text for text, _tone in comparison_lines(found, WIDTH)]

    async def _parting(self, a: Recording, b: Recording) -> tuple[bool, list[str]]:
        parted = await first_divergence((a,), (b,))
        states = await states_at(a, b, parted) if parted is not None else None
        if parted is not None:
            parted = redacted_facts(parted, self._desk.redaction)
        lines = [text for text, _tone in divergence_lines(parted, WIDTH)]
        if states is not None:
            states = redacted_facts(states, self._desk.redaction)
            lines += change_lines(states.changes, WIDTH, truncated=states.truncated)
        return parted is None, lines


def _whole(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
