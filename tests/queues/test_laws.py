"""Goal: the laws of the queue hold, whatever workers do and in whatever order: order, priority, delay, lanes, deduplication, dead letters, leases,
fencing, retries that go on with their run, and that every task comes to its end or says why not.

Method: a pure model beside the product, compared whole after every step. `python -m tests.queues.laws --minutes N` looks for longer,
`--bugs` for all the planted bugs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from afk_es.log.postgres import PostgresEventLog
from tests.queues.laws.bench import Bench
from tests.queues.laws.corpus import BUGS, Bug, planted
from tests.queues.laws.elsewhere import ElsewhereDispatcher
from tests.queues.laws.hunting import hunt, quiet
from tests.queues.laws.machine import QueueMachine

QUICK = tuple(
    bug
    for bug in BUGS
    if bug.mistake in ("of equal parcels the youngest is taken first", "another payload under the same key is taken for the same task")
)
"""Those that a few examples find."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet():
        yield


def held(machine: type[QueueMachine], examples: int, steps: int) -> None:
    rules = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=rules)


def test_the_laws_hold_on_sqlite_with_the_engine_in_its_file() -> None:
    held(QueueMachine, examples=25, steps=25)


def test_the_laws_hold_on_postgresql_with_an_engine_elsewhere(postgres_log: str) -> None:
    """Its leases are judged by the clock of the test, which no server's engine knows."""
    numbers = itertools.count()

    class PostgresMachine(QueueMachine):
        def new_bench(self) -> Bench:
            schema = f"laws_{abs(hash(postgres_log)):x}_{next(numbers)}"
            return Bench(lambda: PostgresEventLog(postgres_log, schema=schema, durability="normal"), ElsewhereDispatcher)

    held(PostgresMachine, examples=4, steps=20)


@pytest.mark.parametrize("bug", QUICK, ids=lambda bug: bug.mistake)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    with planted(bug):
        assert hunt(QueueMachine, 0, examples=60, steps=30) is not None


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.mistake)
def test_every_planted_bug_can_be_planted(bug: Bug) -> None:
    """The product has not changed away from under it."""
    with planted(bug):
        pass
