"""Goal: others keep tables beside a log and write to them in one transaction with it, all or nothing, and the log's own writers lose nothing by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import asyncpg
import pytest
import pytest_asyncio

from afk_es.errors import (
    ClashError,
    HeadConflictError,
    InvalidEventError,
    LogClosedError,
    LogError,
    LogFullError,
    LogReadOnlyError,
    LogUnavailableError,
)
from afk_es.log import DatabaseLog, EventLog, Statement
from afk_es.log.group_commit import Waiting
from afk_es.log.memory import MemoryEventLog
from afk_es.log.postgres import PostgresEventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing.log_contract import begin, started, turn
from tests.log.test_postgres_tables import behind, opened
from tests.support.waiting import until

T = TypeVar("T")
STORES = ("sqlite", "postgres")


class Log(DatabaseLog, EventLog, Protocol):
    """Both."""


@pytest.fixture(params=STORES)
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("postgres_log") if request.param == "postgres" else str(tmp_path / "runs.db")


def log_at(location: str, **options: Any) -> Log:
    return PostgresEventLog(location, **options) if "://" in location else SqliteEventLog(location, **options)


@pytest_asyncio.fixture
async def log(location: str) -> AsyncIterator[Log]:
    log = log_at(location)
    await log.open()
    await log.transact([Statement("CREATE TABLE notes (id TEXT PRIMARY KEY, body TEXT NOT NULL)")])
    yield log
    await log.close()


def note(name: str, body: str = "") -> Statement:
    return Statement("INSERT INTO notes (body, id) VALUES ($2, $1)", (name, body))


async def notes(log: DatabaseLog) -> list[str]:
    return [name for (name,) in await log.query(Statement("SELECT id FROM notes ORDER BY id"))]


async def test_a_log_in_a_database_says_so(log: Log) -> None:
    assert isinstance(log, DatabaseLog)
    assert not isinstance(MemoryEventLog(), DatabaseLog)
    assert log.dialect == ("postgresql" if isinstance(log, PostgresEventLog) else "sqlite")


async def test_every_statement_gives_its_rows_and_the_next_sees_what_it_did(log: Log) -> None:
    found = await log.transact(
        [
            note("a", "one"),
            Statement("UPDATE notes SET body = body || $1 WHERE id = $2 RETURNING id, body", ("!", "a")),
            Statement("SELECT count(*) FROM notes"),
        ]
    )
    assert found == [[], [("a", "one!")], [(1,)]]
    assert await log.transact([]) == []


async def test_parameters_have_the_numbers_that_the_statement_gives_them(log: Log) -> None:
    """In whatever order they come, more than once, and not where a text only looks like one."""
    statement = Statement("SELECT $2 || '$1' || '''$2', $1 || $2 AS \"$1\"", ("one", "two"))
    assert await log.query(statement) == [("two$1'$2", "onetwo")]


async def test_events_and_statements_are_written_together(log: Log) -> None:
    await log.append_with([started("run_a")], epoch=1, statements=[note("a"), note("b")])
    await log.append_with(turn("run_a", 2), epoch=1, statements=[note("c")])
    await log.append_with([], epoch=1, statements=[note("d")])
    await log.append(turn("run_a", 6), epoch=1)
    assert await notes(log) == ["a", "b", "c", "d"]
    assert [event.seq for event in await log.read("run_a")] == list(range(1, 10))
    assert await log.verify("run_a") is None


async def test_what_a_table_refuses_is_a_clash_and_nothing_is_written(log: Log) -> None:
    await log.transact([note("a")])
    with pytest.raises(ClashError, match="refused what was to be written"):
        await log.transact([note("b"), note("a")])
    with pytest.raises(ClashError, match="refused what was to be written"):
        await log.transact([note("a")])
    with pytest.raises(ClashError, match="refused what was to be written"):
        await log.append_with([started("run_a")], epoch=1, statements=[note("b"), note("a")])
    assert (await notes(log), await log.head("run_a")) == (["a"], None)
    await log.append_with([started("run_a")], epoch=1, statements=[note("b")])
    assert await notes(log) == ["a", "b"]


async def test_an_append_that_is_refused_takes_its_statements_with_it(log: Log) -> None:
    await begin(log, "run_a")
    with pytest.raises(HeadConflictError):
        await log.append_with(turn("run_a", 20), epoch=1, statements=[note("a")])
    with pytest.raises(InvalidEventError):
        await log.append_with(turn("run_a", 6)[::-1], epoch=1, statements=[note("a")])
    assert await notes(log) == []


async def test_a_stale_owner_is_told_that_it_is_stale_whatever_its_statements_are(log: Log, location: str) -> None:
    """Another process goes on with the run: this one's remembered head is old, and only the tables see it."""
    await begin(log, "run_a")
    other = log_at(location)
    await other.open()
    try:
        await other.append(turn("run_a", 6), epoch=1)
    finally:
        await other.close()
    with pytest.raises(HeadConflictError):
        await log.append_with(turn("run_a", 6), epoch=1, statements=[note("a")])
    assert await notes(log) == []


