"""Goal: synchronous tools run in bounded, reused threads that never keep a program from ending."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from afk_es.tools.threads import DaemonThreads


async def test_a_thread_is_reused() -> None:
    threads = DaemonThreads()
    names = [await threads.run(lambda: threading.current_thread().name) for _ in range(200)]
    # A thread may still be on its way back when the next call comes, so now and then another one is made; but not for each call.
    assert len(set(names)) < 100


async def test_no_more_threads_than_the_bound_and_all_work_is_done() -> None:
    threads = DaemonThreads(bound=3)
    running: list[int] = []
    most = 0
    lock = threading.Lock()

    def work(number: int) -> int:
        nonlocal most
        with lock:
            running.append(number)
            most = max(most, len(running))
        with lock:
            running.remove(number)
        return number

    done = await asyncio.gather(*[threads.run(lambda number=number: work(number)) for number in range(200)])  # type: ignore[misc]
    assert done == list(range(200))
    assert most <= 3


async def test_what_the_function_raises_is_raised_here() -> None:
    def fail() -> None:
        raise LookupError("no such order")

    with pytest.raises(LookupError, match="no such order"):
        await DaemonThreads().run(fail)


async def test_a_cancelled_call_that_waits_is_never_run() -> None:
    threads = DaemonThreads(bound=1)
    gate = threading.Event()
    ran: list[str] = []
    first = asyncio.create_task(threads.run(gate.wait))
    second = asyncio.create_task(threads.run(lambda: ran.append("second")))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    gate.set()
    await first
    await threads.run(lambda: ran.append("third"))
    assert ran == ["third"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_threads_of_its_own() -> None:
    code = (
        "import asyncio, os\n"
        "from afk_es.tools.threads import THREADS\n"
        "asyncio.run(THREADS.run(lambda: None))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    print(asyncio.run(THREADS.run(lambda: 'child ran')), flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "child ran"


def test_a_program_ends_while_a_tool_hangs() -> None:
    code = (
        "import asyncio, threading\n"
        "from afk_es.tools.threads import THREADS\n"
        "async def main():\n"
        "    try:\n"
        "        async with asyncio.timeout(0.05):\n"
        "            await THREADS.run(threading.Event().wait)\n"
        "    except TimeoutError:\n"
        "        print('cut')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "cut"
