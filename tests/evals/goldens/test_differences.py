"""Two runs put into classes: what belongs together is told once, what only moved is no loss, and no difference passes in silence."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from afk_es.debugger.recording import Recording
from afk_es.evals.goldens.differences import FINDINGS_KEPT, Compared, Differences, merged
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.llms import LLMResponse
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import AgentRunEvent
from afk_es.machine.events import EVENT_TYPES
from tests.evals.desk import ANSWER, LOOK, NOTIFY, REFUND, agent, asks, ran, says

Calls = list[list[tuple[str, dict[str, Any]]]]
"""What a model asks for, answer by answer."""

PLENTY = {"max_steps": 5_000, "max_llm_calls": 5_000, "max_tool_calls": 5_000}


def script(calls: Calls, answer: str = ANSWER) -> list[LLMResponse]:
    return [*[asks(*answer) for answer in calls if answer], says(answer)]


async def run_of(calls: Calls, answer: str = ANSWER, **fields: Any) -> Recording:
    log, result = await ran(agent(*script(calls, answer), limits=PLENTY, **fields))
    return await Recording.open(log, result.run_id)


async def compared(one: Recording, other: Recording, mode: MatchMode = "strict") -> Compared:
    return await Differences(mode, "0.1.0").of(one, other)


def kinds(found: Compared) -> Counter[str]:
    return Counter(each.kind for each in found.divergences)


def calls_of(die: random.Random) -> Calls:
    """Some answers with one to three calls, no two calls the same."""
    number = iter(range(1_000))
    names = ("look", "notify")
    return [[(die.choice(names), {"order": next(number)}) for _ in range(die.randint(1, 3))] for _ in range(die.randint(2, 6))]


def places_in(calls: Calls) -> list[tuple[int, int]]:
    return [(step, index) for step, answer in enumerate(calls) for index in range(len(answer))]


@pytest.mark.parametrize("seed", range(25))
async def test_of_all_single_edits_of_random_runs_each_is_one_finding_in_its_class(seed: int) -> None:
    die = random.Random(seed)
    calls = calls_of(die)
    recorded = await run_of(calls)

    async def edited() -> tuple[Compared, Calls, int, int]:
        other = [list(answer) for answer in calls]
        step, index = die.choice(places_in(calls))
        return Compared([], 0, 0, []), other, step, index

    _none, other, step, index = await edited()
    gone = other[step].pop(index)
    found = await compared(recorded, await run_of(other), "contract")
    assert [(each.kind, each.field, each.expected) for each in found.divergences] == [("missing", "tool_name", gone[0])]

    _none, other, step, index = await edited()
    other[step].insert(index, ("look", {"order": 5_000}))
    found = await compared(recorded, await run_of(other), "contract")
    assert [(each.kind, each.field, each.actual) for each in found.divergences] == [("extra", "tool_name", "look")]

    _none, other, step, index = await edited()
    name, arguments = other[step][index]
    other[step][index] = (name, {"order": 5_000})
    found = await compared(recorded, await run_of(other), "contract")
    assert [(each.kind, each.field, each.expected, each.actual) for each in found.divergences] == [
        ("params", "arguments.order", arguments["order"], 5_000)
    ]

    _none, other, step, index = await edited()
    name, arguments = other[step][index]
    other[step][index] = ("refund", {**arguments, "amount": 1})
    found = await compared(recorded, await run_of(other), "contract")
    assert [(each.kind, each.field, each.expected, each.actual) for each in found.divergences] == [("missing", "tool_name", name, "refund")]

    _none, other, step, index = await edited()
    places = places_in(calls)
    first = die.randrange(len(places) - 1)
    (a, i), (b, j) = places[first], places[first + 1]
    other[a][i], other[b][j] = other[b][j], other[a][i]
    found = await compared(recorded, await run_of(other), "contract")
    assert kinds(found) == {"order": 1}


@pytest.mark.parametrize("seed", range(25))
async def test_runs_that_differ_in_many_ways_never_pass_and_runs_that_do_not_always_do(seed: int) -> None:
    """Calls may repeat here, so what is missing and what has moved is a matter of taste; that something differs is not."""
    die = random.Random(seed)

    def some() -> Calls:
        return [[("look", {"order": die.randint(1, 2)}) for _ in range(die.randint(0, 3))] for _ in range(die.randint(1, 4))]

    one, other = some(), some()
    first, second = await run_of(one), await run_of(other)
    flat = [[list(answer) for answer in calls if answer] for calls in (one, other)]
    for mode in ("strict", "contract", "trajectory"):
        assert not (await compared(first, await run_of(one), mode)).divergences
        found = await compared(first, second, mode)
        same_calls = [call for answer in one for call in answer] == [call for answer in other for call in answer]
        assert bool(found.divergences) == (not same_calls if mode != "strict" else flat[0] != flat[1])


async def test_the_same_calls_in_other_answers_are_no_other_trajectory_but_another_run() -> None:
    """All at once, or one after the other: strictly it is another conversation."""
    together, apart = await run_of([[LOOK, NOTIFY]]), await run_of([[LOOK], [NOTIFY]])
    assert not (await compared(together, apart, "trajectory")).divergences
    assert not (await compared(together, apart, "contract")).divergences
    (found,) = (await compared(together, apart)).divergences
    assert (found.kind, found.field, found.expected, found.actual) == ("order", "position", 1, 0)


async def test_what_follows_from_a_call_is_not_told_again() -> None:
    """Its policy decision, its start, its result, and the message with it."""
    found = await compared(await run_of([[LOOK], [REFUND, NOTIFY]]), await run_of([[LOOK], [REFUND]]))
    assert [(each.kind, each.field, each.expected) for each in found.divergences] == [("missing", "tool_name", "notify")]


async def test_what_is_said_of_calls_that_stand_for_one_another_is_compared() -> None:
    cheap, dear = ("refund", {"order": 7, "amount": 1}), ("refund", {"order": 7, "amount": 5_000})
    found = await compared(await run_of([[cheap]]), await run_of([[dear]]))
    assert [(each.kind, each.field) for each in found.divergences] == [
        ("params", "arguments.amount"),
        ("policy", "action"),
        ("result", "outcome"),
    ]


async def test_divergences_stand_in_the_order_of_their_places() -> None:
    one = [[("look", {"order": number})] for number in range(20)]
    other = [[("look", {"order": number if number % 4 else -number - 1})] for number in range(20)]
    found = await compared(await run_of(one), await run_of(other, "Other."), "strict")
    seqs = [each.today.seq for each in found.divergences if each.today is not None]
    assert seqs == sorted(seqs)
    assert len(found.divergences) == len(seqs)
    assert found.divergences[-1].field == "final_text"


async def patched(rec: Recording, drop: str | None = None, **changed: dict[str, Any]) -> Recording:
    """The run with events of a type left out, or with other data; it may not fold any more."""
    log = MemoryEventLog()
    await log.open()
    events = [event for event in await rec.log.read(rec.run_id) if event.type != drop]
    found: list[AgentRunEvent] = []
    for seq, event in enumerate(events, start=1):
        data = {**event.data, **changed.get(event.type, {})}
        found.append(msgspec.structs.replace(event, seq=seq, data=data))
    await log.append(found, epoch=1)
    return await Recording.open(log, rec.run_id)


@pytest.mark.parametrize(
    "kind", sorted({"step_started", "tool_batch_started", "llm_called", "policy_decision", "tool_started", "tool_completed"})
)
async def test_an_event_that_only_one_side_has_never_passes_in_silence(kind: str) -> None:
    """Such a log is no machine's, and is compared nevertheless."""
    rec = await run_of([[LOOK]])
    without = await patched(rec, drop=kind)
    for one, other in ((rec, without), (without, rec)):
        found = await compared(one, other)
        assert found.divergences


