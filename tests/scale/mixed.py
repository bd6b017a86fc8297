"""Thousands of runs at once on one SQLite file, each with a person, a background tool and two subagents; and then what became of each.

`python -m tests.scale.mixed --runs 5000 [--durability full]` prints one line of figures, or `--each 500,1000,2500,5000` a table with a process
for each. It knows nothing of how the runtime does it: it starts runs, answers, resolves, and compares the effects with what was asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from afk_es import Agent, FailSafeConfig, PolicyEngine, PolicyRule, Runner, tool
from afk_es.agents import PolicyRuleCondition
from afk_es.cli.verify import verified_run
from afk_es.core import AgentResult, RunnerConfig
from afk_es.interaction import InMemoryInteraction
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.log.sqlite import SqliteEventLog
from afk_es.tools import ToolContext, ToolDeferredHandle

Durability = Literal["normal", "full"]

WORKERS = 16
PLENTY_S = 3600.0
PERSON = "ann"

CALLS = (
    ToolCall("c1", "pay", {"amount": 80}),
    ToolCall("c2", "ship", {"order": "A-17"}),
    ToolCall("c3", "transfer_to_clerk", {"task": "Look it up."}),
    ToolCall("c4", "transfer_to_scribe", {"task": "Write it down."}),
)

ASK_A_PERSON = PolicyRule(
    rule_id="four_eyes", action="request_approval", condition=PolicyRuleCondition(tool_name="pay"), subjects=("tool",), reason="People pay."
)


class Caller:
    """A model that asks for these calls, and answers once it has their results. It keeps nothing, so that it is no part of the memory."""

    provider_id = "scripted"
    model = "scripted-1"

    def __init__(self, *calls: ToolCall) -> None:
        self._calls = LLMResponse(tool_calls=calls, finish_reason="tool_calls")
        self._answer = LLMResponse(text="Done.", finish_reason="stop")

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """The calls, or the answer."""
        return self._answer if any(message.role == "tool" for message in request.messages) else self._calls


class Fate(msgspec.Struct, frozen=True):
    """What is to happen to one of the runs: by its number, so that every kind meets every other."""

    number: int

    @property
    def approved(self) -> bool:
        """Whether the payment is granted; otherwise it must not be made."""
        return self.number % 7 != 0

    @property
    def how(self) -> Literal["here", "letter", "parked"]:
        """How the answer comes: from the provider; by a letter while the run waits; or by a letter while it is laid down."""
        if self.number % 5 == 0:
            return "parked"
        return "letter" if self.number % 5 == 1 else "here"


class Office(InMemoryInteraction):
    """People who begin to answer when everybody has asked: until then all of these runs are under way at once."""

    def __init__(self, expected: int) -> None:
        super().__init__()
        self._missing = expected
        self.all_asked = asyncio.Event()

    async def request_approval(self, request: Any) -> Any:
        """See `InteractionProvider.request_approval`."""
        self._missing -= 1
        if self._missing <= 0:
            self.all_asked.set()
        return await super().request_approval(request)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; times in seconds. `peak_kb` and `idle_kb` are resident memory, after and before the runs, verification excluded."""

    runs: int
    durability: str
    wall_s: float
    verify_s: float
    events: int
    effects: int
    idle_kb: int
    peak_kb: int
    file_kb: int


