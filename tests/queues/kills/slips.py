"""Mistakes that could be made about queues and fencing, each as an edit of the product: what the judge of the kill tests has to find.

`python -m tests.queues.kills --bug NAME` plays a trial with one of them, and tells whether it was found.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.bugs.planting import Slip
from tests.queues.kills.judge import Promise


class Mistake(NamedTuple):
    """What somebody got wrong, the edits, and the promises of which one at least is seen to be broken."""

    what: str
    slips: tuple[Slip, ...]
    breaks: frozenset[Promise]


_ENDLESS = Slip("afk_es.queues.leases:WorkerLease.held", "self.left_s() > 0", "True")
_DEAF = Slip(
    "afk_es.core.loop:Loop._flush",
    "    await self._log.append(events, epoch=self.state.epoch)\n",
    "    try:\n        await self._log.append(events, epoch=self.state.epoch)\n    except Exception:\n        pass\n",
)


def _mistake(what: str, *slips: Slip, breaks: tuple[Promise, ...]) -> Mistake:
    return Mistake(what, slips, frozenset(breaks))


SLIPS: dict[str, Mistake] = {
    "lease-not-asked": _mistake(
        "an effect begins without a look at the lease",
        Slip("afk_es.core.loop:Loop._may_go_on", "self.lease is None or self.lease.held()", "True"),
        breaks=("stale",),
    ),
    "lease-without-end": _mistake("a worker that was stopped takes its lease for one that lasts", _ENDLESS, breaks=("stale",)),
    "takeover-not-heard": _mistake(
        "and one whose events are refused goes on all the same", _ENDLESS, _DEAF, breaks=("stale", "doubt", "once")
    ),
    "doubt-forgotten": _mistake(
        "a call that was cut off is taken for one that has not begun",
        Slip("afk_es.machine.run_facts:_turn_taken_over", 'replace(turn, status="in_doubt")', 'replace(turn, status="allowed")'),
        breaks=("doubt", "once"),
    ),
    "everything-repeatable": _mistake(
        "what is in doubt is run again, whatever the tool's author said",
        Slip("afk_es.machine.batches:_doubt", "tool is not None and tool.repeatable", "tool is not None"),
        breaks=("doubt", "once"),
    ),
    "never-again": _mistake(
        "a task that is to be tried again is thrown away by the engine",
        Slip("afk_es.queues.attempts:Attempt._tell", 'settlement is not None and settlement.engine == "again"', "False"),
        breaks=("ends",),
    ),
    "nobody-recovers": _mistake(
        "what dead workers held stays theirs",
        Slip(
            "afk_es.queues.worker:Worker._recover",
            'self._counts["recovered"] += await self._shop.consumer.recover()',
            "pass",
        ),
        breaks=("ends",),
    ),
    "lanes-forgotten": _mistake(
        "the engine is told of no lane",
        Slip("afk_es.queues.pushing:parcel_of", "item.not_before, item.lane", "item.not_before, None"),
        breaks=("order",),
    ),
    "time-forgotten": _mistake(
        "nor of any time",
        Slip("afk_es.queues.pushing:parcel_of", "item.not_before, item.lane", "None, item.lane"),
        breaks=("time",),
    ),
    "keys-forgotten": _mistake(
        "a task's id is made of everything but its key",
        Slip("afk_es.queues.pushing:checked", 'run_id_of("task", new.queue, new.key)', "task_id"),
        breaks=("keys",),
    ),
    "ended-too-soon": _mistake(
        "a task whose run was laid down counts as done",
        Slip("afk_es.queues.attempts:Attempt._meaning", "return await self._interrupted(result.run_id)", "return Completed(None)"),
        breaks=("rows",),
    ),
}
"""By name."""
