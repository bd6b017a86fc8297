"""What a line debugger remembers between two commands, and how it writes an event. It knows no command, no terminal and no prompt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, TypeVar

from afk_es.debugger.breakpoints import Breakpoints
from afk_es.debugger.expression import Expression
from afk_es.debugger.keyframe_file import KeyframeFile
from afk_es.debugger.matching import Search
from afk_es.debugger.naming import named_run
from afk_es.debugger.recording import PAGE, Progress, Recording
from afk_es.debugger.session import Session
from afk_es.errors import UsageError
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent
from afk_es.redaction import Redaction
from afk_es.views import Timeline, clipped, redacted_event, redacted_facts, since, visible

LONGEST = 2_000
"""Characters of a line that an answer has at most; what is cut is whole in `x` and in the verbs' JSON."""

_WARM_UP = 200
"""Events before an event that are looked at for what its line refers to."""

T = TypeVar("T")


class Reply(NamedTuple):
    """What a command came to.

    Attributes:
        lines: one fact each, with nothing in them that a terminal would obey.
        ok: False for a negative answer: nothing found, nowhere to go.
        quit: whether whoever asks should go.
    """

    lines: tuple[str, ...] = ()
    ok: bool = True
    quit: bool = False


class Command(NamedTuple):
    """A word of the line debugger.

    Attributes:
        name: the word; a unique beginning of it will do.
        words: what may follow it.
        help: what it does, in a sentence; the first line stands in the list, more may follow.
        act: does it, given what follows the word.
        aliases: other words for it, which win over beginnings of others.
        repeats: whether an empty line does it again.
    """

    name: str
    words: str
    help: str
    act: Callable[[Console, str], Awaitable[Reply]]
    aliases: tuple[str, ...] = ()
    repeats: bool = True


class Display(NamedTuple):
    """An expression that is printed wherever the cursor arrives."""

    number: int
    expression: Expression


class Console:
    """A session, and what was said to it.

    Attributes:
        log: the log that runs are switched in; open, and left open.
        session: the run and the cursor.
        redaction: what is kept back of what is printed; None for nothing.
        breakpoints: breakpoints and watches, in one row of numbers.
        search: of this run; it keeps what it has counted.
        displays: what is printed wherever the cursor arrives.
        listed: the last seq that `list` has shown, or None.
        last: the line that an empty line repeats.
        sought: what was searched for last.
        last_answered: the path that `last` was asked for, and where it has led.
        progress: told how far a search is; None for nobody.
    """

    def __init__(self, session: Session, *, redaction: Redaction | None = None, keyframes: KeyframeFile | None = None) -> None:
        self.session: Session = session
        self._keyframes = keyframes
        self.redaction: Redaction | None = redaction
        self.displays: list[Display] = []
        self.displayed: int = 0
        self.breakpoints: Breakpoints = Breakpoints()
        self.search: Search = Search(session.recording, redaction=redaction)
        self.listed: int | None = None
        self.last: str = ""
        self.sought: str = ""
        self.last_answered: tuple[str, int] | None = None
        self.progress: Progress | None = None

    @classmethod
    async def open(
        cls,
        log: EventLog,
        run_id: str = "@last",
        *,
        at: str | int = "start",
        redaction: Redaction | None = None,
        keyframes: KeyframeFile | None = None,
    ) -> Console:
        """A console on a run of an open log.

        Args:
            run_id: an id, the unique beginning of one, "@last" or "@last-failed".
            at: where the cursor begins, a position.
            keyframes: see `Recording.open`.

        Raises:
            RunNotFoundError: the log has no such run.
            PositionError: the run has no such position.
        """
        session = await Session.open(log, await named_run(log, run_id), at, keyframes=keyframes)
        return cls(session, redaction=redaction, keyframes=keyframes)

    @property
    def recording(self) -> Recording:
        """The run that the cursor is in."""
        return self.session.recording

    @property
    def log(self) -> EventLog:
        """The log that it is in."""
        return self.recording.log

    async def switch(self, run_id: str, at: str | int = "start") -> None:
        """To another run of the log. Displays stay, marks are the run's."""
        self.session = await Session.open(self.log, await named_run(self.log, run_id), at, keyframes=self._keyframes)
        self.search = Search(self.recording, redaction=self.redaction)
        self.listed = self.last_answered = None

    # --------------------------------------------------------------------------------------------------------------------- what is said

    def written(self, lines: Iterable[str], *, ok: bool = True) -> Reply:
        """These lines as an answer: redacted, harmless, of bounded length."""
        redact = self.redaction.text if self.redaction is not None else str
        return Reply(tuple(clipped(visible(redact(line)), LONGEST).rstrip() for line in lines), ok)

    def redacted(self, facts: T) -> T:
        """The same facts without secrets."""
        return redacted_facts(facts, self.redaction)

    async def position(self, text: str) -> int:
        """The seq that is meant; one printed as `@12` may be pasted back as it is."""
        return await self.session.find(text[1:] if text[:1] == "@" and text[1:].isdecimal() else text)

    async def lines(self, first: int, last: int) -> list[str]:
        """The lines of the events from one seq to another, both included."""
        rec = self.recording
        first = max(first, 1)
        begin = first
        async for event in rec.scan(after=max(first - _WARM_UP, 0), before=first, types=("llm_completed",), backwards=True, limit=1):
            begin = event.seq
        timeline = Timeline(rec.first.at)
        lines: list[str] = []
        after = begin - 1
        while after < last and (page := await rec.events(after=after, limit=min(PAGE, last - after))):
            for event in page:
                line = self._line(timeline, event)
                if event.seq >= first:
                    lines.append(line)
            after = page[-1].seq
        return lines

    def _line(self, timeline: Timeline, event: AgentRunEvent) -> str:
        line = timeline.line(redacted_event(event, self.redaction))
        return f"{line.seq} {since(line.since)} step {line.step} {line.type} {line.text}"

    async def line(self, seq: int) -> str:
        """The line of one event: its seq first, so that it can be pasted back."""
        (line,) = await self.lines(seq, seq)
        return line


def count_of(text: str, default: int = 1) -> int:
    """A number of times, from 1.

    Raises:
        UsageError: it is none.
    """
    if not text:
        return default
    if not text.isdecimal() or not 0 < len(text) <= 12 or not int(text):
        raise UsageError(f"{text!r} is not a number of times; write a whole number from 1")
    return int(text)


def nothing(text: str, command: str) -> None:
    """Refuse words after a command that takes none.

    Raises:
        UsageError: there are some.
    """
    if text:
        raise UsageError(f"`{command}` takes no words, and {text!r} follows it")


def needed(text: str, command: str, what: str) -> str:
    """The words after a command that needs some.

    Raises:
        UsageError: there are none.
    """
    if not text:
        raise UsageError(f"`{command}` needs {what}; `help {command}` says how")
    return text
