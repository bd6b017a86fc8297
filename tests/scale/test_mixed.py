"""Runs of every kind at once end, verify, and do each thing once. The same at thousands is a command: `python -m tests.scale.mixed`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scale.mixed import Mixed, measured


def test_mixed_runs_at_once_all_end_and_do_each_thing_once(tmp_path: Path) -> None:
    """120 runs with a person, a background tool and two subagents each: all complete, every run and child verifies, no effect twice."""
    figures = measured(120, tmp_path / "runs.db", "normal")
    denied = len(range(0, 120, 7))
    assert figures.effects == 120 * 4 - denied
    assert figures.events > 120 * 40


async def test_an_effect_that_is_made_twice_or_left_out_is_found(tmp_path: Path) -> None:
    """The check of the effects fails where there is reason to: else what it finds of thousands would mean nothing."""
    mixed = Mixed(10, tmp_path / "runs.db", "normal")
    results = await mixed.run()
    await mixed.log.close()
    mixed.check(results)
    first = next(iter(mixed.effects))
    mixed.effects[first] += 1
    with pytest.raises(AssertionError, match="1 effects were made more than once"):
        mixed.check(results)
    del mixed.effects[first]
    with pytest.raises(AssertionError, match="missing"):
        mixed.check(results)
    assert await mixed.verify(results) > 0
