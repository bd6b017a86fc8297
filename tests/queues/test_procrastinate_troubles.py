"""What can be wrong with procrastinate's tables, or with the way to them, is said in words, ends, and costs nothing that was sent."""

from __future__ import annotations

import asyncio
import datetime as dt
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from afk_es.errors import ConfigurationError, LogError, LogFormatError, LogReadOnlyError, LogUnavailableError, NewerLogError
from afk_es.log.postgres import PostgresEventLog
from afk_es.log.postgres_address import address_of
from afk_es.queues import Parcel
from afk_es.queues import procrastinate_rows as rows
from afk_es.queues.procrastinate import QUEUE_BYTES, ProcrastinateConsumer, ProcrastinateDispatcher


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[ProcrastinateDispatcher]:
    log = PostgresEventLog(url)
    await log.open()
    dispatcher = ProcrastinateDispatcher(url, **options)
    try:
        await dispatcher.open()
        yield dispatcher
    finally:
        await dispatcher.close()
        await log.close()


@asynccontextmanager
async def beside(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A session of somebody else's, in the log's schema."""
    address = address_of(url)
    connection = await asyncpg.connect(address.dsn)
    try:
        await connection.execute(f"SET search_path = {address.schema}")
        yield connection
    finally:
        await connection.close()


async def test_tables_that_lack_something_are_older_or_damaged(postgres_log: str) -> None:
    async with opened(postgres_log), beside(postgres_log) as other:
        await other.execute("DROP FUNCTION procrastinate_retry_job_v2")
    with pytest.raises(LogFormatError, match=r"lack procrastinate_retry_job_v2\. Apply its migrations .*sql/migrations"):
        async with opened(postgres_log):
            pass


async def test_tables_of_a_newer_version_are_told_from_older_ones(postgres_log: str) -> None:
    async with opened(postgres_log), beside(postgres_log) as other:
        await other.execute("ALTER FUNCTION procrastinate_fetch_job_v2 RENAME TO procrastinate_fetch_job_v9")
    with pytest.raises(NewerLogError, match="they have procrastinate_fetch_job_v9 and lack procrastinate_fetch_job_v2"):
        async with opened(postgres_log):
            pass


async def test_a_newer_version_that_only_added_is_used(postgres_log: str) -> None:
    async with opened(postgres_log), beside(postgres_log) as other:
        await other.execute("CREATE FUNCTION procrastinate_fetch_job_v9() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    async with opened(postgres_log) as dispatcher:
        await dispatcher.send([Parcel("a", "one")])


async def test_indexes_of_ours_that_are_lacking_are_made(postgres_log: str) -> None:
    async with opened(postgres_log), beside(postgres_log) as other:
        await other.execute("DROP INDEX afk_es_terms")
    async with opened(postgres_log), beside(postgres_log) as other:
        assert await other.fetchval("SELECT to_regclass('afk_es_terms')") is not None


async def test_a_role_that_may_not_make_tables_is_told_so_and_one_that_may_use_them_works(postgres_log: str) -> None:
    schema = address_of(postgres_log).schema
    role = f"role_{schema}"
    theirs = postgres_log.replace("postgres@", f"{role}@")
    log = PostgresEventLog(postgres_log)
    await log.open()
    async with beside(postgres_log) as other:
        await other.execute(f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role}")
        try:
            with pytest.raises(LogReadOnlyError, match="the role may not do that"):
                await ProcrastinateDispatcher(theirs).open()
            async with opened(postgres_log):
                pass
            await other.execute(
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};"
                f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
            )
            dispatcher = ProcrastinateDispatcher(theirs)
            try:
                await dispatcher.open()
                await dispatcher.send([Parcel("a", "one", lane="l")])
                consumer = await dispatcher.join("a worker", 30)
                (delivery,) = await consumer.take(("one",), 1)
                assert await consumer.beat()
                await consumer.done(delivery)
                await consumer.recover()
                await consumer.leave()
            finally:
                await dispatcher.close()
        finally:
            await other.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
            await log.close()


async def test_a_password_is_never_shown() -> None:
    dispatcher = ProcrastinateDispatcher("postgresql://me:s3cret-word@127.0.0.1:1/there")
    with pytest.raises(LogUnavailableError, match=r"me@127\.0\.0\.1:1/there: the server cannot be reached") as told:
        await dispatcher.open()
    await dispatcher.close()
    assert "s3cret" not in "".join(traceback.format_exception(told.value))


@pytest.mark.parametrize("options", [{"connections": 0}, {"timeout_s": 0}])
async def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ProcrastinateDispatcher("postgresql://host/there", **options)


async def test_a_name_that_is_no_channel_is_refused_before_anything_is_sent(postgres_log: str) -> None:
    longest = "é" * (QUEUE_BYTES // 2)
    async with opened(postgres_log) as dispatcher:
        with pytest.raises(ConfigurationError, match="too long"):
            dispatcher.sending([Parcel("a", f"{longest}x")])
        with pytest.raises(ConfigurationError, match="too long"):
            await dispatcher.send([Parcel("a", f"{longest}x")])
        await dispatcher.send([Parcel("b", longest)])
        consumer = await dispatcher.join("a worker", 30)
        assert [each.task_id for each in await consumer.take((longest,), 5)] == ["b"]


async def test_before_it_is_open_nothing_can_be_asked() -> None:
    with pytest.raises(LogUnavailableError, match="is not open"):
        await ProcrastinateDispatcher("postgresql://host/there").join("a worker", 30)


async def test_a_lease_has_a_length(postgres_log: str) -> None:
    async with opened(postgres_log) as dispatcher:
        with pytest.raises(ConfigurationError, match="lease_s"):
            await dispatcher.join("a worker", 0)


async def test_connections_that_are_cut_are_made_again(postgres_log: str) -> None:
    """Every connection is ended by the server: what is asked next works, and who waits hears again."""
    async with opened(postgres_log) as dispatcher, beside(postgres_log) as other:
        consumer = await dispatcher.join("a worker", 60)
        await consumer.take(("one",), 1)
        await heard(consumer)
        news = asyncio.Event()
        consumer._ear.wake_with(news)
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1"
        assert await other.fetchval(cut, f"afk_es queue {address_of(postgres_log).schema}") >= 2
        assert await consumer.beat()
        async with asyncio.timeout(10):
            await news.wait()  # It is set as soon as it listens again, since something may have come meanwhile.
            news.clear()
            await dispatcher.send([Parcel("b", "one")])
            await news.wait()


async def test_who_waits_already_hears_of_what_is_given_back_for_later(postgres_log: str) -> None:
    """Or a retry would come as late as the next look of those who had begun to wait before it had a term."""
    async with opened(postgres_log) as dispatcher, opened(postgres_log) as another:
        holder, waiting = await dispatcher.join("a worker", 60), await another.join("another", 60)
        await dispatcher.send([Parcel("a", "one")])
        (delivery,) = await holder.take(("one",), 1)
        for consumer in (holder, waiting):
            await consumer.take(("one",), 1)
            await heard(consumer)
        await holder.again(delivery, dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
        async with asyncio.timeout(10):
            await holder._news.wait()
            await waiting._news.wait()


async def heard(consumer: ProcrastinateConsumer) -> None:
    """Return when it would be told of what is sent."""
    while not consumer._ear.live:
        await consumer.wait(0.05)
        consumer._news.clear()


async def test_a_server_that_does_not_answer_is_given_up(postgres_log: str) -> None:
    async with opened(postgres_log, timeout_s=0.3) as dispatcher, beside(postgres_log) as other:
        consumer = await dispatcher.join("a worker", 60)
        transaction = other.transaction()
        await transaction.start()
        await other.execute("LOCK TABLE procrastinate_workers, procrastinate_jobs")
        for asked in (consumer.beat(), consumer.take(("one",), 1), dispatcher.send([Parcel("a", "one")])):
            with pytest.raises(LogUnavailableError, match="did not answer within"):
                await asked
        await transaction.rollback()
        assert await consumer.beat()


async def test_what_was_taken_and_never_answered_is_delivered_by_the_next_taking(
    postgres_log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is lost after the server has done it: the row bears this worker's number, and nobody else would ever have it."""
    async with opened(postgres_log) as dispatcher:
        consumer = await dispatcher.join("a worker", 60)
        await dispatcher.send([Parcel("a", "one", lane="l"), Parcel("b", "one")])
        (first,) = await consumer.take(("one",), 1)
        run = consumer._server.run

        async def unanswered(query: str, **arguments: Any) -> list[dict[str, Any]]:
            await run(query, **arguments)
            if query is rows.TAKE:
                raise LogUnavailableError("the connection was lost")
            return []

        with monkeypatch.context() as cut:
            cut.setattr(consumer._server, "run", unanswered)
            with pytest.raises(LogUnavailableError):
                await consumer.take(("one",), 1)
        assert [each.task_id for each in await consumer.take(("one",), 5)] == ["b"]
        await consumer.done(first)


async def test_two_that_take_of_one_lane_at_once_are_not_told_of_their_clash(postgres_log: str) -> None:
    """While one takes the first of a lane, another is put before it, which a second consumer takes: the table refuses it one of them."""
    async with opened(postgres_log) as dispatcher, beside(postgres_log) as other:
        await dispatcher.send([Parcel("a", "one", lane="l")])
        consumer = await dispatcher.join("a worker", 60)
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT procrastinate_fetch_job_v2('{one}', NULL)")
        await dispatcher.send([Parcel("before", "one", priority=1, lane="l"), Parcel("free", "one")])
        taking = asyncio.ensure_future(consumer.take(("one",), 5))
        while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            pass
        await transaction.commit()
        assert [each.task_id for each in await taking] == ["free"]


async def test_functions_that_are_gone_are_no_matter_of_waiting(postgres_log: str) -> None:
    async with opened(postgres_log) as dispatcher, beside(postgres_log) as other:
        consumer = await dispatcher.join("a worker", 60)
        await other.execute("DROP FUNCTION procrastinate_prune_stalled_workers_v1")
        with pytest.raises(LogError, match="are not what they were") as told:
            await consumer.recover()
        assert not isinstance(told.value, LogUnavailableError)


async def test_who_lost_its_lease_is_told_even_where_the_connection_is_lost_as_well(
    postgres_log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(postgres_log) as dispatcher, beside(postgres_log) as other:
        consumer = await dispatcher.join("a worker", 30)
        await other.execute("UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - interval '31 s'")

        async def cut() -> int:
            raise LogUnavailableError("the connection was lost")

        with monkeypatch.context() as lost:
            lost.setattr(consumer._manager, "register_worker", cut)
            with pytest.raises(LogUnavailableError):
                await consumer.beat()
        assert await consumer.beat() is False
        assert await consumer.beat() is True


async def test_nothing_is_left_of_what_was_done(postgres_log: str) -> None:
    """Its tables hold what is open, so that they stay small: no job, none of the events that it notes of each, no worker."""
    async with opened(postgres_log) as dispatcher, beside(postgres_log) as other:
        consumer = await dispatcher.join("a worker", 30)
        await dispatcher.send([Parcel(f"task {number}", "one") for number in range(20)])
        for delivery in await consumer.take(("one",), 20):
            await consumer.again(delivery)
        for delivery in await consumer.take(("one",), 20):
            await consumer.done(delivery)
        await consumer.leave()
        for table in ("procrastinate_jobs", "procrastinate_events", "procrastinate_workers"):
            assert await other.fetchval(f"SELECT count(*) FROM {table}") == 0
