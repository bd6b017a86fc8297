"""All meetings, one after the other; some at the same time, for most of each is waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.interop import inspecting, servers_of_others, suite
from tests.interop.report import Meeting
from tests.interop.workshop import Workshop

AT_ONCE = 4


def all_meetings(where: Workshop) -> Iterator[Meeting]:
    """Everything that there is to try."""
    yield from asyncio.run(_at_servers(where))
    with suite.served(where) as url, ThreadPoolExecutor(AT_ONCE) as pool:
        tries = [pool.submit(lambda era: list(suite.of_server(where, era, url)), era) for era in suite.ERAS]
        tries += [pool.submit(lambda era: list(inspecting.inspected(where, era, url)), era) for era in inspecting.ERAS]
        tries += [
            pool.submit(lambda era, name: list(suite.of_client(where, era, name)), era, name) for era in suite.ERAS for name in suite.CLIENT
        ]
        for each in tries:
            yield from each.result()


async def _at_servers(where: Workshop) -> list[Meeting]:
    return [each async for each in servers_of_others.met(where)]
