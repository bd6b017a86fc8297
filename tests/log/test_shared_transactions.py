"""Goal: statements that come at the same time share a transaction, and nobody fails, or is kept waiting, for another's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from afk_es.errors import ClashError, LogFullError, LogReadOnlyError
from afk_es.log import Statement
from afk_es.log.shared_transactions import STATEMENTS_AT_ONCE, SharedTransactions


class Database:
    """Runs statements when it is let; those that are said to be bad it refuses, with all that came with them."""

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.bad: dict[str, Exception] = {}
        self.began = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def run(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        self.ran.append([statement.sql for statement in statements])
        self.began.set()
        await self.open.wait()
        for statement in statements:
            if statement.sql in self.bad:
                raise self.bad[statement.sql]
        return [[(statement.sql,)] for statement in statements]


def of(*names: str) -> list[Statement]:
    return [Statement(name) for name in names]


async def test_whoever_comes_while_one_is_under_way_shares_the_next() -> None:
    database = Database()
    shared = SharedTransactions(database.run)
    database.open.clear()
    first = asyncio.create_task(shared.transact(of("a")))
    await database.began.wait()
    later = [asyncio.create_task(shared.transact(of(*names))) for names in (["b", "c"], ["d"], ["e", "f", "g"])]
    await asyncio.sleep(0)
    database.open.set()
    assert await first == [[("a",)]]
    assert await asyncio.gather(*later) == [[[("b",)], [("c",)]], [[("d",)]], [[("e",)], [("f",)], [("g",)]]]
    assert database.ran == [["a"], ["b", "c", "d", "e", "f", "g"]]


async def test_a_transaction_has_a_bound_and_splits_nobody() -> None:
    database = Database()
    shared = SharedTransactions(database.run)
    many = of(*["x"] * (STATEMENTS_AT_ONCE - 1))
    await asyncio.gather(shared.transact(many), shared.transact(of("a", "b")), shared.transact(of(*["y"] * 1_000)))
    assert [len(statements) for statements in database.ran] == [STATEMENTS_AT_ONCE - 1, 2, 1_000]


@pytest.mark.parametrize("error", [ClashError("there is one"), LogReadOnlyError("the role may not")])
async def test_whose_statements_are_refused_fails_alone(error: Exception) -> None:
    database = Database()
    database.bad["b"] = error
    shared = SharedTransactions(database.run)
    got = await asyncio.gather(*(shared.transact(of(name)) for name in "abc"), return_exceptions=True)
    assert got == [[[("a",)]], error, [[("c",)]]]
    assert database.ran == [["a", "b", "c"], ["a"], ["b"], ["c"]]


@pytest.mark.parametrize("error", [LogFullError("no room"), RuntimeError("a bug")])
async def test_what_is_nobodys_own_is_told_to_all_at_once_and_the_next_have_their_turn(error: Exception) -> None:
    database = Database()
    database.bad["b"] = error
    shared = SharedTransactions(database.run)
    got = await asyncio.gather(*(shared.transact(of(name)) for name in "abc"), return_exceptions=True)
    assert got == [error] * 3
    assert len(database.ran) == 1
    assert await shared.transact(of("d")) == [[("d",)]]


async def test_they_land_even_if_the_waiting_is_cancelled() -> None:
    database = Database()
    shared = SharedTransactions(database.run)
    database.open.clear()
    waiting = [asyncio.create_task(shared.transact(of(name))) for name in "ab"]
    await database.began.wait()
    waiting[0].cancel()
    database.open.set()
    assert await waiting[1] == [[("b",)]]
    await shared.finish()
    assert waiting[0].cancelled()
    assert database.ran == [["a", "b"]]


def running() -> asyncio.Task[Any]:
    (found,) = [task for task in asyncio.all_tasks() if task.get_name() == "afk_es log statements"]
    return found


async def test_where_an_event_loop_ends_whoever_was_under_way_is_told_and_whoever_comes_then_is_served() -> None:
    """Tasks that are cancelled with everybody else give back what they hold, perhaps by statements."""
    database = Database()
    shared = SharedTransactions(database.run)
    database.open.clear()
    first = asyncio.create_task(shared.transact(of("a")))
    await database.began.wait()
    second = asyncio.create_task(shared.transact(of("b")))
    await asyncio.sleep(0)
    running().cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    database.open.set()
    assert await second == [[("b",)]]


async def test_what_nobody_waits_for_any_more_where_an_event_loop_ends_lands_before_the_log_is_closed() -> None:
    database = Database()
    shared = SharedTransactions(database.run)
    waiting = asyncio.create_task(shared.transact(of("a")))
    await asyncio.sleep(0)
    # Before its first step, so that it never comes to what it does at its end.
    running().cancel()
    waiting.cancel()
    await asyncio.wait([waiting])
    await shared.finish()
    assert database.ran == [["a"]]