async def test_in_a_group_only_that_fails_whose_statement_is_refused_or_cannot_be_run(log: Log) -> None:
    await log.transact([note("taken")])
    statements = {
        "run_a": note("a"),
        "run_b": note("taken"),
        "run_c": Statement("INSERT INTO nowhere VALUES ($1)", ("c",)),
        "run_d": note("d"),
        "run_e": Statement("INSERT INTO notes (id, body) VALUES ($1, $2)", ("e",)),
        "run_f": note("f"),
    }
    with_statements = [log.append_with([started(name)], epoch=1, statements=[each]) for name, each in statements.items()]
    results = await asyncio.gather(begin(log, "plain_a"), *with_statements, begin(log, "plain_b"), return_exceptions=True)
    assert [type(result).__name__ for result in results[1:-1]] == ["NoneType", "ClashError", "LogError", "NoneType", "LogError", "NoneType"]
    assert (results[0], results[-1]) == (None, None)
    assert await notes(log) == ["a", "d", "f", "taken"]
    heads = [await log.head(name) for name in (*statements, "plain_a", "plain_b")]
    assert [head.seq if head else None for head in heads] == [1, None, None, 1, None, 1, 5, 5]


@pytest.mark.parametrize(
    "wrong",
    [
        Statement("SELECT * FROM nowhere"),
        Statement("SELEKT"),
        Statement("SELECT id FROM notes WHERE id = $1", ("a", "b")),
        Statement("SELECT id FROM notes WHERE id = $1", (object(),)),
        Statement("SELECT id FROM notes; SELECT id FROM notes"),
    ],
)
async def test_a_statement_that_is_wrong_is_not_taken_for_a_log_that_is_unavailable(log: Log, wrong: Statement) -> None:
    """Whoever waits for a log to come back would wait for ever."""
    for attempt in (log.query(wrong), log.transact([wrong]), log.transact([note("a"), wrong])):
        with pytest.raises(LogError) as caught:
            await attempt
        assert not isinstance(caught.value, LogUnavailableError), caught.value
        assert log.location in str(caught.value)
    assert await notes(log) == []
    await log.transact([note("a"), note("b")])
    assert await notes(log) == ["a", "b"]


async def test_whoever_begins_the_same_run_at_the_same_time_does_not_fail_for_a_statement_that_cannot_be_run(log: Log) -> None:
    got = await asyncio.gather(
        log.append_with([started("run_a")], epoch=1, statements=[Statement("INSERT INTO nowhere VALUES (1)")]),
        log.append_with([started("run_a")], epoch=1, statements=[note("a")]),
        return_exceptions=True,
    )
    assert [type(each) for each in got] == [LogError, type(None)]
    assert await notes(log) == ["a"]


async def test_what_was_asked_for_lands_though_nobody_waits_for_it_any_more(log: Log) -> None:
    waiting = [
        asyncio.create_task(log.transact([note("a"), note("b")])),
        asyncio.create_task(log.transact([note("c")])),
        asyncio.create_task(log.append_with([started("run_a")], epoch=1, statements=[note("d")])),
    ]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert all(task.cancelled() for task in waiting)
    await log.transact([Statement("SELECT 1")])
    assert await notes(log) == ["a", "b", "c", "d"]
    assert await log.head("run_a") is not None


