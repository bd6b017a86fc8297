"""All recorded conversations as goldens: recorded through the Runner, each in a file, checked offline; and which edits of the agent they catch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.tau import Recording
from tests.tau.edits import HEAD, Row, sampled, table
from tests.tau.goldens import checked, recorded

pytestmark = pytest.mark.tau

SHARDS = 8
"""Parts of the recording, so that xdist has something to spread."""


@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_conversation_is_a_golden_that_todays_agent_passes(
    shard: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    recording = Recording.load()
    conversations = list(recording.conversations.values())[shard::SHARDS]
    if not conversations:
        pytest.skip("there are fewer conversations than shards")

    async def proved() -> None:
        goldens = await recorded(recording, conversations, tmp_path)
        came = await checked(recording, goldens, conversations)
        record_property("checked", [len(came.reports), came.runs, came.steps, came.seconds])
        assert {key: report.outcome for key, report in came.reports.items()} == dict.fromkeys(came.reports, "passed")
        assert [report.notes for report in came.reports.values() if report.leftovers or report.divergences] == []
        for conversation in conversations:
            report = came.reports[conversation.key]
            assert len(report.runs) == len(conversation.runs)
            assert report.served == sum(turn["role"] in ("assistant", "tool") for turn in conversation.messages) + sum(
                not run.answered for run in conversation.runs
            )

    asyncio.run(proved())


def test_seeded_edits_are_caught_where_they_can_be_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = Recording.load()
    sample = sampled(recording)

    async def rows() -> list[Row]:
        return await table(recording, await recorded(recording, sample, tmp_path), sample)

    found = asyncio.run(rows())
    with capsys.disabled():
        print("", HEAD, *found, sep="\n")
    for row in found:
        assert row.acts_caught == row.acts, f"{row.edit}: what the agent does otherwise is caught in {row.mode} mode"
        if row.mode == "strict" and row.edit != "policy rule":
            assert row.missed == 0, f"{row.edit}: strict mode sees what the agent is"
        if row.edit == "policy rule":
            assert row.caught == row.acts, "a rule about a tool that is never called has not been exercised"
