"""Nothing that a log, a file or an argument holds drives the terminal: of every verb with every option, and in every form."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import click.testing
import pytest
from click.testing import CliRunner, Result

from afk_es.cli import main
from tests.security.command_lines import LEFT_OUT, CommandLine, command_lines, verbs
from tests.security.hostile_log import TERMINAL, Hostile

OWN = re.compile(r"\x1b\[(?:0|1|2|3[1-6]|0;[\d;]+)?m|\r(?:(?:looking|searching|) +\d*%? *\r?)")
"""What the command line says to a terminal itself: colours, and how far it is. The poison blinks, which nothing of ours does."""

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Controls but for the line break and the tab, and what turns or breaks a line unseen."""

AS_IT_IS = frozenset({("run", "text"), ("resume", "text"), ("fork", "text")})
"""What an agent that the user runs has answered comes as it is to a pipe. See tests/cli/test_run.py, and here with a terminal."""


def obeyed_in(text: str) -> str | None:
    """Where the text holds what a terminal would obey, with what stands around it."""
    found = OBEYED.search(OWN.sub("", text))
    if found is None:
        return None
    whole = OWN.sub("", text)
    return whole[max(0, found.start() - 60) : found.start() + 30]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """stdout of the command line is a terminal."""
    monkeypatch.setattr(click.testing._NamedTextIOWrapper, "isatty", lambda self: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def values(run_id: str, module: Path, directory: Path) -> dict[str, str]:
    """What stands for each word of a usage line."""
    words = directory / "words.txt"
    words.write_text("where\n")
    return {
        **dict.fromkeys(("TEXT", "NAME", "ID", "TOOL", "TAG", "TYPE", "MESSAGE", "BREAKPOINT", "WHEN", "PATH", "CATEGORIES", "VERB", "HOST"), TERMINAL),
        **dict.fromkeys(("THREAD", "TICKET", "REQUEST", "NAME=MODE"), TERMINAL),
        "RUN": run_id,
        "RUN RUN2": f"{run_id}\n{run_id}",
        "RUN WHAT": f"{run_id}\n{TERMINAL}",
        "A B": "start\nend",
        "EXPR": "type ~ 'e'",
        "check EXPR": "seq > 2",
        "bisect EXPR": "seq > 3",
        "trace BREAKPOINT": "error",
        "trace PATH": "messages",
        "state PATH": "messages",
        "POSITION": "50%",
        "MODULE:AGENT": f"{module}:agent",
        "MODULE:POLICY": f"{module}:policy",
        "MODULE:SUITE|DATASET": f"{module}:suite",
        "FILE": str(directory / f"out{TERMINAL.replace('/', '_')}.json"),
        "debug FILE": str(words),
        "import FILE": str(directory / "run.jsonl"),
        "DIRECTORY": str(directory / "goldens"),
        "GOLDEN": str(directory / "goldens"),
        "COMMAND": "event",
        "CMD": "true",
        "JSON": "{}",
        "WHAT=VALUE": f"message@1={TERMINAL}",
    }


class Desk:
    """A directory with a hostile log of one's own, in which command lines are called."""

    def __init__(self, hostile: Hostile, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self._source = hostile.log
        monkeypatch.chdir(directory)

    def call(self, words: tuple[str, ...], form: str) -> Result:
        """Call it on a fresh copy of the log."""
        log = self.directory / "log.db"
        shutil.copy(self._source, log)
        return CliRunner(env={"AFK_ES_LOG": str(log)}).invoke(main, [*words, "--format", form], color=form == "text", input="")


@pytest.fixture
def desk(obeyed: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(obeyed, tmp_path, monkeypatch)
