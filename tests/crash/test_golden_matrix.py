"""Goal: goldens survive a crash wherever it comes. Method: each is run again on its recorded answers, by today's agent that reaches nobody, and
killed at places spread over it. `python -m tests.crash.matrix` tries every place of every golden.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.goldens import RECORDED, STORIES, record_airline, record_stories
from tests.crash.proof import Part, Piece, done

LEFT_OUT = {
    **dict.fromkeys(["paused", "cancelled", "paused by letter", "cancelled by letter"], "somebody asked for"),
    **dict.fromkeys(["team: cancelled", "team: cancelled where it lies"], "somebody asked for"),
    **dict.fromkeys(["a tool in the background", "results waited for one by one"], "a background result came at another moment"),
    **dict.fromkeys(["results waited for together", "a ticket that expires"], "a background result came at another moment"),
    "a thread that is compacted": "only compacts a thread",
    "crashed": "has not ended",
}
"""Recordings that hang on a moment that does not come again by itself, or are no whole runs. The scenarios themselves are killed everywhere."""


def _holds(part: Part, name: str, points: int, path: Path | None = None) -> None:
    row = done(Piece(part, name, points, path))
    assert row.problems == ()
    if name in LEFT_OUT:
        assert LEFT_OUT[name] in row.left_out
    else:
        assert row.left_out == ""
        assert row.points > 0


SAMPLE = list(RECORDED)[::3]


@pytest.mark.parametrize("name", SAMPLE)
def test_a_golden_of_a_scenario(name: str) -> None:
    _holds("golden", name, 2)


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_stories(tmp_path_factory.mktemp("stories"))


@pytest.mark.parametrize("name", STORIES)
def test_a_golden_of_the_demo(name: str, stories: Path) -> None:
    _holds("story", name, 2, stories)


def test_goldens_of_recorded_conversations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them, with all that was said before: their runs share threads."""
    for key, path in record_airline(tmp_path, sample=1).items():
        _holds("conversation", key, 1, path)