class Mixed:
    """So many runs, and what they did.

    Args:
        path: the SQLite file, which must not exist.

    Attributes:
        effects: how often each effect was made, by tool, run and idempotency key.
    """

    def __init__(self, runs: int, path: Path, durability: Durability) -> None:
        self.fates = [Fate(number) for number in range(runs)]
        self.effects: Counter[tuple[str, str, str]] = Counter()
        self.log = SqliteEventLog(path, durability=durability)
        self._tickets: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()
        self._path = path
        self._durability: Durability = durability
        self._fate_of: dict[str, Fate] = {}
        self._office = Office(sum(fate.how != "parked" for fate in self.fates))
        self._agent = self._described()
        self._here = self._runner("interactive", self._office)
        self._parking = self._runner("external", None)

    def _runner(self, mode: Literal["interactive", "external"], people: InMemoryInteraction | None) -> Runner:
        # The defaults suit a few runs of a few minutes: 4 subagents of one name at work and 512 waiting, answers within 300 s. The limits on
        # what works at once stay; thousands have to wait for the few places, which is part of what is tried here.
        config = RunnerConfig(
            interaction_mode=mode,
            approval_timeout_s=PLENTY_S,
            subagent_queue_backpressure_limit=10 * len(self.fates),
            background_tool_at_end="wait",
        )
        return Runner(log=self.log, interaction_provider=people, policy_engine=PolicyEngine([ASK_A_PERSON]), config=config)

    def _described(self) -> Agent:
        limits = FailSafeConfig(max_wall_time_s=PLENTY_S)

        @tool
        async def pay(amount: int, ctx: ToolContext) -> str:
            """Pay."""
            self._made("pay", ctx)
            return f"paid {amount}"

        @tool
        async def ship(order: str, ctx: ToolContext) -> ToolDeferredHandle:
            """Send an order."""
            self._made("ship", ctx)
            ticket_id = f"shipment {order}"
            self._tickets.put_nowait((ctx.thread_id, ctx.run_id, ticket_id))
            return ToolDeferredHandle(ticket_id=ticket_id)

        @tool
        async def look(order: str, ctx: ToolContext) -> str:
            """Look an order up."""
            self._made("look", ctx)
            return f"{order} is here"

        @tool
        async def note(text: str, ctx: ToolContext) -> str:
            """Write something down."""
            self._made("note", ctx)
            return "noted"

        clerk = Agent(name="clerk", model=Caller(ToolCall("c1", "look", {"order": "A-17"})), tools=[look], fail_safe=limits)
        scribe = Agent(name="scribe", model=Caller(ToolCall("c1", "note", {"text": "sent"})), tools=[note], fail_safe=limits)
        return Agent(name="desk", model=Caller(*CALLS), tools=[pay, ship], subagents=[clerk, scribe], fail_safe=limits)

    def _made(self, name: str, ctx: ToolContext) -> None:
        self.effects[name, ctx.run_id, ctx.idempotency_key] += 1

    # ------------------------------------------------------------------------------------------------------------------- the people of it

    async def _person(self) -> None:
        await self._office.all_asked.wait()
        async with asyncio.TaskGroup() as letters:
            for request in self._office.pending():
                fate = self._fate_of[request.run_id]
                if fate.how == "letter":
                    letters.create_task(self._write(self._here, request.run_id, fate))
                elif fate.approved:
                    self._office.approve(request.request_id, by=PERSON, run_id=request.run_id)
                else:
                    self._office.deny(request.request_id, by=PERSON, run_id=request.run_id)

    async def _write(self, runner: Runner, run_id: str, fate: Fate) -> None:
        said = runner.approve if fate.approved else runner.deny
        await said(run_id=run_id, by=PERSON)

    async def _worker(self) -> None:
        while True:
            thread_id, run_id, ticket_id = await self._tickets.get()
            await self._here.resolve_background_tool(thread_id=thread_id, run_id=run_id, ticket_id=ticket_id, output="parcel 42")

    async def _one(self, fate: Fate) -> AgentResult:
        if fate.how != "parked":
            handle = await self._here.run_handle(self._agent, user_message="Send A-17.")
            self._fate_of[handle.run_id] = fate
            return await handle.await_result()
        result = await self._parking.run(self._agent, user_message="Send A-17.")
        assert result.state == "interrupted", result.state
        await self._write(self._parking, result.run_id, fate)
        return await self._parking.resume(self._agent, run_id=result.run_id)

    # ------------------------------------------------------------------------------------------------------------------- the whole of it

    async def run(self) -> list[AgentResult]:
        """All of them at once, to their ends."""
        async with self._here, self._parking:
            others = [asyncio.create_task(self._person()), *(asyncio.create_task(self._worker()) for _ in range(WORKERS))]
            ends = asyncio.ensure_future(asyncio.gather(*[self._one(fate) for fate in self.fates]))
            try:
                # Whoever answers never returns early: if one does, it is with an error, and the runs would wait for ever.
                pending: set[asyncio.Future[Any]] = {ends, *others}
                while not ends.done():
                    done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    for one in done:
                        one.result()
                return ends.result()
            finally:
                ends.cancel()
                for other in others:
                    other.cancel()
                await asyncio.gather(ends, *others, return_exceptions=True)

    def expected(self, results: Iterable[AgentResult]) -> Counter[tuple[str, str]]:
        """The effects that these runs and their children were to have, by tool and run; each once."""
        found: Counter[tuple[str, str]] = Counter()
        for fate, result in zip(self.fates, results, strict=True):
            found["ship", result.run_id] += 1
            if fate.approved:
                found["pay", result.run_id] += 1
            for child in result.subagent_executions:
                found["look" if child.subagent_name == "clerk" else "note", child.run_id] += 1
        return found

    def check(self, results: list[AgentResult]) -> None:
        """All have ended well, with what they were to do done once.

        Raises:
            AssertionError: naming what was not.
        """
        states = Counter(result.state for result in results)
        assert states == {"completed": len(self.fates)}, states
        odd = [
            result.run_id for result in results if sorted(each.subagent_name for each in result.subagent_executions) != ["clerk", "scribe"]
        ]
        assert not odd, f"{len(odd)} runs have not had their two children, such as {odd[:3]}"
        assert len({child.run_id for result in results for child in result.subagent_executions}) == 2 * len(results)
        twice = [effect for effect, times in self.effects.items() if times != 1]
        assert not twice, f"{len(twice)} effects were made more than once, such as {twice[:3]}"
        made = Counter((name, run_id) for name, run_id, _key in self.effects.elements())
        expected = self.expected(results)
        assert made == expected, f"missing: {list((expected - made).items())[:3]}; beyond: {list((made - expected).items())[:3]}"
        assert len({key for _name, _run_id, key in self.effects}) == len(self.effects)

    async def verify(self, results: list[AgentResult]) -> int:
        """Verify every run and every child as `afk-es verify` does, and return how many events they have.

        Raises:
            AssertionError: there is a problem.
        """
        events = 0
        await self.log.open()
        try:
            for run_id in itertools.chain.from_iterable(
                (result.run_id, *(child.run_id for child in result.subagent_executions)) for result in results
            ):
                found = await verified_run(self.log, run_id)
                assert not found.problems, found
                events += found.events
        finally:
            await self.log.close()
        return events


