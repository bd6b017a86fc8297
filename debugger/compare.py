"""Two runs side by side, opened where they part first, with what differs in the events and in the states. The alignment is headless."""

from __future__ import annotations

import shlex
from functools import partial
from typing import ClassVar

import msgspec
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container

from afk_es.debugger import Recording
from afk_es.debugger.comparison import Comparison, Divergence, Pair, compare, states_at
from afk_es.debugger.counterparts import Counterpart, counterparts
from afk_es.debugger.state_diff import StateDiff
from afk_es.errors import AfkError
from afk_es.redaction import Redaction
from debugger.compare_lines import counterpart_line, counts_line, differing, pair_details, pair_line, state_lines, title_line
from debugger.footer import Footer
from debugger.keys import Scope
from debugger.lines import Lines, Span
from debugger.lines_screen import LinesScreen

_WIDE = 120
"""Columns from which on the differences stand beside the pairs, and not below them."""


def redacted_facts(found: Comparison, redaction: Redaction | None) -> Comparison:
    """The comparison with nothing in its values that is to be kept back."""
    if redaction is None:
        return found
    return msgspec.convert(redaction.value(msgspec.to_builtins(found)), Comparison)


class CompareScreen(LinesScreen):
    """Two runs.

    Args:
        left: the id of the first; None: the open run.
        right: the id of the second; None: one is chosen from a list, the closest first.
    """

    scope: ClassVar[Scope] = "compare"

    CSS = """
    CompareScreen #title, CompareScreen #counts { height: 1; }
    CompareScreen #body { height: 1fr; layout: vertical; }
    CompareScreen #list { height: 1fr; width: 1fr; }
    CompareScreen #details { height: 9; background: $panel; padding: 0 1; }
    CompareScreen.wide #body { layout: horizontal; }
    CompareScreen.wide #details { height: 1fr; width: 2fr; }
    CompareScreen.wide #list { width: 3fr; }
    """

    def __init__(self, left: str | None = None, right: str | None = None) -> None:
        super().__init__()
        self._asked, self._right = left, right
        self._runs: tuple[Recording, Recording] | None = None
        self._found: Comparison | None = None
        self._choices: list[Counterpart] = []
        self._states: StateDiff | None = None
        self._side = 1
        self._began = False
        self._run_at_hand: str | None = None

    def compose(self) -> ComposeResult:
        yield Lines(choosable=False, id="title")
        yield Lines(choosable=False, id="counts")
        with Container(id="body"):
            yield Lines(id="list")
            yield Lines(choosable=False, id="details")
        yield Footer()

    def on_mount(self) -> None:
        for name in ("title", "counts"):
            self.query_one(f"#{name}", Lines).can_focus = False
        self._pairs.focus()

    @property
    def _pairs(self) -> Lines:
        return self.query_one("#list", Lines)

    def lines(self) -> Lines:
        """Keys move in the pairs."""
        return self._pairs

    @property
    def left(self) -> str:
        """The id of the first run."""
        session = self.debugger.session
        return self._asked or (session.recording.run_id if session is not None else "")

    async def on_screen_resume(self) -> None:
        session = self.debugger.session
        run_id = session.recording.run_id if session is not None else None
        ours = [recording.run_id for recording in self._runs or ()]
        if run_id != self._run_at_hand and run_id not in ours and self._began:
            # Another run was opened meanwhile: it is that one that is to be compared.
            self._asked = self._right = None
        elif self._began:
            self._run_at_hand = run_id
            return
        self._began, self._run_at_hand = True, run_id
        await (self._compare() if self._right is not None else self.do_other(None))

    # ------------------------------------------------------------------------------------------------------------------- choosing

    async def do_other(self, count: int | None) -> None:
        self._runs = self._found = self._right = None
        left = self.left
        self._tell([Span(" Compare ", "strong"), Span(left), Span("  with which run?", "warn")], [Span(" looking for runs…", "quiet")])

        async def show(found: list[Counterpart]) -> None:
            self._choices = found
            self._pairs.show(len(found), lambda index, width: counterpart_line(found[index], width), cursor=0)
            told = " the closest first; enter chooses" if found else " there is no other run in this log"
            self.query_one("#counts", Lines).show(1, lambda index, width: [Span(told, "quiet")])

        self.debugger.run_worker_with_progress("runs", lambda progress: counterparts(self.debugger.event_log, left), show)

    @on(Lines.Chosen, "#list")
    async def _chosen(self, message: Lines.Chosen) -> None:
        if self._found is not None:
            await self._open()
        elif message.index < len(self._choices):
            self._right = self._choices[message.index].row.record.run_id
            await self._compare()

    # ------------------------------------------------------------------------------------------------------------------ comparing

    async def _compare(self) -> None:
        assert self._right is not None
        log = self.debugger.event_log
        try:
            runs = await Recording.open(log, self.left), await Recording.open(log, self._right)
        except AfkError as error:
            self.debugger.complain(error)
            return
        self._runs = runs
        self._pairs.show(0, lambda index, width: ())
        self._tell(title_line(runs[0].run_id, runs[1].run_id, self._side), [Span(" comparing…", "quiet")])

        async def show(found: Comparison) -> None:
            self._found = found = redacted_facts(found, self.debugger.redaction)
            start = differing(found.pairs, -1, 1) or 0
            self._pairs.show(len(found.pairs), lambda index, width: pair_line(found.pairs[index], width), cursor=start)
            self._tell(title_line(runs[0].run_id, runs[1].run_id, self._side), counts_line(found))
            self._look()

        self.debugger.run_worker_with_progress("compare", lambda progress: compare([runs[0]], [runs[1]], progress=progress), show)

    def _tell(self, title: list[Span], counts: list[Span]) -> None:
        self.query_one("#title", Lines).show(1, lambda index, width: title)
        self.query_one("#counts", Lines).show(1, lambda index, width: counts)
        self._show_details([])

    def _pair(self) -> Pair | None:
        index = self._pairs.cursor
        return self._found.pairs[index] if self._found is not None and index < len(self._found.pairs) else None

    @on(Lines.Moved, "#list")
    def _look(self) -> None:
        """Show what differs at the cursor; the states take a moment."""
        pair = self._pair()
        if pair is None:
            return
        details = self.query_one("#details", Lines)
        lines = pair_details(pair, max(20, details.content_size.width))
        self._show_details(lines)
        if pair.kind != "same" and pair.a is not None and pair.b is not None:
            self.in_background("states", partial(self._compare_states, pair, lines))

    async def _compare_states(self, pair: Pair, lines: list[list[Span]]) -> None:
        assert self._runs is not None
        try:
            found = await states_at(*self._runs, Divergence("", None, None, pair.a, pair.b))
        except AfkError as error:
            self.debugger.complain(error)
            return
        redaction = self.debugger.redaction
        if found is not None and redaction is not None:
            found = msgspec.convert(redaction.value(msgspec.to_builtins(found)), StateDiff)
        width = max(20, self.query_one("#details", Lines).content_size.width)
        self._show_details([*lines, *state_lines(found, width)])

    def _show_details(self, lines: list[list[Span]]) -> None:
        details = self.query_one("#details", Lines)
        details.show(len(lines), lambda index, width: lines[index])
        details.scroll_home(animate=False)

    def on_resize(self, event: events.Resize) -> None:
        """Where there is room, the differences stand beside the pairs."""
        self.set_class(event.size.width >= _WIDE, "wide")
        self.call_after_refresh(self._look)

    # ------------------------------------------------------------------------------------------------------------------------ keys

    async def _open(self) -> None:
        pair = self._pair()
        if pair is None or self._runs is None:
            return
        place = (pair.a, pair.b)[self._side] or pair.a or pair.b
        if place is not None:
            await self.debugger.open_run(place.run_id, place.seq)

    async def do_next(self, count: int | None) -> None:
        self._step(count or 1)

    async def do_previous(self, count: int | None) -> None:
        self._step(-(count or 1))

    def _step(self, steps: int) -> None:
        if self._found is None:
            return
        direction = 1 if steps > 0 else -1
        for _ in range(abs(steps)):
            found = differing(self._found.pairs, self._pairs.cursor, direction)
            if found is None:
                self.debugger.notify("no further difference" if direction > 0 else "no difference before this one")
                return
            self._pairs.cursor = found

    async def do_act(self, count: int | None) -> None:
        act = self._found.first_act if self._found is not None else None
        if act is None or self._found is None:
            self.debugger.notify("both do the same things")
            return
        wanted = (act.a.seq if act.a else None, act.b.seq if act.b else None)
        for index, pair in enumerate(self._found.pairs):
            here = (pair.a.seq if pair.a else None, pair.b.seq if pair.b else None)
            if pair.kind != "same" and any(one is not None and one == other for one, other in zip(wanted, here, strict=True)):
                self._pairs.cursor = index
                return

    async def do_side(self, count: int | None) -> None:
        self._side = 1 - self._side
        if self._runs is not None:
            runs, side = self._runs, self._side
            self.query_one("#title", Lines).show(1, lambda index, width: title_line(runs[0].run_id, runs[1].run_id, side))

    async def do_swap(self, count: int | None) -> None:
        if self._runs is not None:
            self._asked, self._right = self._runs[1].run_id, self._runs[0].run_id
            await self._compare()

    async def do_detail_down(self, count: int | None) -> None:
        self.query_one("#details", Lines).move(count or 1)

    async def do_detail_up(self, count: int | None) -> None:
        self.query_one("#details", Lines).move(-(count or 1))

    async def do_copy(self, count: int | None) -> None:
        if (pair := self._pair()) is not None:
            self.debugger.copy_text("".join(span.text for span in pair_line(pair, 200)))

    async def do_copy_command(self, count: int | None) -> None:
        if self._runs is not None:
            words = ("afk-es", "diff", self._runs[0].run_id, self._runs[1].run_id, "--db", str(self.debugger.event_log.location))
            self.debugger.copy_text(shlex.join(words))
