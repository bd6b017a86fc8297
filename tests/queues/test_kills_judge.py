"""Goal: the judge of the kill tests sees a promise that is broken. Method: true evidence of a quiet trial, in which one thing is then changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tests.queues.kills.errands import Errand, errands
from tests.queues.kills.evidence import Evidence, gathered
from tests.queues.kills.judge import Promise, judged
from tests.queues.kills.scene import Told, Trial
from tests.queues.kills.trying import MODULES, played
from tests.support.zygote import zygote

pytestmark = pytest.mark.kill

RUNS = 60


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Evidence]:
    """What a trial leaves behind in which nobody dies."""
    directory = tmp_path_factory.mktemp("quiet")
    trial = Trial(
        directory=directory, log=str(directory / "runs.db"), runs=RUNS, workers=1, kill_every_s=0, stop_every_s=0, minutes=1, linger_s=0
    )
    with zygote(*MODULES) as born:
        told = asyncio.run(played(born, trial))
    return told, asyncio.run(gathered(directory, trial.log))


def verdict_of(told: Told, evidence: Evidence) -> list[Promise]:
    """The promises that the judge finds broken."""
    return [violation.promise for violation in judged(errands(0, RUNS), told, evidence).violations]


def test_nothing_is_wrong_where_nothing_was_changed(quiet: tuple[Told, Evidence]) -> None:
    assert judged(errands(0, RUNS), *quiet).violations == []


Changed = tuple[Told, Evidence]
Line = dict[str, Any]


def line_of(evidence: Evidence, what: str, tool: str) -> int:
    """Where the first such line of the journal is."""
    return next(index for index, line in enumerate(evidence.journal) if line["what"] == what and line.get("tool") == tool)


def with_line(evidence: Evidence, index: int, **change: Any) -> Evidence:
    """With a line of the journal changed."""
    journal = [dict(line) for line in evidence.journal]
    journal[index] |= change
    return replace(evidence, journal=journal)


def doubled(what: str, tool: str) -> Callable[[Told, Evidence], Changed]:
    """An effect, or its beginning, happens once more."""
    return lambda told, evidence: (told, replace(evidence, journal=[*evidence.journal, evidence.journal[line_of(evidence, what, tool)]]))


def with_start(**change: Any) -> Callable[[Told, Evidence], Changed]:
    """An effect begins otherwise."""
    return lambda told, evidence: (told, with_line(evidence, line_of(evidence, "start", "pay"), **change))


def never_happened(told: Told, evidence: Evidence) -> Changed:
    """A call returned, and the world saw nothing of it."""
    key = evidence.journal[line_of(evidence, "did", "pay")]["key"]
    return told, replace(evidence, journal=[line for line in evidence.journal if line.get("key") != key])


def late_start(told: Told, evidence: Evidence) -> Changed:
    """An effect begins once more when its result was there: by the right owner, who had asked its lease."""
    line = dict(evidence.journal[line_of(evidence, "start", "put")])
    return told, replace(evidence, journal=[*evidence.journal, line | {"checked": line["checked"] + 60, "at": line["at"] + 60}])


def item_of(told: Told, evidence: Evidence, chosen: Callable[[Errand], bool]) -> str:
    """The task of the first such errand."""
    return next(task_id for errand in errands(0, RUNS) if chosen(errand) for task_id in told.tasks[errand.name])


def plain(errand: Errand) -> bool:
    """One that completes."""
    return errand.expects == {"completed"} and errand.kind == "chat" and errand.lane is None


def with_item(**change: Any) -> Callable[[Told, Evidence], Changed]:
    """A task's row is other than its run."""

    def changed(told: Told, evidence: Evidence) -> Changed:
        task_id = item_of(told, evidence, plain)
        items = {**evidence.items, task_id: msgspec.structs.replace(evidence.items[task_id], **change)}
        return told, replace(evidence, items=items)

    return changed


def cut_short(told: Told, evidence: Evidence) -> Changed:
    """A run's log lacks its end."""
    task_id = item_of(told, evidence, plain)
    return told, replace(evidence, runs={**evidence.runs, task_id: evidence.runs[task_id][:-1]})


