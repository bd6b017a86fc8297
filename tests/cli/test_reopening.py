"""`afk-es resume --reopen`: a run that failed is gone on with, and whoever does not know of it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Afk


@pytest.fixture
def failed(ran: Callable[..., str]) -> str:
    """The id of a run whose model could not be asked."""
    return ran("broken", "Hello")


def test_without_it_a_failed_run_gives_its_end_and_the_way_to_go_on(afk: Afk, agents: str, failed: str) -> None:
    told = afk("resume", failed, f"{agents}:mended")
    assert told.exit_code == 1
    assert f"this run had ended; nothing was run again; it failed, and --reopen goes on with it: afk-es resume {failed}" in told.stderr
    assert f"{agents}:mended --reopen\n" in told.stderr


def test_the_run_goes_on_and_is_shown_as_reopened(afk: Afk, agents: str, failed: str) -> None:
    result = afk("resume", failed, f"{agents}:mended", "--reopen", "--format", "json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert (data["run_id"], data["state"], data["final_text"], data["failure"]) == (failed, "completed", "It is well.", None)
    assert "reopened, epoch 2" in afk("log", failed).stdout
    assert afk("verify", failed).exit_code == 0
    again = afk("resume", failed, f"{agents}:mended", "--reopen")
    assert again.stdout == "It is well.\n"
    assert "--reopen" not in again.stderr


def test_a_run_that_fails_again_says_how_as_data(afk: Afk, agents: str, failed: str) -> None:
    result = afk("resume", failed, f"{agents}:broken", "--reopen", "--format", "json")
    assert result.exit_code == 1
    failure = json.loads(result.stdout)["failure"]
    assert (failure["error_type"], failure["retryable"], failure["retry_after_s"]) == ("LLMConfigurationError", False, None)


@pytest.mark.parametrize("form", ["md", "html"])
def test_an_export_tells_of_the_reopening(form: str, afk: Afk, agents: str, failed: str, tmp_path: Path) -> None:
    afk("resume", failed, f"{agents}:mended", "--reopen")
    exported = afk("export", failed, "--to", form)
    assert "reopened (epoch 2" in exported.stdout


def test_it_is_exported_and_imported_as_it_is(afk: Afk, agents: str, failed: str, tmp_path: Path) -> None:
    afk("resume", failed, f"{agents}:mended", "--reopen")
    target, other = tmp_path / "run.jsonl", tmp_path / "other.db"
    assert afk("export", failed, "--to", "jsonl", "-o", str(target)).exit_code == 0
    imported = afk("import", str(target), "--db", str(other))
    assert imported.exit_code == 0, imported.stderr
    assert afk("verify", "--db", str(other)).exit_code == 0
    assert "reopened, epoch 2" in afk("log", "--db", str(other)).stdout


@pytest.mark.parametrize("verb", ["show", "triage", "stats", "why"])
def test_what_reads_runs_reads_it(verb: str, afk: Afk, agents: str, failed: str) -> None:
    afk("resume", failed, f"{agents}:mended", "--reopen")
    result = afk(verb, failed)
    assert result.exit_code == 0, result.stderr
    assert "completed" in result.stdout


def test_it_becomes_a_golden_that_passes(afk: Afk, agents: str, failed: str, tmp_path: Path) -> None:
    afk("resume", failed, f"{agents}:mended", "--reopen")
    target = tmp_path / "reopened.golden.jsonl"
    exported = afk("export", failed, "--to", "golden", "-o", str(target))
    assert exported.exit_code == 0, exported.stderr
    checked = afk("golden", "check", str(target), "--agent", f"{agents}:mended")
    assert checked.exit_code == 0, checked.stderr
