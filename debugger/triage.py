"""The first look at a run on one screen; the key at the end of a line opens its proof. The facts are `afk_es.debugger.triage`'s."""

from __future__ import annotations

import asyncio
import shlex
from typing import ClassVar

import msgspec
from textual import events, on
from textual.app import ComposeResult

from afk_es.clock import SystemClock
from afk_es.debugger.triage import Triage, triage
from afk_es.debugger.triage_text import ScreenLine, triage_lines
from afk_es.errors import AfkError
from afk_es.redaction import Redaction
from debugger.footer import Footer
from debugger.keyed_screen import KeyedScreen
from debugger.keys import Scope, actions
from debugger.lines import Lines, Span
from debugger.lines_screen import LinesScreen

TONES = {"mark": "warn"}
"""Tones of the facts whose meaning the themes name otherwise."""

_LOOK_S = 1.0
"""How often a run that goes on is looked at."""
_SHARE = 20

_PANES = {"6": "context", "v": "state", "$": "cost"}
"""What the debug screen shows beside the event for these proofs; else what it showed before."""


def redacted_triage(seen: Triage, redaction: Redaction | None) -> Triage:
    """The triage with nothing in its lines that is to be kept back."""
    if redaction is None:
        return seen
    return msgspec.structs.replace(seen, lines=tuple(msgspec.structs.replace(line, text=redaction.text(line.text)) for line in seen.lines))


def proof_of(seen: Triage, key: str) -> tuple[str, str] | None:
    """The run and the position that a key opens, or None if it opens nothing."""
    for line in seen.lines:
        if key and line.key == key and line.positions:
            run, _, position = line.positions[-1].rpartition("@")
            return run or seen.run_id, position
    return None


class TriageScreen(LinesScreen):
    """What happened, in at most 22 lines."""

    scope: ClassVar[Scope] = "triage"

    CSS = "TriageScreen #triage { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self._seen: Triage | None = None
        self._shown: tuple[ScreenLine, ...] = ()

    def compose(self) -> ComposeResult:
        yield Lines(id="triage")
        yield Footer()

    def on_mount(self) -> None:
        self.in_background("live", self._live)

    async def _live(self) -> None:
        """Look again at a run that goes on: after as many times as long as it takes that nobody notices."""
        clock, wait = SystemClock(), _LOOK_S
        while True:
            await asyncio.sleep(wait)
            session, seen = self.debugger.session, self._seen
            if not self.is_current or session is None or seen is None or seen.status not in ("running", "paused"):
                continue
            began = clock.monotonic()
            try:
                last = await session.recording.last_seq()
                if last != seen.seq or not await session.recording.log.alive((await session.recording.state(last)).owner, seen.run_id):
                    self._take(await triage(session.recording))
            except AfkError as error:
                self.debugger.complain(error)
                continue
            wait = max(_LOOK_S, _SHARE * (clock.monotonic() - began))

    def _take(self, seen: Triage) -> None:
        first = self._seen is None
        self._seen = redacted_triage(seen, self.debugger.redaction)
        self._lay_out()
        if first:
            # On the first line that has a proof, so that the keys of the footer do something at once.
            self._lines.to(next((index for index, line in enumerate(self._shown) if proof_of(self._seen, line.key)), 0))

    @property
    def _lines(self) -> Lines:
        return self.query_one("#triage", Lines)

    async def on_screen_resume(self) -> None:
        session = self.debugger.session
        if session is None:
            return
        self._lines.focus()
        recording = session.recording
        if self._seen is not None and self._seen.run_id == recording.run_id and self._seen.seq == await recording.last_seq():
            return
        self._seen, self._shown = None, ()
        self._lines.show(1, lambda index, width: [Span(" reading the run…", "quiet")], cursor=0)

        async def show(seen: Triage) -> None:
            self._take(seen)

        self.debugger.run_worker_with_progress("triage", lambda progress: triage(recording, progress), show)

    def on_resize(self, event: events.Resize) -> None:
        """What there is room for depends on the screen's size."""
        self.call_after_refresh(self._lay_out)

    def _lay_out(self) -> None:
        if self._seen is None:
            return
        size = self._lines.size
        self._shown = shown = triage_lines(self._seen, size.width, size.height)
        self._lines.show(len(shown), lambda index, width: [Span(shown[index].text, TONES.get(shown[index].tone, shown[index].tone))])

    # ---------------------------------------------------------------------------------------------------------------------- proofs

    async def take_key(self, event: events.Key) -> bool:
        """The keys at the ends of the lines open what proves them."""
        return event.character is not None and await self._prove(event.character)

    @on(Lines.Chosen)
    async def _chosen(self) -> None:
        await self._prove(self._key())

    def _key(self) -> str:
        index = self._lines.cursor
        return self._shown[index].key if index < len(self._shown) else ""

    async def _prove(self, key: str) -> bool:
        found = proof_of(self._seen, key) if self._seen is not None else None
        if found is None:
            return False
        await self.debugger.open_run(*found)
        await self._pane(_PANES.get(key))
        return True

    async def _pane(self, name: str | None) -> None:
        screen = self.debugger.screen
        action = next((action for action in actions("debug") if action.name == name), None)
        if action is not None and isinstance(screen, KeyedScreen):
            await self.debugger.do(action, screen)

    # ------------------------------------------------------------------------------------------------------------------------ keys

    async def do_step(self, count: int | None) -> None:
        """Where somebody stood before; else where something first went wrong."""
        session = self.debugger.session
        if session is not None and session.seq == 1 and await self._prove("2"):
            return
        await self.debugger.show("debug")

    async def do_why(self, count: int | None) -> None:
        if await self._prove(self._key()):
            await self._pane("why")

    async def do_compare(self, count: int | None) -> None:
        if self._seen is not None:
            await self.debugger.show("compare", left=self._seen.run_id)

    async def do_what_if(self, count: int | None) -> None:
        found = proof_of(self._seen, self._key()) if self._seen is not None else None
        if found is not None:
            await self.debugger.open_run(*found, screen="what_if")

    async def do_copy(self, count: int | None) -> None:
        if self._shown:
            self.debugger.copy_text(self._shown[self._lines.cursor].text.strip())

    async def do_copy_command(self, count: int | None) -> None:
        if self._seen is not None:
            self.debugger.copy_text(shlex.join(("afk-es", "triage", self._seen.run_id, "--db", str(self.debugger.event_log.location))))
