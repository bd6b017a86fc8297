"""Random histories, played to a dispatcher and to the model at once. Needs Hypothesis."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from afk_es.queues.dispatch import Consumer, Delivery, Parcel
from afk_es.testing.dispatcher_contract.bench import Bench
from afk_es.testing.dispatcher_contract.model import Model, Sent
from afk_es.testing.dispatcher_contract.promises import PATIENCE_S
from afk_es.testing.dispatcher_contract.subject import DispatcherSubject
from afk_es.testing.log_contract.expecting import same

# No sum of these steps comes near a lease or a delay, so that it does not matter that a real engine's time goes on by itself.
_STEPS_S = (20, 70)
_LEASES_S = (30.0, 100.0)
_DELAYS_S = (50.0,)
_CONSUMERS = len(_LEASES_S)

_consumers = st.integers(0, _CONSUMERS - 1)
_which = st.integers(0, 5)
_queues = st.sets(st.sampled_from(("one", "two")), min_size=1)
_lanes = st.sampled_from((None, None, "l", "m"))
_send = st.tuples(
    st.just("send"), st.sampled_from(("one", "two")), st.integers(-1, 1), _lanes, st.sampled_from((None, None, None, *_DELAYS_S, -5.0))
)
_acts = st.one_of(
    _send,
    _send,
    st.tuples(st.just("take"), _consumers, _queues, st.integers(1, 4)),
    st.tuples(st.just("take"), _consumers, _queues, st.integers(1, 4)),
    st.tuples(st.just("done"), _consumers, _which),
    st.tuples(st.just("again"), _consumers, _which, st.sampled_from((None, *_DELAYS_S))),
    st.tuples(st.just("beat"), _consumers),
    st.tuples(st.just("recover"), _consumers),
    st.tuples(st.just("leave"), _consumers),
    st.tuples(st.just("pass"), st.sampled_from(_STEPS_S)),
)


class _Play:
    """One history. What each side holds is kept here, so that `done` and `again` are also tried with what is no longer held."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._model = Model()
        self._numbers = count(1)
        self._consumers: list[Consumer] = []
        self._had: list[list[tuple[Delivery, Sent]]] = [[] for _ in _LEASES_S]

    async def begin(self) -> None:
        for number, lease_s in enumerate(_LEASES_S):
            self._consumers.append(await self._bench.consumer(lease_s, elsewhere=True))
            self._model.join(number, lease_s)

    async def act(self, name: str, *arguments: Any) -> None:
        act: Callable[..., Any] = getattr(self, f"_{name}")
        await act(*arguments)

    async def _send(self, queue: str, priority: int, lane: str | None, in_s: float | None) -> None:
        task_id = f"task {next(self._numbers)}"
        self._model.sent.append(Sent(task_id, queue, priority, lane, self._model.now + (in_s or 0.0)))
        not_before = None if in_s is None else self._bench.after(in_s)
        await (await self._bench.dispatcher()).send([Parcel(task_id, queue, priority, not_before, lane)])

    async def _take(self, consumer: int, queues: set[str], limit: int) -> None:
        found = await self._consumers[consumer].take(queues, limit)
        expected = self._model.take(consumer, queues, limit)
        same([(each.task_id, each.queue) for each in found], [(each.task_id, each.queue) for each in expected], "what was taken")
        self._had[consumer] += zip(found, expected, strict=True)

    async def _done(self, consumer: int, which: int) -> None:
        if had := self._had[consumer][-1 - which :][:1]:
            ((delivery, item),) = had
            await self._consumers[consumer].done(delivery)
            if self._is_its_own(consumer, delivery, item):
                self._model.done(consumer, item)

    async def _again(self, consumer: int, which: int, in_s: float | None) -> None:
        if had := self._had[consumer][-1 - which :][:1]:
            ((delivery, item),) = had
            await self._consumers[consumer].again(delivery, None if in_s is None else self._bench.after(in_s))
            if self._is_its_own(consumer, delivery, item):
                self._model.again(consumer, item, in_s or 0.0)

    def _is_its_own(self, consumer: int, delivery: Delivery, item: Sent) -> bool:
        """Whether it is the last delivery of that parcel: by an earlier one of the same consumer the engine may know it, or not."""
        return [one for one, what in self._had[consumer] if what is item][-1] is delivery

    async def _beat(self, consumer: int) -> None:
        same(await self._consumers[consumer].beat(), self._model.beat(consumer, _LEASES_S[consumer]), "whether it still had it")

    async def _recover(self, consumer: int) -> None:
        same(await self._consumers[consumer].recover(), self._model.recover(), "what was recovered")

    async def _leave(self, consumer: int) -> None:
        await self._consumers[consumer].leave()
        self._model.leave(consumer)
        self._consumers[consumer] = await self._bench.consumer(_LEASES_S[consumer])
        self._model.join(consumer, _LEASES_S[consumer])
        self._had[consumer] = []

    async def _pass(self, seconds: float) -> None:
        await self._bench.pass_time(seconds)
        self._model.now += seconds

    async def finish(self) -> None:
        """Whatever came before: what is open is delivered when all leases and terms are over."""
        await self._pass(1_000)
        for consumer in range(_CONSUMERS):
            await self._beat(consumer)
        while any(self._model.sent):
            for consumer in range(_CONSUMERS):
                await self._take(consumer, {"one", "two"}, 100)
                for delivery, item in self._had[consumer]:
                    await self._consumers[consumer].done(delivery)
                    self._model.done(consumer, item)
                self._had[consumer] = []


def play_histories(subject: DispatcherSubject, directory: Path, examples: int) -> None:
    """Play so many histories, each on an engine of its own.

    Raises:
        BrokenPromiseError: in one of them, the shortest that was found, the dispatcher gave something else than the model.
    """
    numbers = count(1)

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=_PHASES
    )
    @given(acts=st.lists(_acts, min_size=5, max_size=40))
    def played(acts: list[tuple[Any, ...]]) -> None:
        place = directory / f"history-{next(numbers)}"
        place.mkdir()
        try:
            asyncio.run(_played(Bench(subject, place), acts))
        finally:
            shutil.rmtree(place)

    played()


_PHASES = (Phase.explicit, Phase.generate, Phase.shrink)


async def _played(bench: Bench, acts: list[tuple[Any, ...]]) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            play = _Play(bench)
            await play.begin()
            for act in acts:
                await play.act(*act)
            await play.finish()
    finally:
        await bench.clear()
