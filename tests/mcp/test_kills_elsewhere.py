"""Goal: as `test_kills.py`, where the shop is a subprocess of the clerk's, where it stands still, and where two ask for one call at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import CallToolResult, TextContent

from afk_es.mcp import IDEMPOTENCY_KEY
from tests.mcp.kills.scene import Scene, kill, told
from tests.support.processes import has_ended
from tests.support.zygote import Zygote, zygote

pytestmark = pytest.mark.kill


@pytest.fixture(scope="module")
def born() -> Iterator[Zygote]:
    """Where processes come from."""
    with zygote("tests.mcp.kills.shop", "tests.mcp.kills.preloaded") as one:
        yield one


@pytest.fixture
def scene(born: Zygote, tmp_path: Path) -> Iterator[Scene]:
    """Over HTTP."""
    yield Scene(born, tmp_path, "http")
    born.end_all()


def test_the_shop_is_the_clerks_subprocess_and_dies_in_the_middle(born: Zygote, tmp_path: Path) -> None:
    """The clerk starts another one, and asks again: what the first one did is in the log, that it was in the middle of it is said."""
    scene = Scene(born, tmp_path, "stdio")
    clerk = scene.clerk("pay", trusted=True, again=True, far_stop="after effect")
    shop = scene.shop_over_stdio()
    shop.hear("at")
    scene.go()
    kill(shop)
    ended = told(clerk)
    assert ended.state == "completed"
    assert "unknown" in ended.text
    assert len(scene.effects()) == 1
    scene.check()


def test_the_clerk_dies_and_its_subprocess_with_it(born: Zygote, tmp_path: Path) -> None:
    """Over stdio the end of the clerk is the end of the shop's input. What the shop had begun is gone on with by the next one."""
    scene = Scene(born, tmp_path, "stdio")
    clerk = scene.clerk("pay", trusted=True, far_stop="before tool_completed")
    shop = scene.shop_over_stdio()
    shop.hear("at")
    kill(clerk)
    scene.go()
    ended = told(scene.clerk("pay", trusted=True, resumes=True))
    assert ended.state == "completed"
    assert len(scene.effects()) == 1
    scene.check()
    # It has come to its end by itself.
    assert has_ended(shop.pid)


def test_the_shop_stands_still_for_longer_than_the_clerk_waits_and_goes_on(scene: Scene) -> None:
    shop = scene.shop(stop="before effect")
    clerk = scene.clerk("pay", timeout_s=0.5)
    shop.hear("at")
    shop.stop()
    ended = told(clerk)
    assert ended.state == "completed"
    assert "did not finish within 0.5 s" in ended.text
    shop.go_on()
    scene.go()
    # It is there, and answers another clerk.
    assert "put tea" in told(scene.clerk("put", run="another")).text
    assert len([line for line in scene.effects() if line["what"] == "pay"]) <= 1


def test_the_shop_stands_still_and_the_clerk_that_trusts_it_has_its_answer_later(scene: Scene) -> None:
    """The call that was given up and the one that is made again are one call."""
    shop = scene.shop(stop="before effect")
    clerk = scene.clerk("pay", timeout_s=1.0, trusted=True, again=True)
    shop.hear("at")
    shop.stop()
    scene.go()
    # The first attempt is given up, the second waits for a shop that does not answer.
    while not any(event.type == "tool_failed" for run in scene.events("clerk") for event in run):
        pass
    shop.go_on()
    ended = told(clerk)
    assert ended.state == "completed"
    assert len(scene.effects()) <= 1
    scene.check()


async def _asked(url: str, key: str, started: asyncio.Event | None = None) -> str:
    async with Client(url) as client:
        if started is not None:
            started.set()
        meta: Any = {IDEMPOTENCY_KEY: key}
        result = await client.call_tool("pay", {"item": "tea"}, meta=meta)
        assert isinstance(result, CallToolResult)
        block = result.content[0]
        assert isinstance(block, TextContent)
        return block.text


@pytest.mark.parametrize("shops", [1, 2])
async def test_several_ask_for_one_call_at_once(born: Zygote, tmp_path: Path, shops: int) -> None:
    """At one shop, or at two processes on one log: the effect takes place once, and all have its result."""
    scene = Scene(born, tmp_path, "http")
    try:
        first = await asyncio.to_thread(scene.shop, "before effect")
        urls = [first.hear("url")[1]]
        if shops == 2:
            urls.append((await asyncio.to_thread(scene.another_shop)).hear("url")[1])
        # The first to come drives it, and stops in the middle; the others join it there.
        asking = [asyncio.create_task(_asked(urls[0], "one"))]
        await first.heard("at")
        begun = [asyncio.Event() for _ in range(4)]
        asking += [asyncio.create_task(_asked(urls[number % shops], "one", each)) for number, each in enumerate(begun)]
        await asyncio.gather(*(each.wait() for each in begun))
        scene.go()
        assert await asyncio.gather(*asking) == ["pay tea"] * 5
        assert len(scene.effects()) == 1
        await asyncio.to_thread(scene.check)
    finally:
        born.end_all()
