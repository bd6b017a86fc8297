"""Two runs side by side: equal where they are, parted where they first differ, and met again where they can be."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import AgentRunEvent, Runner
from afk_es.debugger import Recording, comparison
from afk_es.debugger.comparison import Divergence, Place, compare, first_divergence, states_at, thread_of
from afk_es.debugger.comparison_text import comparison_lines, divergence_lines
from afk_es.debugger.entries import entries, facts_of
from afk_es.log.memory import MemoryEventLog
from afk_es.tools import tool
from afk_es.views import columns
from tests.debugger.recorded import agent, asks, cut_after, look, recorded, says, seqs


async def pair(script: tuple[Any, ...], other: tuple[Any, ...], *messages: str, **fields: Any) -> tuple[Recording, Recording]:
    """Two runs of one agent in one log, with different ids and times."""
    log = MemoryEventLog()
    first, second = messages or ("go", "go")
    fields.setdefault("max_steps", 2_000)
    many: dict[str, Any] = {"limits": {"max_llm_calls": 5_000, "max_tool_calls": 5_000}}
    one = await recorded(agent(*script, **many, **fields), first, log=log, seed=1)
    two = await recorded(agent(*other, **many, **fields), second, log=log, seed=2)
    return one, two


def looks(*orders: int) -> tuple[Any, ...]:
    """A script that looks these orders up and says so."""
    return (*[asks(("look", {"order": order})) for order in orders], says("done"))


async def test_runs_of_the_same_script_are_equal_although_nothing_of_them_is_the_same_object() -> None:
    one, two = await pair(looks(1, 2), looks(1, 2))
    found = await compare([one], [two])
    assert found.equal
    assert (found.first, found.first_act, found.changed, found.only_a, found.only_b) == (None, None, 0, 0, 0)
    assert found.same == await one.last_seq()
    assert await first_divergence([one], [two]) is None
    assert [(each.kind, each.count) for each in found.pairs] == [("same", found.same)]


async def test_every_entry_of_both_is_counted_once() -> None:
    one, two = await pair(looks(1, 2, 3, 9), looks(1, 3, 4, 5, 9))
    found = await compare([one], [two])
    assert found.same + found.changed + found.only_a == await one.last_seq()
    assert found.same + found.changed + found.only_b == await two.last_seq()


async def test_the_first_divergence_names_the_field_and_both_values() -> None:
    one, two = await pair(looks(1, 2), looks(1, 3))
    found = await first_divergence([one], [two])
    assert found is not None
    assert found.a is not None
    assert (found.field, found.before, found.after) == ("tool_calls[0].arguments.order", 2, 3)
    assert (found.a.type, found.a.seq) == ("llm_completed", (await seqs(one, "llm_completed"))[1])
    assert (await compare([one], [two])).first == found


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("with its parent run_7b41c2: over", "with its parent run_99ee01: over", True),
        ("with its parent run_1: over", "with its parent run_12: over", True),
        ("run_tests failed", "run_lint failed", False),
        ("with its parent run_1: over", "with its parent run_1: laid down", False),
    ],
)
def test_ids_of_runs_in_a_reason_are_no_difference_and_words_are(one: str, other: str, same: bool) -> None:
    def cancelled(reason: str) -> AgentRunEvent:
        return AgentRunEvent("run_cancelled", "r", "t", 9, SimulatedClock().now(), "cancelled", 1, "", {"reason": reason})

    assert (facts_of(cancelled(one)) == facts_of(cancelled(other))) is same


async def test_other_words_are_no_other_act() -> None:
    talkative = (asks(("look", {"order": 1}), text="let me see"), asks(("look", {"order": 2})), says("done"))
    one, two = await pair(looks(1, 2), talkative)
    found = await compare([one], [two])
    assert found.first is not None
    assert (found.first.field, found.first.after) == ("text", "let me see")
    assert found.first_act is None
    one, two = await pair(looks(1, 2), (*talkative[:1], *looks(7)))
    found = await compare([one], [two])
    assert found.first_act is not None
    assert found.first_act.field == "tool_calls[0].arguments.order"


async def test_another_question_is_the_first_divergence() -> None:
    one, two = await pair(looks(1), looks(1), "where is it?", "where?")
    found = await first_divergence([one], [two])
    assert found is not None
    assert (found.field, found.before, found.after) == ("user_message", "where is it?", "where?")


async def test_a_run_that_goes_on_where_the_other_ends_is_seen() -> None:
    one, _ = await pair(looks(1, 2), looks(1, 2))
    log = MemoryEventLog()
    await log.open()
    await log.append((await one.log.read(one.run_id))[:10], epoch=1)
    cut = await Recording.open(log, one.run_id)
    found = await first_divergence([one], [cut])
    assert found is not None
    assert (found.field, found.b) == ("end", None)
    assert (await compare([cut], [one])).only_b == await one.last_seq() - 10
    assert await states_at(one, cut, found) is None


async def test_both_states_are_compared_where_they_part() -> None:
    one, two = await pair(looks(1, 2), looks(1, 3))
    found = await first_divergence([one], [two])
    assert found is not None
    states = await states_at(one, two, found)
    assert states is not None
    assert [change.path for change in states.changes] == [
        "state.requested[0].arguments.order",
        "state.messages[3].tool_calls[0].arguments.order",
    ]


async def test_they_meet_again_behind_what_one_of_them_did_more() -> None:
    one, two = await pair(looks(1, 2, 3), looks(1, 77, 2, 3))
    found = await compare([one], [two])
    assert (found.only_a, found.changed) == (0, 0)
    assert found.only_b == 8
    assert found.pairs[-1].kind == "same"


async def test_they_meet_again_behind_more_than_a_window() -> None:
    """In windows nothing is found at first, and the ends are found to be equal nevertheless."""
    tail = tuple(range(500, 540))
    one, two = await pair(looks(*range(100), *tail), looks(*range(1_000, 1_100), *tail))
    found = await compare([one], [two])
    assert found.same >= 40 * 8
    assert found.same + found.changed + found.only_a == await one.last_seq()


async def test_calls_of_one_batch_stand_in_the_order_in_which_they_were_asked_for() -> None:
    def waiting(first_s: float) -> Any:
        @tool(read_only=True)
        async def wait(n: int) -> int:
            """Wait; the first call as long as is said."""
            await asyncio.sleep(first_s if n == 0 else 0.02)
            return n

        return wait

    log = MemoryEventLog()
    script = (asks(("wait", {"n": 0}), ("wait", {"n": 1})), says("done"))
    runs = []
    for seed, first_s in ((1, 0.0), (2, 0.05)):
        async with Runner(log=log, ids=SeededIds(seed)) as runner:
            result = await runner.run(agent(*script, tools=(waiting(first_s),)), user_message="go")
        runs.append(result.run_id)
    await log.open()
    one, two = [await Recording.open(log, run_id) for run_id in runs]
    ended = [[event.data["output"] for event in await log.read(run_id) if event.type == "tool_completed"] for run_id in runs]
    assert ended == [[0, 1], [1, 0]]
    assert await first_divergence([one], [two]) is None


async def test_a_subagents_run_is_compared_where_it_was_started_under_its_path() -> None:
    def team(answer: str) -> Any:
        helper = agent(says(answer), tools=()).model_copy(update={"name": "helper"})
        return agent(asks(("transfer_to_helper", {"task": "add"})), says("done"), tools=(), subagents=[helper])

    log = MemoryEventLog()
    one, two = await recorded(team("42"), log=log, seed=1), await recorded(team("43"), log=log, seed=2)
    found = await first_divergence([one], [two])
    assert found is not None
    assert found.a is not None
    assert (found.a.agent_path, found.field, found.before, found.after) == (("desk", "helper"), "text", "42", "43")
    states = await states_at(one, two, found)
    assert states is not None
    assert next(change.path for change in states.changes) == "state.answer"


async def test_a_conversation_of_several_runs_is_one_side() -> None:
    log = MemoryEventLog()
    threads = []
    for seed, last in ((1, "bye"), (2, "good bye")):
        async with Runner(log=log, ids=SeededIds(seed), clock=SimulatedClock(tick=0.01)) as runner:
            await runner.run(agent(says("hello"), tools=()), user_message="hello?", thread_id=f"t{seed}")
            threads.append((await runner.run(agent(says(last), tools=()), user_message=f"{last}?", thread_id=f"t{seed}")).run_id)
    await log.open()
    one, two = [await thread_of(await Recording.open(log, run_id)) for run_id in threads]
    assert (len(one), len(two)) == (2, 2)
    found = await first_divergence(one, two)
    assert found is not None
    assert found.a is not None
    assert (found.a.run_id, found.field) == (one[1].run_id, "user_message")


async def test_memory_is_bounded_by_windows_and_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "PAIRS_KEPT", 5)
    chance = random.Random(7)
    orders = [chance.randrange(1_000) for _ in range(60)]
    one, two = await pair(looks(*orders), looks(*[order if n % 7 else order + 1 for n, order in enumerate(orders)]))
    found = await compare([one], [two])
    assert (len(found.pairs), found.truncated) == (5, True)
    assert found.same + found.changed + found.only_a == await one.last_seq()
    assert comparison_lines(found, 80)[-1][0].startswith("... and more")


async def test_progress_is_told_and_never_goes_back() -> None:
    one, two = await pair(looks(*range(60)), looks(*range(60)))
    told: list[tuple[int, int]] = []
    await compare([one], [two], progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told


async def test_entries_of_a_run_are_its_events() -> None:
    one, _ = await pair(looks(1, 2), looks(1))
    assert sorted([entry.event.seq async for entry in entries(one)]) == list(range(1, await one.last_seq() + 1))


async def test_a_batch_that_goes_on_in_another_stretch_is_one_batch() -> None:
    described = agent(asks(("look", {"order": 1}), ("refund", {"order": 2})), says("done"))
    cut = await cut_after(await recorded(described), "tool_started", count=2)
    async with Runner(log=cut.log, clock=SimulatedClock(tick=0.01, autojump_threshold_s=0.01), ids=SeededIds(5)) as runner:
        await runner.resume(agent(says("done")), run_id=cut.run_id)
    await cut.log.open()
    found = [entry async for entry in entries(await Recording.open(cut.log, cut.run_id))]
    assert [entry.event.type for entry in found].count("run_started") == 2
    assert {(entry.tool, entry.arguments != "") for entry in found if entry.tool} == {("look", True), ("refund", True)}


async def test_lines_fit_and_are_harmless() -> None:
    one, two = await pair(looks(1), (asks(("look", {"order": 1}), text="\x1b[2J東京" * 40), says("done")))
    found = await compare([one], [two])
    for width in (20, 80):
        for line, _tone in (*comparison_lines(found, width), *divergence_lines(found.first, width)):
            assert columns(line) <= width
            assert "\x1b" not in line


@tool(read_only=True)
async def unused() -> str:
    """Nobody calls it."""
    return ""


async def test_agents_that_differ_part_at_the_start() -> None:
    log = MemoryEventLog()
    one = await recorded(agent(says("x"), tools=(look,)), log=log, seed=1)
    two = await recorded(agent(says("x"), tools=(look, unused)), log=log, seed=2)
    found = await first_divergence([one], [two])
    assert found is not None
    assert found.field == "agent.tools[1]"


def test_a_side_that_has_nothing_there_says_so() -> None:
    place = Place("r", 2, ("desk",), "step_started", "", "")
    lines = [line.rstrip() for line, _tone in divergence_lines(Divergence("missing", None, "step_started", None, place), 80)]
    assert lines == ["they part in missing", "< nothing", "> @2 step_started", "    step_started"]