async def test_what_waits_when_a_log_is_closed_lands(log: Log, location: str) -> None:
    waiting = asyncio.gather(*(log.transact([note(f"{number}"), note(f"{number}+")]) for number in range(5)))
    await asyncio.sleep(0)
    await log.close()
    await waiting
    with pytest.raises(LogClosedError):
        await log.transact([note("late")])
    with pytest.raises(LogClosedError):
        await log.query(Statement("SELECT 1"))
    await log.open()
    assert len(await notes(log)) == 10


async def test_a_log_that_is_only_read_answers_and_refuses_to_write(log: Log, location: str) -> None:
    await log.transact([note("a")])
    reader = log_at(location, read_only=True)
    await reader.open()
    try:
        assert await notes(reader) == ["a"]
        with pytest.raises(LogReadOnlyError):
            await reader.transact([note("b")])
        with pytest.raises(LogReadOnlyError):
            await reader.append_with([started("run_a")], epoch=1, statements=[note("b")])
        with pytest.raises(LogReadOnlyError):
            await reader.query(Statement("INSERT INTO notes VALUES ('b', '') RETURNING id"))
    finally:
        await reader.close()


async def test_a_full_quota_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "runs.db", max_size_bytes=200_000)
    await log.open()
    try:
        await log.transact([Statement("CREATE TABLE notes (id TEXT PRIMARY KEY, body TEXT NOT NULL)")])
        with pytest.raises(LogFullError, match="full"):
            await log.append_with([started("run_a")], epoch=1, statements=[note("a", "x" * 500_000)])
        with pytest.raises(LogFullError, match="full"):
            await log.transact([note("a"), note("b", "x" * 500_000)])
        assert (await notes(log), await log.head("run_a")) == ([], None)
        await log.append_with([started("run_a")], epoch=1, statements=[note("a")])
        assert await notes(log) == ["a"]
    finally:
        await log.close()


async def test_a_full_disk_of_a_server_is_said_and_nothing_is_half_written(postgres_log: str) -> None:
    """Method: as where appends are tested, a trigger that raises what the server raises."""
    async with with_notes(postgres_log) as (log, operator):
        await operator.execute(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;"
            "CREATE TRIGGER no_room BEFORE INSERT ON notes FOR EACH STATEMENT EXECUTE FUNCTION no_room()"
        )
        with pytest.raises(LogFullError, match=r"disk is full.*53100"):
            await log.append_with([started("run_a")], epoch=1, statements=[note("a")])
        with pytest.raises(LogFullError, match=r"disk is full.*53100"):
            await log.transact([note("a")])
        assert await log.head("run_a") is None
        await operator.execute("DROP TRIGGER no_room ON notes")
        await log.append_with([started("run_a")], epoch=1, statements=[note("a")])
        assert await notes(log) == ["a"]


@asynccontextmanager
async def with_notes(url: str, **options: object) -> AsyncIterator[tuple[PostgresEventLog, asyncpg.Connection]]:
    """A log with a table beside it, and a session of somebody else. A note waits for the lock 1 where it is written, for 2 at the end."""
    async with opened(url, **options) as log, behind(url) as operator:
        await operator.execute(
            "CREATE TABLE notes (id TEXT PRIMARY KEY, body TEXT NOT NULL);"
            "CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_advisory_xact_lock_shared(hashtext(TG_TABLE_SCHEMA), TG_ARGV[0]::integer); RETURN NULL; END $$;"
            "CREATE TRIGGER waits AFTER INSERT ON notes FOR EACH ROW EXECUTE FUNCTION waits(1);"
            "CREATE CONSTRAINT TRIGGER waits_at_the_end AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION waits(2)"
        )
        yield log, operator


async def cut_while_waiting(operator: asyncpg.Connection, lock: int, log: PostgresEventLog, writing: Awaitable[T]) -> T:
    """Cut the log's connections while what it writes waits for that lock."""
    async with operator.transaction():
        await operator.execute("SELECT pg_advisory_xact_lock(hashtext(current_schema()), $1)", lock)
        task = asyncio.ensure_future(writing)
        await until(lambda: operator.fetch("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = $1", lock))
        await operator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%' || $1", log.owner)
    return await task


