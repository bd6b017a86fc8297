"""The debugger without a screen, its app on every screen, and what is copied out of it: nothing of a log drives a terminal."""

from __future__ import annotations

import shlex

import pytest
from rich.cells import cell_len

from afk_es.debugger.plain import COMMANDS, Console, execute
from afk_es.errors import AfkError
from afk_es.log import open_log
from afk_es.redaction import Redaction
from debugger.screens import SCREENS
from tests.debugger_app.opening import LARGE, SMALL, Opened, opened
from tests.security.hostile_log import TERMINAL, Hostile
from tests.security.test_terminal import LONG, OBEYED, obeyed_in

WORDS = ("", "1", "end", "50%", TERMINAL, "type ~ 'e'", "@last", "cost_usd", "back", "m 1", "start end", "1 1", "run")
"""What stands behind a command of the console."""

SAID_ELSEWHERE = frozenset({"export"})
"""Commands that need more than words: a file to write to, whose content is looked at in test_terminal.py."""

KEYS: dict[str, tuple[str, ...]] = {
    "debug": ("j", "G", "tab", "j", "enter", "1", "2", "3", "4", "5", "6", "question_mark", "escape"),
    "triage": ("j", "j", "enter"),
    "compare": ("n", "n", "J", "tab"),
    "approvals": ("j", "j", "tab", "asterisk"),
    "what_if": ("j", "j", "tab", "j", "e", "escape"),
    "help": ("j", "G"),
    "runs": ("j", "j", "tab"),
}
"""What is pressed on a screen."""


@pytest.mark.parametrize("story", ["failing", "team"])
async def test_no_command_of_the_console_lets_anything_through(story: str, obeyed: Hostile) -> None:
    """Every command of the table, with words and without, where something happens."""
    log = open_log(obeyed.log, read_only=True)
    await log.open()
    try:
        bad, answered = [], set()
        for command in COMMANDS:
            console = await Console.open(log, obeyed.run_ids[story], at="llm:1")
            await execute(console, "break error")
            for words in WORDS:
                try:
                    reply = await execute(console, f"{command.name} {words}")
                except AfkError:
                    continue  # It is said by cli/output.py, as of any verb.
                answered.add(command.name)
                bad += [(command.name, words, line) for line in reply.lines if OBEYED.search(line)]
    finally:
        await log.close()
    assert not bad, bad[:5]
    assert {command.name for command in COMMANDS} - answered <= SAID_ELSEWHERE


def wrong_rows(app: Opened) -> list[str]:
    """Rows of the screen that hold what a terminal obeys, or are not as wide as it."""
    strips = app.app.screen._compositor.render_strips(app.app.size)
    rows = ["".join(segment.text for segment in strip) for strip in strips]
    return [row for row in rows if OBEYED.search(row) or "\n" in row or cell_len(row) != app.app.size[0]]


def test_every_screen_is_looked_at() -> None:
    """A new screen is given keys here."""
    assert KEYS.keys() == SCREENS.keys()


@pytest.mark.parametrize("size", [SMALL, LARGE] if LONG else [SMALL])
@pytest.mark.parametrize("screen", SCREENS)
async def test_no_screen_shows_what_a_terminal_obeys(screen: str, size: tuple[int, int], obeyed: Hostile) -> None:
    """The strips that Textual hands to its driver, on every screen, wherever the keys lead."""
    bad = []
    first, second = obeyed.run_ids["failing"], obeyed.run_ids["team"]
    async with opened(obeyed.log, first, "debug", size, at="err", redaction=Redaction()) as app:
        if screen == "compare":
            await app.app.open_compare(first, second)
        elif screen != "debug":
            await app.app.show(screen)
        await app.settle()
        for key in ("", *KEYS[screen]):
            if key:
                await app.press(key)
            bad += [(screen, key, row) for row in wrong_rows(app)]
    assert not bad, bad[:3]


@pytest.mark.parametrize("screen", ["debug", "triage", "compare", "runs", "approvals"] if LONG else ["debug", "triage", "compare"])
async def test_what_is_copied_cannot_end_a_paste_and_is_quoted_for_a_shell(screen: str, obeyed: Hostile) -> None:
    """A paste that holds ESC [ 201 ~ ends there, and what follows is typed; so does a line break in a command, if it is not quoted."""
    first, second = obeyed.run_ids["failing"], obeyed.run_ids["team"]
    async with opened(obeyed.log, first, "debug", LARGE, at="err", redaction=None) as app:
        if screen == "compare":
            await app.app.open_compare(first, second)
        elif screen != "debug":
            await app.app.show(screen)
        await app.settle()
        for key in ("y", "Y"):
            await app.press("j", key)
            assert obeyed_in(app.app.copied) is None
        words = shlex.split(app.app.copied)
        assert words[0] == "afk-es"
        assert "|" not in words
        assert app.app.copied.count("\n") == 0
