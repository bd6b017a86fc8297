"""Programs that use a remote agent end when they have ended, and leave nothing open, however often they ran it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from afk_es.a2a import A2AClient
from tests.a2a.client.servers import Remote, over_http

ROOT = Path(__file__).parents[3]

THREE_RUNS = """
    import sys
    from afk_es import Runner
    from afk_es.a2a import A2AClient

    agent = A2AClient(sys.argv[1]).agent(name="billing")
    for _ in range(3):
        print(Runner(log="runs.db").run_sync(agent, user_message="hi").final_text)
"""

ONE_CLIENT_IN_TWO_LOOPS = """
    import asyncio, sys
    from afk_es.a2a import A2AClient

    client = A2AClient(sys.argv[1])

    async def main():
        async with client:
            print((await client.send("one")).text)
        # It opens again when it is needed, and closes with the loop.
        print((await client.send("two")).text)

    for _ in range(2):
        asyncio.run(main())
"""

LEFT_BEHIND = """
    import asyncio, sys
    from afk_es.a2a import A2AClient

    async def main():
        updates = A2AClient(sys.argv[1]).stream("one")
        print((await anext(updates)).state)

    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        (THREE_RUNS, "you said: hi\n" * 3),
        (ONE_CLIENT_IN_TWO_LOOPS, "you said: one\nyou said: two\n" * 2),
        (LEFT_BEHIND, "submitted\n"),
    ],
    ids=["three run_syncs", "two loops", "left behind"],
)
def test_a_program_ends_without_a_warning(program: str, printed: str, tmp_path: Path) -> None:
    with over_http(Remote()) as url:
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(program), url],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, printed, "")


def test_connections_of_a_loop_are_kept_for_its_calls_and_gone_with_it() -> None:
    with over_http(Remote()) as url:
        client = A2AClient(url)

        async def main() -> None:
            await client.send("one")
            first = await client._remote._connections.client()
            await client.send("two")
            assert await client._remote._connections.client() is first
            held.append(first)

        held: list[object] = []
        for _ in range(2):
            asyncio.run(main())
    assert held[0] is not held[1]
    assert all(each.is_closed for each in held)  # type: ignore[attr-defined]
    assert client._remote._connections._held == {}


def test_a_client_that_nobody_holds_is_closed_before_the_collector_finds_its_sockets(tmp_path: Path) -> None:
    """Method: a process of its own, as what a collector finds is told to whatever test runs at that moment."""
    program = """
        import asyncio, gc
        from afk_es.a2a import A2AClient
        from afk_es.errors import LLMError

        async def main(url):
            for wanted in ("answered", "unknown"):
                client = A2AClient(url)
                task = await client.send("tea")
                try:
                    await client.get(task.id if wanted == "answered" else "nobody-s")
                except LLMError:
                    pass
                del client
                gc.collect()
                await asyncio.sleep(0.01)
                gc.collect()
            print("end")

        asyncio.run(main(URL))
    """
    with over_http(Remote()) as url:
        code = textwrap.dedent(program).replace("URL", repr(url))
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "end\n", "")
