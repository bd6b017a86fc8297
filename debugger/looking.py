"""The keys about what is shown beside the list: the tabs, the lines of a pane, copying. What a tab says, its module knows."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from afk_es.views import redacted_event, visible_json
from debugger.tabs import TABS

if TYPE_CHECKING:
    from debugger.debug_screen import DebugScreen


class Looking:
    """Tabs and panes of a debug screen."""

    def __init__(self, screen: DebugScreen) -> None:
        self._screen = screen

    # ------------------------------------------------------------------------------------------------------------------------- tabs

    async def do_event(self, count: int | None) -> None:
        self._screen.raw = False
        await self._screen.show_tab("event")

    async def do_raw(self, count: int | None) -> None:
        self._screen.raw = self._screen.tab != "event" or not self._screen.raw
        await self._screen.show_tab("event")

    async def do_state(self, count: int | None) -> None:
        await self._screen.show_tab("state")

    async def do_context(self, count: int | None) -> None:
        await self._screen.show_tab("context")

    async def do_why(self, count: int | None) -> None:
        await self._screen.show_tab("why")

    async def do_cost(self, count: int | None) -> None:
        await self._screen.show_tab("cost")

    async def do_diff(self, count: int | None) -> None:
        """What this event changed; again: since the mark last set, or the place before the last jump."""
        screen = self._screen
        marks = screen.run.session.marks
        if screen.tab != "diff" or screen.since is not None or not marks:
            await screen.show_diff(None)
        else:
            letters = [letter for letter in marks if letter != "'"]
            await screen.show_diff(marks[letters[-1] if letters else "'"])

    async def do_tab_next(self, count: int | None) -> None:
        await self._turn(count or 1)

    async def do_tab_previous(self, count: int | None) -> None:
        await self._turn(-(count or 1))

    async def _turn(self, by: int) -> None:
        names = [tab.name for tab in TABS]
        await self._screen.show_tab(names[(names.index(self._screen.tab) + by) % len(names)])

    # ------------------------------------------------------------------------------------------------------------------------ panes

    async def do_detail(self, count: int | None) -> None:
        self._screen.set_focus(self._screen.pane)

    async def do_leave(self, count: int | None) -> None:
        self._screen.set_focus(self._screen.list)

    async def do_detail_down(self, count: int | None) -> None:
        self._screen.pane.scroll_rows(count or 1)

    async def do_detail_up(self, count: int | None) -> None:
        self._screen.pane.scroll_rows(-(count or 1))

    async def do_line_down(self, count: int | None) -> None:
        pane = self._screen.focused_pane
        pane.select(pane.cursor + (count or 1))

    async def do_line_up(self, count: int | None) -> None:
        pane = self._screen.focused_pane
        pane.select(pane.cursor - (count or 1))

    async def do_line_page_down(self, count: int | None) -> None:
        self._screen.focused_pane.move_page(count or 1)

    async def do_line_page_up(self, count: int | None) -> None:
        self._screen.focused_pane.move_page(-(count or 1))

    async def do_line_half_down(self, count: int | None) -> None:
        self._screen.focused_pane.move_page(0.5 * (count or 1))

    async def do_line_half_up(self, count: int | None) -> None:
        self._screen.focused_pane.move_page(-0.5 * (count or 1))

    async def do_line_first(self, count: int | None) -> None:
        self._screen.focused_pane.select((count or 1) - 1)

    async def do_line_last(self, count: int | None) -> None:
        pane = self._screen.focused_pane
        pane.select(count - 1 if count is not None else len(pane.lines) - 1)

    async def do_follow(self, count: int | None) -> None:
        """Go to the event that the selected line names."""
        line = self._screen.focused_pane.line
        if line is None or line.seq is None:
            self._screen.say("this line names no other event")
            return
        await self._screen.jump(line.seq)

    # --------------------------------------------------------------------------------------------------------------------- copying

    async def do_copy(self, count: int | None) -> None:
        """Copy the value of the selected line, or the whole event in the list."""
        screen = self._screen
        if screen.focused in (screen.pane, screen.drawer):
            line = screen.focused_pane.line
            if line is not None:
                screen.debugger.copy_text(line.copied())
            return
        event = redacted_event(await screen.run.session.event(), screen.debugger.redaction)
        screen.debugger.copy_text(visible_json(event).decode("utf-8", "replace"), f"event {event.seq} as JSON")

    async def do_copy_command(self, count: int | None) -> None:
        """Copy the command line that shows the same."""
        self._screen.debugger.copy_text(self.command())

    def command(self) -> str:
        """The command line that shows what is on the screen."""
        screen = self._screen
        run = screen.run
        words = ["afk-es", next(tab.twin for tab in TABS if tab.name == screen.tab), run.recording.run_id]
        if screen.tab == "diff":
            before = run.session.seq - 1 if screen.since is None else screen.since
            words += ["--at", str(min(before, run.session.seq)), str(max(before, run.session.seq))]
        else:
            words += ["--at", str(run.session.seq)]
        words += ["--db", run.recording.log.location]
        words += ["--show-secrets"] if screen.debugger.redaction is None else []
        return shlex.join(words)
