"""Goal: `kill -9` while a model fails changes nothing but the time it takes: while a retry waits, during a fallback, with the breaker open.

Method: as `test_kill`, with a model that is overloaded until its breaker opens, and a fallback that answers.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from afk_es.core import AgentRunEvent
from tests.crash.child import RETRY_AFTER_S
from tests.crash.family import check_survival, child, events_of, resumed, unkilled

pytestmark = pytest.mark.kill

PLAN = "overloaded"


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of the run that nobody kills."""
    return unkilled(tmp_path_factory.mktemp(PLAN), PLAN)


def check_attempts(events: list[AgentRunEvent]) -> None:
    """The failing model was asked four times, and an attempt in doubt once more, before it was left alone; the others went to plan b."""
    asked = [event.data["model"] for event in events if event.type == "llm_called"]
    doubted = sum(event.type == "effect_in_doubt" and event.data["effect"] == "llm" for event in events)
    failed = [event for event in events if event.type == "llm_failed"]
    assert len(failed) == 4
    assert 4 <= asked.count("scripted-1") <= 4 + doubted
    assert [event.step for event in events if event.type == "circuit_open"] == [2, 3]
    for fired in (event for event in events if event.type == "timer_fired"):
        waited = (fired.at - events[int(fired.data["timer"].removeprefix("retry:")) - 1].at).total_seconds()
        assert waited >= RETRY_AFTER_S, "a retry came sooner than the provider had asked for"


@pytest.mark.parametrize("failures", [1, 2])
def test_killed_while_a_retry_waits(tmp_path: Path, expected: dict[str, Any], failures: int) -> None:
    with child(tmp_path, "run", PLAN) as one:
        _, run_id = one.hear("run")
        while sum(event.type == "llm_failed" for event in events_of(tmp_path, run_id)) < failures:
            time.sleep(0.01)
        one.kill()
    prefix = events_of(tmp_path, run_id)
    assert prefix[-1].type == "llm_failed", "it was killed while it waited"
    result = resumed(tmp_path, PLAN, run_id)[run_id]
    assert check_survival(tmp_path, run_id, prefix, result, expected) == []
    check_attempts(events_of(tmp_path, run_id))


@pytest.mark.parametrize("place", [f"{when} model_{turn}" for turn in (1, 2, 3) for when in ("before", "after")])
def test_killed_while_the_fallback_is_asked_and_with_the_breaker_open(tmp_path: Path, expected: dict[str, Any], place: str) -> None:
    with child(tmp_path, "run", PLAN, stop=place) as one:
        _, run_id = one.hear("run")
        one.hear("at")
        one.kill()
    prefix = events_of(tmp_path, run_id)
    assert prefix[-1].data["model"] == "plan b"
    result = resumed(tmp_path, PLAN, run_id)[run_id]
    assert check_survival(tmp_path, run_id, prefix, result, expected) == []
    check_attempts(events_of(tmp_path, run_id))
