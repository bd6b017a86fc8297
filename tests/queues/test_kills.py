"""Goal: whoever among the workers is killed or stopped, every task ends, and no effect happens that must not.

Method: processes that push, work and approve on one log; workers die by SIGKILL and lie stopped for longer than their lease; judged by the log,
the tasks' rows, and a journal that the effects wrote. `python -m tests.queues.kills --runs 10000` does the same at length.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.queues.kills.scene import Trial
from tests.queues.kills.slips import SLIPS
from tests.queues.kills.trying import MODULES, tried
from tests.support.zygote import Zygote, zygote

pytestmark = pytest.mark.kill


@pytest.fixture(scope="module")
def born() -> Iterator[Zygote]:
    """Where processes come from."""
    with zygote(*MODULES) as one:
        yield one


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_tasks_of_workers_that_are_killed_and_stopped(born: Zygote, tmp_path: Path, request: pytest.FixtureRequest, store: str) -> None:
    log = str(tmp_path / "runs.db") if store == "sqlite" else str(request.getfixturevalue("postgres_log"))
    trial = Trial(directory=tmp_path, log=log, runs=60, workers=3, kill_every_s=0.4, stop_every_s=1.0, lease_s=0.6, drain_s=1.0, minutes=1)
    found = tried(born, trial)
    assert found.verdict.violations == []
    assert found.verdict.figures["runs"] == 60
    assert found.told.done["kill"] > 0


@pytest.mark.parametrize("bug", ["lease-without-end", "doubt-forgotten"])
def test_workers_with_a_mistake_are_found(born: Zygote, tmp_path: Path, bug: str) -> None:
    """The other mistakes are for the command: `python -m tests.queues.kills --bug NAME`. Where a worker is hit is chance, so one try may miss."""
    assert any(_finds(born, tmp_path / str(seed), bug, seed) for seed in range(6))


def _finds(born: Zygote, directory: Path, bug: str, seed: int) -> bool:
    directory.mkdir()
    trial = Trial(
        directory=directory,
        log=str(directory / "runs.db"),
        seed=seed,
        runs=120,
        workers=3,
        kill_every_s=0.5 if bug == "doubt-forgotten" else 0,
        stop_every_s=0.2 if bug == "lease-without-end" else 0,
        places=("intent",),
        lease_s=0.5,
        drain_s=1.0,
        linger_s=0.05,
        minutes=0.2,
        patience_s=5,
        bug=bug,
    )
    found = tried(born, trial)
    return bool(SLIPS[bug].breaks & {violation.promise for violation in found.verdict.violations})
