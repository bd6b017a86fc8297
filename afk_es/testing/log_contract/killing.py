"""A process that is killed while it writes: what it was told is there, in whole appends, and its runs are free to go on.

SIGKILL ends a process and not the machine: what a store promises of power cuts is for its author to show.
"""

from __future__ import annotations

import asyncio

from afk_es.log.port import EventLog
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.expecting import holds, same
from afk_es.testing.log_contract.material import started, turn
from afk_es.testing.log_contract.processes import EVENTS_IN_AN_APPEND, RUNS, Child, child

KILLING = Dimension("killing", "After `kill -9` everything that was acknowledged is there, and nothing by halves.", optional=True)

_ACKNOWLEDGED = 12
"""Appends that the child is let get done before it is killed in the middle of others."""

_PATIENCE_S = 5.0
"""For so long a killed owner may look alive."""


@KILLING.promise
async def what_was_acknowledged_is_there_in_whole_appends(bench: Bench) -> None:
    async with child(bench, "write") as writer:
        told = await _killed(writer)
    log = await bench.store()
    for run_id in RUNS:
        events = await log.read(run_id)
        same([item.seq for item in events], list(range(1, len(events) + 1)), f"the seqs of {run_id} after its process was killed")
        holds(len(events) >= told.get(run_id, 0), f"{run_id} was told of {told.get(run_id)} events, and {len(events)} are there")
        same((len(events) - 1) % EVENTS_IN_AN_APPEND, 0, f"how many events of {run_id} are there beyond whole appends")
        same(await log.verify(run_id), None, f"the hash chain of {run_id}")


@KILLING.promise
async def letters_that_were_acknowledged_are_there(bench: Bench) -> None:
    async with child(bench, "write") as writer:
        told = await _killed(writer)
    log = await bench.store()
    letters = await log.letters()
    holds(told["letters"] > 0, "the child should have posted letters before it was killed")
    holds(len(letters) >= told["letters"], f"{told['letters']} letters were acknowledged, and {len(letters)} are there")
    reasons = [letter.draft.data["reason"] for letter in letters]
    same(reasons, [str(number) for number in range(1, len(letters) + 1)], "what the letters say")


@KILLING.promise
async def a_killed_owner_is_dead_and_its_run_goes_on(bench: Bench) -> None:
    log = await bench.store()
    async with child(bench, "claim") as owner:
        name = (await owner.hear("owner"))[0]
        holds(await log.alive(name, "run_a"), "the process that drives a run should be alive")
        owner.kill()
    await _seen_dead(log, name)
    await log.append([started("run_a", 6, epoch=2, owner=log.owner), *turn("run_a", 7)], epoch=2)
    same([item.seq for item in await log.read("run_a")], list(range(1, 11)), "the run, taken over")
    same(await log.verify("run_a"), None, "its hash chain")


async def _seen_dead(log: EventLog, owner: str) -> None:
    """A server hears of a process that is gone by the end of its connection, which may take it a moment."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _PATIENCE_S
    while await log.alive(owner, "run_a"):
        holds(loop.time() < until, f"a process that was killed should be dead, and is alive after {_PATIENCE_S:g} s")
        await asyncio.sleep(0.01)


async def _killed(writer: Child) -> dict[str, int]:
    """Let the child write events and letters, kill it, and give back the highest number that it named for each run, and for "letters"."""
    for _ in range(_ACKNOWLEDGED):
        await writer.hear("done")
    while not any(line[:2] == ["done", "letters"] for line in writer.heard):
        await writer.hear("done")
    writer.kill()
    return {word: int(number) for line in writer.heard if line[0] == "done" for word, number in [line[1:]]}
