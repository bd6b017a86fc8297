"""`DebuggerApp`: the open log, the open run, and what every screen may ask of the app. What runs mean, `afk_es.debugger` knows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec
from rich.traceback import Traceback
from textual import events
from textual.app import App, SystemCommand
from textual.screen import Screen
from textual.worker import Worker, WorkerError

from afk_es.clock import SystemClock
from afk_es.debugger import Session
from afk_es.debugger.keyframe_file import KeyframeFile
from afk_es.errors import AfkError
from afk_es.log import EventLog
from afk_es.redaction import Redaction
from afk_es.views import clipped, columns, visible
from debugger.footer import Footer
from debugger.keyed_screen import KeyedScreen
from debugger.keys import Action, Keymap, actions
from debugger.screens import SCREENS
from debugger.themes import THEMES, Palette, palette

if TYPE_CHECKING:
    from afk_es.agents import Agent  # With Pydantic and all of the tools, which the first frame need not wait for.

T = TypeVar("T")
Progress = Callable[[int, int], None]
Work = Callable[[Progress], Awaitable[T]]
"""Work that may take long: called with a progress (done, total) that it calls now and then; cancelled by cancelling its task."""

_WORK = "work"
_AGAIN_S = 5.0
"""Seconds in which the same complaint is not made twice: what looks at the log again and again finds the same again and again."""

_SHOWN_COPY = 40
"""Columns of what was copied that are repeated on the screen."""


class AppConfig(msgspec.Struct, frozen=True):
    """How the app begins.

    Attributes:
        run_id: the id of the run to open; None shows the list of runs.
        at: the position to open it at; None: the start.
        screen: the name of the screen to begin with; None: the one that fits.
        theme: "dark", "light", "ansi", or one of Textual's.
        agent: the `afk_es.Agent` whose tools what-if may run, or what says which it is by a run's agent's name; None: those that the log
            knows, which can only be replayed or stubbed.
    """

    run_id: str | None = None
    at: str | int | None = None
    screen: str | None = None
    theme: str = "dark"
    agent: Agent | Callable[[str], Agent | None] | None = None

    def agent_named(self, name: str) -> Agent | None:
        """The agent for a run of an agent of that name."""
        return self.agent(name) if callable(self.agent) else self.agent


class DebuggerApp(App[None]):
    """The debugger in a terminal.

    Args:
        event_log: an open log, left open.
        redaction: what is kept back; None shows everything.
        keymap: the keys.
        config: how it begins.
        keyframes: where the states of long runs are kept between sessions; None: nowhere.

    Attributes:
        event_log: the open log.
        redaction: what is kept back of everything that is shown or copied; None: nothing.
        keymap: the keys.
        config: how it began.
        session: the open run with its cursor, or None. A screen that shows a run looks here when it is shown (`on_screen_resume`).
        copied: the text that was copied last.
    """

    TITLE = "afk_es"
    BINDINGS: ClassVar[list[Any]] = []
    CSS = """
    * { scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1; }
    Toast { padding: 0 1; }
    """

    def __init__(
        self,
        event_log: EventLog,
        *,
        redaction: Redaction | None = None,
        keymap: Keymap | None = None,
        config: AppConfig | None = None,
        keyframes: KeyframeFile | None = None,
    ) -> None:
        # Without colours Textual would make greys of them, and the terminal's own default colour black.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.event_log = event_log
        self._keyframes = keyframes
        self.redaction = redaction
        self.keymap = keymap if keymap is not None else Keymap()
        self.config = config if config is not None else AppConfig()
        self.session: Session | None = None
        self.copied: str = ""
        self._palette: tuple[str, Palette] | None = None
        self._kept: dict[str, KeyedScreen] = {}
        self._came_from: str | None = None
        self._working: Worker[None] | None = None
        self._last_work: Worker[None] | None = None
        self._undo: Callable[[], None] | None = None
        self._clock = SystemClock()
        self._complained: tuple[str, float] = ("", 0.0)
        for theme in THEMES.values():
            self.register_theme(theme)
        self.theme = "ansi" if self.no_color else self.config.theme

    @property
    def colours(self) -> Palette:
        """The styles of the current theme."""
        # Asked for with every row that is drawn, and Textual makes a table of all its themes to find the current one.
        if self._palette is None or self._palette[0] != self.theme:
            self._palette = (self.theme, palette(self.current_theme))
        return self._palette[1]

    async def on_mount(self) -> None:
        config = self.config
        if config.run_id is not None:
            await self.open_run(config.run_id, config.at, screen=config.screen or "debug")
        else:
            await self.show(config.screen or "runs")

    # ----------------------------------------------------------------------------------------------------------------------- screens

    async def open_run(self, run_id: str, at: str | int | None = None, *, screen: str = "debug") -> None:
        """Open a run of the log and show it.

        Args:
            run_id: the run's whole id.
            at: where the cursor goes, a position; None: where it was if that run is open already, else the start.
            screen: the name of the screen to show it in.
        """
        try:
            if self.session is None or self.session.recording.run_id != run_id:
                self.session = await Session.open(self.event_log, run_id, "start" if at is None else at, keyframes=self._keyframes)
            elif at is not None:
                await self.session.seek(at)
        except AfkError as error:
            self.complain(error)
            if self.session is None:
                return
        await self.show(screen)

    async def open_compare(self, left: str, right: str) -> None:
        """Compare two runs, given by their ids."""
        await self.show("compare", left=left, right=right)

    async def show_help(self) -> None:
        """The keys of the place one is in, and the glossary."""
        await self.show("help")

    async def show(self, name: str, **arguments: Any) -> None:
        """Show a screen.

        Args:
            name: a key of `debugger.screens.SCREENS`.
            arguments: for its constructor. With any, or none kept, it is made anew; else the kept one is shown again.
        """
        entry = SCREENS.get(name)
        if entry is None:
            self.notify(f"there is no screen {name!r}; there are {', '.join(SCREENS)}", severity="warning")
            return
        if entry.needs_run and self.session is None and not arguments:
            self.notify("no run is open; choose one in the list of runs", severity="warning")
            return
        self.cancel_work()
        if entry.over:
            if not isinstance(self.screen, entry.load()):
                await self.push_screen(entry.load()(**arguments))
            return
        if entry.aside and (before := self._shown()) is not None and not SCREENS[before].aside:
            self._came_from = before
        while len(self.screen_stack) > 2:
            # Not awaited: the key was taken by the screen that goes, and that cannot wait for its own end.
            self.pop_screen()
        screen = self._kept.get(name)
        if screen is None or arguments:
            if screen is not None and screen is self.screen:
                await self.switch_screen(Screen())
            if screen is not None:
                self.uninstall_screen(screen)
            screen = self._kept[name] = entry.load()(**arguments)
            self.install_screen(screen, name)
        if screen is self.screen:
            screen.post_message(events.ScreenResume())
        else:
            # Under ours lies Textual's own empty screen.
            await (self.push_screen(screen) if len(self.screen_stack) == 1 else self.switch_screen(screen))

    # -------------------------------------------------------------------------------------------------------------------------- keys

    async def do(self, action: Action, screen: KeyedScreen, count: int | None = None) -> None:
        """Do an action of the table: `do_<name>(count)` of the app for the scope `app`, else of the screen.

        What the user did wrong is told, and nothing else happens.
        """
        name = f"do_{action.name}"
        places = (self,) if action.scope == "app" else screen.helpers()
        await self.attempt(next(getattr(place, name) for place in places if hasattr(place, name))(count))

    async def attempt(self, work: Awaitable[None]) -> None:
        """Await something that the user asked for; what was wrong with that is told."""
        try:
            await work
        except AfkError as error:
            self.complain(error)

    async def do_help(self, count: int | None) -> None:
        await self.show_help()

    async def do_triage(self, count: int | None) -> None:
        await self.show("triage")

    async def do_debug(self, count: int | None) -> None:
        await self.show("debug")

    async def do_runs(self, count: int | None) -> None:
        await self.show("runs")

    async def do_compare(self, count: int | None) -> None:
        await self.show("compare")

    async def do_approvals(self, count: int | None) -> None:
        await self.show("approvals")

    async def do_palette(self, count: int | None) -> None:
        self.action_command_palette()

    async def do_theme(self, count: int | None) -> None:
        names = list(THEMES)
        following = names.index(self.theme) + 1 if self.theme in THEMES else 0
        self.theme = names[following % len(names)]

    async def do_cancel(self, count: int | None) -> None:
        """Cancel what is running; with nothing running, leave a screen that lies over another or was opened from it."""
        if self.cancel_work():
            return
        if any(entry.over and isinstance(self.screen, entry.load()) for entry in SCREENS.values()):
            self.pop_screen()
        elif (name := self._shown()) is not None and SCREENS[name].aside:
            await self.show(self._came_from or ("runs" if self.session is None else "debug"))

    def _shown(self) -> str | None:
        """The name of the screen that is shown, or lies beneath the one that is."""
        return next((name for name, screen in self._kept.items() if screen in self.screen_stack), None)

    async def do_quit(self, count: int | None) -> None:
        self.exit()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the palette offers: every action that can be done on the screen beneath it."""
        if not isinstance(screen, KeyedScreen):
            return
        for scope in dict.fromkeys((*screen.scopes(), screen.scope)):
            for action in actions(scope):
                if action.name != "palette":
                    yield SystemCommand(action.title, self.keymap.shown(action), partial(self.do, action, screen))

    # ------------------------------------------------------------------------------------------------------------------ what is said

    def complain(self, error: BaseException) -> None:
        """Tell of something that could not be done."""
        text, now = self.safe(str(error)), self._clock.monotonic()
        last, then = self._complained
        if text != last or now - then >= _AGAIN_S:
            self._complained = text, now
            self.notify(text, severity="error", markup=False)

    def _fatal_error(self) -> None:
        # As Textual does it, but for the values of variables: they are what is in the log, secrets and all.
        self.panic(Traceback(show_locals=False, width=None))

    def safe(self, text: str, *, multiline: bool = False) -> str:
        """The text as it may be shown: redacted, and with nothing that a terminal would obey."""
        return visible(text if self.redaction is None else self.redaction.text(text), multiline=multiline)

    def copy_text(self, text: str, what: str = "") -> None:
        """Copy a text by the terminal's own clipboard (OSC 52), and say so. It is redacted, and its controls are escapes but for line breaks
        and tabs: what is pasted into a shell must not end the paste and go on by itself.

        Args:
            what: what was copied, in a word or two; default the text itself, cut.
        """
        self.copied = self.safe(text, multiline=True)
        self.copy_to_clipboard(self.copied)
        shown = what or clipped(self.copied, _SHOWN_COPY)
        self.notify(
            f"copied {shown} ({columns(self.copied)} columns)" if len(self.copied) > _SHOWN_COPY else f"copied {shown}", markup=False
        )

    # -------------------------------------------------------------------------------------------------------------------------- work

    def run_worker_with_progress(
        self,
        title: str,
        work: Work[T],
        done: Callable[[T], Awaitable[None]] | None = None,
        undo: Callable[[], None] | None = None,
    ) -> Worker[None]:
        """Do something long without holding up the keys: its progress is shown in the footer, and escape cancels it.

        There is one such work at a time: a new one cancels the one before. An `AfkError` is told of. It is cancelled when another
        screen is shown.

        Args:
            title: what is done, such as `search "timeout"`.
            work: called with a progress function of (done, total).
            done: awaited with the result, unless it was cancelled.
            undo: called when it is cancelled, at once: before anything else is done, and even if the work has not begun.
        """
        self.cancel_work()
        self._undo = undo
        footer = self._footer()

        async def worked() -> None:
            if footer is not None:
                footer.working(title)
            try:
                result = await work(lambda so_far, total: footer.progressed(so_far, total) if footer is not None else None)
            except AfkError as error:
                self.complain(error)
                return
            except asyncio.CancelledError:
                self.notify(f"{title}: cancelled", markup=False)
                raise
            finally:
                # What was cancelled for other work may end when that has begun, which has the footer then.
                if self._working in (worker, None):
                    self._working = None
                    if footer is not None:
                        footer.idle()
            if done is not None:
                await self.attempt(done(result))

        begun: Any = worked  # A function, so that what is cancelled before it began has made no coroutine that nobody awaits.
        self._working = self._last_work = worker = self.run_worker(begun, group=_WORK)
        return worker

    def cancel_work(self) -> bool:
        """Cancel what `run_worker_with_progress` began; False if there was nothing."""
        worker, self._working = self._working, None
        if worker is None:
            return False
        worker.cancel()
        if self._undo is not None:
            self._undo()
        return True

    async def work_ended(self) -> None:
        """Wait until what was cancelled because the app is quit has come to its end: a fork says so in its log."""
        if self._last_work is not None:
            with suppress(WorkerError):
                await self._last_work.wait()

    def _footer(self) -> Footer | None:
        found = self.screen.query(Footer)
        return found.first() if found else None
