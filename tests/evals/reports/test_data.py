"""The JSON of a report: a schema that stays, the same facts in a document and in lines."""

from __future__ import annotations

import json

import pytest

from afk_es.evals.outcomes import EvalSuiteResult
from afk_es.evals.reports import SCHEMA, Account, account_of, report_data, report_text
from tests.evals.reports.results import DIVERGED, HELD, a_bad_day, a_good_day, a_hostile_day

BOTH = account_of(a_bad_day(), checks=[HELD, DIVERGED], title="Nightly")

ROW_KEYS = """
    attempt cost_usd duration_s error expected_state golden llm_calls log metadata name not_exercised outcome output passed passed_budget reasons
    run_id scores started_at state steps tags tokens tool_calls verdicts
"""
SUITE_KEYS = """
    cases duration_s errors execution_mode failed interrupted known_cost_usd max_concurrency min_pass_rate not_exercised not_run ok pass_rate
    passed repeats results scores started_at stopped tags total total_cost_usd total_tokens widest
"""


def test_the_document_has_what_the_schema_says() -> None:
    """A key that goes, or changes its meaning, breaks programs; add to these lists, and never take from them within `afk_es.evals/1`."""
    document = json.loads(report_text(BOTH, "json"))
    assert list(document) == ["schema", "afk_es", "title", "outcome", "exit_code", "redacted", "suite", "checks"]
    assert (document["schema"], document["title"], document["outcome"], document["exit_code"]) == (SCHEMA, "Nightly", "failed", 1)
    assert set(SUITE_KEYS.split()) <= document["suite"].keys()
    for row in document["suite"]["results"]:
        assert set(ROW_KEYS.split()) <= row.keys()
    assert document["suite"]["repeats"]["pass_at"] == {"1": pytest.approx(2 / 3), "3": 1.0}
    assert document["suite"]["started_at"] == "2026-11-21T10:30:00Z"
    assert [check["outcome"] for check in document["checks"]] == ["passed", "diverged"]
    assert document["checks"][1]["divergences"][0]["kind"] == "prompt"


def test_what_a_run_came_to_for_programs_stays_with_the_program() -> None:
    assert all("result" not in row for row in report_data(BOTH)["suite"]["results"])


def test_lines_hold_what_the_document_holds() -> None:
    document = report_data(BOTH)
    summary, *facts = map(json.loads, report_text(BOTH, "jsonl").splitlines())
    assert {fact.pop("schema") for fact in (summary, *facts)} == {SCHEMA}
    assert summary.pop("kind") == "summary"
    rows = [fact for fact in facts if fact.pop("kind") == "row"]
    rebuilt = {**summary, "suite": {**summary["suite"], "results": rows}, "checks": facts[len(rows) :], "schema": SCHEMA}
    assert rebuilt == json.loads(json.dumps(document))


def test_checks_alone_have_no_suite() -> None:
    document = report_data(account_of([HELD]))
    assert document["suite"] is None
    assert (document["outcome"], len(document["checks"])) == ("passed", 1)


@pytest.mark.parametrize("account", [account_of(a_hostile_day()), account_of(a_good_day())], ids=["hostile", "good"])
def test_any_text_is_json(account: Account) -> None:
    for form in ("json", "jsonl"):
        text = report_text(account, form)
        text.encode()
        assert not any(character in text for character in "\x1b\x07\x00\u202e\u2066"), "a terminal may be shown it"
        for line in text.splitlines() if form == "jsonl" else [text]:
            json.loads(line)


@pytest.mark.parametrize("day", [a_bad_day(), a_good_day(), a_hostile_day()], ids=["bad", "good", "hostile"])
def test_the_json_of_a_suite_is_read_back_as_the_suite_that_it_is_of(day: EvalSuiteResult) -> None:
    written = json.loads(report_text(account_of(day), "json"))
    again = EvalSuiteResult.model_validate(written["suite"])
    assert json.loads(report_text(account_of(again), "json")) == written
