"""What whoever waits for a suite sees: rows as they come, and at a terminal what is under way."""

from __future__ import annotations

import io

import pytest

from afk_es.agents import Agent
from afk_es.clock import SimulatedClock
from afk_es.core import Runner
from afk_es.evals import EvalCase, EvalCaseResult, EvalProgress, EvalSuiteConfig, SuiteProgress, arun_suite
from afk_es.evals.verdict import Verdict
from afk_es.testing import ScriptedModel
from tests.evals.reports.results import HOSTILE, row
from tests.evals.reports.test_console import Terminal

FAILED = row("refund", "failed", reasons=(Verdict("tone", False, "too harsh"),))


def told(kind: str, index: int, name: str, row: EvalCaseResult | None = None) -> EvalProgress:
    return EvalProgress(kind=kind, name=name, attempt=1, index=index, total=12, finished=0, running=0, row=row)  # type: ignore[arg-type]


def text_of(progress: SuiteProgress) -> list[str]:
    return ["".join(text for text, _tone in line) for line in progress.lines()]


def test_without_a_terminal_each_row_is_a_line() -> None:
    stream = io.StringIO()
    with SuiteProgress(file=stream) as progress:
        progress(told("started", 0, "seats"))
        progress(told("finished", 0, "seats", row("seats")))
        progress(told("finished", 1, "refund", FAILED))
        progress(told("finished", 2, "pets", row("pets", "not_run", reasons=(Verdict("fail_fast", False, "another row failed"),))))
    assert stream.getvalue().splitlines() == [
        "[ 1/12] ✓ passed seats  1.24s",
        "[ 2/12] ✗ failed refund  1.24s  tone: too harsh",
        "[ 3/12] · not run pets  fail_fast: another row failed",
    ]


def test_what_stands_at_the_bottom_counts_rows_time_and_cost_and_names_what_is_under_way() -> None:
    clock = SimulatedClock()
    with SuiteProgress(file=io.StringIO(), width=60, clock=clock) as progress:
        for index, name in enumerate(["seats", "refund", "pets", "lounge", "upgrade", "meal", "visa"]):
            progress(told("started", index, name))
        progress(told("finished", 0, "seats", row("seats")))
        progress(told("finished", 1, "refund", FAILED))
        clock.advance(75)
        counts, bar, names = text_of(progress)
    assert counts == "2 of 12 · 1 passed · 1 failed · 5 running · 1m15s · $0.0084"
    assert (bar.count("━"), len(bar)) == (10, 60)
    assert names == "pets, lounge, upgrade, meal and 1 other"


def test_at_a_terminal_rows_that_pass_leave_no_line_and_the_bottom_is_taken_away_in_the_end() -> None:
    stream = Terminal()
    with SuiteProgress(file=stream, width=80) as progress:
        progress(told("finished", 0, "seats", row("seats")))
        progress(told("finished", 1, "refund", FAILED))
    text = stream.getvalue()
    assert "tone: too harsh" in text
    assert "✓ passed seats" not in text
    assert text.startswith("\x1b[?25l")
    assert "\x1b[?25h" in text, "the cursor is shown again"


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    with SuiteProgress(file=stream, width=80) as progress:
        progress(told("finished", 0, "seats", row("seats")))
    assert "\x1b" not in stream.getvalue()
    assert "✓ passed seats" in stream.getvalue()


def test_colours_that_are_forced_do_not_move_the_cursor_of_what_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CI, whose logs know colours and nothing else."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    with SuiteProgress(file=stream, width=80) as progress:
        progress(told("finished", 0, "seats", row("seats")))
    assert "\x1b[32m" in stream.getvalue()
    assert "\x1b[?25l" not in stream.getvalue()


def test_names_and_reasons_are_harmless() -> None:
    stream = io.StringIO()
    with SuiteProgress(file=stream, width=80) as progress:
        progress(told("started", 0, HOSTILE))
        shown = "".join(text_of(progress))
        progress(told("finished", 0, HOSTILE, row(HOSTILE, "failed", reasons=(Verdict(HOSTILE, False, HOSTILE),))))
    assert not any(character in stream.getvalue() + shown for character in "\x1b\x07\x00\u202e")
    assert stream.getvalue().count("\n") == 1


async def test_a_suite_tells_it() -> None:
    stream = io.StringIO()
    cases = [EvalCase(name=name, agent=Agent(model=ScriptedModel(["Done."])), user_message="Go") for name in ("one", "two")]
    with SuiteProgress(file=stream) as progress:
        config = EvalSuiteConfig(execution_mode="sequential", assertions=[lambda result: "Done" in result.final_text])
        result = await arun_suite(runner_factory=lambda: Runner(log=":memory:"), cases=cases, config=config, progress=progress)
    assert result.ok
    assert [line.partition("passed ")[2].split()[0] for line in stream.getvalue().splitlines()] == ["one", "two"]
