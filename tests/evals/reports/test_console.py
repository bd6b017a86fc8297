"""A report at a terminal: what went wrong first, in lines that fit, and nothing of a log that a terminal would obey."""

from __future__ import annotations

import io

import pytest

from afk_es.evals.reports import print_report
from afk_es.evals.reports.account import account_of
from afk_es.evals.reports.console import console_lines
from afk_es.evals.reports.lines import wrapped
from afk_es.views import columns
from tests.evals.reports.results import DIVERGED, HELD, LOG, UNMEASURED, a_bad_day, a_good_day, a_hostile_day, row, suite

EVERYTHING = account_of(a_bad_day(), checks=[HELD, DIVERGED, UNMEASURED])


class Terminal(io.StringIO):
    """What rich takes for a terminal."""

    def isatty(self) -> bool:
        return True


def said(account: object, width: int = 100) -> str:
    stream = io.StringIO()
    print_report(account, file=stream, width=width)  # type: ignore[arg-type]
    return stream.getvalue()


def test_what_failed_comes_first_with_why_and_where_to_look() -> None:
    lines = said(EVERYTHING).splitlines()
    assert lines[0].split() == ["case", "outcome", "took", "tokens", "cost"]
    assert lines[1].split() == ["✗", *["refund", "of", "a", "fare", "without", "refund"], "failed", "1.24s", "1,830", "$0.0042"]
    assert lines[2:4] == ["    never(refund): refund was called with amount=1200", "    tone: scored 0.31, and 0.5 is asked for"]
    assert f"    afk-es debug {LOG}:run_refund" in lines
    marks = [line[0] for line in lines if line and line[0] in "✗·✓!"]
    assert "".join(marks) == "✗✗✗✗·✓✓✓✓" + "✗!✓" + "✗", "rows, goldens, the verdict"


def test_the_golden_of_a_row_and_goldens_by_themselves_show_their_first_divergence() -> None:
    text = said(EVERYTHING)
    assert "golden refund (contract) diverged: prompt instructions, and 2 more" in text
    assert text.count("Offer compensation.") == 2
    assert "the agent asked for nothing that was recorded" in text


def test_checks_that_were_not_exercised_are_a_section_of_their_own() -> None:
    lines = said(EVERYTHING).splitlines()
    at = lines.index("Not exercised  passed only because nothing was there to be checked")
    assert lines[at + 1] == "  ○ precedes(confirm, book): in no row"
    assert "Not exercised" not in said(a_good_day())


def test_repeats_tags_and_scores_are_tables() -> None:
    lines = said(EVERYTHING).splitlines()
    assert any(
        line.split() == ["upgrade", "2", "of", "3", "66.7", "%", "20.8", "%", "to", "93.8", "%", "3", "100", "%", "0", "%"]
        for line in lines
    )
    assert any(line.split() == ["refund", "2", "1", "1", "0", "50", "%"] for line in lines)
    assert any(line.split() == ["tone", "2", "0.615", "0.310", "0.920"] for line in lines)


def test_the_totals_come_last() -> None:
    assert said(a_good_day()).splitlines()[-2:] == [
        "✓ PASSED  All 3 rows passed.",
        "  pass rate 100 % · took 12.5s · tokens 34,120 · cost $0.12",
    ]


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("account", [EVERYTHING, account_of(a_hostile_day())], ids=["everything", "hostile"])
def test_lines_fit_but_for_commands_which_are_there_to_be_copied(account: object, width: int) -> None:
    lines = said(account, width).splitlines()
    assert [line for line in lines if columns(line) > width and not line.startswith("    afk-es debug ")] == []


def test_nothing_of_a_log_drives_the_terminal() -> None:
    text = "".join(text for line in console_lines(account_of(a_hostile_day()), 120) for text, _tone in line)
    assert "\\x1b[31m" in text, "shown"
    assert not any(character in text for character in "\x1b\x07\x00\r\n\u202e\u2066")


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, pipe = Terminal(), io.StringIO()
    print_report(EVERYTHING, file=terminal, width=100)
    print_report(EVERYTHING, file=pipe, width=100)
    assert "\x1b[31m✗" in terminal.getvalue()
    assert "\x1b" not in pipe.getvalue()


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    print_report(EVERYTHING, file=terminal, width=100)
    assert "\x1b[31m" not in terminal.getvalue()
    assert "\x1b[32m" not in terminal.getvalue()


def test_an_encoding_that_has_no_such_characters_gets_others() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_report(EVERYTHING, file=stream, width=100)
    stream.flush()
    assert b"? PASSED" not in stream.buffer.getvalue()
    assert b"? FAILED" in stream.buffer.getvalue()


def test_a_terminal_is_told_how_many_rows_it_is_not_shown() -> None:
    rows = [row(f"case {number}", "failed" if number < 300 else "passed") for number in range(1_000)]
    lines = said(suite(rows)).splitlines()
    assert len(lines) < 460
    assert "  and 100 more that did not pass" in lines
    assert "  and 660 more that passed or did not run" in lines


def test_text_is_broken_between_words_and_cut_where_there_is_too_much() -> None:
    assert wrapped("one two three", 8, 9) == ["one two", "three"]
    assert wrapped("first\n\tsecond", 20, 9) == ["first", "    second"]
    assert wrapped("x" * 20, 8, 9) == ["xxxxxxxx", "xxxxxxxx", "xxxx"]
    assert wrapped("日本語日本語", 8, 9) == ["日本語日", "本語"]
    assert wrapped("a b c d e f g h " * 9, 8, 2) == ["a b c d", "e f g h…"]
