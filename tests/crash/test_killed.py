"""Goal: what holds of processes that are threads holds of real ones. Method: generated runs on a file, whose processes die by SIGKILL, race for
the run, or go on after it was taken over; judged by the log and a journal that each wrote before it started an effect.

`python -m tests.crash.matrix --sigkill K` tries more of the same.
"""

from __future__ import annotations

import pytest

from tests.crash.killed import contended, killed, usurped

pytestmark = pytest.mark.kill


@pytest.mark.parametrize("seed", range(10))
def test_a_run_whose_processes_are_killed_survives(seed: int) -> None:
    run = killed(seed, seed)
    assert run.breaches == [], str(run)
    assert run.deaths


@pytest.mark.parametrize("seed", range(3))
def test_of_two_processes_that_go_for_a_run_one_has_it(seed: int) -> None:
    run = contended(seed, seed)
    assert run.breaches == [], str(run)


@pytest.mark.parametrize("seed", range(4))
def test_an_owner_that_was_stopped_and_taken_over_starts_nothing_more(seed: int) -> None:
    run = usurped(seed, seed)
    assert run.breaches == [], str(run)


def test_a_stale_owner_that_goes_on_is_found() -> None:
    """The planted bug: its store does not refuse what comes after the takeover."""
    run = usurped("sequential tools", 1, blind=True)
    assert any("a stale owner started" in breach.sentence for breach in run.breaches), str(run)
