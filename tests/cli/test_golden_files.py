"""A golden on the command line: it is read as a log is, and imported into one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from afk_es.evals import Golden
from afk_es.log import open_log
from tests.cli.conftest import Afk
from tests.support.stories import Stories


@pytest.fixture
def golden(stories: Stories, tmp_path: Path) -> str:
    """The file of a team's golden."""

    async def write() -> None:
        log = open_log(str(stories.log), read_only=True)
        await log.open()
        (await Golden.of(log, stories.run_ids["team"], name="team")).write(tmp_path / "team.golden.jsonl")
        await log.close()

    asyncio.run(write())
    return str(tmp_path / "team.golden.jsonl")


def test_whatever_only_reads_takes_a_golden_as_it_takes_a_log(afk: Afk, golden: str) -> None:
    for arguments in (("log", golden), ("show", f"{golden}:run_1"), ("triage", golden), ("debug", golden), ("diff", golden, golden)):
        result = afk(*arguments)
        assert result.exit_code in (0, 1), (arguments, result.stderr)
        assert "Antikythera" in result.stdout or "run_1" in result.stdout, arguments
    assert "run_completed" in afk("log", golden).stdout
    assert "completed" in afk("runs", "--db", golden).stdout


def test_a_golden_is_imported_into_a_log_of_its_own_which_verifies(afk: Afk, golden: str, tmp_path: Path) -> None:
    db = str(tmp_path / "team.db")
    result = afk("import", golden, "--db", db)
    assert result.exit_code == 0, result.stderr
    assert "run_1  completed" in result.stdout
    verified = afk("verify", "--db", db)
    assert verified.exit_code == 0
    assert "0 problems" in verified.stdout
    again = afk("import", golden, "--db", db)
    assert again.exit_code == 2
    assert "import it with --db NEW.db" in again.stderr


def test_options_of_transcripts_do_not_fit_a_golden(afk: Afk, golden: str) -> None:
    assert "a golden keeps its thread" in afk("import", golden, "--thread", "t").stderr
    assert "one at a time" in afk("import", golden, golden).stderr


def test_a_broken_golden_says_where(afk: Afk, golden: str) -> None:
    lines = Path(golden).read_text(encoding="utf-8").splitlines()
    Path(golden).write_text("\n".join([*lines[:20], "{", *lines[21:]]), encoding="utf-8")
    for arguments in (("log", golden), ("import", golden)):
        result = afk(*arguments)
        assert result.exit_code == 2
        assert f"{golden}:21: it is not JSON" in result.stderr.replace(", line 21:", ":21:")
