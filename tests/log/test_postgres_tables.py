"""Goal: the tables of a log on PostgreSQL are made once, recognised, and refuse what must not be; what another has made is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from afk_es.errors import ConfigurationError, CorruptLogError, ForeignLogError, LogError, LogReadOnlyError, NewerLogError
from afk_es.log.postgres import PostgresEventLog
from afk_es.log.postgres_address import address_of
from afk_es.log.postgres_queries import kept, meant
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing.log_contract import begin, forked, started, turn, warning


@asynccontextmanager
async def opened(url: str, **options: object) -> AsyncIterator[PostgresEventLog]:
    log = PostgresEventLog(url, **options)  # type: ignore[arg-type]  # options by name
    await log.open()
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def behind(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A session of somebody else in the log's schema."""
    address = address_of(url)
    connection = await asyncpg.connect(address.dsn)
    try:
        await connection.execute(f"SET search_path = {address.schema}")
        yield connection
    finally:
        await connection.close()


async def test_many_that_open_a_new_log_at_once_make_it_once(postgres_log: str) -> None:
    logs = [PostgresEventLog(postgres_log) for _ in range(6)]
    await asyncio.gather(*(log.open() for log in logs))
    await asyncio.gather(*(begin(log, f"run_{number}") for number, log in enumerate(logs)))
    assert len(await logs[0].runs()) == 6
    await asyncio.gather(*(log.close() for log in logs))
    async with behind(postgres_log) as connection:
        assert await connection.fetchval("SELECT count(*) FROM afk_es_log") == 1


async def test_several_logs_share_a_database_and_know_nothing_of_each_other(postgres_log: str) -> None:
    async with opened(postgres_log) as one, opened(postgres_log, schema=f"{address_of(postgres_log).schema}_b") as other:
        await begin(one, "run_a")
        assert await other.head("run_a") is None
        await begin(other, "run_a")
        assert not await other.alive(one.owner, "run_a"), "an owner is an owner in its own log"
        assert one.location != other.location


async def test_tables_of_another_application_are_left_alone(postgres_log: str) -> None:
    address = address_of(postgres_log)
    connection = await asyncpg.connect(address.dsn)
    await connection.execute(f"CREATE SCHEMA {address.schema}; CREATE TABLE {address.schema}.invoices (id integer)")
    await connection.close()
    for read_only in (False, True):
        with pytest.raises(ForeignLogError, match=r"tables of another application \(invoices\)"):
            await PostgresEventLog(postgres_log, read_only=read_only).open()


async def test_a_log_of_a_newer_version_is_refused(postgres_log: str) -> None:
    async with opened(postgres_log), behind(postgres_log) as connection:
        await connection.execute("INSERT INTO afk_es_log (version) VALUES (99)")
    for read_only in (False, True):
        with pytest.raises(NewerLogError, match=r"version 99.*upgrade afk_es"):
            await PostgresEventLog(postgres_log, read_only=read_only).open()


async def test_half_a_log_is_refused(postgres_log: str) -> None:
    async with opened(postgres_log), behind(postgres_log) as connection:
        await connection.execute("ALTER TABLE letters RENAME TO post")
    with pytest.raises(ForeignLogError, match="no table letters"):
        await PostgresEventLog(postgres_log).open()


async def test_a_log_without_its_guards_is_read_and_not_written(postgres_log: str) -> None:
    async with opened(postgres_log) as log, behind(postgres_log) as connection:
        await begin(log, "run_a")
        await connection.execute("ALTER TABLE events DISABLE TRIGGER events_stay")
    with pytest.raises(CorruptLogError, match="lacks the trigger events_stay"):
        await PostgresEventLog(postgres_log).open()
    async with opened(postgres_log, read_only=True) as log:
        assert len(await log.read("run_a")) == 5


async def test_a_log_that_is_not_there_is_not_made_to_be_read(postgres_log: str) -> None:
    with pytest.raises(LogError, match="there is no log at"):
        await PostgresEventLog(postgres_log, read_only=True).open()
    async with behind(postgres_log) as connection:
        assert not await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = $1", address_of(postgres_log).schema)


async def test_a_log_that_is_only_read_takes_nothing(postgres_log: str) -> None:
    async with opened(postgres_log) as log:
        await begin(log, "run_a")
        async with opened(postgres_log, read_only=True) as reader:
            with pytest.raises(LogReadOnlyError, match="opened read-only"):
                await reader.append(turn("run_a", 6), epoch=1)
            assert not await log.alive(reader.owner, "run_a")


@pytest.mark.parametrize("table", ["events", "runs", "parts", "forks", "letters"])
@pytest.mark.parametrize("attempt", ["DELETE FROM {0}", "TRUNCATE {0}", "UPDATE {0} SET {1} = {1}"])
async def test_nothing_is_changed_or_deleted_by_ordinary_means(postgres_log: str, table: str, attempt: str) -> None:
    column = {"parts": "content", "letters": "message", "forks": "base_seq", "runs": "run_id", "events": "message"}[table]
    async with opened(postgres_log), behind(postgres_log) as connection:
        with pytest.raises(asyncpg.PostgresError, match=f"{table} are never changed and never deleted"):
            await connection.execute(attempt.format(table, column))


