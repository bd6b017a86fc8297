"""What models and tools wrote cannot drive the terminal, break the layout, hold up the app or show a secret."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator

import pytest
from rich.cells import cell_len

from afk_es.agents import Agent
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import Runner
from afk_es.llms import LLMResponse, ToolCall
from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.redaction import Redaction
from afk_es.testing import ScriptedModel
from afk_es.tools import tool
from tests.debugger_app.driving import LARGE, SMALL, driven
from tests.debugger_app.opening import opened
from tests.support.stories import Stories

GARBAGE = (
    "\x1b[2J\x1b]52;c;aGFoYQ==\x07 bell\x07 back\x08\x08 \u202egnp.exe\u202c \u2066hidden\u2069 nul\x00 del\x7f c1\x9b31m "
    "[bold red]markup[/] $text @click=app.quit 東京 e\u0301 👩‍👩‍👧 \ufeff zalgo" + "\u0334" * 30 + "\r\nover\rwritten\ttab"
)
SECRET = "sk-proj-0123456789abcdefghijklmnop"


@tool
async def fetch(q: str) -> dict[str, object]:
    """Fetch something."""
    return {"garbage": GARBAGE, "long": "lorem ipsum " * 20_000, "password": SECRET, "wide": "漢字" * 2_000, GARBAGE: 1}


@pytest.fixture
async def log() -> AsyncIterator[EventLog]:
    log = MemoryEventLog()
    await log.open()
    yield log
    await log.close()


async def ran(log: EventLog, seed: int = 1) -> str:
    script = [
        LLMResponse(text=GARBAGE, tool_calls=(ToolCall("\x1b[31mc1", "fetch", {"q": GARBAGE}), ToolCall("c2", "\x1b[5mno", {}))),
        LLMResponse(text=f"My key is {SECRET}. {GARBAGE}"),
    ]
    agent = Agent(name="garbage", model=ScriptedModel(script), tools=[fetch], instructions=GARBAGE)
    runner = Runner(log=log, clock=SimulatedClock(), ids=SeededIds(seed))
    return (await runner.run(agent, user_message=GARBAGE)).run_id


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x50"])
async def test_no_row_has_anything_that_a_terminal_obeys_or_is_wider_than_the_screen(log: EventLog, size: tuple[int, int]) -> None:
    async with driven(log, await ran(log), size=size, redaction=Redaction()) as driver:
        for seq in range(1, driver.screen.run.last + 1):
            await driver.type(f"{seq}G")
            for key in ("V", "x", "v", "D", "M", "w") if seq % 6 == 0 else ("V",):
                await driver.press(key)
                rows = driver.rows()
                assert SECRET not in driver.text()
                for row in rows:
                    assert not [c for c in row if unicodedata.category(c) == "Cc" or c in "\u202e\u202c\u2066\u2069\u2028"], (seq, key, row)
                    assert cell_len(row) == size[0], (seq, key, row)


async def test_what_is_copied_is_redacted_and_what_is_shown_too_unless_asked(log: EventLog) -> None:
    run_id = await ran(log)
    async with driven(log, run_id, at="tool:fetch", redaction=Redaction()) as driver:
        await driver.press("f", "y")
        assert "[redacted]" in driver.app.copied
        assert SECRET not in driver.app.copied
    async with driven(log, run_id, redaction=Redaction()) as driver:
        # Nor is it found, or one could find out what it is by asking.
        await driver.type(f"/{SECRET[:8]}\n")
        await driver.press("y")
        assert '"run_started"' in driver.app.copied
    async with driven(log, run_id, at="tool:fetch", redaction=None) as driver:
        await driver.press("f", "y")
        assert SECRET in driver.app.copied


async def test_an_output_of_240_kb_is_scrolled_to_its_end(log: EventLog) -> None:
    async with driven(log, await ran(log), at="tool:fetch", size=SMALL) as driver:
        await driver.press("f", "tab")
        assert len(driver.screen.pane.lines) > 60
        await driver.press("G", "ctrl+u", "g")
        assert driver.screen.pane.cursor == 0
        await driver.type("/ipsum\n")
        assert "ipsum" in driver.text()


async def test_markup_in_a_note_is_text(log: EventLog) -> None:
    async with driven(log, await ran(log)) as driver:
        await driver.type(":[bold]no[/bold] [/]\n")
        (note,) = driver.app._notifications
        assert "[bold]no[/bold]" in note.message


async def test_no_color_leaves_the_terminal_s_own_colours(stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with driven(stories.log, stories.run_ids["failing"], at=28) as driver:
        styles = [segment.style for strip in driver.app.screen._compositor.render_strips(driver.app.size) for segment in strip]
        coloured = {
            style for style in styles if style is not None and not all(c is None or c.is_default for c in (style.color, style.bgcolor))
        }
        assert coloured == set()
        assert any(style is not None and style.reverse for style in styles)


@pytest.mark.parametrize("size", [(40, 10), SMALL, LARGE], ids=["40x10", "80x24", "160x50"])
async def test_the_other_screens_are_as_careful(log: EventLog, size: tuple[int, int]) -> None:
    first, second = await ran(log), await ran(log, seed=2)
    async with opened(log, first, "debug", size, at="tool:fetch", redaction=Redaction()) as app:
        bad: list[object] = []

        def look(what: str) -> None:
            rows = ["".join(segment.text for segment in strip) for strip in app.app.screen._compositor.render_strips(app.app.size)]
            for row in rows:
                odd = [c for c in row if unicodedata.category(c) == "Cc" or c in "\u202e\u202c\u2066\u2069\u2028"]
                if odd or cell_len(row) != size[0] or SECRET in row:
                    bad.append((what, app.place, odd, cell_len(row), row))

        for key in ("R", "j", "T", "j", "A", "asterisk", "f3", "B", "question_mark", "escape"):
            await app.press(key)
            look(key)
        await app.app.open_compare(first, second)
        await app.settle()
        for key in ("n", "n", "n", "J", "tab"):
            await app.press(key)
            look(f"compare {key}")
        await app.press("f3", "a")
        for key in ("j", "j", "j", "tab", "j", "e", "escape"):
            await app.press(key)
            look(f"what if {key}")
        assert not bad, bad[:5]
