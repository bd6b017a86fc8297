"""Programs that use the Runner end when they have ended, whatever they forget. Each is a process of its own, and nothing in it is ours."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

from afk_es.core import Runner
from afk_es.errors import UsageError
from tests.core.scenario import agent, says

ROOT = Path(__file__).parents[2]
GENEROUS_S = 15
"""A program that hangs, hangs for ever; this is for machines under load."""

PRELUDE = """
import asyncio, sys, time
from afk_es import Agent, FailSafeConfig, Runner, tool
from afk_es.llms import LLMResponse, ToolCall
from afk_es.testing import ScriptedModel

def calls(name):
    return LLMResponse(tool_calls=(ToolCall("c1", name, {}),))
"""

THREE_RUNS = """
agent = Agent(model=ScriptedModel(lambda request: "hello"))
for _ in range(3):
    print(Runner(log="runs.db").run_sync(agent, user_message="hi").final_text)
"""


def started(program: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program to its end in that directory, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(program)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "AFK_ES_LOG": str(directory / "default.db")},
        capture_output=True,
        text=True,
        timeout=GENEROUS_S,
        check=False,
    )


def test_a_program_of_three_run_syncs_ends_twenty_times_in_a_row(tmp_path: Path) -> None:
    directories = [tmp_path / str(number) for number in range(20)]
    for directory in directories:
        directory.mkdir()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for ended in pool.map(lambda directory: started(THREE_RUNS, directory), directories):
            assert (ended.returncode, ended.stdout, ended.stderr) == (0, "hello\n" * 3, "")


PROGRAMS = {
    "one that never closes its runner": (
        """
        async def main():
            runner = Runner(log="runs.db")
            await runner.__aenter__()
            print((await runner.run(Agent(model=ScriptedModel(["hi"])))).state)
            await runner.log.close()
        asyncio.run(main())
        """,
        0,
        "completed",
    ),
    "one that raises in between": (
        """
        async def main():
            async with Runner(log="runs.db") as runner:
                handle = await runner.run_handle(Agent(model=ScriptedModel([lambda request: asyncio.sleep(60)])))
                raise RuntimeError("in between")
        asyncio.run(main())
        """,
        1,
        "RuntimeError: in between",
    ),
    "one that calls sys.exit in between": (
        """
        async def main():
            handle = await Runner(log="runs.db").run_handle(Agent(model=ScriptedModel([lambda request: asyncio.sleep(60)])))
            sys.exit(3)
        asyncio.run(main())
        """,
        3,
        "",
    ),
    "one whose model calls sys.exit": (
        """
        class Quitter:
            provider_id = "quitter"
            async def chat(self, request):
                sys.exit(4)
        Runner(log="runs.db").run_sync(Agent(model=Quitter()))
        """,
        4,
        "",
    ),
    "one that abandons a stream": (
        """
        async def main():
            handle = await Runner(log="runs.db").run_stream(Agent(model=ScriptedModel(["word " * 2000])))
            async for event in handle:
                print(event.type)
                break
        asyncio.run(main())
        """,
        0,
        "step_started",
    ),
    "one with a sync tool that is stuck beyond its timeout": (
        """
        @tool(timeout=0.2)
        def stuck() -> str:
            "Sleep."
            time.sleep(60)
            return "late"
        agent = Agent(model=ScriptedModel([calls("stuck"), "too slow"]), tools=[stuck])
        print(Runner(log="runs.db").run_sync(agent).tool_executions[0].error)
        """,
        0,
        "did not finish within 0.2 s",
    ),
    "one that is interrupted from the keyboard": (
        """
        import os, signal, threading
        def interrupt(request):
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            return asyncio.sleep(60)
        Runner(log="runs.db").run_sync(Agent(model=ScriptedModel([interrupt])))
        """,
        -2,
        "KeyboardInterrupt",
    ),
}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_it_ends(kind: str, tmp_path: Path) -> None:
    program, code, said = PROGRAMS[kind]
    ended = started(program, tmp_path)
    assert ended.returncode in (code, 128 - code if code < 0 else code), ended.stderr
    assert said in ended.stdout + ended.stderr
    for fault in ("never retrieved", "never awaited", "ResourceWarning", "Exception ignored", "Task was destroyed"):
        assert fault not in ended.stderr


def test_what_the_keyboard_interrupts_is_cancelled_in_the_log(tmp_path: Path) -> None:
    started(PROGRAMS["one that is interrupted from the keyboard"][0], tmp_path)
    shown = started(
        """
        async def main():
            async with Runner(log="runs.db") as runner:
                print((await runner.log.runs())[0].state)
        asyncio.run(main())
        """,
        tmp_path,
    )
    assert shown.stdout == "cancelled\n"


async def test_run_sync_in_a_running_loop_is_a_clear_error_and_leaves_no_coroutine_behind() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UsageError, match=r"use `await runner\.run\(\.\.\.\)`"):
            Runner(log=":memory:").run_sync(agent([says("ok")]))


def test_what_a_run_raises_is_not_led_by_an_exception_of_ours() -> None:
    with pytest.raises(UsageError) as caught:
        Runner(log=":memory:").run_sync(agent([says("ok")]), thread_id="")
    assert caught.value.__context__ is None


def test_a_program_that_hands_in_a_log_of_its_own_ends_too(tmp_path: Path) -> None:
    """`run_sync` has the event loop, so nobody else could close what was opened in it."""
    ended = started(
        """
        from afk_es.log.sqlite import SqliteEventLog
        log = SqliteEventLog("runs.db")
        runner = Runner(log=log)
        agent = Agent(model=ScriptedModel(lambda request: "hello"))
        for _ in range(3):
            print(runner.run_sync(agent, user_message="hi").final_text)
        """,
        tmp_path,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "hello\n" * 3, "")