async def test_requests_of_a_run_that_does_not_fold_are_not_compared_and_a_note_says_so() -> None:
    rec = await run_of([[LOOK], [NOTIFY]])
    other = await run_of([[LOOK], [NOTIFY]], instructions="Be rude.")
    found = await compared(rec, await patched(other, drop="tool_batch_started"))
    assert [each.field for each in found.divergences] == ["instructions"]
    assert any("does not fold" in note for note in found.notes)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"tool_batch_started": {"tool_names": ["refund"]}}, ("order", "tool_names[0]")),
        ({"tool_completed": {"output": {"order": 7, "status": "found", "paid": 20}}}, ("result", "output.status")),
        ({"policy_decision": {"reason": "because"}}, ("policy", "reason")),
        ({"policy_decision": {"matched_rules": ["r1"]}}, ("policy", "matched_rules")),
        ({"run_started": {"user_message": "Hello?"}}, ("prompt", "user_message")),
        ({"run_started": {"context": {"tier": "gold"}}}, ("params", "context.tier")),
        ({"llm_completed": {"finish_reason": "length"}}, ("result", "finish_reason")),
        ({"run_completed": {"state": "degraded"}}, ("result", "state")),
        ({"run_completed": {"missing": ["the rest"]}}, ("result", "missing")),
        ({"llm_called": {"provider": "other"}}, ("params", "provider")),
    ],
)
async def test_what_an_event_says_differently_has_its_class_and_field(changed: dict[str, Any], expected: tuple[str, str]) -> None:
    rec = await run_of([[LOOK]])
    found = await compared(rec, await patched(rec, **changed))
    assert (found.divergences[0].kind, found.divergences[0].field) == expected