def measured(runs: int, path: Path, durability: Durability) -> Figures:
    """Run that many, check and verify all of them, and say what it took."""
    idle = _peak_kb()
    mixed = Mixed(runs, path, durability)

    async def timed() -> tuple[list[AgentResult], float]:
        began = time.perf_counter()
        results = await mixed.run()
        return results, time.perf_counter() - began

    async def whole() -> Figures:
        results, wall = await timed()
        peak = _peak_kb()
        mixed.check(results)
        await mixed.log.close()
        began = time.perf_counter()
        events = await mixed.verify(results)
        return Figures(
            runs=runs,
            durability=durability,
            wall_s=round(wall, 2),
            verify_s=round(time.perf_counter() - began, 2),
            events=events,
            effects=mixed.effects.total(),
            idle_kb=idle,
            peak_kb=peak,
            file_kb=0,
        )

    found = asyncio.run(whole())
    return msgspec.structs.replace(found, file_kb=path.stat().st_size // 1024)


def _peak_kb() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


HEAD = f"{'runs':>6} {'wall s':>8} {'runs/s':>7} {'ms/run':>7} {'events':>8} {'effects':>8} {'peak MB':>8} {'kB/run':>7} {'file MB':>8} {'verify s':>9}"


def row(figures: Figures) -> str:
    """A line of the table."""
    each = figures.wall_s / figures.runs
    return (
        f"{figures.runs:>6,} {figures.wall_s:>8.2f} {1 / each:>7.0f} {each * 1000:>7.2f} {figures.events:>8,} {figures.effects:>8,} "
        f"{figures.peak_kb / 1024:>8.0f} {(figures.peak_kb - figures.idle_kb) / figures.runs:>7.1f} {figures.file_kb / 1024:>8.1f} "
        f"{figures.verify_s:>9.1f}"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.scale.mixed", description=__doc__)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--each", help="several numbers of runs, such as 500,5000; each in a process of its own")
    parser.add_argument("--durability", choices=["normal", "full"], default="full")
    options = parser.parse_args()
    print(HEAD, flush=True)
    if options.each:
        for number in options.each.split(","):
            command = [sys.executable, "-m", "tests.scale.mixed", "--runs", number, "--durability", options.durability]
            found = subprocess.run(command, check=True, capture_output=True, text=True)
            print(found.stdout.splitlines()[-1], flush=True)
        return
    with tempfile.TemporaryDirectory() as place:
        print(row(measured(options.runs, Path(place) / "runs.db", options.durability)))


if __name__ == "__main__":
    main()
