"""A worker whose run is lent to it for a time, in a process of its own that is stopped (SIGSTOP) at a place, past its lease, and continued.

`python -m tests.crash.lent [--log URL]` tries every place, in SQLite files, or on a PostgreSQL server.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from afk_es.agents import Agent
from afk_es.core import Runner
from afk_es.errors import AfkError
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.log import EventLog, open_log
from afk_es.machine import AgentRunEvent
from afk_es.testing import ScriptedModel, log_problems
from afk_es.tools import ToolContext, prehook, tool
from tests.crash.journal import Journal
from tests.support.zygote import Life, Said, Zygote, zygote

EVENTS = (
    "run_started",
    "step_started",
    "policy_decision",
    "llm_called",
    "llm_completed",
    "tool_batch_started",
    "tool_started",
    "tool_completed",
    "subagent_started",
    "run_started far",
    "llm_called far",
    "tool_started far",
    "tool_completed far",
    "run_completed far",
    "subagent_completed",
    "run_completed",
)
APPENDS = 14
"""Of the clerk and the helper, together."""
EFFECTS = ("model", "pay", "put", "post")
PLACES = (
    *(f"{when} {event}" for event in EVENTS for when in ("before", "after")),
    *(f"in {name}" for name in EFFECTS),
    *(f"about to {name}" for name in ("pay", "put", "post")),
)
"""In an effect; before or after an event is in the log, of the helper's run where it is far; and in a hook, right before the function."""


NOTHING_TO_DO = ("before run_started", "before append 1", "after run_completed", f"after append {APPENDS}")
"""Where the run was not begun yet, or has ended: the stale worker finds what the other has made of it, or what it has made of it itself."""


class Lease:
    """One that is over as soon as a file is there, and so at a moment that no other process can be late for.

    Args:
        over: the file.
    """

    def __init__(self, over: Path) -> None:
        self._over = over

    def held(self) -> bool:
        return not self._over.exists()


class Stop:
    """The place where a process waits to be stopped."""

    def __init__(self, place: str, go: Path, say: Said) -> None:
        self._place = place
        self._go = go
        self._say = say

    async def at(self, place: str) -> None:
        """An asynchronous part of it has come there: its other tasks go on."""
        if self._is_here(place):
            while not self._go.exists():  # noqa: ASYNC110 - another process makes the file
                await asyncio.sleep(0.002)

    def in_thread(self, place: str) -> None:
        """A synchronous part has."""
        if self._is_here(place):
            while not self._go.exists():
                time.sleep(0.002)

    def _is_here(self, place: str) -> bool:
        here = place == self._place
        if here:
            self._place = ""
            self._say("at", place)
        return here