async def test_a_message_of_the_user_is_told_once_and_not_again_of_each_request() -> None:
    rec = await run_of([[LOOK], [NOTIFY]])
    found = await compared(rec, await patched(rec, run_started={"user_message": "Hello?"}))
    assert [each.field for each in found.divergences] == ["user_message"]


async def test_an_output_that_differs_is_told_of_its_event_and_not_of_the_message_with_it() -> None:
    rec = await run_of([[LOOK], [NOTIFY]])
    found = await compared(rec, await patched(rec, tool_completed={"output": "other"}))
    assert [each.field for each in found.divergences] == ["output", "output"]


def test_every_event_type_is_told_of_in_some_class() -> None:
    """No type of the table is unknown to the classes when only one side has it."""
    from afk_es.debugger.entries import Entry
    from afk_es.evals.goldens.event_changes import alone_finding
    from afk_es.machine.state import EPOCH

    needed = {"limit": "max_steps", "action": "allow", "state": "completed", "tool_name": "look"}
    for kind in EVENT_TYPES:
        event = AgentRunEvent(kind, "r", "t", 1, EPOCH, "running", 0, "", dict(needed))
        for recorded in (True, False):
            found = alone_finding(Entry(event, ("desk",), "look", ""), "0.1.0", recorded=recorded)
            assert found.kind in ("missing", "extra", "policy", "limit", "result")
            assert (found.expected is None) != (found.actual is None)


async def test_what_is_found_beyond_the_bound_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # Thousands of events, and not the loop, are what is looked at: folded from zero after each write they would take a minute.
    monkeypatch.delenv("AFK_ES_ALWAYS_REPLAY", raising=False)
    one = [[("look", {"order": number})] for number in range(FINDINGS_KEPT + 20)]
    other = [[("look", {"order": -number - 1})] for number in range(FINDINGS_KEPT + 20)]
    found = await compared(await run_of(one), await run_of(other), "trajectory")
    assert (len(found.divergences), found.more) == (FINDINGS_KEPT, 20)


def test_comparisons_one_after_the_other_are_one() -> None:
    parts = [Compared([], 1, 2, ["a"]), Compared([], 3, 4, ["a", "b"])]
    assert merged(parts) == Compared([], 4, 6, ["a", "b"])
