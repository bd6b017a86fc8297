"""Goal: the long command says what broke, where, and how to look at it. Method: its pieces and its table with a planted bug, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from afk_es.machine import batches
from tests.crash.generated import generated_run
from tests.crash.matrix import Table
from tests.crash.proof import Piece, Row, done

SEED = 11
"""A clerk who pays, under `in_doubt="report"`."""


def test_a_seed_that_breaks_is_told_with_its_points_and_its_run_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The planted bug: whatever is in doubt is run again, as if every tool could be."""
    careful = batches._doubt

    def careless(*args: Any) -> Any:
        draft = careful(*args)
        return type(draft)(draft.type, {**draft.data, "resolution": "run_again"}, draft.message)

    monkeypatch.setattr(batches, "_doubt", careless)
    # Always-replay mode would see the sabotage first.
    monkeypatch.delenv("AFK_ES_ALWAYS_REPLAY", raising=False)
    assert generated_run(SEED).scenario.config.in_doubt == "report"
    row = done(Piece("generated", str(SEED), 12), tmp_path / "kept")
    assert "doubt" in row.broken
    told = "\n".join(row.problems)
    assert f"seed {SEED} (" in told
    assert "effect:tool:9 (pay)" in told
    kept = {word.rstrip(")") for word in told.split() if word.startswith(str(tmp_path))}
    assert kept == {str(path) for path in (tmp_path / "kept").iterdir()}
    assert f"(afk-es debug {min(kept)})" in told


def test_the_table_counts_each_broken_promise_in_its_column_and_what_failed_besides() -> None:
    table = Table()
    table.rows.append(Row(Piece("generated", "1"), 1, 12, 2, ("repeat", "repeat", "doubt", "log", "own"), ("seed 1: ...",), 2.0))
    table.rows.append(Row(Piece("golden", "a"), 1, 8, seconds=2.0))
    table.rows.append(Row(Piece("golden", "b"), left_out="it has not ended"))
    table.errors.append("killed by SIGKILL: 3: TimeoutError: a process says nothing")
    head, *lines = str(table).splitlines()
    assert head.split()[:8] == ["runs", "points", "repeated", "silent", "changed", "unresumable", "wrong", "missed"]
    rows = {line[:24].strip(): line[24:].split() for line in lines}
    assert rows["goldens of them"] == ["1", "8", "0", "0", "0", "0", "0", "0", "0", "0", "4.0"]
    assert rows["generated runs"] == ["1", "12", "2", "1", "0", "0", "0", "0", "2", "2", "6.0"]
    assert rows["all"] == ["2", "20", "2", "1", "0", "0", "0", "0", "2", "2", "5.0"]
    assert len(table.problems) == 2
