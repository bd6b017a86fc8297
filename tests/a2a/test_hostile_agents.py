"""Goal: whatever a remote agent does, a run that asks it ends in time with events that say it, and nothing of the remote is trusted.

Method: each row of `tests.a2a.hostile.rows` as a subagent of an agent in a real Runner.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.a2a.hostile.lies import LIES, STREAMS
from tests.a2a.hostile.rows import ROWS, Row
from tests.a2a.hostile.trial import broken_promises, tried


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.lie)
async def test_a_lie_is_told_and_believed_by_nobody(row: Row, tmp_path: Path) -> None:
    trial = await tried(row.lie, tmp_path, wall_s=row.wall_s, **row.options)
    problems = row.must.problems(trial) + broken_promises(trial)
    if trial.took_s > row.within_s:
        problems.append(f"it took {trial.took_s:.1f} s")
    assert not problems, "\n".join(problems)


def test_every_lie_has_a_row() -> None:
    assert sorted(row.lie for row in ROWS) == sorted([*LIES, *STREAMS])
