"""A report that leaves the machine leaves secrets behind, whatever form it has; a report that is asked for all of it has all of it."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest

from afk_es.evals import EvalSuiteResult, print_report, write_report
from afk_es.evals.goldens.divergence import Divergence
from afk_es.evals.reports import REPORT_FORMS, ReportForm, account_of, kept_back
from afk_es.evals.verdict import Verdict
from afk_es.redaction import Redaction
from tests.evals.reports.results import ARGUMENT, check, place, row, suite

KEY = "sk-proj-Zq9vN4mT7xB2cR8wL5yH3kJ6"
PASSWORD = "correct horse battery"


def leaky() -> EvalSuiteResult:
    said = Verdict("tone", False, f"the answer has {KEY}", details={"api_key": PASSWORD})
    by_name = Divergence("params", "arguments.login.password", PASSWORD, PASSWORD + "!", None, None, "another password")
    by_shape = msgspec.structs.replace(
        ARGUMENT, expected=f"use {KEY}", actual={"token": PASSWORD}, recorded=place("run_1", 4, "x", f"with {KEY}")
    )
    golden = check("login", "diverged", by_name, by_shape, notes=(f"{KEY} was ignored",))
    return suite(
        [
            row(
                "token_leak",
                "failed",
                reasons=(said,),
                verdicts=(said,),
                scores={"token_leak": 0.5, "password": 1.0},
                output=f"Your key is {KEY}",
                error=f"401 for {KEY}",
                metadata={"password": PASSWORD},
                golden=msgspec.to_builtins(golden),
            )
        ],
        stopped=f"{KEY} was refused",
    )


@pytest.mark.parametrize("form", list(REPORT_FORMS))
def test_no_form_has_a_secret_unless_it_is_asked_for(tmp_path: Path, form: ReportForm) -> None:
    text = write_report(leaky(), tmp_path / "report", form).read_text("utf-8")
    assert KEY not in text
    assert PASSWORD not in text
    assert "[redacted]" in text
    assert KEY in write_report(leaky(), tmp_path / "report", form, redaction=None).read_text("utf-8")


def test_neither_has_the_terminal() -> None:
    stream, whole = io.StringIO(), io.StringIO()
    print_report(leaky(), file=stream, width=120)
    print_report(leaky(), file=whole, width=120, redaction=None)
    assert KEY not in stream.getvalue()
    assert KEY in whole.getvalue()


def test_names_and_numbers_stay_though_they_sound_like_secrets() -> None:
    account = kept_back(account_of(leaky()), Redaction())
    (kept,) = account.rows
    assert (kept.name, kept.tokens, kept.scores) == ("token_leak", 1_830, {"token_leak": 0.5, "password": 1.0})
    assert account.redacted


def test_what_else_is_secret_may_be_named(tmp_path: Path) -> None:
    result = suite([row("a", metadata={"passenger": "Ada"})])
    assert "Ada" in write_report(result, tmp_path / "a.json").read_text("utf-8")
    assert "Ada" not in write_report(result, tmp_path / "a.json", redaction=Redaction(keys=["passenger"])).read_text("utf-8")
