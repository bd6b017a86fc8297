"""What all of it comes to: the outcome, its exit code, the sentence, and where to look."""

from __future__ import annotations

from typing import Any

import pytest

from afk_es.errors import ConfigurationError
from afk_es.evals.reports.account import Account, account_of, command_of
from afk_es.evals.reports.figures import figures_of, idle_criteria, percent
from tests.evals.reports.results import DIVERGED, HELD, LOG, UNMEASURED, a_bad_day, a_good_day, row, suite


@pytest.mark.parametrize(
    ("account", "outcome", "exit_code"),
    [
        (account_of(a_good_day()), "passed", 0),
        (account_of(a_bad_day()), "failed", 1),
        (account_of(a_good_day(), checks=[HELD]), "passed", 0),
        (account_of(a_good_day(), checks=[DIVERGED]), "failed", 1),
        (account_of(a_good_day(), checks=[HELD, UNMEASURED]), "not_measurable", 3),
        (account_of([HELD, HELD]), "passed", 0),
        (account_of([UNMEASURED, DIVERGED]), "failed", 1),
        (account_of(UNMEASURED), "not_measurable", 3),
        (account_of([]), "not_measurable", 3),
        (account_of(suite([])), "not_measurable", 3),
        (account_of(suite([row("a"), row("b", "failed")], min_pass_rate=0.5, ok=True)), "passed", 0),
    ],
)
def test_all_of_it_comes_to_the_worst_of_it(account: Account, outcome: str, exit_code: int) -> None:
    assert (account.outcome, account.exit_code) == (outcome, exit_code)


def test_the_sentences_say_how_many_of_what_and_why_it_stopped() -> None:
    assert account_of(a_good_day()).ending == "All 3 rows passed."
    assert account_of(suite([row("one")])).ending == "The row passed."
    assert account_of(a_bad_day(), checks=[HELD, DIVERGED, UNMEASURED]).ending == (
        "4 of 9 rows passed, 4 failed (of them 1 error), 1 did not run. 1 of 3 goldens hold, 1 diverged, 1 could not be measured. "
        "It stopped early: the suite's budget was used up: max_total_cost_usd"
    )
    assert account_of([HELD]).ending == "The golden holds."
    assert account_of([]).ending == "There was nothing to judge."
    assert account_of(suite([])).ending == "The suite has no cases."
    assert "The suite asks for 90 %." in account_of(suite([row("a"), row("b", "failed")], min_pass_rate=0.9)).ending


def test_goldens_are_those_of_rows_and_those_by_themselves() -> None:
    goldens = account_of(a_bad_day(), checks=[HELD]).goldens
    assert [(golden.row, golden.report.name) for golden in goldens] == [
        ("refund of a fare without refund", "refund"),
        ("", "cancel-in-time"),
    ]
    assert goldens[0].report == DIVERGED


def test_what_did_not_pass_is_told_from_what_did_not_run() -> None:
    account = account_of(a_bad_day())
    assert [each.label for each in account.troubled] == ["refund of a fare without refund", "lounge", "seat map", "upgrade#2"]


def test_a_command_leads_to_a_run_that_is_still_there() -> None:
    assert command_of(row("a")) == f"afk-es debug {LOG}:run_a"
    assert command_of(row("a", log="/tmp/my evals.db")) == "afk-es debug '/tmp/my evals.db:run_a'"
    assert command_of(row("a", log=":memory:")) is None
    assert command_of(row("a", run_id=None)) is None


def test_criteria_without_anything_to_check_are_named_with_their_rows_and_those_of_no_row_first() -> None:
    rows = [row(f"row {number}", not_exercised=("a", "b")) for number in range(7)]
    account = account_of(suite(rows, not_exercised=("b",)))
    assert idle_criteria(account) == [("b", "in no row"), ("a", "row 0, row 1, row 2, row 3, row 4 and 2 more")]


def test_a_cost_that_is_not_wholly_known_says_so() -> None:
    figures = {figure.name: figure.value for figure in figures_of(account_of(a_bad_day()))}
    assert figures["known cost"] == "$0.12"
    figures = {figure.name: figure.value for figure in figures_of(account_of(suite([row("a")], total_cost_usd=None, known_cost_usd=0)))}
    assert figures["cost"] == "unknown"


@pytest.mark.parametrize(("share", "said"), [(0, "0 %"), (0.00001, "0.1 %"), (2 / 3, "66.7 %"), (0.99999, "99.9 %"), (1, "100 %")])
def test_a_share_is_only_all_or_nothing_where_it_is(share: float, said: str) -> None:
    assert percent(share) == said


@pytest.mark.parametrize("strange", [7, "report.json", [HELD, a_good_day()], {"suite": 1}])
def test_reports_are_made_of_results_alone(strange: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"a report is made of an EvalSuiteResult or of CheckReports, not of (int|str|EvalSuiteResult)"
    ):
        account_of(strange)
