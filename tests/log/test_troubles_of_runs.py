"""Goal: a database that restarts, cuts connections or has a full disk in the middle of runs loses nothing of them: they wait, or say clearly why
they stopped and can be gone on with, and no effect whose result is in the log takes place twice.

Method: many runs of a Runner, and the trouble itself: servers that are shut down, crash and are killed, sessions that are ended every few
milliseconds, and disks of a few megabytes (tmpfs) that are filled up. Where no disk can be mounted those tests are skipped.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from afk_es import Agent, Runner, tool
from afk_es.core import AgentResult, AgentRunHandle
from afk_es.errors import LogError, LogFullError, LogUnavailableError
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.log import EventLog
from afk_es.log.postgres import PostgresEventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing import ScriptedModel, log_problems
from afk_es.tools import ToolContext
from tests.crash.journal import Journal
from tests.log.test_postgres_tables import behind
from tests.support.postgres import Server

CALLS = 6
MANY = 50
FEW = 12

Trouble = Callable[[], Awaitable[object]]


class Runs:
    """Runs of an agent whose tool keeps account of itself, outside of the log.

    Args:
        trouble_at: when so many calls have been made in all, there is trouble.
        size: characters that a call returns.
    """

    def __init__(self, directory: Path, trouble_at: int, size: int = 10) -> None:
        self.journal = Journal(directory / "effects.jsonl")
        self.trouble = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._left = trouble_at
        self._size = size

        @tool
        async def work(n: int, ctx: ToolContext) -> str:
            """Work."""
            self.journal.note("work", ctx)
            self._left -= 1
            if self._left <= 0:
                self.trouble.set()
                await self.go_on.wait()
            await asyncio.sleep(0)
            return os.urandom(self._size // 2).hex()

        def answer(request: LLMRequest) -> LLMResponse | str:
            asked = sum(bool(message.tool_calls) for message in request.messages)
            return "done" if asked == CALLS else LLMResponse(tool_calls=(ToolCall(f"c{asked}", "work", {"n": asked}),))

        self.agent = Agent(name="worker", model=ScriptedModel(answer), tools=[work])

    async def begun(self, runner: Runner, many: int) -> list[AgentRunHandle]:
        """Runs under way."""
        return [await runner.run_handle(self.agent, user_message="go") for _ in range(many)]

    async def check(self, log: EventLog, handles: list[AgentRunHandle], *, at_least: int | None = None) -> None:
        """Every run is whole, has ended, and did nothing twice; `at_least` so many calls of each really took place, or all."""
        times = self.journal.times()
        assert max(times.values()) == 1, "a call took place twice"
        for handle in handles:
            assert await log.verify(handle.run_id) is None
            events = await log.read(handle.run_id)
            assert [str(problem) for problem in log_problems(events)] == []
            assert events[-1].type == "run_completed"
        done = sum(times.values())
        assert done >= len(handles) * (CALLS if at_least is None else at_least)


async def completed(handles: list[AgentRunHandle]) -> None:
    """They all were."""
    results = await asyncio.gather(*(handle.await_result() for handle in handles))
    assert [result.state for result in results] == ["completed"] * len(handles)


# ----------------------------------------------------------------------------------------------------------------- restarts and cuts


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of this test's own."""
    server = Server(Path(tempfile.mkdtemp(prefix="afk-pg-own-", dir="/tmp")))
    try:
        server.make()
        server.start(fsync="off")
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.directory, ignore_errors=True)


async def test_servers_that_shut_down_crash_and_are_killed_are_waited_for(server: Server, tmp_path: Path) -> None:
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        (directory := tmp_path / how.name).mkdir()
        runs = Runs(directory, trouble_at=40)
        async with Runner(log=f"{server.url}&schema=restart_{how.value}") as runner:
            handles = await runs.begun(runner, 20)
            await runs.trouble.wait()
            await asyncio.to_thread(server.stop, how)
            await asyncio.to_thread(started_again, server)
            await completed(handles)
            await runs.check(runner.log, handles)


def started_again(server: Server) -> None:
    """Start a server whose processes may not all be gone yet."""
    for _ in range(50):
        with suppress(RuntimeError):
            server.start(fsync="off")
            return
    server.start(fsync="off")


async def test_sessions_that_are_ended_every_few_milliseconds_lose_and_double_nothing(postgres_log: str, tmp_path: Path) -> None:
    runs = Runs(tmp_path, trouble_at=1)
    async with Runner(log=postgres_log) as runner, behind(postgres_log) as operator:
        handles = await runs.begun(runner, MANY)
        cuts = 0
        while cuts < 25 and not all(handle.done for handle in handles):
            cuts += await operator.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE '%' || $1", runner.log.owner
            )
            await asyncio.sleep(0.01)
        await completed(handles)
        await runs.check(runner.log, handles)
    assert cuts >= 10, "there was hardly any trouble"


