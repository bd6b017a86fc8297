"""The debug screen: one run, a cursor in it, and panes about what is at the cursor. It holds them together; what keys do, its helpers know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar

import msgspec
from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.widget import Widget

from afk_es.debugger.expression import parse
from afk_es.debugger.watching import evaluate
from afk_es.errors import AfkError, InvariantError
from debugger.command_line import CommandLine
from debugger.commands import Commands
from debugger.drawer import drawer_lines
from debugger.event_list import EventList
from debugger.event_rows import EventRows, Outline
from debugger.event_window import EventWindow
from debugger.finder import Finder
from debugger.footer import Footer
from debugger.header import Header, Heading
from debugger.keyed_screen import KeyedScreen
from debugger.keys import Scope
from debugger.looking import Looking
from debugger.motions import Motions
from debugger.open_run import OpenRun
from debugger.pane_line import PaneLine, said
from debugger.run_shape import RunShape
from debugger.scrubber import Scrubber
from debugger.tab_bar import TabBar
from debugger.tabs import TABS, Place
from debugger.tempo import POLL_S, Tempo
from debugger.text_pane import TextPane

Progress = Callable[[int, int], None]

_WIDE = 100
"""Columns from which list and detail pane stand side by side."""

_AT_ONCE_S = 0.05
"""Seconds that a motion may hold up the keys; what takes longer goes on in a worker, with a progress bar."""

_SURVEYED = 50
"""Parts of a run after each of which its line is drawn anew while it is walked."""

_FOLDED = 20_000
"""Events that are folded for the cost in the header without having been asked for."""


class DebugScreen(KeyedScreen):
    """One run.

    Attributes:
        open: the run on the desk, None before there is one.
        tab: the name of the tab that is shown.
        raw: the Event tab shows stored JSON.
        since: the seq with whose state the Diff tab compares; None: the one before the event.
        filter: what the list shows only, as it was typed; empty: all.
    """

    scope: ClassVar[Scope] = "debug"

    CSS = """
    DebugScreen #panes { layout: vertical; height: 1fr; }
    DebugScreen #detail { height: 2fr; }
    DebugScreen EventList { height: 3fr; }
    DebugScreen.-reading #detail { height: 3fr; }
    DebugScreen.-reading EventList { height: 1fr; min-height: 3; }
    DebugScreen.-wide #panes { layout: horizontal; }
    DebugScreen.-wide #detail { width: 1fr; height: 1fr; margin-left: 1; }
    DebugScreen.-wide EventList { width: 1fr; height: 1fr; }
    DebugScreen #drawer { height: 30%; max-height: 14; border-top: solid $secondary; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.open: OpenRun | None = None
        self.tab: str = TABS[0].name
        self.raw: bool = False
        self.since: int | None = None
        self.filter: str = ""
        self.tempo = Tempo(self)
        self.finder = Finder(self)
        self.looking = Looking(self)
        self.commands = Commands(self)
        self._helpers = (Motions(self), self.finder, self.looking, self.commands, self.tempo)
        self._letter: Callable[[str], Awaitable[None]] | None = None
        self._printed: list[PaneLine] = []
        self._heading = Heading()
        colours = lambda: self.debugger.colours  # noqa: E731
        self.list = EventList(colours)
        self.pane = TextPane(colours)
        self.drawer = TextPane(colours)
        self.drawer.id = "drawer"
        self.drawer.display = False
        self.line = CommandLine(colours, lambda work: self.debugger.attempt(work))
        self._header = Header(colours)
        self._scrubber = Scrubber(colours)
        self._bar = TabBar(colours)

    def compose(self) -> ComposeResult:
        yield self._header
        yield self._scrubber
        with Container(id="panes"):
            yield self.list
            with Vertical(id="detail"):
                yield self._bar
                yield self.pane
        yield self.drawer
        yield Footer()
        # In the footer's place, and above it, while something is asked.
        yield self.line

    def on_mount(self) -> None:
        self.set_interval(POLL_S, lambda: self.debugger.attempt(self.tempo.poll()))

    @property
    def run(self) -> OpenRun:
        """The run on the desk."""
        assert self.open is not None
        return self.open

    @property
    def focused_pane(self) -> TextPane:
        """The pane that has the focus, or the detail pane."""
        return self.drawer if self.focused is self.drawer else self.pane

    @property
    def path(self) -> str | None:
        """The path of the state that is selected in the detail pane."""
        line = self.pane.line
        return line.path if line is not None else None

    # ------------------------------------------------------------------------------------------------------------------------- keys

    def helpers(self) -> tuple[object, ...]:
        return (self, *self._helpers)

    def scopes(self) -> tuple[Scope, ...]:
        return ("detail", "debug", "app") if self.focused in (self.pane, self.drawer) else ("debug", "app")

    async def take_key(self, event: events.Key) -> bool:
        """What is typed in the command line, and the letter behind `m` and `'`."""
        if self.line.asking:
            await self.line.give(event)
            return True
        letter, self._letter = self._letter, None
        if letter is None or event.character is None or not event.character.isprintable():
            return False
        await self.debugger.attempt(letter(event.character))
        return True

    def on_paste(self, event: events.Paste) -> None:
        if self.line.asking:
            event.stop()
            self.line.insert(event.text)

    def await_letter(self, what: str, then: Callable[[str], Awaitable[None]]) -> None:
        """The next key is a letter."""
        self._letter = then

    def count_changed(self) -> None:
        self.query_one(Footer).count(self.count)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.set_class(self.focused in (self.pane, self.drawer), "-reading")
        self.query_one(Footer).refresh()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width >= _WIDE, "-wide")

    def moved(self) -> None:
        """The user moves: nothing that moves by itself, or looks for a place, goes on."""
        self.tempo.stop()
        self.debugger.cancel_work()

    async def go(
        self,
        title: str,
        motion: Callable[[Progress], Awaitable[int | None]],
        missing: str = "",
        told: list[str] | None = None,
    ) -> None:
        """Do a motion: at once if it is short, else in a worker with a progress bar.

        Args:
            motion: moves the session's cursor, and returns None where there was nowhere to go.
            missing: said then.
            told: said when it has arrived, if there is anything in it by then.
        """
        self.moved()
        session = self.run.session
        begin = session.seq
        report: list[Progress] = []

        async def begun() -> int | None:
            return await motion(lambda done, total: report[0](done, total) if report else None)

        async def arrived(seq: int | None) -> None:
            if seq is None and missing:
                self.say(missing)
            for text in told or ():
                self.say(text)
            await self.arrived()

        task = asyncio.ensure_future(begun())
        done, _ = await asyncio.wait({task}, timeout=_AT_ONCE_S)
        if done:
            await arrived(task.result())
            return

        async def rest(progress: Progress) -> int | None:
            report.append(progress)
            return await task

        def stay() -> None:
            # Here and now: the key that cancels it may be the next motion, and that begins where one sees the cursor.
            task.cancel()
            session.seq = begin

        self.debugger.run_worker_with_progress(title, rest, arrived, stay)

    async def jump(self, seq: int) -> None:
        """To an event that something named."""
        self.moved()
        self.run.session.jump(max(1, min(seq, self.run.last)))
        await self.arrived()

    # ---------------------------------------------------------------------------------------------------------------------- the run

    async def on_screen_resume(self) -> None:
        session = self.debugger.session
        if session is None:
            return
        if self.open is None or self.open.session is not session:
            await self._lay_out(OpenRun(session, redaction=self.debugger.redaction))
        await self.arrived()

    async def _lay_out(self, run: OpenRun) -> None:
        self.open = run
        self.tempo.stop()
        self.filter, self.since, self._printed, self.finder.hits = "", None, [], []
        await run.look()
        self.list.window = EventWindow(run.recording, self.debugger.redaction)
        self._scrubber.shape = RunShape()
        self._heading = Heading(
            run.recording.run_id, self.debugger.safe(str(run.recording.first.data["agent_name"])), run.badge, last=run.last
        )
        self._heading = msgspec.structs.replace(self._heading, steps=(await run.recording.event(run.last)).step)
        await self.list.show_rows(EventRows.whole(run.last), run.session.seq)
        if not isinstance(self.focused, Widget):
            self.set_focus(self.list)
        self._survey()
        if self.debugger.config.at == "live" and run.recording.run_id == self.debugger.config.run_id:
            self.tempo.follow()

    def _survey(self) -> None:
        """Walk the run in the background, for its shape."""
        run, shape = self.run, self._scrubber.shape

        async def walk() -> None:
            drawn = shape.seq
            async for page in run.recording.pages(after=shape.seq):
                shape.take(page)
                if shape.seq - drawn >= run.last // _SURVEYED or shape.seq >= run.last:
                    drawn = shape.seq
                    self._scrubber.refresh()

        async def kin() -> None:
            self._scrubber.forks = await run.forks()
            self._scrubber.refresh()

        self._scrubber.last = run.last
        self.in_background("survey", walk)
        self.in_background("kin", kin)

    async def grown(self) -> None:
        """The run has gone on."""
        run = self.run
        if self.list.outline is not None:
            heads = [event.seq async for event in run.recording.scan(after=self.list.outline.last, types=_HEADS)]
            self.list.outline.grow(heads, run.last)
            await self.list.show_rows(self.list.outline.rows(), run.session.seq, self.list.outline)
        elif not self.filter:
            await self.list.show_rows(EventRows.whole(run.last), run.session.seq)
        self._heading = msgspec.structs.replace(
            self._heading, last=run.last, badge=run.badge, steps=(await run.recording.event(run.last)).step
        )
        run.forget_counts()
        self._count()
        self._survey()
        self.tell()

    async def arrived(self) -> None:
        """The cursor is somewhere: everything follows it."""
        run = self.run
        session = run.session
        if self.list.outline is not None and not self.list.rows.has(session.seq):
            self.list.outline.opened.add(self.list.outline.head(session.seq))
            await self.list.show_rows(self.list.outline.rows(), session.seq, self.list.outline)
        self.list.marks = self._scrubber.marks = {seq: letter for letter, seq in session.marks.items() if letter != "'"}
        self.list.stops = self._scrubber.stops = run.ticks()
        await self.list.go(session.seq)
        self._scrubber.show(session.seq)
        event = await session.event()
        self._heading = msgspec.structs.replace(self._heading, seq=session.seq, step=event.step)
        self.tell()
        self.in_background("details", self._details)

    def tell(self) -> None:
        """Bring the header up to date."""
        notes = [note for note in (self.tempo.note, f"only {self.filter}" if self.filter else "") if note]
        self._header.tell(msgspec.structs.replace(self._heading, note=self.debugger.safe(", ".join(notes))))

    def say(self, text: str) -> None:
        """A short note, for a few seconds."""
        self.notify(self.debugger.safe(text), markup=False, timeout=4)

    # ---------------------------------------------------------------------------------------------------------------------- details

    async def _details(self) -> None:
        """Show what the tab says of the place; a next motion cancels it."""
        run, seq = self.run, self.run.session.seq
        tab = next(tab for tab in TABS if tab.name == self.tab)

        def folding(done: int, total: int) -> None:
            self._bar.tell(f"folding {done / total:.0%}" if done < total else "")

        place = Place(run.recording, seq, self.debugger.redaction, folding, self.since, self.raw)
        try:
            sheet = await tab.sheet(place)
            await self.pane.fill(sheet.lines, sheet.key)
        except AfkError as error:
            await self.pane.fill([said(self.debugger.safe(str(error)), "bad")], "error")
        self._bar.tell("")
        await self._tell_cost(seq)
        if self.drawer.display:
            await self._fill_drawer()

    async def _tell_cost(self, seq: int) -> None:
        """What was spent up to an event, in the header; as soon as it is known in a long run, and never where the run does not fold."""
        recording = self.run.recording
        if recording.keyframes.reached < seq and self.run.last > _FOLDED:
            return
        with suppress(InvariantError):
            state = await recording.state(seq)
            known = state.cost_known or not state.llm_calls
            self._heading = msgspec.structs.replace(self._heading, cost_usd=float(state.cost_usd) if known else None)
            self.tell()

    async def show_tab(self, name: str) -> None:
        """Show another tab of the detail pane."""
        self.tab = name
        if name != "diff":
            self.since = None
        self._bar.show(name)
        self.in_background("details", self._details)

    async def show_diff(self, since: int | None) -> None:
        """Show what differs from the state at a seq, or what the event changed."""
        self.since = since
        await self.show_tab("diff")

    async def _fill_drawer(self) -> None:
        run = self.run
        values: dict[str, Any] = {}
        for row in run.watches:
            path = row.text.removeprefix("watch ")
            value = await evaluate(run.recording, parse(path), run.session.seq, search=run.search)
            values[row.text] = value if self.debugger.redaction is None else self.debugger.redaction.value({path: value})[path]
        await self.drawer.fill(drawer_lines(run, values, self._printed, self.finder.hits), "drawer")

    async def show_drawer(self, *, shown: bool) -> None:
        """Open or close the drawer."""
        self.drawer.display = shown
        if shown:
            await self._fill_drawer()
        else:
            self.set_focus(self.list)

    async def printed(self, lines: list[PaneLine]) -> None:
        """Put printed values into the drawer, the last above the others."""
        self._printed = [*lines, *self._printed][:1_000]
        await self.show_drawer(shown=True)

    def on_tab_bar_picked(self, message: TabBar.Picked) -> None:
        self.call_later(self.show_tab, message.name)

    async def on_event_list_chosen(self, message: EventList.Chosen) -> None:
        self.set_focus(self.list)
        await self.jump(message.seq)
        if message.twice:
            self.set_focus(self.pane)

    def on_event_list_failed(self, message: EventList.Failed) -> None:
        self.debugger.complain(message.error)

    async def on_scrubber_picked(self, message: Scrubber.Picked) -> None:
        await self.jump(message.seq)

    async def on_text_pane_followed(self, message: TextPane.Followed) -> None:
        if message.line.seq is not None:
            await self.jump(message.line.seq)

    # ------------------------------------------------------------------------------------------------------------- list and outline

    async def show_only(self, text: str, rows: EventRows) -> None:
        """Show some events only."""
        self.filter = text
        await self.list.show_rows(rows, self.run.session.seq)
        await self.run.session.step(self.list.seq - self.run.session.seq)
        await self.arrived()

    async def show_all(self) -> None:
        """Show all events."""
        self.filter = ""
        await self.list.show_rows(EventRows.whole(self.run.last), self.run.session.seq)
        await self.arrived()

    async def do_outline(self, count: int | None) -> None:
        """Steps with their events folded away, or all events."""
        if self.list.outline is not None:
            await self.show_all()
            return
        run = self.run

        async def heads(progress: Progress) -> list[int]:
            return [event.seq async for event in run.recording.scan(types=_HEADS, progress=progress) if event.type in _HEADS]

        async def folded(found: list[int]) -> None:
            self.filter = ""
            outline = Outline(found, run.last)
            await run.session.step(outline.head(run.session.seq) - run.session.seq)
            await self.list.show_rows(outline.rows(), run.session.seq, outline)
            await self.arrived()

        self.debugger.run_worker_with_progress("outline", heads, folded)

    async def do_fold(self, count: int | None) -> None:
        """Open or fold the step at the cursor."""
        outline = self.list.outline
        if outline is None:
            await self.do_outline(None)
            return
        head = outline.head(self.run.session.seq)
        outline.turn(head)
        if head not in outline.opened:
            await self.run.session.step(head - self.run.session.seq)
        await self.list.show_rows(outline.rows(), self.run.session.seq, outline)
        await self.arrived()

    async def do_drawer(self, count: int | None) -> None:
        """Go to the drawer, opening it, or close it when one is there."""
        shown = not (self.drawer.display and self.focused is self.drawer)
        await self.show_drawer(shown=shown)
        if shown:
            self.set_focus(self.drawer)

    # ------------------------------------------------------------------------------------------------------------------------ stops

    async def stops_changed(self) -> None:
        """Breakpoints or watches are others: count where they stop, in the background."""
        self._count()
        await self.arrived()

    def _count(self) -> None:
        run = self.run

        async def counted() -> None:
            await run.count(lambda done, total: None)
            self.list.stops = self._scrubber.stops = run.ticks()
            self.list.refresh()
            self._scrubber.refresh()
            if self.drawer.display:
                await self._fill_drawer()

        self.in_background("counts", counted)

    async def do_print(self, count: int | None) -> None:
        self.line.ask("print: ", self.commands.print, text=self.path or "", suggestions=("cost_usd", "latency", "tokens.in"))

    async def do_what_if(self, count: int | None) -> None:
        await self.debugger.show("what_if")


_HEADS = frozenset({"run_started", "step_started", "run_completed", "run_failed", "run_interrupted", "run_cancelled"})
