"""`import` and `export` on the command line: what they print, where they write, and with which code they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Afk

CHAT = {
    "messages": [{"role": "user", "content": "Hi \x1b[31m"}, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "?"}]
}


@pytest.fixture
def chat(tmp_path: Path) -> str:
    """A transcript of two runs, the second without an answer."""
    file = tmp_path / "chat.json"
    file.write_text(json.dumps(CHAT), encoding="utf-8")
    return str(file)


def test_a_transcript_is_imported_and_can_be_read_and_verified_like_our_own(afk: Afk, chat: str) -> None:
    result = afk("import", chat, "--thread", "talk")
    assert result.exit_code == 0
    assert "2 runs of 1 conversations, 9 events; 1 completed, 1 interrupted" in result.stdout
    assert afk("verify").exit_code == 0
    assert "interrupted" in afk("show").stdout
    assert afk("import", chat, "--thread", "talk").exit_code == 2


def test_the_result_of_an_import_is_json_with_the_ids(afk: Afk, chat: str) -> None:
    given = json.loads(afk("import", chat, "--format", "json").stdout)
    assert (given["schema"], given["format"], given["conversations"]) == ("afk_es.import/1", "chat", 1)
    known = {run["run_id"] for run in json.loads(afk("runs", "--format", "json").stdout)["runs"]}
    assert {run["run_id"] for run in given["runs"]} == known


def test_a_file_that_is_none_is_one_line_with_its_place(afk: Afk, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('[{"role": "wizard\\u001b[2J"}]')
    result = afk("import", str(tmp_path / "bad.json"))
    assert result.exit_code == 2
    assert "bad.json, message 0: there is no role" in result.stderr
    assert "\x1b" not in result.stderr
    assert afk("import", str(tmp_path / "nowhere.json")).exit_code == 3


@pytest.mark.parametrize("form", ["jsonl", "md", "html", "svg", "atif"])
def test_an_export_goes_to_stdout_or_into_a_file_and_both_say_the_same(
    afk: Afk, ran: Callable[..., str], tmp_path: Path, form: str
) -> None:
    run_id = ran()
    result = afk("export", run_id, "--to", form)
    assert (result.exit_code, result.stderr) == (0, "")
    target = tmp_path / "out"
    written = afk("export", run_id, "--to", form, "-o", str(target))
    assert written.exit_code == 0
    assert str(target) in written.stderr
    assert target.read_bytes() == result.stdout_bytes
    assert afk("export", run_id, "--to", form, "-o", str(target)).exit_code == 2
    assert afk("export", run_id, "--to", form, "-o", str(target), "--force").exit_code == 0


def test_a_log_of_its_own_is_said_to_be_exact_and_can_be_named_as_a_log(
    afk: Afk, ran: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_id = ran()
    result = afk("export", run_id, "--to", "db")
    assert result.exit_code == 0
    assert "it is exact: nothing was redacted" in result.stderr
    assert afk("verify", f"{run_id}.db").exit_code == 0


def test_an_exported_run_is_imported_under_its_own_id(afk: Afk, ran: Callable[..., str], tmp_path: Path) -> None:
    run_id = ran()
    file, other = tmp_path / "run.jsonl", str(tmp_path / "other.db")
    afk("export", run_id, "--to", "jsonl", "--no-redact", "-o", str(file))
    given = json.loads(afk("import", str(file), "--db", other, "--format", "json").stdout)
    assert [run["run_id"] for run in given["runs"]] == [run_id]
    assert afk("verify", "--db", other).exit_code == 0


def test_a_form_that_needs_no_agent_refuses_one(afk: Afk, ran: Callable[..., str]) -> None:
    assert afk("export", ran(), "--to", "md", "--agent", "a:b").exit_code == 2
    assert afk("export", "--to", "golden", "--agent", "a:b").exit_code == 2
    assert afk("export", "--to", "db", "--mode", "contract").exit_code == 2
    assert afk("export", "--to", "zip").exit_code == 2
    assert afk("export", "run_nothing", "--to", "md").exit_code == 3
