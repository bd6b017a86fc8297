"""Goal: whoever changes the file behind the triggers' back is found out, at the first event that is not what was appended."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing.log_contract import begin, turn

UNGUARD = "DROP TRIGGER events_stay; DROP TRIGGER events_last; DROP TRIGGER parts_stay; DROP TRIGGER parts_last;"


@pytest.mark.parametrize(
    ("tampering", "seq", "reason"),
    [
        ("UPDATE events SET data = replace(data, 'allow', 'alloy') WHERE seq = 3", 3, "changed"),
        ("UPDATE events SET data = CAST(x'7b' || x'ff' || x'7d' AS TEXT) WHERE seq = 4", 4, "changed"),
        ("UPDATE events SET at = at + 1 WHERE seq = 9", 9, "changed"),
        ("UPDATE events SET state = '' WHERE seq = 2", 2, "changed"),
        ("UPDATE events SET message = '' WHERE seq = 2", 2, "changed"),
        ("UPDATE events SET hash = zeroblob(16) WHERE seq = 6", 6, "changed"),
        ("DELETE FROM events WHERE seq = 5", 5, "missing"),
        ("DELETE FROM events WHERE seq = 1", 1, "missing"),
        ("DELETE FROM events", 1, "missing"),
        (
            "UPDATE events SET seq = 99 WHERE seq = 3; UPDATE events SET seq = 3 WHERE seq = 7; UPDATE events SET seq = 7 WHERE seq = 99",
            3,
            "changed",
        ),
        ("UPDATE runs SET thread_id = 'another'", 1, "changed"),
        ("UPDATE parts SET content = replace(content, 'brief', 'wordy')", 1, "part .* was changed"),
        ("DELETE FROM parts", 1, "part .* is missing"),
        ("DELETE FROM parts; UPDATE events SET at = 0 WHERE seq = 4", 1, "part .* is missing"),
    ],
)
async def test_tampering_is_found_at_the_first_bad_event(tmp_path: Path, tampering: str, seq: int, reason: str) -> None:
    path = tmp_path / "runs.db"
    log = SqliteEventLog(path)
    await log.open()
    await begin(log, "run_a")
    await log.append(turn("run_a", 6), epoch=1)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(f"{UNGUARD} DROP TRIGGER runs_stay; {tampering}")
    fault = await log.verify("run_a")
    await log.close()
    assert fault is not None
    assert (fault.run_id, fault.seq) == ("run_a", seq)
    assert re.search(reason, fault.reason), fault.reason