def stopping(log: EventLog, stop: Stop) -> EventLog:
    """The log, with places before and after each of its appends."""
    append, far, numbers = log.append, set[str](), itertools.count(1)

    async def gated(events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        if "parent" in events[0].data:
            far.add(events[0].run_id)
        places = [f"append {next(numbers)}", *(f"{event.type}{' far' if event.run_id in far else ''}" for event in events)]
        for place in places:
            await stop.at(f"before {place}")
        await append(events, epoch=epoch)
        for place in places:
            await stop.at(f"after {place}")

    log.append = gated  # type: ignore[method-assign]
    return log


def clerk(journal: Journal, who: str, stop: Stop) -> Agent:
    """Pays, puts, and has a helper post. Everything that touches the world is noted as it begins."""

    async def about(args: dict[str, Any], ctx: ToolContext, name: str) -> dict[str, Any]:
        await stop.at(f"about to {name}")
        return args

    @prehook
    async def about_to_pay(args: dict[str, Any], ctx: ToolContext) -> dict[str, Any]:
        return await about(args, ctx, "pay")

    @prehook
    async def about_to_put(args: dict[str, Any], ctx: ToolContext) -> dict[str, Any]:
        return await about(args, ctx, "put")

    @prehook
    async def about_to_post(args: dict[str, Any], ctx: ToolContext) -> dict[str, Any]:
        return await about(args, ctx, "post")

    @tool(prehooks=[about_to_pay])
    async def pay(ctx: ToolContext) -> str:
        """Pay."""
        journal.note("pay", ctx, who=who)
        await stop.at("in pay")
        return "paid"

    @tool(prehooks=[about_to_put], idempotent=True)
    def put(ctx: ToolContext) -> str:
        """Put, in a thread."""
        journal.note("put", ctx, who=who)
        stop.in_thread("in put")
        return "put"

    @tool(prehooks=[about_to_post])
    async def post(ctx: ToolContext) -> str:
        """Post."""
        journal.note("post", ctx, who=who)
        await stop.at("in post")
        return "posted"

    def model(*calls: tuple[str, dict[str, Any]]) -> ScriptedModel:
        async def answer(request: LLMRequest) -> LLMResponse:
            journal.note("model", who=who)
            await stop.at("in model")
            turn = sum(bool(message.tool_calls) for message in request.messages)
            if turn == len(calls):
                return LLMResponse(text="done")
            return LLMResponse(tool_calls=(ToolCall(f"call_{turn}", *calls[turn]),))

        return ScriptedModel(answer)

    helper = Agent(name="helper", model=model(("post", {})), tools=[post])
    calls: tuple[tuple[str, dict[str, Any]], ...] = (("pay", {}), ("put", {}), ("transfer_to_helper", {"task": "post"}))
    return Agent(name="clerk", model=model(*calls), tools=[pay, put], subagents=[helper])


async def work(say: Said, job: dict[str, Any]) -> None:
    """A process: drive the run under a lease, as its first worker or as the one that takes it over."""
    directory = Path(job["directory"])
    stop = Stop(job.get("stop", ""), directory / "go", say)
    lease = Lease(directory / f"{job['who']}.over")
    described = clerk(Journal(directory / "effects.jsonl"), job["who"], stop)
    log = stopping(open_log(job["log"]), stop)
    try:
        async with Runner(log=log) as runner:
            run = await runner.run_once(
                described,
                run_id="task",
                by=job["who"],
                user_message="go",
                lease=lease if job.get("leased", True) else None,
                take_over=job.get("take_over", False),
            )
            assert run.stretch is not None
            result = await run.stretch
        say("ended", result.state)
    except AfkError as error:
        say("ended", f"{type(error).__name__} {error}")
    finally:
        await log.close()


# ---------------------------------------------------------------------------------------------------------------------- the parent's side


class Trial(NamedTuple):
    """One run and its two workers."""

    place: str
    directory: Path
    log: str
    stale: Life


def outcomes(
    born: Zygote, scratch: Path, places: Sequence[str], location: str | None = None, *, leased: bool = True
) -> Iterator[tuple[str, list[str]]]:
    """Try places, all at once. Each place, with the broken promises.

    Args:
        location: the URL of a PostgreSQL log, in which each trial has a schema of its own; None: SQLite files.
        leased: whether the worker that is stopped knows of its lease.
    """
    trials = []
    for number, place in enumerate(places):
        directory = scratch / str(number)
        directory.mkdir()
        log = f"{location}_{number}" if location is not None else str(directory / "runs.db")
        job = {"directory": str(directory), "log": log, "leased": leased}
        trials.append(
            Trial(place, directory, log, born.start("tests.crash.lent:work", directory / "stale.said", who="stale", stop=place, **job))
        )
    for trial in trials:
        trial.stale.hear("at")
        trial.stale.stop()
        (trial.directory / "stale.over").touch()
    heirs = [
        born.start(
            "tests.crash.lent:work", each.directory / "heir.said", who="heir", take_over=True, directory=str(each.directory), log=each.log
        )
        for each in trials
    ]
    for trial, heir in zip(trials, heirs, strict=True):
        _, ended = heir.hear("ended", "died")
        before, events = Journal(trial.directory / "effects.jsonl").lines(), asyncio.run(_family(trial.log))
        (trial.directory / "go").touch()
        trial.stale.go_on()
        _, said = trial.stale.hear("ended", "died")
        yield trial.place, list(_broken(trial, ended, said, before, events))


def _broken(trial: Trial, ended: str, said: str, before: list[dict[str, Any]], events: dict[str, list[AgentRunEvent]]) -> Iterator[str]:
    if ended != "completed":
        yield f"the heir came to {ended}"
    if not said.startswith(("LeaseLostError", "HeadConflictError")) and not (said == "completed" and trial.place in NOTHING_TO_DO):
        yield f"the stale worker came to {said}"
    lines = Journal(trial.directory / "effects.jsonl").lines()
    if late := lines[len(before) :]:
        yield f"the stale worker started {late}"
    for name in ("pay", "post"):
        if (times := sum(line["what"] == name for line in lines)) > 1:
            yield f"{name} was done {times} times"
    if asyncio.run(_family(trial.log)) != events:
        yield "the stale worker wrote to the log"
    for run in events.values():
        yield from (str(problem) for problem in log_problems(run))


async def _family(location: str) -> dict[str, list[AgentRunEvent]]:
    log = open_log(location, read_only=True)
    await log.open()
    try:
        runs = [run.run_id for run in await log.runs()]
        assert [await log.verify(run_id) for run_id in runs] == [None] * len(runs)
        return {run_id: await log.read(run_id) for run_id in runs}
    finally:
        await log.close()


def main() -> int:
    """Try all places, and say which broke a promise."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--log", help="the URL of a PostgreSQL log; default: SQLite files")
    options = arguments.parse_args()
    broken = 0
    with zygote("tests.crash.lent", "afk_es.log.sqlite", "afk_es.log.postgres") as born, tempfile.TemporaryDirectory() as scratch:
        places = [*PLACES, *(f"{when} append {number}" for number in range(1, APPENDS + 1) for when in ("before", "after"))]
        for first in range(0, len(places), 8):
            directory = Path(scratch) / str(first)
            directory.mkdir()
            location = f"{options.log}{'&' if '?' in options.log else '?'}schema=lent_{first}" if options.log else None
            for place, sentences in outcomes(born, directory, places[first : first + 8], location):
                broken += bool(sentences)
                sys.stdout.write(f"{place}: {'; '.join(sentences) or 'kept'}\n")
            born.end_all()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
