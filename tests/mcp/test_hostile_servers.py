"""Goal: whatever an MCP server does, a run ends in time with an event or an error that says it, and nothing of the server is trusted.

Method: each row of `tests.mcp.hostile.rows` in a real Runner, over the first of its transports; `python -m tests.mcp.hostile.all` takes all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mcp.hostile.lies import LIES
from tests.mcp.hostile.rows import ROWS, Row
from tests.mcp.hostile.trial import broken_promises, tried


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.lie)
async def test_a_lie_is_told_and_believed_by_nobody(row: Row, tmp_path: Path) -> None:
    trial = await tried(row.lie, row.over[0], tmp_path, text=row.text, **row.options)
    problems = row.must.problems(trial) + broken_promises(trial)
    if trial.took_s > row.within_s:
        problems.append(f"it took {trial.took_s:.1f} s")
    if row.offers is not None and trial.events and set(trial.tools) != set(row.offers):
        problems.append(f"it offers {sorted(trial.tools)}")
    assert not problems, "\n".join(problems)


def test_every_lie_has_a_row() -> None:
    assert [row.lie for row in ROWS if list(row.over) == []] == []
    assert sorted(row.lie for row in ROWS) == sorted(LIES)


@pytest.mark.parametrize("name", ["hints", "silent at call, with hints"])
async def test_hints_of_a_server_that_nobody_trusts_make_no_call_repeatable(name: str, tmp_path: Path) -> None:
    trial = await tried(name, "http", tmp_path, timeout_s=1.0)
    echo = trial.tools["echo"]
    assert not echo.get("read_only", False)
    assert not echo.get("idempotent", False)
    assert trial.calls == 1
