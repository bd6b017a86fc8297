"""The official inspector's command line drives our server, over stdio and HTTP, in both eras."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.interop.report import LEGACY, MODERN, Meeting
from tests.interop.workshop import Workshop
from tests.support.stories import recorded_stories

ERAS = {LEGACY: "legacy", MODERN: "modern"}


class Step(NamedTuple):
    """Something to ask for, and what has to be in the answer."""

    what: str
    words: tuple[str, ...]
    wanted: dict[str, Any]


STEPS = (
    Step("list tools, strictly", ("--method", "tools/list", "--strict"), {}),
    Step(
        "call a tool",
        ("--method", "tools/call", "--tool-name", "add", "--tool-arg", "a=1", "b=2"),
        {"structuredContent": {"result": 3}, "isError": False},
    ),
    Step("call a tool that fails", ("--method", "tools/call", "--tool-name", "test_error_handling"), {"isError": True}),
)

TRIAGE = Step("triage a run", ("--method", "tools/call", "--tool-name", "triage", "--tool-arg", "run=run_failing"), {"isError": False})


def inspected(where: Workshop, era: str, url: str) -> Iterator[Meeting]:
    """What the inspector is told by our server.

    Args:
        url: of our server over HTTP; over stdio the inspector starts one of its own.
    """
    with tempfile.TemporaryDirectory() as directory:
        command = (sys.executable, "-m", "tests.interop.served", "stdio", str(Path(directory) / "log.db"))
        for transport, target in (("stdio", command), ("HTTP", (url,))):
            for step in STEPS:
                yield _meeting(where, era, transport, target, step)
        log = recorded_stories(Path(directory)).log
        debugger = (sys.executable, "-m", "afk_es.cli", "mcp", "serve", "--debugger", "--db", str(log))
        yield _meeting(where, era, "stdio", debugger, TRIAGE, ours="mcp serve --debugger")


def _meeting(where: Workshop, era: str, transport: str, target: tuple[str, ...], step: Step, ours: str = "MCPServer") -> Meeting:
    done = where.run(
        where.program("mcp-inspector"), "--cli", *target, "--connect-timeout", "60000", "--protocol-era", ERAS[era], *step.words
    )
    note = " ".join((done.stderr or done.stdout).split())[:200]
    try:
        said, _end = json.JSONDecoder().raw_decode(done.stdout)
    except json.JSONDecodeError:
        return Meeting(ours, "inspector", transport, era, step.what, "FAILED", note)
    fits = all(said.get(key) == value for key, value in step.wanted.items()) and ("tools" in said or "content" in said)
    return Meeting(ours, "inspector", transport, era, step.what, "passed" if fits else "FAILED", "" if fits else note)
