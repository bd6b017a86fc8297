"""Goal: whatever a hostile world does to a run, what is promised holds, and once the world is calm the run ends. Method: seeds.

`python -m tests.simulation --seeds 100000` is the long form; it prints seed, smallest script and log of a failure.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.bugs.corpus import BUGS
from tests.bugs.planting import planted
from tests.simulation.__main__ import told
from tests.simulation.seeds import simulate

SEEDS = 200
GROUPS = 4


@pytest.mark.parametrize("group", range(GROUPS))
def test_what_is_promised_holds_in_a_hostile_world(group: int) -> None:
    met: Counter[str] = Counter()
    for seed in range(group * SEEDS // GROUPS, (group + 1) * SEEDS // GROUPS):
        found = simulate(seed)
        if found.problem is not None:
            raise AssertionError(f"seed {seed}: python -m tests.simulation --first {seed} --seeds 1") from found.problem
        met.update(found.types)
    # A simulation that meets nothing proves nothing.
    assert {"tool_failed", "llm_failed", "effect_in_doubt", "approval_requested", "subagent_completed", "limit_reached"} <= met.keys()


def test_a_seed_is_one_simulation() -> None:
    assert simulate(7).script == simulate(7).script


def test_a_failure_is_told_with_its_seed_its_smallest_script_and_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AFK_ES_ALWAYS_REPLAY", raising=False)
    (bug,) = (each for each in BUGS if each.name == "one step too many")
    with planted(bug):
        found = next(found for found in map(simulate, range(200)) if found.problem is not None)
        assert told([found], tmp_path) == 1
    said = capsys.readouterr().out
    assert f"seed {found.seed}: limits hold exactly: max_steps" in said
    assert "    1. " in said
    assert f"afk-es debug {tmp_path / f'seed-{found.seed}.db'}" in said
    assert (tmp_path / f"seed-{found.seed}.db").exists()
    assert told([simulate(found.seed)], tmp_path) == 0, "it was the planted bug"