# ------------------------------------------------------------------------------------------------------------------------- full disks


@contextmanager
def small_disk(directory: Path, megabytes: int, owner: str | None = None) -> Iterator[Callable[[], None]]:
    """A disk of that size at the directory. Gives what fills it up; what it was filled with is `directory / "ballast"`."""
    directory.mkdir(exist_ok=True)
    mounting = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)], capture_output=True)
    if mounting.returncode:
        pytest.skip(f"no disk can be mounted here: {mounting.stderr.decode().strip()}")
    try:
        if owner is not None and os.geteuid() == 0:
            shutil.chown(directory, owner)
            directory.chmod(0o700)

        def fill() -> None:
            with suppress(OSError), (directory / "ballast").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

        yield fill
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def stopped_clearly(outcomes: list[AgentResult | BaseException], *kinds: type[LogError]) -> int:
    """How many runs stopped, each of them with one of these errors."""
    stopped = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert [outcome for outcome in stopped if not isinstance(outcome, kinds)] == []
    return len(stopped)


async def fill_in_the_middle(runs: Runs, log: EventLog, fill: Callable[[], None], mend: Trouble, *kinds: type[LogError]) -> None:
    """Runs go on, the disk is full, the runs stop; there is room again, and they are gone on with."""
    async with Runner(log=log) as runner:
        runs.go_on.clear()  # A run that is quicker than the filling would have no trouble.
        handles = await runs.begun(runner, FEW)
        await runs.trouble.wait()
        await asyncio.to_thread(fill)
        runs.go_on.set()
        outcomes = await asyncio.gather(*(handle.await_result() for handle in handles), return_exceptions=True)
        assert stopped_clearly(outcomes, *kinds) > 0
        await mend()
        for handle in handles:
            assert (await runner.resume(runs.agent, run_id=handle.run_id)).state == "completed"
        # What was announced, and whose result found no room, is in doubt: the model is told so, and it does not take place again.
        await runs.check(runner.log, handles, at_least=CALLS - 1)


async def test_a_full_disk_under_a_file_stops_runs_clearly_and_they_go_on_when_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 8) as fill:
        runs = Runs(tmp_path, trouble_at=FEW * 2, size=20_000)
        log = SqliteEventLog(disk / "runs.db")
        try:
            await fill_in_the_middle(
                runs, log, fill, lambda: asyncio.to_thread((disk / "ballast").unlink), LogFullError, LogUnavailableError
            )
        finally:
            await log.close()


async def test_a_full_disk_under_a_servers_tables_stops_runs_clearly_and_they_go_on_when_there_is_room(
    server: Server, tmp_path: Path
) -> None:
    """Its tables are on a disk of their own; its write-ahead log still has room."""
    disk = server.directory / "disk"
    with small_disk(disk, 32, owner="nobody") as fill:
        operator = await asyncpg.connect(server.url)
        (disk / "tables").mkdir()
        if os.geteuid() == 0:
            shutil.chown(disk / "tables", "nobody")
        await operator.execute(f"CREATE TABLESPACE small LOCATION '{disk / 'tables'}'")
        await operator.execute("CREATE DATABASE small TABLESPACE small")
        runs = Runs(tmp_path, trouble_at=FEW * 2, size=40_000)
        log = PostgresEventLog(server.url.replace("/postgres?", "/small?"))
        try:
            await fill_in_the_middle(runs, log, fill, lambda: asyncio.to_thread((disk / "ballast").unlink), LogFullError)
        finally:
            await log.close()
            await operator.close()
            server.stop()


async def test_a_full_disk_under_a_whole_server_brings_it_down_and_its_runs_go_on_when_it_is_up_again(tmp_path: Path) -> None:
    """PostgreSQL gives up where its write-ahead log finds no room, and so the runs find no server."""
    server = Server(Path(tempfile.mkdtemp(prefix="afk-pg-own-", dir="/tmp")))
    disk = server.directory / "data"
    server.directory.chmod(0o755)
    with small_disk(disk, 160, owner="nobody") as fill:
        try:
            await asyncio.to_thread(server.make)
            await asyncio.to_thread(server.start, min_wal_size="32MB", max_wal_size="32MB")
            runs = Runs(tmp_path, trouble_at=FEW * 2, size=1_000_000)

            async def mend() -> None:
                (disk / "ballast").unlink()
                await asyncio.to_thread(server.stop, signal.SIGQUIT)
                await asyncio.to_thread(started_again, server)

            log = PostgresEventLog(server.url, reconnect_s=2.0)
            try:
                await fill_in_the_middle(runs, log, fill, mend, LogFullError, LogUnavailableError)
            finally:
                await log.close()
        finally:
            server.stop()
    shutil.rmtree(server.directory, ignore_errors=True)
