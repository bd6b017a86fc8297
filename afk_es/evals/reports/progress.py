"""What goes on while a suite runs, for whoever waits: a bar where there is a terminal, a line for each row where there is none."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from afk_es.clock import Clock, SystemClock
from afk_es.debugger.exchange.phrases import counted
from afk_es.debugger.figures import dollars, span
from afk_es.evals.outcomes import EvalCaseResult
from afk_es.evals.reports.account import OUTCOME_WORDS
from afk_es.evals.reports.console import MARKS, console_of, print_line, text_of
from afk_es.evals.reports.figures import tone_of
from afk_es.evals.reports.keeping_back import STANDARD
from afk_es.evals.reports.lines import Piece, StyledLine
from afk_es.redaction import Redaction
from afk_es.views import clipped

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from afk_es.evals.suite import EvalProgress

_NAMES_SHOWN = 4
"""Cases under way that are named."""
_FULL, _EMPTY = "━", "╌"


class SuiteProgress:
    """A suite's progress, to be handed to `run_suite` while it is entered.

        with SuiteProgress() as progress:
            result = run_suite(runner_factory=..., cases=cases, progress=progress)

    At a terminal two lines stay at the bottom: how many rows there are, how many passed and failed, the time, the cost so far, and what is under
    way; rows that do not pass are written above them as they come. Elsewhere each row is a line. There is no colour and no cursor movement where
    there is no terminal; NO_COLOR is honoured.

    Args:
        file: default stderr, so that stdout is for the report.
        width: columns; default the terminal's, 120 where there is none.
        clock: for the time that passed.
        redaction: what is kept back of reasons; default, what looks like a secret. None for nothing.
    """

    def __init__(
        self,
        *,
        file: TextIO | None = None,
        width: int | None = None,
        clock: Clock | None = None,
        redaction: Redaction | None = STANDARD,
    ) -> None:
        self._redaction = redaction
        stream = file if file is not None else sys.stderr
        self._console = console_of(stream, width)
        self._moves: bool = stream.isatty() and not self._console.is_dumb_terminal
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._since = 0.0
        self._live: Live | None = None
        self._total = 0
        self._rows: list[EvalCaseResult] = []
        self._under_way: dict[int, str] = {}

    def __enter__(self) -> SuiteProgress:
        self._since = self._clock.monotonic()
        if self._moves:
            from rich.live import Live

            # Its own thread keeps the time going while the loop is busy; what it reads is changed in one step each.
            self._live = Live(
                get_renderable=self._shown, console=self._console, refresh_per_second=8, transient=True, redirect_stdout=False
            )
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, progress: EvalProgress) -> None:
        """Take in what the suite tells."""
        self._total = progress.total
        if progress.row is None:
            self._under_way[progress.index] = progress.name if progress.attempt == 1 else f"{progress.name}#{progress.attempt}"
            return
        self._under_way.pop(progress.index, None)
        self._rows.append(progress.row)
        if self._live is None or not progress.row.passed:
            print_line(self._console, self._line(progress.row))

    def lines(self) -> list[StyledLine]:
        """What stands at the bottom of a terminal now."""
        width = self._console.width
        return [self._counts(), ((self._bar(width), "good" if self._failed() == 0 else "bad"),), self._names(width)]

    def _shown(self) -> RenderableType:
        from rich.console import Group

        return Group(*(text_of(line, self._console.encoding) for line in self.lines()))

    def _line(self, row: EvalCaseResult) -> StyledLine:
        tone = tone_of(row.outcome)
        place = f"[{len(self._rows):>{len(str(self._total))}}/{self._total}]"
        reason = row.reasons[0] if row.reasons else None
        said = f"{row.label}  {span(row.duration_s)}" if row.started_at is not None else row.label
        if reason is not None:
            said += f"  {reason.name}: {self._redaction.text(reason.message) if self._redaction is not None else reason.message}"
        head = f"{place} {MARKS[tone]} {OUTCOME_WORDS[row.outcome]} "
        return ((head, tone), (clipped(said, max(20, self._console.width - len(head))), "plain"))

    def _counts(self) -> StyledLine:
        failed = self._failed()
        left_out = sum(row.outcome == "not_run" for row in self._rows)
        passed = len(self._rows) - failed - left_out
        known = sum(row.cost_usd or 0.0 for row in self._rows)
        parts: list[Piece] = [
            (f"{len(self._rows):,} of {self._total:,}", "strong"),
            (f" · {passed:,} passed", "good" if passed else "quiet"),
        ]
        parts += [(f" · {failed:,} failed", "bad")] if failed else []
        parts += [(f" · {left_out:,} not run", "mark")] if left_out else []
        parts.append((f" · {len(self._under_way):,} running · {span(self._clock.monotonic() - self._since)}", "quiet"))
        parts += [(f" · {dollars(known)}", "quiet")] if known else []
        return tuple(parts)

    def _failed(self) -> int:
        return sum(row.outcome in ("failed", "error", "cancelled") for row in self._rows)

    def _bar(self, width: int) -> str:
        room = min(width, 80)
        filled = room * len(self._rows) // self._total if self._total else 0
        return _FULL * filled + _EMPTY * (room - filled)

    def _names(self, width: int) -> StyledLine:
        names = list(self._under_way.values())
        more = len(names) - _NAMES_SHOWN
        shown = ", ".join(names[:_NAMES_SHOWN]) + (f" and {counted(more, 'other')}" if more > 0 else "")
        return ((clipped(shown, width), "quiet"),)
