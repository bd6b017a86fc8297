"""A report gets into a file whole or not at all, in the form that the file's name says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from afk_es.errors import ConfigurationError, UsageError
from afk_es.evals import write_report
from afk_es.evals.reports import REPORT_FORMS, ReportForm, account_of, kept_back, report_text
from afk_es.redaction import Redaction
from tests.evals.reports.results import HELD, a_bad_day

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.json", "json"), ("a.jsonl", "jsonl"), ("a.xml", "junit"), ("a.html", "html"), ("a.HTM", "html"), ("a.md", "md")],
)
def test_the_form_is_that_of_the_name(tmp_path: Path, name: str, form: ReportForm) -> None:
    result = a_bad_day()
    path = write_report(result, tmp_path / "deep" / name)
    assert path == tmp_path / "deep" / name
    assert path.read_text("utf-8") == report_text(kept_back(account_of(result), Redaction()), form)
    assert os.listdir(path.parent) == [name], "nothing is left beside it"


def test_a_form_that_is_given_wins_and_title_and_goldens_come_along(tmp_path: Path) -> None:
    path = write_report(a_bad_day(), tmp_path / "summary.txt", "md", checks=[HELD], title="Nightly")
    assert path.read_text("utf-8").startswith("## ❌ Nightly: failed")
    assert "goldens held | " in path.read_text("utf-8")


def test_what_was_there_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    write_report([HELD], path)
    assert path.read_text("utf-8").startswith('{\n  "schema": "afk_es.evals/1"')


@pytest.mark.parametrize(("name", "form"), [("a.pdf", None), ("a", None), ("a.json", "pdf")])
def test_an_unknown_form_names_those_there_are_and_writes_nothing(tmp_path: Path, name: str, form: Any) -> None:
    with pytest.raises(UsageError, match=r"\.json, \.jsonl|json, jsonl, junit, html, md"):
        write_report([HELD], tmp_path / name, form)
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_reported_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ConfigurationError):
        write_report(7, path)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    with pytest.raises(UsageError, match="is a directory"):
        write_report([HELD], tmp_path, "json")


def test_the_table_of_forms_has_every_form() -> None:
    assert tuple(REPORT_FORMS) == get_args(ReportForm)


def test_reports_in_files_load_no_rich() -> None:
    """It takes as long to load as the report to write; only a terminal needs it."""
    code = (
        "import sys; from afk_es.evals.reports import *; from tests.evals.reports.results import a_bad_day; import afk_es.evals.reports as r\n"
        "for form in r.REPORT_FORMS: r.report_text(r.account_of(a_bad_day()), form)\n"
        "import afk_es.evals.reports.console, afk_es.evals.reports.progress\n"
        "print({'rich', 'textual', 'litellm'} & set(sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.stdout, ended.stderr) == ("set()\n", "")
