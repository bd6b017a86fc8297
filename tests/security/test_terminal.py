"""Nothing that a log, a file or an argument holds drives the terminal: of every verb with every option, and in every form."""

from __future__ import annotations

import json
import os
import re
import shutil
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import click.testing
import pytest
from click.testing import CliRunner, Result

from afk_es.cli import main
from tests.security.command_lines import LEFT_OUT, command_lines, verbs
from tests.security.hostile_log import TERMINAL, Hostile

OWN = re.compile(r"\x1b\[(?:0|1|2|3[1-6]|0;[\d;]+)?m|\x1b\[(?:\?25[hl]|\d*A|2K)|\r(?!\x08|\\x08)")
"""What the command line itself says to a terminal: colours, and how far it is. The poison blinks, which nothing of ours does, and its return
is followed by a backspace."""

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Controls but for the line break and the tab, and what turns or breaks a line unseen."""


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


LONG = bool(os.environ.get("AFK_ES_LONG"))
"""Every option of every verb in every form, on every story; otherwise each once, and verbs without options in every form."""

STORIES = ("failing", "looping", "denied", "crashed", "team", "complete", "cost_limit")


class Desk:
    """A directory with hostile logs of one's own and an agent of the user's, in which command lines are called."""

    def __init__(self, hostile: Hostile, module: Path) -> None:
        self._hostile = hostile
        self._module = module
        self._directory = module.parent
        self._log = self._directory / "log.db"
        self._lines: dict[tuple[str, str], list[tuple[str, ...]]] = {}
        (self._directory / "words.txt").write_text("where\n")

    def lines(self, verb: str, story: str) -> list[tuple[str, ...]]:
        """The ways to call the verb on this story."""
        if (verb, story) not in self._lines:
            self._lines[verb, story] = [line.words for line in command_lines(self._values(self._hostile.run_ids[story]), verb)]
        return self._lines[verb, story]

    def call(self, words: Sequence[str], form: str, *, terminal: bool = False) -> Result:
        """Call it on a fresh copy of the log."""
        shutil.copy(self._hostile.log, self._log)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self._directory)
            if terminal:
                patch.setattr(click.testing._NamedTextIOWrapper, "isatty", lambda self: self.name != "<stdin>")
            environment = {"AFK_ES_LOG": str(self._log), "TERM": "xterm-256color", "NO_COLOR": None}
            return CliRunner(env=environment).invoke(main, [*words, "--format", form], color=terminal, input="")

    def given(self, story: str) -> None:
        """Files of others that verbs take: an exported run and a golden."""
        run_id = self._hostile.run_ids[story]
        self.call(("export", run_id, "--to", "jsonl", "-o", "run.jsonl", "--force"), "text")
        self.call(("golden", "record", run_id, "--name", "g", "--agent", f"{self._module}:agent", "--force"), "text")

    def _values(self, run_id: str) -> dict[str, str]:
        """What stands for each word of a usage line."""
        free = (
            "TEXT",
            "NAME",
            "ID",
            "TOOL",
            "TAG",
            "TYPE",
            "MESSAGE",
            "BREAKPOINT",
            "WHEN",
            "PATH",
            "CATEGORIES",
            "VERB",
            "HOST",
            "THREAD",
            "TICKET",
        )
        return {
            **dict.fromkeys((*free, "REQUEST", "NAME=MODE"), TERMINAL),
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
            "MODULE:AGENT": f"{self._module}:agent",
            "MODULE:POLICY": f"{self._module}:policy",
            "MODULE:SUITE|DATASET": f"{self._module}:suite",
            "FILE": f"out{TERMINAL.replace('/', '_')}.json",
            "debug FILE": "words.txt",
            "import FILE": "run.jsonl",
            "DIRECTORY": "goldens",
            "GOLDEN": "goldens",
            "COMMAND": "event",
            "CMD": "true",
            "JSON": "{}",
            "TASK": TERMINAL,
            "CONTRACT": TERMINAL,
            "TIME": "10m",
            "queue push WHEN": "2026-12-24T18:00+01:00",
            "WHAT=VALUE": f"message@1={TERMINAL}",
        }


@pytest.fixture
def desk(obeyed: Hostile, module: Path) -> Desk:
    """A desk on a log whose every text would drive a terminal."""
    return Desk(obeyed, module)


@pytest.mark.parametrize("verb", sorted(set(verbs()) - LEFT_OUT.keys()))
def test_no_option_of_a_verb_lets_anything_through(verb: str, desk: Desk) -> None:
    """Text at a terminal, with every option in turn; every form without one. Nothing ends in a traceback either."""
    bad: list[object] = []
    if verb.startswith(("golden", "import")):
        desk.given("failing")
    for story in STORIES if LONG else STORIES[:1]:
        for index, words in enumerate(desk.lines(verb, story)):
            words = words if LONG else desk.lines(verb, STORIES[index % len(STORIES)])[index]
            # Without a screen: the app is looked at in test_screens.py.
            bad += _wrong(words, "text", desk.call(words, "text", terminal=verb != "debug"))
            for form in ("json", "jsonl", "md") if LONG else ("json", "md") if index == 0 else ():
                bad += _wrong(words, form, desk.call(words, form))
    assert not bad, bad[:5]


@pytest.mark.parametrize("words", [("show", "a"), ("runs", "a", "b"), ("golden",), (), ("golden", "check", "--mode"), ("show", "--at")])
def test_what_is_not_understood_is_named_and_does_nothing(words: tuple[str, ...]) -> None:
    for last in (TERMINAL, f"--{TERMINAL}", f"--db={TERMINAL}"):
        result = CliRunner().invoke(main, [*words, last], color=True)
        assert result.exit_code != 0
        assert obeyed_in(result.output) is None


def _wrong(words: Sequence[str], form: str, result: Result) -> Iterator[object]:
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        yield words, form, "".join(traceback.format_exception(result.exception))
    if (found := obeyed_in(result.output)) is not None:
        yield words, form, found
    if form == "json" and result.exit_code == 0 and words[0] not in ("export", "telemetry"):
        json.loads(result.stdout)
