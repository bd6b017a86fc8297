"""Goal: who drives a run on a server that many share: owners that are killed, stopped, or never were; and many processes on one log."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from afk_es.testing.log_contract import begin, started
from tests.log.test_postgres_tables import behind, opened
from tests.support.waiting import until

pytestmark = pytest.mark.kill

DRIVER = """
import asyncio, sys
from afk_es import Agent, Runner, tool
from afk_es.errors import AfkError
from afk_es.llms import LLMResponse, ToolCall
from afk_es.log.postgres import PostgresEventLog
from afk_es.testing import ScriptedModel

def say(*words):
    print(*words, flush=True)

@tool
async def dispatch(n: int) -> int:
    "An effect on the world."
    say("effect", n)
    await asyncio.to_thread(sys.stdin.readline)
    return n

def model(request):
    asked = len(request.messages) // 2
    return LLMResponse(tool_calls=(ToolCall(f"c{asked}", "dispatch", {"n": asked}),))

async def main():
    log = PostgresEventLog(sys.argv[1])
    await log.open()
    async with Runner(log=log) as runner:
        handle = await runner.run_handle(Agent(model=ScriptedModel(model), tools=[dispatch]), user_message="go")
        say("owner", log.owner, handle.run_id)
        try:
            await handle.await_result()
        except AfkError as error:
            say("stopped", type(error).__name__)
    await log.close()

asyncio.run(main())
"""


@pytest.fixture
def driver(postgres_log: str) -> Iterator[subprocess.Popen[str]]:
    """A process that drives a run of which each step is an effect; it takes the next step when it gets a line."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-c", DRIVER, postgres_log]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process
        process.kill()


def hear(process: subprocess.Popen[str], word: str) -> list[str]:
    assert process.stdout is not None
    for line in process.stdout:
        first, *rest = line.split()
        if first == word:
            return rest
    raise AssertionError(f"the process ended without {word}")


async def test_a_stopped_owner_lives_and_once_it_was_succeeded_dispatches_nothing_more(
    postgres_log: str, driver: subprocess.Popen[str]
) -> None:
    owner, run_id = hear(driver, "owner")
    hear(driver, "effect")
    async with opened(postgres_log) as log:
        driver.send_signal(signal.SIGSTOP)
        assert await log.alive(owner, run_id), "a process that is stopped is not gone, and its effect may be under way"
        head = await log.head(run_id)
        assert head is not None
        # Whoever decides that it has waited long enough takes the run over by its epoch, as a queue does when a lease ends.
        claim = started(run_id, head.seq + 1, epoch=2, owner=log.owner, thread_id=head.thread_id)
        await log.append([claim], epoch=2)
        driver.send_signal(signal.SIGCONT)
        assert driver.stdin is not None
        driver.stdin.write("\n")
        driver.stdin.flush()
        assert hear(driver, "stopped") == ["HeadConflictError"]
        assert driver.stdout is not None
        assert "effect" not in driver.stdout.read()
        assert len(await log.read(run_id)) == head.seq + 1
        assert await log.verify(run_id) is None


async def test_a_killed_owner_is_dead_by_the_end_of_its_connection(postgres_log: str, driver: subprocess.Popen[str]) -> None:
    owner, run_id = hear(driver, "owner")
    hear(driver, "effect")
    async with opened(postgres_log) as log:
        assert await log.alive(owner, run_id)
        driver.kill()

        async def is_dead() -> bool:
            return not await log.alive(owner, run_id)

        await until(is_dead)


async def test_an_owner_that_closes_is_dead_when_it_has_closed(postgres_log: str) -> None:
    """Not when the server has come round to end its session."""
    async with opened(postgres_log) as log:
        for number in range(10):
            async with opened(postgres_log) as other:
                await begin(other, f"run_{number}")
            assert not await log.alive(other.owner, f"run_{number}")


async def test_the_lock_of_another_database_or_log_is_nobodys_life(postgres_log: str) -> None:
    async with opened(postgres_log) as log, behind(postgres_log) as stranger:
        await begin(log, "run_a")
        await stranger.execute("SELECT pg_advisory_lock_shared(1), pg_advisory_lock_shared(1, 1)")
        assert not await log.alive("owner_1", "run_a")


WRITER = """
import asyncio, sys
from afk_es.log.postgres import PostgresEventLog
from afk_es.testing.log_contract import begin, turn
from afk_es.errors import HeadConflictError

async def main():
    log = PostgresEventLog(sys.argv[1])
    await log.open()
    won = {}
    async def own(number):
        name = f"{sys.argv[2]}_{number}"
        await begin(log, name)
        for place in range(10):
            await log.append(turn(name, 6 + 4 * place), epoch=1)
    async def fight(name):
        for place in range(10):
            try:
                await log.append(turn(name, 6 + 4 * place), epoch=1)
                won[name] = won.get(name, 0) + 1
            except HeadConflictError:
                pass
    await asyncio.gather(*map(own, range(50)), *(fight(f"shared_{number}") for number in range(10)))
    await log.close()
    import json
    print(json.dumps(won))

asyncio.run(main())
"""


async def test_processes_that_write_at_once_never_both_land(postgres_log: str) -> None:
    """Three processes with runs of their own, and ten runs that all three want to extend at the same heads."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    async with opened(postgres_log) as log:
        for number in range(10):
            await begin(log, f"shared_{number}")
        pipe = asyncio.subprocess.PIPE
        writers = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, postgres_log, name, stdout=pipe, env=environment)
            for name in ("one", "two", "three")
        ]
        try:
            told = [json.loads((await writer.communicate())[0]) for writer in writers]
        finally:
            for writer in writers:
                if writer.returncode is None:
                    writer.kill()
        for name in [f"{process}_{number}" for process in ("one", "two", "three") for number in range(50)]:
            assert [event.seq for event in await log.read(name)] == list(range(1, 46))
            assert await log.verify(name) is None
        for name in (f"shared_{number}" for number in range(10)):
            landed = sum(each.get(name, 0) for each in told)
            assert len(await log.read(name)) == 5 + 4 * landed
            assert await log.verify(name) is None
