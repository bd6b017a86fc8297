"""Goal: the shipped invariants find every planted bug, say rightly what is wrong, and the run that shows it gets small.

Method: seeds, so that each search goes alike; it begins at a bug's `first_seed`, a few before the one that finds it where that is far. The
seed that finds a bug finds nothing in the product as it is. `python -m tests.bugs.table --unplanted` begins at 0, plays all seeds without the
bug too, makes every run small and prints what that takes.
"""

from __future__ import annotations

import pytest

from tests.bugs.corpus import BUGS
from tests.bugs.hunting import hunt
from tests.bugs.planting import Bug, Slip, planted
from tests.bugs.table import expected, line, row_of

EXAMPLES = 100
SMALL_EVENTS, SMALL_ACTIONS = 30, 6


@pytest.fixture(autouse=True)
def found_by_the_invariants_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Runner's own check, which folds the log from zero after each write, would find some of them first."""
    monkeypatch.delenv("AFK_ES_ALWAYS_REPLAY", raising=False)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found_by_what_is_to_find_it(bug: Bug) -> None:
    with planted(bug):
        find = hunt(bug, first=bug.first_seed, most=EXAMPLES)
    assert find is not None
    assert find.name in expected(bug), find.violation
    assert hunt(bug, first=find.seed, most=1) is None


@pytest.mark.parametrize("name", ["approval by tool name", "run again after a crash", "lost ticket", "stale owner dispatches"])
def test_the_run_that_shows_it_gets_small(name: str) -> None:
    bug = next(bug for bug in BUGS if bug.name == name)
    row = row_of(bug, first=bug.first_seed, most=EXAMPLES, unplanted=True)
    assert row.right
    events, actions = row.after
    assert events <= SMALL_EVENTS
    assert actions <= SMALL_ACTIONS
    assert name in line(row)


def test_the_corpus_names_each_bug_once_and_calls_every_shipped_promise_into_question() -> None:
    """Each shipped invariant is the one that finds some bug, or may be."""
    from afk_es.testing.invariants import SHIPPED

    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 12
    assert {kind for bug in BUGS for kind in bug.found_by} >= set(SHIPPED)


def test_a_bug_is_gone_with_its_context_and_a_search_without_it_finds_nothing() -> None:
    bug = BUGS[0]
    with planted(bug):
        assert hunt(bug, most=EXAMPLES) is not None
    assert hunt(bug, most=5) is None


def test_an_edit_that_no_longer_fits_the_source_says_so() -> None:
    bug = BUGS[0]
    gone = Bug(
        name="gone",
        mistake="",
        slips=(Slip(bug.slips[0].place, "what is nowhere", ""),),
        agent=bug.agent,
        found_by=bug.found_by,
    )
    with pytest.raises(ValueError, match="so must the bug"), planted(gone):
        pytest.fail("it was planted")


def test_the_table_tells_of_a_bug_that_nobody_finds() -> None:
    row = row_of(BUGS[0], most=0)
    assert (row.find, row.right) == (None, False)
    assert "not found" in line(row)
