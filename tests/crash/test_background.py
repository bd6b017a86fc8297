"""Goal: work in the background survives `kill -9` of its run. Method: a child is killed when a ticket was opened, when its result was
posted, taken in and told to the model; results come from this process, which is another one; a new process goes on.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from afk_es.core import AgentRunEvent, Runner
from afk_es.errors import UsageError
from afk_es.testing import log_problems
from afk_es.views.verification import problems
from tests.crash.family import Child, ask_log, child, events_of, without_run
from tests.crash.journal import Journal

pytestmark = pytest.mark.kill

MODULE = "tests.crash.background_child"
ANSWERED = "llm_completed 2"
"""The model has said that it waits."""


def process(directory: Path, do: str, plan: str = "wait", **job: Any) -> AbstractContextManager[Child]:
    return child(directory, do, plan, module=MODULE, **job)


def end(directory: Path, run_id: str, *ticket_ids: str) -> None:
    """Hand results in, from this process; a second one for a ticket is refused."""

    async def handed_in() -> None:
        async with Runner(log=directory / "runs.db") as runner:
            run = {"thread_id": events_of_thread, "run_id": run_id}
            for ticket_id in ticket_ids:
                await runner.resolve_background_tool(**run, ticket_id=ticket_id, output=f"delivered {ticket_id}")
                with pytest.raises(UsageError, match="has ended"):
                    await runner.fail_background_tool(**run, ticket_id=ticket_id, error="no")

    events_of_thread = events_of(directory, run_id)[0].thread_id
    asyncio.run(handed_in())


def result_of(one: Child) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(one.hear("result")[1])
    return result


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of the run that nobody kills."""
    directory = tmp_path_factory.mktemp("unkilled")
    with process(directory, "run", stops=[ANSWERED]) as one:
        _, run_id = one.hear("run")
        one.hear("at")
        end(directory, run_id, "ticket A", "ticket B")
        one.tell("go")
        return result_of(one)


def check(directory: Path, run_id: str, prefix: list[AgentRunEvent], result: dict[str, Any], expected: dict[str, Any]) -> None:
    """Every promise, after a real kill at the end of `prefix`."""
    events = events_of(directory, run_id)
    assert events[: len(prefix)] == prefix
    assert ask_log(directory, lambda log: log.verify(run_id)) is None
    assert log_problems(events) == []
    assert list(problems(events)) == []
    counts = Counter(event.type for event in events)
    assert counts["tool_deferred"] == counts["tool_background_resolved"] == 2
    orders = [line["call_id"] for line in Journal(directory / "journal.jsonl").lines() if line["what"] == "order"]
    assert sorted(orders) == ["call_1", "call_2"], "a call that was deferred ran again"
    letters = [event.data["letter"] for event in events if "letter" in event.data]
    assert letters == sorted(set(letters)), "a letter was taken in twice"
    assert without_run(result) == without_run(expected)


@pytest.mark.parametrize("place", ["tool_deferred 2", "tool_completed 1", "llm_called 2", ANSWERED])
def test_killed_when_its_tickets_were_open_and_resolved_while_nobody_ran_it(tmp_path: Path, expected: dict[str, Any], place: str) -> None:
    with process(tmp_path, "run", stops=[place]) as one:
        _, run_id = one.hear("run")
        one.hear("at")
        one.kill()
    prefix = events_of(tmp_path, run_id)
    end(tmp_path, run_id, "ticket A", "ticket B")
    with process(tmp_path, "resume", run_ids=[run_id]) as other:
        check(tmp_path, run_id, prefix, result_of(other), expected)


def test_killed_when_the_result_was_posted_and_not_taken_in(tmp_path: Path, expected: dict[str, Any]) -> None:
    with process(tmp_path, "run", stops=[ANSWERED]) as one:
        _, run_id = one.hear("run")
        one.hear("at")
        end(tmp_path, run_id, "ticket A", "ticket B")
        one.kill()
    prefix = events_of(tmp_path, run_id)
    assert not any(event.type == "tool_background_resolved" for event in prefix)
    with process(tmp_path, "resume", run_ids=[run_id]) as other:
        check(tmp_path, run_id, prefix, result_of(other), expected)


@pytest.mark.parametrize("place", ["tool_background_resolved 1", "step_started 3", "llm_called 3", "llm_completed 3"])
def test_killed_when_a_result_was_taken_in_or_told(tmp_path: Path, expected: dict[str, Any], place: str) -> None:
    with process(tmp_path, "run", stops=[ANSWERED, place]) as one:
        _, run_id = one.hear("run")
        one.hear("at")
        end(tmp_path, run_id, "ticket A")
        one.tell("go")
        one.hear("at")
        one.kill()
    prefix = events_of(tmp_path, run_id)
    end(tmp_path, run_id, "ticket B")
    with process(tmp_path, "resume", run_ids=[run_id]) as other:
        check(tmp_path, run_id, prefix, result_of(other), expected)


def test_resolved_while_another_process_drives_it_after_the_first_was_killed(tmp_path: Path, expected: dict[str, Any]) -> None:
    with process(tmp_path, "run", stops=[ANSWERED]) as one:
        _, run_id = one.hear("run")
        one.hear("at")
        one.kill()
    prefix = events_of(tmp_path, run_id)
    with process(tmp_path, "resume", run_ids=[run_id]) as other:
        other.hear("run")
        end(tmp_path, run_id, "ticket A", "ticket B")
        check(tmp_path, run_id, prefix, result_of(other), expected)


def test_laid_down_resolved_and_gone_on_with_elsewhere(tmp_path: Path, expected: dict[str, Any]) -> None:
    with process(tmp_path, "run", "park") as one:
        _, run_id = one.hear("run")
        assert result_of(one)["state"] == "interrupted"
    prefix = events_of(tmp_path, run_id)
    end(tmp_path, run_id, "ticket A", "ticket B")
    with process(tmp_path, "resume", "park", run_ids=[run_id]) as other:
        check(tmp_path, run_id, prefix, result_of(other), expected)