@pytest.mark.parametrize(
    ("seq", "epoch", "kind"),
    [(7, 1, "warning"), (6, 2, "warning"), (6, 1, "run_started"), (6, 3, "run_started"), (1, 1, "run_started")],
)
async def test_a_row_that_does_not_follow_is_refused_whoever_inserts_it(postgres_log: str, seq: int, epoch: int, kind: str) -> None:
    async with opened(postgres_log) as log, behind(postgres_log) as connection:
        await begin(log, "run_a")
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await connection.execute(_ROW, 1, seq, epoch, kind)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="does not follow"):
            await connection.execute(_ROW, 99, 1, 1, "run_started")
        await connection.execute(_ROW, 1, 6, 1, "warning")


async def test_what_a_run_shares_is_not_said_later(postgres_log: str) -> None:
    async with opened(postgres_log) as log, behind(postgres_log) as connection:
        await begin(log, "run_a")
        await begin(log, "run_b")
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="a fork begins behind"):
            await connection.execute("INSERT INTO forks (run, base_run, base_seq) VALUES (2, 1, 3)")


_ROW = "INSERT INTO events (run, at, seq, epoch, step, schema_version, type, data, hash) VALUES ($1, 0, $2, $3, 1, 1, $4, '{}', '')"


async def test_a_role_that_may_select_and_insert_is_enough(postgres_log: str) -> None:
    """The README advises two roles: the one that owns the tables, and the one that programs have."""
    address = address_of(postgres_log)
    role = f"worker_{address.schema}"
    async with opened(postgres_log), behind(postgres_log) as connection:
        await connection.execute(
            f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {address.schema} TO {role};"
            f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {address.schema} TO {role}"
        )
        async with opened(postgres_log.replace("postgres@", f"{role}@")) as log:
            await begin(log, "run_a")
            await log.append([forked("run_f", "run_a", 3), *turn("run_f", 5)], epoch=2)
            assert await log.verify("run_f") is None
            assert not (await log.server_facts()).could_change
        await connection.execute(f"REVOKE INSERT ON events FROM {role}")
        async with opened(postgres_log.replace("postgres@", f"{role}@")) as log:
            assert len(await log.read("run_a")) == 5
            with pytest.raises(LogReadOnlyError, match="GRANT USAGE"):
                await begin(log, "run_b")
            assert not (await log.server_facts()).writable


async def test_a_database_that_cannot_keep_every_text_is_refused(postgres: str) -> None:
    connection = await asyncpg.connect(postgres)
    try:
        if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = 'latin'"):
            await connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        with pytest.raises(ConfigurationError, match="keeps texts as LATIN1"):
            await PostgresEventLog(postgres.replace("/postgres?", "/latin?")).open()
    finally:
        await connection.close()


@pytest.mark.parametrize(("durability", "expected"), [("full", "on"), ("normal", "off")])
async def test_durability_is_whether_a_commit_waits_for_the_disk(postgres_log: str, durability: str, expected: str) -> None:
    async with opened(postgres_log, durability=durability) as log:
        assert log._writing_line is not None
        assert (await log._writing_line.fetch("SELECT current_setting('synchronous_commit')"))[0][0] == expected


async def test_full_durability_does_not_lower_what_the_server_is_set_to(postgres_log: str) -> None:
    async with opened(f"{postgres_log}&synchronous_commit=remote_apply") as log:
        assert log._writing_line is not None
        assert (await log._writing_line.fetch("SELECT current_setting('synchronous_commit')"))[0][0] == "remote_apply"


@pytest.mark.parametrize("text", ["", "a", "\0", "\x10", "\x100", "\0\x10\0", "\x10\0", "\x10\x10\0" + "0", "a\0b\x10c0\x10\x10"])
def test_a_text_with_nul_is_kept_without(text: str) -> None:
    assert "\0" not in kept(text)
    assert meant(kept(text)) == text


async def test_both_stores_hold_the_same_bytes(postgres_log: str, tmp_path: object) -> None:
    """The same events have the same links in SQLite and in PostgreSQL, a fork's as well."""
    sqlite = SqliteEventLog(f"{tmp_path}/runs.db")
    await sqlite.open()
    async with opened(postgres_log) as log:
        for store in (sqlite, log):
            await begin(store, "run_a")
            await store.append([warning("run_a", 6, message="nul \0 and \x10", state="a\0b")], epoch=1)
            await store.append([forked("run_f", "run_a", 4), *turn("run_f", 6)], epoch=2)
        for run_id, last in (("run_a", 6), ("run_f", 9)):
            links = [await sqlite.link(run_id, seq) for seq in range(1, last + 1)]
            assert links == [await log.link(run_id, seq) for seq in range(1, last + 1)]
            assert await sqlite.read(run_id) == await log.read(run_id)
        assert await sqlite.runs() == await log.runs()
    await sqlite.close()


async def test_an_id_too_long_for_an_index_is_refused_in_words(postgres_log: str) -> None:
    async with opened(postgres_log) as log:
        with pytest.raises(LogError, match="at most 2600 bytes"):
            await log.append([started("ä" * 1_500)], epoch=1)
        await begin(log, "ä" * 1_300)
