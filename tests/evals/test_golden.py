"""A golden is a run of a log in a file: written, read and opened again it tells the same story, under names that stay and without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from afk_es.evals import Golden
from afk_es.log import open_log
from afk_es.views import problems
from tests.support.stories import Stories

ENDED = ("failing", "trial_1", "trial_2", "looping", "cost_limit", "denied", "team", "earlier")


@pytest.mark.parametrize("name", ENDED)
async def test_a_golden_of_a_run_is_read_back_as_a_log_that_verifies(stories: Stories, tmp_path: Path, name: str) -> None:
    log = open_log(str(stories.log))
    await log.open()
    golden = await Golden.of(log, stories.run_ids[name], name=name)
    await log.close()
    read = golden.write(tmp_path / f"{name}.golden.jsonl")
    assert (read.header, read.text(), read.edited) == (golden.header, golden.text(), False)
    opened = await read.open_log()
    for record in await opened.runs():
        assert await opened.verify(record.run_id) is None
        assert not list(problems(await opened.read(record.run_id)))
