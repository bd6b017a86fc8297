"""Events looked for in a run: a filter in the store may let too much through, and nothing may be lost in it."""

from __future__ import annotations

from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.expecting import holds, same
from afk_es.testing.log_contract.material import begin, event, turn

SCANNING = Dimension("scanning", "A scan filters by place, type and text, in both directions, and loses nothing that it is asked for.")


@SCANNING.promise
async def a_scan_without_a_filter_is_the_run(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await begin(log, "run_b")
    events = await log.read("run_a")
    same(await log.scan("run_a"), events, "everything")
    same(await log.scan("run_a", backwards=True), events[::-1], "everything, backwards")
    same(await log.scan("run_x"), [], "a scan of an unknown run")


@SCANNING.promise
async def a_scan_keeps_to_its_bounds(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    events = await log.read("run_a")
    for after in range(7):
        for before in range(1, 8):
            found = [item.seq for item in await log.scan("run_a", after=after, before=before)]
            same(found, [seq for seq in range(1, 6) if after < seq < before], f"the seqs above {after} and below {before}")
    same(await log.scan("run_a", after=2), events[2:], "what is behind seq 2")
    same(await log.scan("run_a", before=3), events[:2], "what is before seq 3")


@SCANNING.promise
async def a_limit_counts_from_the_end_that_is_asked_for(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.append(turn("run_a", 6, 2), epoch=1)
    events = await log.read("run_a")
    steps = [item for item in events if item.type in ("step_started", "llm_called")]
    same(await log.scan("run_a", limit=2), events[:2], "the first two")
    same(await log.scan("run_a", backwards=True, limit=2), [events[8], events[7]], "the last two, backwards")
    same(await log.scan("run_a", types=("step_started", "llm_called")), steps, "events of two types")
    same(await log.scan("run_a", types=["llm_called", "step_started"], limit=3), steps[:3], "the first three of two types")
    backwards = await log.scan("run_a", types={"llm_called", "step_started"}, limit=3, backwards=True, before=9)
    same(backwards, steps[::-1][:3], "the last three of two types before seq 9")
    same(await log.scan("run_a", limit=0), [], "none")


@SCANNING.promise
async def a_scan_for_text_does_not_mind_the_case_of_ascii_letters(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.append([event("run_a", 6, "warning", {"kind": 'a "quoted" Word'}, message='It said "No".\n')], epoch=1)
    last = (await log.read("run_a"))[5:]
    for text in ('"QUOTED" word', 'said "no".\n', "WARN", "é"):
        same(await log.scan("run_a", types=["warning"], containing=[text]), last, f"events of its type that contain {text!r}, or may")
    same(
        await log.scan("run_a", types=["warning"], containing=["quoted", "nowhere"]), [], "events that contain one text and lack the other"
    )
    same(
        await log.scan("run_a", types=["warning"], containing=["quoted", "said"]),
        last,
        "events with one text in the data and one in the message",
    )


@SCANNING.promise
async def a_scan_loses_no_text_that_stands_elsewhere_than_in_its_row(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    for item in await log.read("run_a"):
        for value in item.data.values():
            if isinstance(value, str) and value:
                seqs = [found.seq for found in await log.scan("run_a", containing=[value])]
                holds(item.seq in seqs, f"event {item.seq} contains {value!r}, and a scan for it found only {seqs}")
