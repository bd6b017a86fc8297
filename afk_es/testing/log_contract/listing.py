"""Which runs there are: heads by run and thread, records newest first, ids by their beginning."""

from __future__ import annotations

from typing import Any

from afk_es.errors import RunNotFoundError
from afk_es.machine.events import AgentRunEvent
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.expecting import holds, refused, same
from afk_es.testing.log_contract.material import begin, event, started, turn

HEADS = Dimension("heads", "The head of a run is where it stands now; a thread is the heads of its runs.")
LISTING = Dimension("listing", "Runs are listed newest first, in pages, each as the sum of its events.")
FINDING = Dimension("finding", "Runs are found by the beginning of their id, and by nothing else.")


@HEADS.promise
async def a_head_moves_with_its_run(bench: Bench) -> None:
    log = await bench.store()
    await log.append([started("run_a")], epoch=1)
    for seq in (2, 6, 10):
        await log.head("run_a")
        await log.append(turn("run_a", seq), epoch=1)
        head = await log.head("run_a")
        found = None if head is None else (head.run_id, head.thread_id, head.seq, head.epoch, head.last_type, head.forked_from)
        same(found, ("run_a", "thread_1", seq + 3, 1, "llm_completed", None), f"the head after an append at seq {seq}")


@HEADS.promise
async def heads_of_a_thread_are_in_the_order_of_their_last_events(bench: Bench) -> None:
    log = await bench.store()
    for run_id in ("run_a", "run_b", "run_c"):
        await begin(log, run_id)
    await begin(log, "run_d", thread_id="thread_2")
    await log.append(turn("run_a", 6), epoch=1)
    heads = await log.thread("thread_1")
    same([head.run_id for head in heads], ["run_b", "run_c", "run_a"], "the runs of a thread")
    same(heads[-1], await log.head("run_a"), "the head of a run, by its thread and by itself")
    spans = [(head.first_position, head.last_position) for head in heads]
    in_order = spans[2][0] < spans[0][0] < spans[0][1] < spans[1][0] < spans[1][1] < spans[2][1]
    holds(in_order, f"positions should order the first and last events of all runs; of run_b, run_c and run_a they are {spans}")
    same([head.run_id for head in await log.thread("thread_2")], ["run_d"], "the runs of the other thread")


@HEADS.promise
async def an_unknown_thread_has_no_runs(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    for unknown in ("thread_x", "run_a", "thread_", "", "a\0b", "\udcff"):
        same(await log.thread(unknown), [], f"the heads of the unknown thread {unknown!r}")
        same(await log.runs(thread_id=unknown), [], f"the runs of the unknown thread {unknown!r}")


@LISTING.promise
async def runs_are_listed_newest_first_and_in_pages(bench: Bench) -> None:
    log = await bench.store()
    for number in range(5):
        await begin(log, f"run_{number}", thread_id=f"thread_{number % 2}")
    await log.append(turn("run_0", 6, thread_id="thread_0"), epoch=1)
    same([row.run_id for row in await log.runs()], [f"run_{number}" for number in (4, 3, 2, 1, 0)], "all runs")
    same([row.run_id for row in await log.runs(limit=2)], ["run_4", "run_3"], "the first page of two")
    same([row.run_id for row in await log.runs(before="run_3")], ["run_2", "run_1", "run_0"], "the runs before run_3")
    same([row.run_id for row in await log.runs(before="run_4", limit=1)], ["run_3"], "one run before run_4")
    same([row.run_id for row in await log.runs(thread_id="thread_1")], ["run_3", "run_1"], "the runs of a thread")
    same(await log.runs(limit=0), [], "a page of none")
    await refused(log.runs(before="run_x"), RunNotFoundError, "a page before an unknown run", "run_x")


@LISTING.promise
async def a_listed_run_is_the_sum_of_its_events(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    more = _eventful("run_a")
    await log.append(more, epoch=2)
    rows = await log.runs()
    same(len(rows), 1, "the number of runs")
    row = rows[0]
    names = (row.run_id, row.thread_id, row.agent_name, row.user_message, row.parent_run_id, row.forked_from)
    same(names, ("run_a", "thread_1", "clerk", "to run_a", None, None), "what the run is called")
    where = (row.seq, row.epoch, row.owner, row.state, row.ended, row.step, row.message)
    same(where, (14, 2, "owner_2", "completed", True, 2, "Done."), "where the run stands")
    same((row.llm_calls, row.tool_calls, row.errors), (2, 1, 2), "its calls and errors")
    same((row.input_tokens, row.output_tokens, row.cost_usd), (10, 3, 0.25), "its tokens and cost, where one answer has neither")
    same((row.started_at, row.updated_at), (started("run_a").at, more[-1].at), "when it was started and updated")


@LISTING.promise
async def a_run_without_a_price_costs_nobody_knows_what(bench: Bench) -> None:
    log = await bench.store()
    await log.append([started("run_a")], epoch=1)
    row = (await log.runs())[0]
    same((row.cost_usd, row.llm_calls, row.ended, row.state), (None, 0, False, "running"), "cost, calls, end and state of a run just begun")


@FINDING.promise
async def runs_are_found_by_the_beginning_of_their_id(bench: Bench) -> None:
    log = await bench.store()
    for run_id in ("run_aa", "run_ab", "run_b%", "run_b_", "RUN_aa", "my_run_a"):
        await log.append([started(run_id)], epoch=1)
    same(await log.find("run_a"), ["run_ab", "run_aa"], "ids that begin with run_a")
    same(await log.find("run_b%"), ["run_b%"], "a sign of LIKE is a character like any other")
    same(await log.find("run_b_"), ["run_b_"], "so is the other one")
    same(await log.find("run_aa"), ["run_aa"], "a whole id")
    same(await log.find("RUN_"), ["RUN_aa"], "ids that begin with RUN_")
    for nothing in ("nothing", "aa", "run_aaa", "a\0b", "\udcff"):
        same(await log.find(nothing), [], f"ids that begin with {nothing!r}")


@FINDING.promise
async def at_most_twenty_are_found_the_newest_first(bench: Bench) -> None:
    log = await bench.store()
    for number in range(25):
        await log.append([started(f"many_{number:02}")], epoch=1)
    same(await log.find("many"), [f"many_{number:02}" for number in range(24, 4, -1)], "of 25 ids that begin alike")
    same(len(await log.find("")), 20, "how many begin with nothing")


def _eventful(run_id: str) -> list[AgentRunEvent]:
    """A second stretch, from seq 6 to 14: a tool that fails, a model that fails, an answer without usage or price, and the end."""
    tool = {"tool_name": "t", "tool_call_id": "c", "attempt": 1, "ordinal": 1, "arguments_hash": "h", "idempotency_key": "k"}
    done: dict[str, Any] = {"tool_name": "t", "tool_call_id": "c", "success": False, "output": None, "error": "no", "agent_name": "clerk"}
    done |= {"agent_depth": 0, "agent_path": ["clerk"], "outcome": "failed", "latency_ms": 1.0}
    failed = {"error": "e", "error_type": "E", "classification": "retryable", "model": "m", "attempt": 1}
    unpriced = turn(run_id, 10, 2)
    unpriced[-1].data.update(usage=None, cost_usd=None)
    return [
        started(run_id, 6, epoch=2, owner="owner_2"),
        event(run_id, 7, "tool_started", tool),
        event(run_id, 8, "tool_completed", done),
        event(run_id, 9, "llm_failed", failed),
        *unpriced,
        event(run_id, 14, "run_completed", {"state": "completed"}, state="completed", step=2, message="Done."),
    ]
