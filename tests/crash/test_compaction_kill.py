"""Goal: a compaction survives `kill -9`. Method: a child stops around its summariser, is killed there, and a new process goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from afk_es.core.history import ThreadMemory
from afk_es.log import EventLog
from afk_es.machine.values import Message
from afk_es.views import problems
from tests.crash.family import ask_log, child
from tests.crash.journal import Journal

pytestmark = pytest.mark.kill

PLACES = ["before summary", "after summary", "at the end"]


async def remembered(log: EventLog) -> list[Message]:
    """What the next run on the thread would be shown; every run of it is sound."""
    memory = ThreadMemory()
    for head in await log.thread("t"):
        events = await log.read(head.run_id)
        assert await log.verify(head.run_id) is None
        assert not list(problems(events, await memory.read(log, events[0].data.get("history", []))))
    return list(await memory.read(log, await memory.latest(log, "t")))


@pytest.mark.parametrize("by", ["function", "model"])
@pytest.mark.parametrize("do", ["compact", "converse"])
def test_no_turn_is_lost_and_no_summary_that_was_in_the_log_is_made_again(do: str, by: str, tmp_path: Path) -> None:
    with child(tmp_path / "unkilled", do, by) as one:
        one.hear("result")
    expected = ask_log(tmp_path / "unkilled", remembered)
    for place in PLACES:
        directory = tmp_path / place
        with child(directory, do, by, stop=place) as one:
            one.hear("at")
            one.kill()
        with child(directory, do, by) as other:
            other.hear("result")
        assert ask_log(directory, remembered) == expected
        made = Counter(line["call_id"] for line in Journal(directory / "journal.jsonl").lines())
        again = [text for text, times in made.items() if times > 1]
        # It had returned and was not in the log: nobody can know that, and it is asked for once more.
        assert len(again) == (1 if place == "after summary" else 0)
        assert max(made.values()) <= 2
