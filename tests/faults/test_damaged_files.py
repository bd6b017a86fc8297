"""Goal: whatever a disk did to a log, nobody is told of events that are not those which were appended.

Method: the files of a process that was killed in the middle of a run, and of one that ended, are cut, torn and flipped place by place. Of a
write-ahead log the sound beginning counts, and the run goes on from there; of the file itself the damage is an error, a fault that `verify`
names, or without effect.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from afk_es.core import AgentRunEvent, Runner
from afk_es.errors import LogFormatError, RunNotFoundError
from afk_es.log.port import ChainFault
from afk_es.log.sqlite import SqliteEventLog
from tests.crash.child import Gate, agent
from tests.crash.family import child
from tests.crash.journal import Journal

WAL_HEADER = 32
FRAME_HEADER = 24
PAGE = 4096
FRAME = FRAME_HEADER + PAGE


class Recorded(NamedTuple):
    """A log on disk, and what is in it."""

    directory: Path
    run_id: str
    events: list[AgentRunEvent]

    def copied(self, place: Path) -> Path:
        """A copy of the files, to be damaged; without the shared memory and locks of the dead."""
        shutil.copytree(self.directory, place, ignore=shutil.ignore_patterns("*-shm", "*-owners"))
        return place / "runs.db"


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A run whose process was killed before its last tool; all of it is in the write-ahead log."""
    directory = tmp_path_factory.mktemp("killed")
    with child(directory, "run", "sequential", stop="before call_3_1") as one:
        _, run_id = one.hear("run")
        one.hear("at")
        one.kill()
    place = tmp_path_factory.mktemp("read") / "copy"
    events, fault = looked_into(Recorded(directory, run_id, []).copied(place), run_id)
    assert fault is None
    return Recorded(directory, run_id, events)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A run that came to its end, in one file."""
    directory = tmp_path_factory.mktemp("ended")

    async def run() -> str:
        async with Runner(log=directory / "runs.db") as runner:
            return (await runner.run(clerk(directory), user_message="Do it")).run_id

    run_id = asyncio.run(run())
    events, _ = looked_into(directory / "runs.db", run_id)
    return Recorded(directory, run_id, events)


def clerk(directory: Path) -> Any:
    return agent(directory, "sequential", Gate("", False, 0.0))


def looked_into(path: Path, run_id: str) -> tuple[list[AgentRunEvent], ChainFault | None]:
    """The events, and the first fault that `verify` finds."""

    async def look() -> tuple[list[AgentRunEvent], ChainFault | None]:
        log = SqliteEventLog(path)
        try:
            await log.open()
            fault = await log.verify(run_id)
            return await log.read(run_id), fault
        finally:
            await log.close()

    return asyncio.run(look())


def go_on(path: Path, run_id: str) -> tuple[str, str]:
    """Resume the run: state and text."""

    async def resume() -> tuple[str, str]:
        async with Runner(log=path) as runner:
            result = await runner.resume(clerk(path.parent), run_id=run_id)
            assert await runner.log.verify(run_id) is None
            return result.state, result.final_text

    return asyncio.run(resume())


# --------------------------------------------------------------------------------------------------------------- the write-ahead log


def cuts(size: int) -> Iterator[int]:
    """Lengths to which a write-ahead log is cut: none, in its header, between frames, in a frame's header, and in its page."""
    yield from (0, 7, WAL_HEADER)
    for start in range(WAL_HEADER, size - 1, FRAME):
        yield from (start + 10, start + FRAME_HEADER + PAGE // 2, start + FRAME)


@pytest.mark.kill
def test_a_write_ahead_log_that_was_cut_anywhere_is_a_shorter_run_of_whole_appends(tmp_path: Path, killed: Recorded) -> None:
    wal = killed.directory / "runs.db-wal"
    lengths = {}
    for cut in cuts(wal.stat().st_size):
        path = killed.copied(tmp_path / f"cut at {cut}")
        with path.with_name("runs.db-wal").open("r+b") as file:
            file.truncate(cut)
        lengths[cut] = _sound_beginning(path, killed)
    assert list(lengths.values()) == sorted(lengths.values()), "the less was cut off, the more is left"
    assert lengths[max(lengths)] == len(killed.events)
    assert 0 in lengths.values()
    for length in sorted(set(lengths.values()) - {0}):
        cut = next(cut for cut, found in lengths.items() if found == length)
        _resumed_without_repeating(tmp_path / f"cut at {cut}" / "runs.db", killed, length)


@pytest.mark.kill
@pytest.mark.parametrize("half", [0, 1])
def test_a_page_of_the_write_ahead_log_that_was_torn_ends_it(tmp_path: Path, killed: Recorded, half: int) -> None:
    wal = killed.directory / "runs.db-wal"
    lengths = []
    for start in range(WAL_HEADER, wal.stat().st_size - 1, FRAME):
        path = killed.copied(tmp_path / f"torn at {start}")
        _write_over(path.with_name("runs.db-wal"), start + FRAME_HEADER + half * PAGE // 2, b"\xa5" * (PAGE // 2))
        lengths.append(_sound_beginning(path, killed))
    assert lengths == sorted(lengths)
    assert lengths[-1] < len(killed.events), "the last append was torn, and is not there by half"


@pytest.mark.kill
@pytest.mark.parametrize("lost", ["runs.db-wal", "runs.db-shm"])
def test_a_file_beside_the_log_that_is_gone_takes_no_more_with_it_than_it_held(tmp_path: Path, killed: Recorded, lost: str) -> None:
    path = killed.copied(tmp_path / "copy")
    path.with_name(lost).unlink(missing_ok=True)
    assert _sound_beginning(path, killed) == (0 if lost.endswith("wal") else len(killed.events))


def _sound_beginning(path: Path, whole: Recorded) -> int:
    """How many events are left; they are a beginning of the run, in whole appends, and their chain is sound."""
    try:
        events, fault = looked_into(path, whole.run_id)
    except RunNotFoundError:
        return 0  # Not even its first append was left; that is told as what it is.
    assert fault is None
    assert events == whole.events[: len(events)]
    assert events[-1].type not in ("step_started", "policy_decision"), "an append ends where the run waits for the world"
    return len(events)


def _resumed_without_repeating(path: Path, whole: Recorded, length: int) -> None:
    state, text = go_on(path, whole.run_id)
    assert state == "completed"
    assert [line.partition(":")[0] for line in text.splitlines()][1:] == ["call_1_1", "call_2_1", "call_3_1"]
    times = Counter(line["call_id"] for line in Journal(path.parent / "journal.jsonl").lines())
    for event in whole.events[:length]:
        if event.type == "tool_completed":
            assert times[event.data["tool_call_id"]] == 1
        if event.type == "llm_completed":
            assert times[f"model_{event.step}"] == 1


# ------------------------------------------------------------------------------------------------------------------------ the file

HARMLESS = {"error", "named", "not found", "as it was"}
"""What may become of a damaged file. An error names the file or the run; a run that is not found is no run of which something is told."""


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("with_what", [b"\0", b"\xa5"], ids=["zeros", "garbage"])
def test_a_torn_page_is_an_error_a_named_fault_or_nothing_that_was_needed(
    tmp_path: Path, ended: Recorded, half: int, with_what: bytes
) -> None:
    size = (ended.directory / "runs.db").stat().st_size
    seen = Counter(_damage(tmp_path, ended, start + half * PAGE // 2, with_what * (PAGE // 2)) for start in range(0, size, PAGE))
    assert seen["error"] > 0
    assert seen.keys() <= HARMLESS, seen


def test_a_flipped_byte_anywhere_is_an_error_a_named_fault_or_nothing_that_was_needed(tmp_path: Path, ended: Recorded) -> None:
    content = (ended.directory / "runs.db").read_bytes()
    # A prime, so that the places wander through the pages; empty space is passed over.
    places = [place for place in range(0, len(content), 211) if content[place]]
    seen = Counter(_damage(tmp_path, ended, place, bytes([content[place] ^ 0x10])) for place in places)
    assert seen["named"] > 0
    assert seen.keys() <= HARMLESS, seen


@pytest.mark.parametrize("where", ["data", "hash"])
def test_a_flipped_byte_in_an_event_is_named_by_its_seq(tmp_path: Path, ended: Recorded, where: str) -> None:
    """For every event. A row ends with its data and its hash, which no other row has."""
    content = (ended.directory / "runs.db").read_bytes()
    with closing(sqlite3.connect(ended.directory / "runs.db")) as connection:
        rows = connection.execute("SELECT seq, hash FROM events ORDER BY seq").fetchall()
    assert len(rows) == len(ended.events)
    for seq, link in rows:
        place = content.index(link) + (3 if where == "hash" else -2)
        path = ended.copied(tmp_path / f"event {seq}")
        _write_over(path, place, bytes([content[place] ^ 0x01]))
        fault = asyncio.run(_verified(path, ended.run_id))
        assert fault is not None
        assert (fault.run_id, fault.seq) == (ended.run_id, seq)


async def _verified(path: Path, run_id: str) -> ChainFault | None:
    log = SqliteEventLog(path, read_only=True)
    await log.open()
    try:
        return await log.verify(run_id)
    finally:
        await log.close()


def _damage(tmp_path: Path, whole: Recorded, place: int, what: bytes) -> str:
    """What becomes of a log with these bytes at that place."""
    path = whole.copied(tmp_path / "damaged")
    _write_over(path, place, what)
    try:
        return _told(lambda: looked_into(path, whole.run_id), whole)
    finally:
        shutil.rmtree(path.parent)


def _told(look: Callable[[], tuple[list[AgentRunEvent], ChainFault | None]], whole: Recorded) -> str:
    try:
        events, fault = look()
    except LogFormatError as error:
        return "error" if "runs.db" in str(error) or whole.run_id in str(error) else f"nameless error: {error}"
    except RunNotFoundError:
        return "not found"
    if fault is not None:
        return "named"
    return "as it was" if events == whole.events else "told otherwise"


def _write_over(path: Path, place: int, what: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(what)
