"""All recorded conversations through the Runner, over HTTP, through LiteLLM, on one SQLite log: nothing is lost, added or changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from afk_es.core import Runner, RunnerConfig
from afk_es.log import open_log
from afk_es.machine.rendering import render_output
from tests.support.tau import Recording, RenderTool, recorded_exactly
from tests.tau.airline import EXACT, Tally, airline_server, play_all
from tests.tau.checks import check_log, check_results

pytestmark = pytest.mark.tau

SHARDS = 8
"""Parts of the recording, so that xdist has something to spread. Each has its own server, log and event loop."""

_DEFAULT = RunnerConfig()


def rendered_by_default(_tool_name: str, recorded: str) -> str:
    """The recorded text as a Runner shows it to the model unless told otherwise: as untrusted data, made harmless."""
    return render_output(recorded, _DEFAULT.rendering())


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize(
    ("config", "render", "streamed"),
    [(EXACT, recorded_exactly, False), (EXACT, recorded_exactly, True), (_DEFAULT, rendered_by_default, False)],
    ids=["exact", "exact and streamed", "sanitised"],
)
def test_every_run_ends_as_it_was_recorded(
    config: RunnerConfig, render: RenderTool, streamed: bool, shard: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    recording = Recording.load()
    conversations = list(recording.conversations.values())[shard::SHARDS]
    if not conversations:
        pytest.skip("there are fewer conversations than shards")

    async def played() -> None:
        began = time.perf_counter()
        with airline_server(recording, render=render) as server:
            results = await play_all(Runner(log=path, config=config), recording, conversations, server.url, streamed=streamed)
        tally = Tally.of(results, time.perf_counter() - began)
        record_property("tally", [tally.conversations, tally.runs, tally.model_calls, tally.tool_calls, tally.seconds])
        log = open_log(path)
        await log.open()
        try:
            for conversation in conversations:
                check_results(conversation, results[conversation.key])
                bodies = [received.body for received in server.requests if received.body["model"] == conversation.key]
                assert all(bool(body.get("stream")) is streamed for body in bodies)
                await check_log(log, recording, conversation, bodies)
        finally:
            await log.close()
        assert len(server.requests) == tally.model_calls

    path = tmp_path / "airline.db"
    asyncio.run(played())
