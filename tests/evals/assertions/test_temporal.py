"""Claims about all of a run: what they mean, where they are proved or broken, when they were not exercised, and that nothing crashes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afk_es.debugger import ExpressionError, Recording, find, parse
from afk_es.errors import UsageError
from afk_es.evals.assertions.call_pattern import call
from afk_es.evals.assertions.temporal import Claim, always, at_most, eventually, never, precedes, responds
from afk_es.evals.evidence import Evidence
from afk_es.evals.verdict import Verdict
from afk_es.machine import AgentRunEvent
from tests.debugger.recorded import agent, asks, look, says
from tests.evals.evidences import calling, ran

LOOK, REFUND, FAILING = ("look", {"order": 1}), ("refund", {"order": 2}), ("refund", {"order": 13})
STARTED = 'type = "tool_started"'


async def shop() -> Evidence:
    """look 1, look 1, refund 2, refund 13 (which fails), an answer each."""
    return await calling((LOOK,), (LOOK,), (REFUND,), (FAILING,))


async def starts(evidence: Evidence) -> list[str]:
    """The places at which tools were started."""
    return [str(event.seq) for event in await evidence.events() if event.type == "tool_started"]


def facts(found: Verdict) -> tuple[bool, bool]:
    return found.passed, found.exercised


# ---------------------------------------------------------------------------------------------------------------------- what they mean


@pytest.mark.parametrize(
    ("claim", "passes", "exercised", "broken_at"),
    [
        (never(call("refund", order=13)), False, True, [3]),
        (never(call("refund", order=7)), True, True, []),
        (never(call("refund", order=lambda n: n > 5), subagents=True), False, True, [3]),
        (never(call("label")), True, True, []),
        (never(call("lab*")), True, True, []),
        (never(call("delete")), True, False, []),
        (never(call("label", order=7)), True, False, []),
        (never('tool = "refund" and outcome = "unknown"'), True, True, []),
        (never('tool = "delete" and step > 1'), True, False, []),
        (never('tool = "delete"'), True, True, []),
        (never('tool in ["delete", "drop"] and step > 1'), True, False, []),
        (never('limit = "cost"'), True, False, []),
        (never("ticket = null and ticket != null"), True, False, []),
        (never(f"{STARTED} and args.order = 13"), False, True, [3]),
        (never(lambda event: event.type == "tool_failed" and event.step > 9), True, True, []),
        (never(lambda event: event.type == "tool_started" and event.step == 1), False, True, [0]),
        (never("step > 3", where=STARTED), False, True, [3]),
        (never("step > 9", where=STARTED), True, True, []),
        (never("step > 9", where=call("delete")), True, False, []),
        (at_most(2, call("look")), True, True, []),
        (at_most(1, call("look")), False, True, [1]),
        (at_most(0, call("look")), False, True, [0, 1]),
        (at_most(3, call("delete")), True, False, []),
        (at_most(3, call("label")), True, True, []),
        (always(call("look", order=1)), True, True, []),
        (always(call("refund", order=2)), False, True, [3]),
        (always(call("refund", order=int)), True, True, []),
        (always(call("look")), False, True, [2, 3]),
        (always(call("*")), True, True, []),
        (always(call("label", order=2)), True, False, []),
        (always("attempt = 1", where=STARTED), True, True, []),
        (always("step < 4", where=STARTED), False, True, [3]),
        (always("step < 4", where=call("look")), True, True, []),
        (always(call("look"), where='type = "tool_started" and step < 3'), True, True, []),
        (always(call("look"), where=call("*", order=1)), True, True, []),
        (always("step < 4", where='tool = "label"'), True, False, []),
        (always("seq > 0"), True, True, []),
        (always(lambda event: event.step < 99), True, True, []),
        (eventually(call("refund")), True, True, []),
        (eventually('outcome = "failed"'), True, True, []),
        (precedes(call("look"), call("refund")), True, True, []),
        (precedes(call("refund"), call("look")), False, True, [0, 1]),
        (precedes(call("refund", order=2), call("refund", order=13)), True, True, []),
        (precedes(call("delete"), call("refund")), False, True, [2, 3]),
        (precedes(call("look"), call("delete")), True, False, []),
        (precedes(call("look", order=1), call("look", order=1)), False, True, [0]),
        (responds(call("look"), call("refund")), True, True, []),
        (responds(call("refund"), call("look")), False, True, [2, 3]),
        (responds(call("look"), call("look")), False, True, [1]),
        (responds(call("delete"), call("look")), True, False, []),
        (responds(call("look"), call("delete")), False, True, [0, 1]),
        (responds(STARTED, 'type = "tool_completed"'), True, True, []),
    ],
    ids=lambda value: value.name if isinstance(value, Claim) else None,
)
async def test_a_claim_holds_of_a_run_or_names_where_it_is_broken(
    claim: Claim, passes: bool, exercised: bool, broken_at: list[int]
) -> None:
    evidence = await shop()
    found = await claim.check(evidence)
    assert facts(found) == (passes, exercised), found
    if not passes:
        places = await starts(evidence)
        assert list(found.positions) == [places[each] for each in broken_at], found
    assert found.name == claim.name
    assert found.message


async def test_what_is_nowhere_is_broken_at_the_end_of_the_run() -> None:
    evidence = await shop()
    found = await eventually(call("delete")).check(evidence)
    assert (facts(found), found.positions) == ((False, True), (str(evidence.result.state_snapshot.seq),))


async def test_a_pass_names_what_proves_it() -> None:
    evidence = await shop()
    places = await starts(evidence)
    assert (await precedes(call("look"), call("refund")).check(evidence)).positions == (places[0], places[2], places[3])
    assert (await responds(call("look"), call("refund")).check(evidence)).positions == (places[0], places[1], places[3])
    assert (await at_most(2, call("look")).check(evidence)).positions == tuple(places[:2])


async def test_the_message_tells_what_was_found_and_where() -> None:
    evidence = await shop()
    places = await starts(evidence)
    found = await never(call("refund", order=13)).check(evidence)
    assert found.name == "never refund(order=13, ...)"
    assert found.message == f"refund(order=13, ...) is so once: refund(order=13) at {places[3]}"
    found = await precedes(call("refund"), call("look")).check(evidence)
    assert found.message == (
        f"nothing before look(order=1) at {places[0]}, look(order=1) at {places[1]}: the first refund(...) is refund(order=2) at {places[2]}"
    )
    found = await always("cost < 1").check(evidence)
    assert found.message.endswith("where=...") is False, "it holds where there is a cost"
    found = await always('ticket = "t"').check(evidence)
    assert found.message.endswith("Say for which: where=...")
    assert len(found.positions) == evidence.result.state_snapshot.seq


async def test_always_over_no_event_is_not_exercised() -> None:
    found = await always(call("*")).check(await ran(agent(says("nothing to do"))))
    assert facts(found) == (True, False)


# -------------------------------------------------------------------------------------------------------------------- before and after


async def test_calls_of_one_answer_are_not_before_each_other_by_what_was_asked() -> None:
    evidence = await calling((LOOK, REFUND))
    assert not (await precedes(call("look", counted="asked"), call("refund", counted="asked")).check(evidence)).passed
    assert (await precedes(call("look"), call("refund")).check(evidence)).passed
    assert not (await precedes(call("look", counted="succeeded"), call("refund")).check(evidence)).passed


async def family() -> Evidence:
    """look; a helper, which looks up order 7; refund."""
    helper = agent(asks(("look", {"order": 7})), says("looked"), tools=(look,)).model_copy(update={"name": "helper"})
    script = (asks(LOOK), asks(("transfer_to_helper", {"task": "look"})), asks(REFUND), says("done"))
    return await ran(agent(*script, subagents=(helper,)))


async def test_subagents_count_where_they_are_asked_for() -> None:
    evidence = await family()
    seven = call("look", order=7)
    [child] = evidence.result.subagent_executions
    for what in (seven, f"{STARTED} and args.order = 7", lambda event: event.type == "tool_started" and event.run_id == child.run_id):
        assert (await never(what).check(evidence)).passed
        found = await never(what, subagents=True).check(evidence)
        assert not found.passed
        [place] = found.positions
        assert place.startswith(f"{child.run_id}:")


async def test_a_subagents_events_stand_where_it_was_started() -> None:
    evidence = await family()
    seven = call("look", order=7)
    for first, then in ((call("look", order=1), seven), (call("transfer_to_helper"), seven), (seven, call("refund"))):
        assert (await precedes(first, then, subagents=True).check(evidence)).passed
        assert not (await precedes(then, first, subagents=True).check(evidence)).passed
    assert (await always(call("*", agent="helper"), where=seven, subagents=True).check(evidence)).passed


# ---------------------------------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("make", [never, always, eventually, lambda what: precedes(what, STARTED), lambda what: responds(STARTED, what)])
async def test_a_function_that_raises_is_a_failed_verdict_that_names_the_event(make: Callable[[Any], Claim]) -> None:
    def refunded(event: AgentRunEvent) -> bool:
        return bool(event.data["tool_name"] == "refund")

    found = await make(refunded).check(await shop())
    assert facts(found) == (False, True)
    assert found.message == "refunded raised KeyError: 'tool_name' at 1 (run_started)"
    assert found.positions == ("1",)


async def test_an_async_function_is_refused_at_the_first_event_and_leaves_no_coroutine_behind() -> None:
    async def slow(event: AgentRunEvent) -> bool:
        return True

    found = await never(slow).check(await shop())
    assert (found.passed, found.positions) == (False, ("1",))
    assert "slow is async" in found.message


async def test_an_argument_function_that_raises_fits_nothing() -> None:
    assert (await never(call("refund", order=lambda n: n.upper())).check(await shop())).passed
    assert not (await always(call("refund", order=lambda n: n.upper())).check(await shop())).passed


@pytest.mark.parametrize("what", [7, None, dict, AgentRunEvent])
def test_what_no_claim_can_speak_of_is_wrong_usage(what: Any) -> None:
    with pytest.raises(UsageError, match=r"a claim speaks of an expression, call\(...\) or a function"):
        never(what)


def test_a_text_that_is_no_expression_is_wrong_usage_at_once() -> None:
    with pytest.raises(ExpressionError):
        never("refund ==")
    with pytest.raises(UsageError, match="0 or more"):
        at_most(-1, STARTED)


# -------------------------------------------------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize(
    "text", [STARTED, "cost > 0", 'tool = "refund" and step > 2', "gap > 0", "repeat > 1", "args.order = 1", "used.steps > 10%"]
)
async def test_a_claim_sees_the_events_that_find_finds(text: str) -> None:
    evidence = await shop()
    rec = await Recording.open(evidence.log, evidence.run_id)
    found = await find(rec, parse(text))
    assert (await never(text).check(evidence)).positions == tuple(str(event.seq) for event in found)


@cache
def _once() -> list[Evidence]:
    return []


async def _same_shop() -> Evidence:
    if not _once():
        _once().append(await shop())
    return _once()[0]


def at(seqs: set[int]) -> Callable[[AgentRunEvent], bool]:
    return lambda event: event.seq in seqs


SEQS = st.sets(st.integers(1, 30), max_size=5)


@settings(deadline=None)
@given(SEQS, SEQS, st.integers(0, 4))
def test_the_laws_of_the_quantifiers(a: set[int], b: set[int], most: int) -> None:
    """Each claim against its definition over the seqs of a run; the run is the same for all, so it is made once."""
    import asyncio

    async def passed(*claims: Claim) -> list[bool]:
        evidence = await _same_shop()
        assert evidence.result.state_snapshot.seq >= 27
        return [(await claim.check(evidence)).passed for claim in claims]

    a, b = a & set(range(1, 28)), b & set(range(1, 28))
    found = asyncio.run(
        passed(
            never(at(a)),
            eventually(at(a)),
            never(at(a), where=at(b)),
            always(at(a), where=at(b)),
            at_most(most, at(a)),
            precedes(at(a), at(b)),
            responds(at(a), at(b)),
        )
    )
    assert found == [
        not a,
        bool(a),
        not a & b,
        b <= a,
        len(a) <= most,
        all(any(one < other for one in a) for other in b),
        all(any(other > one for other in b) for one in a),
    ]