def ended_twice(told: Told, evidence: Evidence) -> Changed:
    task_id = item_of(told, evidence, plain)
    return told, replace(evidence, runs={**evidence.runs, task_id: [*evidence.runs[task_id], evidence.runs[task_id][-1]]})


def damaged(told: Told, evidence: Evidence) -> Changed:
    return told, replace(evidence, faults={item_of(told, evidence, plain): "the chain is broken"})


def lost(told: Told, evidence: Evidence) -> Changed:
    task_id = item_of(told, evidence, plain)
    items = {key: item for key, item in evidence.items.items() if key != task_id}
    return told, replace(evidence, items=items, runs={key: run for key, run in evidence.runs.items() if key != task_id})


def pushed_as_two(told: Told, evidence: Evidence) -> Changed:
    ids = list(evidence.items)
    tasks = {**told.tasks, "e00000": {ids[0], ids[1]}}
    return replace(told, tasks=tasks), evidence


def a_run_of_nobody(told: Told, evidence: Evidence) -> Changed:
    return told, replace(evidence, runs={**evidence.runs, "stray": next(iter(evidence.runs.values()))})


def too_soon(told: Told, evidence: Evidence) -> Changed:
    task_id = item_of(told, evidence, lambda errand: 0 < errand.delay_s < 60)
    item = evidence.items[task_id]
    begun = next(event.at for event in evidence.runs[task_id] if event.type == "step_started")
    return told, replace(evidence, items={**evidence.items, task_id: msgspec.structs.replace(item, created_at=begun)})


def out_of_order(told: Told, evidence: Evidence) -> Changed:
    """The first two of a lane change places."""
    first, second = [errand.name for errand in errands(0, RUNS) if errand.lane is not None][:2]
    return replace(told, tasks={**told.tasks, first: told.tasks[second], second: told.tasks[first]}), evidence


def not_approved(told: Told, evidence: Evidence) -> Changed:
    task_id = item_of(told, evidence, lambda errand: errand.kind == "careful")
    events = [event for event in evidence.runs[task_id] if event.type != "approval_resolved"]
    return told, replace(evidence, runs={**evidence.runs, task_id: events})


def died(told: Told, evidence: Evidence) -> Changed:
    return replace(told, died=["InvariantError: a bug of ours"]), evidence


CHANGES: dict[str, tuple[Callable[[Told, Evidence], Changed], Promise]] = {
    "a payment that begins twice": (doubled("start", "pay"), "doubt"),
    "a payment that takes place twice": (doubled("did", "pay"), "once"),
    "a repeatable effect that begins more often than was announced": (doubled("start", "put"), "once"),
    "an effect that begins after its result": (late_start, "once"),
    "a result of nothing": (never_happened, "once"),
    "an effect without a lease": (with_start(checked=None), "stale"),
    "a lease that was asked before the intent": (with_start(checked=1.0), "stale"),
    "an effect of another's run": (with_start(life="nobody.1"), "stale"),
    "an effect under an unknown key": (with_start(key="another"), "stale"),
    "a task that does not end": (with_item(state="running"), "ends"),
    "a row that says dead": (with_item(state="dead"), "rows"),
    "a result that is not the run's": (with_item(result="another"), "results"),
    "a log without its end": (cut_short, "log"),
    "a run that ends twice": (ended_twice, "results"),
    "a byte that was flipped": (damaged, "log"),
    "a task that was lost": (lost, "ends"),
    "a key of two tasks": (pushed_as_two, "keys"),
    "a run of no task": (a_run_of_nobody, "keys"),
    "a task before its time": (too_soon, "time"),
    "a lane out of order": (out_of_order, "order"),
    "a wire that nobody approved": (not_approved, "approval"),
    "a process that fell over": (died, "process"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_wrong_is_found(quiet: tuple[Told, Evidence], change: str) -> None:
    changed, promise = CHANGES[change]
    assert promise in verdict_of(*changed(*quiet))
