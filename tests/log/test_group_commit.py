"""Goal: appends that wait together share a transaction, and one that fails does not take the others with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from afk_es.errors import ClashError, InvalidEventError
from afk_es.log import open_log
from afk_es.log.batch import Base, Batch, encode_batch
from afk_es.log.codec import Codec
from afk_es.log.group_commit import EVENTS_IN_A_GROUP, GroupCommit, Placed, Tail, UncertainError
from afk_es.log.port import Statement
from afk_es.log.sqlite import SqliteEventLog
from afk_es.log.sqlite_file import open_writer
from afk_es.log.sqlite_writer import EVENTS_IN_A_STATEMENT, Writer
from afk_es.machine import AgentRunEvent
from afk_es.testing.log_contract import begin, started, turn


async def _traced(path: Path) -> tuple[Writer, list[str]]:
    """A writer, and the beginnings of the statements it executes."""
    connection = await open_writer(path, durability="normal", busy_timeout_s=1.0, max_size_bytes=None)
    writer = Writer(connection, path, lambda: None)
    statements: list[str] = []
    last = ""

    def note(sql: str) -> None:
        nonlocal last
        if sql != last:  # A statement with its values is reported again for each trigger it sets off.
            statements.append(sql.split("(")[0].strip())
        last = sql

    await connection.set_trace_callback(note)
    return writer, statements


async def _all_at_once(writer: Writer, names: list[str], seq: int) -> None:
    codec = Codec()
    batches = [encode_batch(codec, [started(name)] if seq == 1 else turn(name, seq), 1) for name in names]
    await asyncio.gather(*(writer.append(batch) for batch in batches))


async def test_a_few_known_runs_are_one_statement(tmp_path: Path) -> None:
    writer, statements = await _traced(tmp_path / "runs.db")
    names = [f"run_{number}" for number in range(EVENTS_IN_A_STATEMENT // 4)]
    await _all_at_once(writer, names, 1)
    statements.clear()
    await _all_at_once(writer, names, 2)
    await writer.close()
    assert statements == ["INSERT INTO events"]


async def test_hundreds_of_runs_share_a_transaction(tmp_path: Path) -> None:
    writer, statements = await _traced(tmp_path / "runs.db")
    names = [f"run_{number}" for number in range(300)]
    await _all_at_once(writer, names, 1)
    assert (statements.count("BEGIN IMMEDIATE"), statements.count("COMMIT")) == (1, 1)
    assert sum(sql.startswith("INSERT OR IGNORE INTO parts") for sql in statements) == 1
    statements.clear()
    await _all_at_once(writer, names, 2)
    await writer.close()
    assert (statements.count("BEGIN IMMEDIATE"), statements.count("COMMIT")) == (1, 1)


async def test_a_group_is_bounded(tmp_path: Path) -> None:
    writer, statements = await _traced(tmp_path / "runs.db")
    names = [f"run_{number}" for number in range(EVENTS_IN_A_GROUP // 4 + 1)]
    await _all_at_once(writer, names, 1)
    statements.clear()
    await _all_at_once(writer, names, 2)
    await writer.close()
    assert statements.count("COMMIT") == 1
    assert statements[-1] == "INSERT INTO events"


async def test_two_batches_of_one_run_may_be_in_one_group(tmp_path: Path) -> None:
    writer, statements = await _traced(tmp_path / "runs.db")
    codec = Codec()
    batches = [encode_batch(codec, items, 1) for items in ([started("run_a")], turn("run_a", 2), turn("run_a", 6))]
    await asyncio.gather(*(writer.append(batch) for batch in batches))
    await writer.close()
    assert statements.count("COMMIT") == 1
    assert statements.count("INSERT INTO events") == 9


async def test_whoever_is_refused_because_another_was_faster_is_told_when_that_one_is_in_the_file(tmp_path: Path) -> None:
    """In one group as well: so who looks who was faster finds them."""
    writer, statements = await _traced(tmp_path / "runs.db")
    codec = Codec()
    committed: list[bool] = []

    async def begins(thread_id: str) -> None:
        try:
            await writer.append(encode_batch(codec, [_begun(thread_id)], 1))
        except InvalidEventError:
            committed.append("COMMIT" in statements)

    await asyncio.gather(*(begins(f"thread_{number}") for number in range(3)))
    await writer.close()
    assert committed == [True, True]


class LosesItsConnection:
    """The `Rows` of a store whose first group is written, and nobody hears of it."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.heads: dict[str, Tail] = {}

    async def tails(self, run_ids: list[str]) -> dict[str, Tail]:
        return {run_id: self.heads[run_id] for run_id in run_ids if run_id in self.heads}

    async def base(self, base: Base) -> None:
        return None

    async def has(self, batch: Batch) -> bool:
        return batch.run_id in self.heads

    async def write(self, placed: list[Placed], new_runs: dict[str, str], new_parts: dict[str, str]) -> dict[str, int]:
        if any(item.waiting.batch.run_id in self.heads for item in placed):
            raise ClashError
        self.groups.append([item.waiting.batch.thread_id for item in placed])
        self.heads |= {item.waiting.batch.run_id: Tail(1, item.head) for item in placed}
        raise UncertainError

    async def transact(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        raise UncertainError

    async def restore(self) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_of_two_that_want_one_place_the_first_has_it_when_the_connection_was_lost() -> None:
    """Though their rows are alike: what tells them apart, their threads, stands elsewhere."""
    rows, codec = LosesItsConnection(), Codec()
    commit = GroupCommit(rows, "the log")
    batches = [encode_batch(codec, [_begun(thread_id)], 1) for thread_id in ("first", "second")]
    results = await asyncio.gather(*(commit.append(batch) for batch in batches), return_exceptions=True)
    await commit.close()
    assert rows.groups == [["first"]]
    assert [str(result) for result in results] == ["None", "run run_a belongs to thread first, not to second"]


@pytest.mark.parametrize("turns", [1, 2, 3, 5, 8, 13, 40])
def test_what_waits_when_the_event_loop_ends_lands_with_what_is_appended_on_the_way_out(tmp_path: Path, turns: int) -> None:
    """The end of an event loop cancels the writer's task with all others, in the middle of a group and with more in the queue."""
    names = [f"run_{number}" for number in range(100)]

    async def owner(log: SqliteEventLog, name: str) -> None:
        try:
            await begin(log, name)
            await asyncio.Event().wait()
        finally:
            await log.append(turn(name, 6), epoch=1)

    async def close_behind(log: SqliteEventLog, owners: list[asyncio.Task[None]]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.wait(owners)
            await log.close()

    async def program() -> list[asyncio.Task[None]]:
        log = SqliteEventLog(tmp_path / "runs.db")
        await log.open()
        owners = [asyncio.create_task(owner(log, name)) for name in names]
        closing = asyncio.create_task(close_behind(log, owners))
        for _ in range(turns):
            await asyncio.sleep(0)
        return [*owners, closing]

    asyncio.run(program())
    assert asyncio.run(_seqs(tmp_path / "runs.db", names)) == dict.fromkeys(names, 9)


async def _seqs(path: Path, names: list[str]) -> dict[str, int | None]:
    log = SqliteEventLog(path, read_only=True)
    await log.open()
    try:
        heads = {name: await log.head(name) for name in names}
    finally:
        await log.close()
    return {name: head.seq if head is not None else None for name, head in heads.items()}


def _begun(thread_id: str) -> AgentRunEvent:
    return replace(started("run_a"), thread_id=thread_id)


STORES = ("sqlite", "postgres")


@pytest.fixture
def location(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A log of this test's own."""
    return request.getfixturevalue("postgres_log") if store == "postgres" else str(tmp_path / "runs.db")


@pytest.mark.parametrize("store", STORES)
async def test_an_append_is_refused_by_what_is_stored_and_not_by_what_waits_beside_it(location: str) -> None:
    """Whoever is refused finds the run that is in its way, wherever it looks: it may have to join it."""
    log = open_log(location)
    await log.open()
    try:

        async def begin_in(thread_id: str) -> tuple[str, str | None]:
            try:
                await log.append([_begun(thread_id)], epoch=1)
            except InvalidEventError as error:
                head = await log.head("run_a")
                return str(error), head.thread_id if head is not None else None
            return "", thread_id

        results = await asyncio.gather(*(begin_in(f"thread_{number}") for number in range(5)))
    finally:
        await log.close()
    assert [found for _error, found in results] == ["thread_0"] * 5
    assert [error for error, _found in results if error] == [
        f"run run_a belongs to thread thread_0, not to thread_{number}" for number in range(1, 5)
    ]


@pytest.mark.parametrize("store", STORES)
async def test_appends_that_wait_together_are_refused_by_what_another_process_wrote(location: str) -> None:
    logs = [open_log(location) for _ in range(2)]
    for log in logs:
        await log.open()
    try:
        await logs[0].append([_begun("theirs")], epoch=1)
        # The second store has not seen it: the first of these has a place until it is written, and the others none because of it.
        refused = await asyncio.gather(
            *(logs[1].append([_begun(f"ours_{number}")], epoch=1) for number in range(3)), return_exceptions=True
        )
        await begin(logs[1], "run_b")
    finally:
        for log in logs:
            await log.close()
    assert [str(error) for error in refused] == [f"run run_a belongs to thread theirs, not to ours_{number}" for number in range(3)]