@pytest.mark.parametrize("lock", [1, 2], ids=["in the middle", "at the commit"])
async def test_an_append_whose_connection_is_lost_lands_once_with_its_statements(postgres_log: str, lock: int) -> None:
    async with with_notes(postgres_log) as (log, operator):
        await cut_while_waiting(operator, lock, log, log.append_with([started("run_a")], epoch=1, statements=[note("a"), note("b")]))
        assert await notes(log) == ["a", "b"]
        assert [event.seq for event in await log.read("run_a")] == [1]


async def test_a_transaction_whose_connection_is_lost_before_its_end_is_run_again(postgres_log: str) -> None:
    async with with_notes(postgres_log) as (log, operator):
        found = await cut_while_waiting(operator, 1, log, log.transact([note("a"), Statement("SELECT count(*) FROM notes")]))
        assert found == [[], [(1,)]]


async def test_where_it_is_lost_at_the_end_it_is_said_that_nobody_knows(postgres_log: str) -> None:
    async with with_notes(postgres_log) as (log, operator):
        with pytest.raises(LogUnavailableError, match="whether they wrote is not known"):
            await cut_while_waiting(operator, 2, log, log.transact([note("a"), note("b")]))
        with pytest.raises(LogUnavailableError, match="whether they wrote is not known"):
            await cut_while_waiting(operator, 1, log, log.transact([note("a")]))
        assert await notes(log) == []
        await log.transact([note("a")])


async def test_two_transactions_that_wait_for_each_other_both_come_to_their_end(postgres_log: str) -> None:
    """PostgreSQL ends one of them with an error (40P01), and it is run again."""
    async with opened(postgres_log) as first, opened(postgres_log) as second:
        await first.transact([Statement("CREATE TABLE notes (id TEXT PRIMARY KEY, body TEXT)")])
        await first.transact([note("a"), note("b")])

        def change(names: str) -> list[Statement]:
            return [
                Statement("SET LOCAL deadlock_timeout = '10ms'"),
                *(Statement("UPDATE notes SET body = body || '!' WHERE id = $1", (name,)) for name in names),
            ]

        for _ in range(20):
            await asyncio.gather(first.transact(change("ab")), second.transact(change("ba")))
        assert await first.query(Statement("SELECT body FROM notes")) == [("!" * 40,)] * 2


async def test_a_table_that_was_changed_by_another_process_is_written_to_as_it_is_now(postgres_log: str) -> None:
    """The driver has prepared what its table no longer answers."""
    everything = Statement("SELECT * FROM notes ORDER BY id")
    async with with_notes(postgres_log) as (log, operator):
        await log.transact([note("a"), everything])
        await operator.execute("ALTER TABLE notes ADD COLUMN more TEXT DEFAULT 'new'")
        assert (await log.transact([note("b"), everything]))[1] == [("a", "", "new"), ("b", "", "new")]
        assert await notes(log) == ["a", "b"]


async def test_appends_do_not_share_a_transaction_with_those_that_bring_statements(tmp_path: Path) -> None:
    """They would wait for them, and be written one by one where a statement is refused."""
    log = SqliteEventLog(tmp_path / "runs.db")
    await log.open()
    try:
        assert log._writer is not None
        groups: list[int] = []
        settle = log._writer._settle

        async def noted(group: list[Waiting]) -> None:
            groups.append(len(group))
            await settle(group)

        log._writer._settle = noted  # type: ignore[method-assign]
        nothing = [Statement("SELECT 1"), Statement("SELECT 2")]
        appends = [log.append([started(f"run_{number}")], epoch=1) for number in range(5)]
        with_statements = [log.append_with([started(f"task_{number}")], epoch=1, statements=nothing) for number in range(3)]
        await asyncio.gather(*appends, *with_statements, log.append([started("run_last")], epoch=1))
        assert groups == [5, 3, 1]
    finally:
        await log.close()
