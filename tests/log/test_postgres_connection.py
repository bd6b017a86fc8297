"""Goal: connections are cut, servers restart and disks fill; then appends wait or fail clearly, nothing is lost and nothing is there twice."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from afk_es import Agent, Runner, tool
from afk_es.errors import LogFullError, LogUnavailableError
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.log.postgres import PostgresEventLog
from afk_es.testing import ScriptedModel
from afk_es.testing.log_contract import begin, control, forked, turn
from afk_es.testing.log_contract.material import START
from tests.log.test_postgres_tables import behind, opened
from tests.support.postgres import Server
from tests.support.waiting import until

RUNS = [f"run_{number}" for number in range(40)]
_WAITING = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'events'::regclass"
_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%' || $1"


@pytest.fixture(scope="module")
def stoppable() -> Iterator[Server]:
    server = Server(Path(tempfile.mkdtemp(prefix="afk-pg-own-", dir="/tmp")))
    try:
        server.make()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.directory, ignore_errors=True)


@pytest.fixture
def own_server(stoppable: Server) -> Server:
    """A server that may be stopped, and runs."""
    stoppable.start(fsync="off")
    return stoppable


async def drive(log: PostgresEventLog, run_id: str, appends: int, done: asyncio.Semaphore) -> None:
    await begin(log, run_id)
    for number in range(appends):
        await log.append(turn(run_id, 6 + 4 * number, number + 2), epoch=1)
        done.release()


async def whole(log: PostgresEventLog, run_id: str, length: int) -> None:
    assert [event.seq for event in await log.read(run_id)] == list(range(1, length + 1))
    assert await log.verify(run_id) is None


async def test_connections_that_are_cut_again_and_again_lose_and_double_nothing(postgres_log: str) -> None:
    async with opened(postgres_log) as log, behind(postgres_log) as operator:
        done = asyncio.Semaphore(0)
        driving = asyncio.gather(*(drive(log, run_id, 30, done) for run_id in RUNS))
        for _ in range(12):
            for _ in range(90):
                await done.acquire()
            await operator.execute(_CUT, log.owner)
        await driving
        for run_id in RUNS:
            await whole(log, run_id, 5 + 4 * 30)


async def test_forks_and_new_parts_land_once_through_cuts(postgres_log: str) -> None:
    async with opened(postgres_log) as log, behind(postgres_log) as operator:
        await begin(log, "run_a")
        for group in range(5):
            names = [f"run_{group}_{number}" for number in range(20)]
            appending = asyncio.gather(*(log.append([forked(name, "run_a", 4), *turn(name, 6)], epoch=2) for name in names))
            # Each time at another moment of the way to the server and back.
            for _ in range(group):
                await asyncio.sleep(0)
            await operator.execute(_CUT, log.owner)
            await appending
            for name in names:
                await whole(log, name, 9)


async def test_reads_go_on_where_a_connection_is_cut(postgres_log: str) -> None:
    async with opened(postgres_log) as log, behind(postgres_log) as operator:
        await begin(log, "run_a")
        for _ in range(5):
            await operator.execute(_CUT, log.owner)
            await whole(log, "run_a", 5)


async def test_an_owner_whose_connection_was_cut_lives_again_before_it_is_needed(postgres_log: str) -> None:
    """Nobody appends meanwhile: a tool may run for minutes, and its run must not look crashed."""
    async with opened(postgres_log) as log, opened(postgres_log) as other, behind(postgres_log) as operator:
        await begin(log, "run_a")
        assert await other.alive(log.owner, "run_a")
        await operator.execute(_CUT, log.owner)
        await until(lambda: other.alive(log.owner, "run_a"))


async def test_a_store_that_was_cut_off_itself_takes_nobody_for_dead_at_once(postgres_log: str) -> None:
    async with opened(postgres_log) as log, opened(postgres_log) as other, behind(postgres_log) as operator:
        await begin(other, "run_a")
        await log.read("run_a")
        await other.close()
        assert not await log.alive(other.owner, "run_a")
        await operator.execute(_CUT, log.owner)
        assert await log.alive(other.owner, "run_a"), "a restart cuts everybody off, and the other may only be slower to come back"


async def test_a_letter_whose_fate_is_not_known_says_so_and_is_not_posted_twice(postgres_log: str) -> None:
    async with opened(postgres_log) as log, behind(postgres_log) as operator:
        await begin(log, "run_a")
        # The letter waits for the queue of letters, and its connection is cut while it does.
        async with operator.transaction():
            await operator.execute("SELECT pg_advisory_xact_lock((1634102124::bigint << 32) | 'letters'::regclass::oid::bigint)")
            posting = asyncio.create_task(log.post("run_a", control("pause"), at=START))
            await until(lambda: operator.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
            await operator.execute(_CUT, log.owner)
        with pytest.raises(LogUnavailableError, match="whether it was is not known"):
            await posting
        assert await log.letters() == []
        assert (await log.post("run_a", control("pause"), at=START)).run_id == "run_a"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["shutdown", "crash"])
async def test_a_server_that_restarts_under_running_agents_is_waited_for(own_server: Server, how: signal.Signals) -> None:
    own_log = f"{own_server.url}&schema=restart_{how.value}"

    async def work(n: int) -> int:
        """Work."""
        return n

    def answer(request: LLMRequest) -> LLMResponse | str:
        asked = len(request.messages) // 2
        return "done" if asked == 8 else LLMResponse(tool_calls=(ToolCall(f"c{asked}", "work", {"n": asked}),))

    began = asyncio.Event()

    async def note(request: LLMRequest) -> LLMResponse | str:
        if len(request.messages) > 5:
            began.set()
        await asyncio.sleep(0)
        return answer(request)

    agent = Agent(model=ScriptedModel(note), tools=[tool(read_only=True)(work)])
    async with opened(own_log) as log, Runner(log=log) as runner:
        running = asyncio.gather(*(runner.run(agent, user_message="go") for _ in range(20)))
        await began.wait()
        await asyncio.to_thread(own_server.stop, how)
        await asyncio.to_thread(own_server.start, fsync="off")
        results = await running
        assert [result.state for result in results] == ["completed"] * 20
        for result in results:
            assert await runner.log.verify(result.run_id) is None
            assert len(result.tool_executions) == 8


async def test_a_server_that_stays_away_is_an_error_in_time_and_the_store_works_when_it_is_back(own_server: Server) -> None:
    async with opened(f"{own_server.url}&schema=away", reconnect_s=0.3) as log:
        await begin(log, "run_a")
        await asyncio.to_thread(own_server.stop)
        for failing in (log.append(turn("run_a", 6), epoch=1), log.read("run_a"), log.post("run_a", control("pause"), at=START)):
            with pytest.raises(LogUnavailableError, match="the server cannot be reached"):
                await failing
        await asyncio.to_thread(own_server.start, fsync="off")
        async with asyncio.timeout(20):
            while True:
                try:
                    await log.append(turn("run_a", 6), epoch=1)
                    break
                except LogUnavailableError:
                    continue
        await whole(log, "run_a", 9)


async def test_a_store_is_closed_while_its_server_is_away(own_server: Server) -> None:
    log = PostgresEventLog(f"{own_server.url}&schema=closing", reconnect_s=30.0)
    await log.open()
    await begin(log, "run_a")
    await asyncio.to_thread(own_server.stop)
    async with asyncio.timeout(5):
        await log.close()


async def test_a_full_disk_is_said_and_what_did_not_fit_is_appended_later(postgres_log: str) -> None:
    """Method: a trigger that raises what the server raises (53100), which stops a statement at the same place."""
    async with opened(postgres_log) as log, behind(postgres_log) as operator:
        await begin(log, "run_a")
        await operator.execute(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;"
            "CREATE TRIGGER no_room BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION no_room()"
        )
        with pytest.raises(LogFullError, match=r"disk is full.*53100"):
            await log.append(turn("run_a", 6), epoch=1)
        with pytest.raises(LogFullError):
            await begin(log, "run_b")
        await operator.execute("DROP TRIGGER no_room ON events")
        await log.append(turn("run_a", 6), epoch=1)
        await begin(log, "run_b")
        await whole(log, "run_a", 9)


async def test_a_statement_that_is_cancelled_from_outside_was_not_run(postgres_log: str) -> None:
    async with opened(postgres_log) as log, behind(postgres_log) as operator:
        await begin(log, "run_a")
        async with operator.transaction():
            await operator.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            appending = asyncio.create_task(log.append(turn("run_a", 6), epoch=1))
            await until(lambda: operator.fetch(_WAITING))
            await operator.execute(f"SELECT pg_cancel_backend(pid) FROM ({_WAITING}) AS waiting")
            with pytest.raises(LogUnavailableError, match="was cancelled"):
                await appending
        await log.append(turn("run_a", 6), epoch=1)
        await whole(log, "run_a", 9)


async def test_a_statement_without_an_answer_counts_as_a_lost_connection(postgres_log: str) -> None:
    """As where a network swallows what is sent: the append is made on another connection once there is one."""
    async with opened(postgres_log, timeout_s=0.4) as log, behind(postgres_log) as operator:
        await begin(log, "run_a")
        async with operator.transaction():
            await operator.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            appending = asyncio.create_task(log.append(turn("run_a", 6), epoch=1))
            await until(lambda: operator.fetch(_WAITING))
            first = await operator.fetchval(_WAITING)
            await until(lambda: operator.fetch(f"{_WAITING} AND pid != {first}"))
        await appending
        await whole(log, "run_a", 9)


async def test_a_server_without_room_for_another_connection_is_said(postgres: str) -> None:
    connection = await asyncpg.connect(postgres)
    try:
        await connection.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
        with pytest.raises(LogUnavailableError, match="no room for another connection"):
            await PostgresEventLog(postgres.replace("postgres@", "crowded@")).open()
    finally:
        await connection.execute("DROP ROLE crowded")
        await connection.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [("postgresql://nobody_known@/postgres", "does not let this role in"), ("postgresql://postgres@/nowhere", "no such database")],
)
async def test_a_server_that_lets_nobody_in_is_said_at_once(postgres: str, url: str, words: str) -> None:
    with pytest.raises(LogUnavailableError, match=words):
        await PostgresEventLog(f"{url}?{postgres.partition('?')[2]}").open()
