"""Goal: a worker that is stopped past its lease and continued starts no further effect, wherever it was stopped.

Method: real processes on one log. One is stopped (SIGSTOP) at a place, its lease runs out, another takes its run over and ends it, and the
first is continued: before an intent is committed, after that and before the effect, in a hook right before the tool's function, and in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.lent import PLACES, outcomes
from tests.support.zygote import Zygote, zygote


@pytest.fixture(scope="module")
def born() -> Iterator[Zygote]:
    with zygote("tests.crash.lent", "afk_es.log.sqlite", "afk_es.log.postgres") as one:
        yield one


@pytest.mark.kill
@pytest.mark.parametrize("part", range(3))
def test_a_worker_that_is_stopped_past_its_lease_starts_nothing_more(born: Zygote, tmp_path: Path, part: int) -> None:
    assert [(place, broken) for place, broken in outcomes(born, tmp_path, PLACES[part::3]) if broken] == []
    born.end_all()


@pytest.mark.kill
def test_one_that_knows_of_no_lease_is_found(born: Zygote, tmp_path: Path) -> None:
    """What it had announced by then it starts: so the proof can fail, and the epoch alone is not enough."""
    places = ("after tool_started", "about to pay", "about to put", "after llm_called")
    found = {place: broken[0] for place, broken in outcomes(born, tmp_path, places, leased=False) if broken}
    assert all("the stale worker started" in sentence for sentence in found.values())
    assert len(found) == len(places)
    born.end_all()


ON_A_SERVER = (
    "before tool_started",
    "after tool_started",
    "about to put",
    "in pay",
    "in put",
    "in model",
    "after run_started far",
    "before tool_completed far",
    "in post",
)


@pytest.mark.kill
def test_nor_does_one_whose_log_is_on_a_server(born: Zygote, tmp_path: Path, postgres_log: str) -> None:
    assert [(place, broken) for place, broken in outcomes(born, tmp_path, ON_A_SERVER, postgres_log) if broken] == []
    born.end_all()
