"""The summary for a pull request: short, in tables, and nothing in it that mentions, links or marks up."""

from __future__ import annotations

import re

from afk_es.evals.reports import account_of, report_text
from tests.evals.reports.results import DIVERGED, HELD, LOG, UNMEASURED, a_bad_day, a_good_day, a_hostile_day, row, suite


def test_it_says_what_failed_why_and_where_to_look() -> None:
    text = report_text(account_of(a_bad_day(), checks=[HELD, DIVERGED, UNMEASURED], title="Nightly"), "md")
    assert text.startswith("## ❌ Nightly: failed\n\n4 of 9 rows passed, 4 failed (of them 1 error), 1 did not run.")
    assert "❌ **`refund of a fare without refund`** failed\n\n* `never(refund)`: `refund was called with amount=1200`" in text
    assert f"```sh\nafk-es debug {LOG}:run_refund\n```" in text
    assert "\n+ Times are in the zone of the airport. Offer compensation." in text, "a diff in Markdown's colours"
    assert "⚠️ **`lounge`** not measurable: `the agent asked for nothing that was recorded`" in text
    assert "| upgrade | 2 of 3 | 66.7 % | 20.8 % to 93.8 % | 3 | 100 % | 0 % |" in text


def test_a_good_day_is_a_line_and_a_table() -> None:
    assert report_text(account_of(a_good_day()), "md").splitlines()[:6] == [
        "## ✅ Evals: passed",
        "",
        "All 3 rows passed.",
        "",
        "| rows | passed | failed | pass rate | took | tokens | cost |",
        "|---|---|---|---|---|---|---|",
    ]


def test_text_of_others_is_code() -> None:
    """Without code spans and blocks nothing of it is left: no markup, no mention, no link, no cell that ends early."""
    text = report_text(account_of(a_hostile_day(), title="<b> @all"), "md")
    without = re.sub(r"(`{3,})[^\n]*\n.*?\n\1(?=\n)|(`+)(?!`).*?(?<!`)\2(?!`)", "", text, flags=re.DOTALL)
    assert not any(part in without for part in ("<", "@team", "@all", "www.", "script", "#1"))
    assert not any(character in text for character in "\x1b\x07\x00\u202e")


def test_what_does_not_fit_is_counted() -> None:
    text = report_text(account_of(suite([row(f"case {number}", "failed") for number in range(400)])), "md")
    assert "… and 350 more that did not pass." in text
    assert len(text) < 100_000
