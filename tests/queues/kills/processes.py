"""What each process of a kill test does: workers, those who push, and the one who approves."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from afk_es.core import Runner, RunnerConfig
from afk_es.core.lease import Lease
from afk_es.core.outside import AttachedRun
from afk_es.errors import AfkError, UsageError
from afk_es.log import EventLog
from afk_es.log.location import open_log
from afk_es.machine import AgentRunEvent
from afk_es.queues import RetryPolicy, TaskItem, TaskQueue, Worker
from tests.bugs.planting import Slip, slipped
from tests.queues.kills.errands import Errand, errands
from tests.queues.kills.slips import SLIPS
from tests.queues.kills.world import CHECKED, World
from tests.support.zygote import Said

RETRY = RetryPolicy(base_s=0.1, cap_s=0.5, max_crashes=1_000)
"""Tries again soon, and never gives a task up because its workers die: here they all do."""

AT_ONCE = 8


def log_of(job: dict[str, Any]) -> EventLog:
    """The log that all processes share."""
    return open_log(job["log"], durability=job.get("durability", "normal"))


def slips_of(job: dict[str, Any]) -> Sequence[Slip]:
    """The mistake that this process has."""
    return SLIPS[job["bug"]].slips if job["bug"] else ()


# ----------------------------------------------------------------------------------------------------------------------------- working


async def work(say: Said, job: dict[str, Any]) -> None:
    """Be a worker until SIGTERM.

    SIGUSR1 stops the process as soon as the intent of an effect is in the log, before the effect begins; SIGUSR2 in the middle of the next
    effect. It lies then as after SIGSTOP.
    """
    log = log_of(job)
    halfway = Stop()
    world = World(Path(job["directory"]), job["life"], job["linger_s"], halfway.reached)
    intent = Stop()
    _stop_after_intents(log, intent)
    with slipped(slips_of(job)):
        _watch_leases(world)
        agents, handlers = world.agents(), world.handlers()
        async with TaskQueue(log, agents=agents, retry=RETRY) as queue:
            world.note("life", owner=log.owner, pid=os.getpid())
            worker = Worker(
                queue,
                agents=agents,
                handlers=handlers,
                max_concurrency=job["at_once"],
                lease_s=job["lease_s"],
                drain_s=job["drain_s"],
                name=job["life"],
            )
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, intent.arm)
            loop.add_signal_handler(signal.SIGUSR2, halfway.arm)
            say("ready")
            await worker.run(signals=True)
        await log.close()
    say("left")


class Stop:
    """A place at which the process stops itself when it next comes there."""

    def __init__(self) -> None:
        self._armed = False

    def arm(self) -> None:
        """Stop there, once."""
        self._armed = True

    def reached(self) -> None:
        """It is there."""
        if self._armed:
            self._armed = False
            os.kill(os.getpid(), signal.SIGSTOP)


def _stop_after_intents(log: EventLog, stop: Stop) -> None:
    append = log.append

    async def appended(events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        await append(events, epoch=epoch)
        if any(event.type == "tool_started" for event in events):
            stop.reached()

    setattr(log, "append", appended)  # noqa: B010 - a method, which a type checker lets nobody assign to


class WatchedLease:
    """A lease that remembers, for the effect that follows, when it was asked last and held."""

    def __init__(self, lease: Lease, world: World) -> None:
        self._lease = lease
        self._world = world

    def held(self) -> bool:
        """What the lease says."""
        before = self._world.now()
        held = self._lease.held()
        CHECKED.set(before if held else None)
        if not held:
            self._world.note("lapsed")
        return held


def _watch_leases(world: World) -> None:
    run_once = Runner.run_once

    async def watched(self: Runner, *args: Any, lease: Lease | None = None, **options: Any) -> AttachedRun:
        return await run_once(self, *args, lease=WatchedLease(lease, world) if lease is not None else None, **options)

    setattr(Runner, "run_once", watched)  # noqa: B010 - as above


# ----------------------------------------------------------------------------------------------------------------------------- pushing


async def push(say: Said, job: dict[str, Any]) -> None:
    """Push errands, from the how-maniest on, until there are none or enough is said; say each that was pushed."""
    directory = Path(job["directory"])
    world = World(directory, job["life"])
    log = log_of(job)
    mine = [errand for errand in errands(job["seed"], job["runs"]) if _is_for(job["pusher"], errand)]
    with slipped(slips_of(job)):
        async with TaskQueue(log, agents=world.agents() if job["at_hand"] else (), retry=RETRY) as queue:
            for start in range(job["done"], len(mine), AT_ONCE):
                if (directory / "enough").exists():
                    break
                await asyncio.gather(*(_lane_pushed(queue, lane, say) for lane in _lanes(mine[start : start + AT_ONCE])))
                say("pushed", str(min(start + AT_ONCE, len(mine))))
    await log.close()
    say("all")


def _is_for(pusher: str, errand: Errand) -> bool:
    """Whoever may be killed pushes what has a key: it can be pushed again."""
    return (errand.key is not None) == (pusher == "keyed")


def _lanes(some: Sequence[Errand]) -> list[list[Errand]]:
    """What has to be pushed in order, together."""
    lanes: dict[str, list[Errand]] = {}
    for errand in some:
        lanes.setdefault(errand.lane or errand.name, []).append(errand)
    return list(lanes.values())


async def _lane_pushed(queue: TaskQueue, lane: Sequence[Errand], say: Said) -> None:
    for errand in lane:
        item = await _pushed(queue, errand)
        if errand.key is not None:
            again = await _pushed(queue, errand)
            if again.id != item.id:
                say("wrong", f"key {errand.key} stands for {item.id} and {again.id}")
            await _other_payload_refused(queue, errand, say)
        if errand.cancelled:
            await queue.cancel(item.id)
        say("task", f"{errand.name} {item.id}")


async def _pushed(queue: TaskQueue, errand: Errand) -> TaskItem:
    options: dict[str, Any] = {
        "priority": errand.priority,
        "delay_s": errand.delay_s or None,
        "key": errand.key,
        "max_attempts": errand.max_attempts,
    }
    if errand.kind != "job":
        return await queue.push_chat(errand.kind, errand.message, thread_id=errand.lane, **options)
    arguments: dict[str, Any] = {"item": f"{errand.name}/0/1"}
    handler = errand.turns[0][0]
    if handler == "flaky":
        arguments["fails"] = errand.fails
    return await queue.push_job(handler, arguments, lane=errand.lane, **options)


async def _other_payload_refused(queue: TaskQueue, errand: Errand, say: Said) -> None:
    try:
        await _pushed(queue, errand._replace(name="another", turns=(("put",),), kind="job"))
    except UsageError:
        return
    say("wrong", f"key {errand.key} was taken by another payload")


# --------------------------------------------------------------------------------------------------------------------------- approving


async def approve(say: Said, job: dict[str, Any]) -> None:
    """Approve whatever waits for it, until the process is ended."""
    log = log_of(job)
    async with TaskQueue(log) as queue, Runner(log=log, config=RunnerConfig(interaction_mode="external")) as runner:
        while True:
            for item in await queue.list(state="waiting"):
                for request in await runner.pending_requests(run_id=item.id):
                    try:
                        await runner.approve(run_id=request.run_id, by="the desk", request_id=request.request_id)
                    except AfkError as error:
                        # It was approved a moment ago, and has not been taken in.
                        say("refused", str(error))
            await asyncio.sleep(0.05)
