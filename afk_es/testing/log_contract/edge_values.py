"""What lies at the edge of what an event may hold: every character, the largest numbers, long texts, times to the microsecond."""

from __future__ import annotations

import datetime as dt
from typing import Any

from afk_es.machine.events import AgentRunEvent
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.expecting import same
from afk_es.testing.log_contract.material import begin, event, started, turn, warning

VALUES = Dimension("values", "Any text, number, nesting and time that JSON and a calendar can hold comes back as it was, to the last bit.")

_TEXTS = (
    "",
    " \t\r\n",
    "Grüße \u2603 \U0001f600 \u202e",
    "e\u0301 is not \u00e9",
    "'; DROP TABLE events; --",
    '"\\/\b\f',
    "a\0b",
    "\x00",
    "\x1b[31m",
    "\ufeff\ufffe\uffff\U0010ffff",
    "null",
    "\u2028\u2029",
)
_NUMBERS = (0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 1.0, 0.1, -0.0, 1e308, 5e-324, 1.7976931348623157e308, 123456789.123456789)


@VALUES.promise
async def texts_come_back_character_for_character(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    events = [warning("run_a", 6 + n, data={"kind": text, f"key {text}": [text]}, message=text) for n, text in enumerate(_TEXTS)]
    await log.append(events, epoch=1)
    same(await log.read("run_a", after=5), events, "events with unusual texts")
    same(await log.verify("run_a"), None, "the hash chain over them")


@VALUES.promise
async def numbers_come_back_to_the_last_bit_and_of_their_own_kind(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    odd = warning("run_a", 6, data={"kind": "k", "numbers": list(_NUMBERS), "flags": [True, False, None], "one": [1, 1.0, True]})
    await log.append([odd], epoch=1)
    same(await log.read("run_a", after=5), [odd], "an event with unusual numbers")


@VALUES.promise
async def long_and_deep_data_comes_back_whole(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    deep: Any = "bottom"
    for level in range(200):
        deep = {"level": level, "next": [deep]}
    large = [
        warning("run_a", 6, data={"kind": "k", "text": "a ☃ " * 250_000}),
        warning("run_a", 7, data={"kind": "k", "many": [{"n": n} for n in range(20_000)]}),
        warning("run_a", 8, data={"kind": "k", "deep": deep}, message="m" * 100_000),
    ]
    await log.append(large, epoch=1)
    for expected in large:
        found = await log.read("run_a", after=expected.seq - 1, limit=1)
        same(found, [expected], f"an event of large data ({expected.data.keys() - {'kind'}})")


@VALUES.promise
async def times_come_back_to_the_microsecond(bench: Bench) -> None:
    log = await bench.store()
    await log.append([started("run_a")], epoch=1)
    times = [
        dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC),
        dt.datetime(1, 1, 1, tzinfo=dt.UTC),
        dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC),
        dt.datetime(2026, 11, 21, 13, 0, 0, 1, tzinfo=dt.UTC),
        dt.datetime(2262, 4, 11, 23, 47, 16, 854_777, tzinfo=dt.UTC),
    ]
    events = [AgentRunEvent("warning", "run_a", "thread_1", 2 + n, at, "running", 0, "", {"kind": "k"}) for n, at in enumerate(times)]
    await log.append(events, epoch=1)
    same([item.at for item in await log.read("run_a", after=1)], times, "times of events, which may also go back")
    row = (await log.runs())[0]
    same((row.started_at, row.updated_at), (started("run_a").at, times[-1]), "the times of its record")


@VALUES.promise
async def a_time_in_another_zone_is_the_same_moment(bench: Bench) -> None:
    log = await bench.store()
    zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
    at = dt.datetime(2026, 1, 1, 5, 30, 0, 7, tzinfo=zone)
    claim = started("run_a")
    await log.append([AgentRunEvent("run_started", "run_a", "thread_1", 1, at, "running", 0, "", claim.data)], epoch=1)
    found = (await log.read("run_a"))[0].at
    same((found, found.utcoffset()), (at.astimezone(dt.UTC), dt.timedelta(0)), "a time that was given in another zone")


@VALUES.promise
async def ids_may_be_any_text(bench: Bench) -> None:
    log = await bench.store()
    names = ("run a", "rün/☃", "../run", "run'\"%_\\", "RUN", "run", "x" * 1_000, "\U0010ffff", "0", "run\n")
    for name in names:
        await begin(log, name, thread_id=f"thread {name}")
    for name in names:
        events = await log.read(name)
        same([(item.run_id, item.thread_id) for item in events], [(name, f"thread {name}")] * 5, f"the events of the run {name[:20]!r}")
        same([head.run_id for head in await log.thread(f"thread {name}")], [name], f"the thread of the run {name[:20]!r}")
    same(sorted(row.run_id for row in await log.runs()), sorted(names), "the list of runs")


@VALUES.promise
async def unknown_types_and_keys_survive(bench: Bench) -> None:
    log = await bench.store()
    odd = event("run_a", 6, "invented_later", {"deep": [{"$part": "no part"}], "none": None}, schema_version=9)
    known = event("run_a", 7, "warning", {"kind": "k", "invented_later": {"$part": "no part"}})
    await begin(log, "run_a")
    await log.append([odd, known], epoch=1)
    same(await log.read("run_a", after=5), [odd, known], "an event of an unknown type, and a known one with an unknown key")
    same(await log.verify("run_a"), None, "the hash chain over them")


@VALUES.promise
async def states_steps_and_messages_are_kept_apart(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    events = [
        warning("run_a", 6, state="running", message=""),
        warning("run_a", 7, state="", message="running"),
        warning("run_a", 8, state="paused", message=" "),
        warning("run_a", 9, step=0),
        warning("run_a", 10, step=1_000_000),
        *turn("run_a", 11, 3),
    ]
    await log.append(events[:3], epoch=1)
    await log.append(events[3:], epoch=1)
    found = [(item.state, item.step, item.message) for item in await log.read("run_a", after=5)]
    expected = [(item.state or "running", item.step, item.message) for item in events]
    same(found, expected, "state, step and message of events where they are unusual")
