"""The places of subagents: limits that hold exactly, lending, and what a cancellation leaves behind."""

from __future__ import annotations

import asyncio

import pytest

from afk_es.core.places import CrowdedError, Place, Places


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_whoever_waits_longest_and_can_go_goes_first() -> None:
    places = Places(2, 1, 9)
    first = await places.take("a")
    order: list[str] = []

    async def come(name: str, target: str) -> Place:
        place = await places.take(target)
        order.append(name)
        return place

    waiting = [asyncio.create_task(come(*who)) for who in (("second a", "a"), ("b", "b"), ("third a", "a"))]
    await settled()
    assert order == ["b"]
    first.close()
    await settled()
    assert order == ["b", "second a"]
    (await waiting[0]).close()
    await settled()
    assert (order, places.taken) == (["b", "second a", "third a"], 2)


async def test_whoever_comes_when_too_many_wait_is_refused() -> None:
    places = Places(1, 1, 1)
    await places.take("a")
    waiting = asyncio.create_task(places.take("a"))
    await settled()
    with pytest.raises(CrowdedError, match="subagent_queue_backpressure_limit"):
        await places.take("b")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_lent_place_is_anothers_meanwhile_and_taken_back_before_newcomers() -> None:
    places = Places(1, 1, 9)
    mine = await places.take("parent")
    order: list[str] = []

    async def away(until: asyncio.Event) -> None:
        async with mine.lent():
            await until.wait()
        order.append("parent goes on")

    async def newcomer(name: str, until: asyncio.Event) -> None:
        place = await places.take("child")
        order.append(name)
        await until.wait()
        place.close()

    back, first_over, second_over = asyncio.Event(), asyncio.Event(), asyncio.Event()
    tasks = [
        asyncio.create_task(away(back)),
        asyncio.create_task(newcomer("one", first_over)),
        asyncio.create_task(newcomer("two", second_over)),
    ]
    await settled()
    assert (order, places.taken) == (["one"], 1)
    back.set()
    await settled()
    assert order == ["one"], "there is one place, and it is taken"
    first_over.set()
    await settled()
    assert order == ["one", "parent goes on"], "though the other newcomer waits for longer"
    mine.close()
    second_over.set()
    await asyncio.gather(*tasks)
    assert (order[-1], places.taken) == ("two", 0)


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_at_any_moment_loses_no_place(turns: int) -> None:
    places = Places(1, 1, 9)
    first = await places.take("a")

    async def whole() -> None:
        place = await places.take("a")
        try:
            async with place.lent():
                await asyncio.sleep(0)
        finally:
            place.close()

    waiting = asyncio.create_task(whole())
    await asyncio.sleep(0)
    first.close()
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert places.taken == 0
    (await asyncio.wait_for(places.take("a"), 1)).close()
