"""The tool calls of a run against a reference: what each mode minds, how arguments are compared, and that every failure says why."""

from __future__ import annotations

import re
from typing import Any

import pytest

from afk_es.agents import PolicyEngine, PolicyRule
from afk_es.core import Runner, RunnerConfig
from afk_es.errors import UsageError
from afk_es.evals.assertions import trajectory, trajectory_match
from afk_es.evals.assertions.call_pattern import CallPattern, call
from afk_es.evals.assertions.calls import Counted, calls_of
from afk_es.evals.assertions.trajectory import Parallel, Trajectory, TrajectoryMode
from afk_es.evals.evidence import Evidence
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.verdict import Verdict
from afk_es.log.memory import MemoryEventLog
from afk_es.tools import ToolDeferredHandle, tool
from tests.debugger.recorded import agent, asks, look, recorded, says
from tests.evals.evidences import calling, of, ran

LOOK, REFUND, LABEL = ("look", {"order": 1}), ("refund", {"order": 1}), ("label", {"order": 1})


async def shop() -> Evidence:
    """look, refund, label; an answer each."""
    return await calling((LOOK,), (REFUND,), (LABEL,))


async def verdict(evidence: Evidence, *reference: Any, **options: Any) -> Verdict:
    return await Trajectory(reference, **options).check(evidence)


# ------------------------------------------------------------------------------------------------------------------------------ modes

ORDERED, SWAPPED, FEWER, MORE = (
    ("look", "refund", "label"),
    ("refund", "look", "label"),
    ("look", "label"),
    ("look", "refund", "label", "label"),
)


@pytest.mark.parametrize(
    ("mode", "reference", "passes"),
    [
        ("exact", ORDERED, True),
        ("exact", SWAPPED, False),
        ("exact", FEWER, False),
        ("exact", MORE, False),
        ("in_order", ORDERED, True),
        ("in_order", SWAPPED, False),
        ("in_order", FEWER, True),
        ("in_order", MORE, False),
        ("unordered", ORDERED, True),
        ("unordered", SWAPPED, True),
        ("unordered", FEWER, False),
        ("unordered", MORE, False),
        ("subset", SWAPPED, True),
        ("subset", FEWER, False),
        ("subset", MORE, True),
        ("superset", SWAPPED, True),
        ("superset", FEWER, True),
        ("superset", MORE, False),
    ],
)
async def test_each_mode_minds_what_its_row_says(mode: TrajectoryMode, reference: tuple[str, ...], passes: bool) -> None:
    found = await verdict(await shop(), *reference, mode=mode)
    assert (found.passed, found.exercised) == (passes, True), found


async def test_a_pass_names_the_calls_that_prove_it_and_a_failure_those_that_break_it() -> None:
    evidence = await shop()
    starts = [str(event.seq) for event in await evidence.events() if event.type == "tool_started"]
    assert (await verdict(evidence, *ORDERED)).positions == tuple(starts)
    assert (await verdict(evidence, *FEWER)).positions == (starts[1],)
    assert (await verdict(evidence, ("look", {"order": 2}), mode="superset")).positions == (starts[0],)
    end = str(evidence.result.state_snapshot.seq)
    assert (await verdict(evidence, "delete", mode="superset")).positions == (end,)


# --------------------------------------------------------------------------------------------------------------------- the known traps


async def test_arguments_are_compared_one_way_in_every_mode() -> None:
    """`superset` is about the call: it may have more than the pattern, in `subset` and `unordered` as well as elsewhere."""
    evidence = await calling((("refund", {"order": 1, "note": "late"}),))
    less, more = ("refund", {"order": 1}), ("refund", {"order": 1, "note": "late", "amount": 5})
    for mode in ("exact", "in_order", "unordered", "subset", "superset"):
        assert (await verdict(evidence, less, mode=mode, arguments="superset")).passed, mode
        assert not (await verdict(evidence, more, mode=mode, arguments="superset")).passed, mode
        assert (await verdict(evidence, more, mode=mode, arguments="subset")).passed, mode
        assert not (await verdict(evidence, less, mode=mode, arguments="subset")).passed, mode


async def test_a_pattern_that_fits_much_does_not_take_the_call_of_one_that_fits_little() -> None:
    """Greedy: `look(...)` takes order 1, and `look(order=1)` finds nothing."""
    evidence = await calling((("look", {"order": 1}),), (("look", {"order": 2}),))
    for mode in ("unordered", "superset", "subset"):
        found = await verdict(evidence, "look", ("look", {"order": 1}), mode=mode)
        assert found.passed, found
        assert found.details["pairs"] == [[0, 1], [1, 0]]


async def test_in_order_is_not_greedy_either() -> None:
    """`look(...)` could take order 2 and leave the order 1 behind it nothing to be in order with."""
    evidence = await calling((("look", {"order": 2}),), (("look", {"order": 1}),), (("look", {"order": 3}),))
    assert (await verdict(evidence, ("look", {"order": 1}), "look", mode="in_order")).passed
    found = await verdict(evidence, ("look", {"order": 2}), ("look", {"order": 3}), ("look", {"order": 1}), mode="in_order")
    assert not found.passed
    assert len(found.details["pairs"]) == 2


@pytest.mark.parametrize(
    ("mode", "passes", "exercised"),
    [
        ("exact", False, True),
        ("unordered", False, True),
        ("subset", False, True),
        ("in_order", True, False),
        ("superset", True, False),
    ],
)
async def test_an_empty_reference_says_that_there_are_no_calls_or_is_not_exercised(
    mode: TrajectoryMode, passes: bool, exercised: bool
) -> None:
    found = await verdict(await shop(), mode=mode)
    assert (found.passed, found.exercised) == (passes, exercised)
    assert found.passed or "not expected: look(order=1)" in found.message


async def test_a_run_without_calls_is_no_proof_of_a_subset() -> None:
    evidence = await ran(agent(says("nothing to do")))
    found = await verdict(evidence, "look", mode="subset")
    assert (found.passed, found.exercised, found.message) == (True, False, "no call was made")
    assert (await verdict(evidence, mode="exact")).exercised


@pytest.mark.parametrize(
    ("parallel", "reference", "passes"),
    [
        ("listed", ("look", "label", "refund"), False),
        ("listed", ("label", "look", "refund"), True),
        ("free", ("look", "label", "refund"), True),
        ("free", ("label", "look", "refund"), True),
        ("free", ("look", "refund", "label"), False),
    ],
)
@pytest.mark.parametrize("mode", ["exact", "in_order"])
async def test_the_order_inside_one_answer_counts_unless_it_is_free(
    mode: TrajectoryMode, parallel: Parallel, reference: tuple[str, ...], passes: bool
) -> None:
    """label and look were asked for in one answer, refund in the next: across answers the order always counts."""
    evidence = await calling((LABEL, LOOK), (REFUND,))
    assert (await verdict(evidence, *reference, mode=mode, parallel=parallel)).passed is passes


async def test_malformed_arguments_are_a_reason_and_not_a_crash() -> None:
    evidence = await calling((("look", '{"order": 1'),))
    found = await verdict(evidence, LOOK)
    assert not found.passed
    assert "arguments: the call's arguments are no JSON object: " in found.message
    assert (await verdict(evidence, ("look", {"order": 1}), arguments="ignore")).passed
    assert (await verdict(evidence, CallPattern("look", '{"order": 1'))).passed
    assert (await verdict(evidence, CallPattern("look", lambda raw: raw.startswith("{")))).passed
    assert not (await verdict(evidence, ("look", {}), arguments="superset")).passed


# --------------------------------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("expected", "fits"),
    [
        (7, True),
        (7.0, True),
        ("7", False),
        (True, False),
        (int, True),
        (float, True),
        (str, False),
        (bool, False),
        (lambda n: n > 5, True),
        (lambda n: n > 50, False),
        (lambda n: n.upper(), False),
        (re.compile("7"), False),
        (None, False),
    ],
)
async def test_a_number_is_a_number(expected: Any, fits: bool) -> None:
    evidence = await calling((("look", {"order": 7}),))
    found = await verdict(evidence, ("look", {"order": expected}))
    assert found.passed is fits
    assert fits or "arguments.order: " in found.message


@pytest.mark.parametrize(
    ("expected", "field"),
    [
        ({"lines": [{"sku": re.compile("^a"), "n": 2}], "gift": True}, None),
        ({"lines": [{"sku": "a1", "n": 3}], "gift": True}, "arguments.note.lines[0].n"),
        ({"lines": [{"sku": "a1", "n": 2}], "gift": 1}, "arguments.note.gift"),
        ({"lines": [], "gift": True}, "arguments.note.lines"),
        ({"lines": list, "gift": bool}, None),
        ({"lines": list}, "arguments.note.gift"),
        ({"lines": list, "gift": bool, "to": str}, "arguments.note.to"),
        (["lines", "gift"], "arguments.note"),
        (dict, None),
    ],
)
async def test_a_reason_says_where_in_a_value_it_differs(expected: Any, field: str | None) -> None:
    evidence = await calling((("look", {"order": 1, "note": {"gift": True, "lines": [{"n": 2, "sku": "a1"}]}}),))
    found = await verdict(evidence, ("look", {"order": 1, "note": expected}))
    assert found.passed is (field is None)
    assert [each["field"] for miss in found.details.get("missing", ()) for each in miss["why"]] == ([field] if field else [])


async def test_a_function_that_raises_is_a_reason() -> None:
    found = await verdict(await shop(), call("look", order=lambda n: n["id"]), mode="superset")
    assert not found.passed
    assert "arguments.order: the check of 1 raised TypeError: " in found.message


@pytest.mark.parametrize(
    ("how", "passes"),
    [
        ("exact", False),
        ("superset", True),
        ("ignore", True),
        (["order"], True),
        (["order", "note"], True),
        ({"order": int}, False),
        (lambda made, wanted: made["order"] == wanted["order"], True),
        (lambda made, wanted: made["order"] > wanted["order"], False),
    ],
)
async def test_each_tool_may_have_its_own_way(how: Any, passes: bool) -> None:
    evidence = await calling((("look", {"order": 1, "verbose": True}),), (REFUND,))
    assert (await verdict(evidence, LOOK, REFUND, tools={"look": how})).passed is passes


async def test_a_pattern_that_says_how_it_is_compared_is_compared_so() -> None:
    evidence = await calling((("look", {"order": 1, "verbose": True}),))
    assert (await verdict(evidence, CallPattern("look", {"order": 1}, "superset"), arguments="exact")).passed
    assert (await verdict(evidence, call("l*", order=1))).passed


@pytest.mark.parametrize(
    "written",
    [
        {"tool": "look", "arguments": {"order": {"$type": "integer"}}},
        {"tool": "look", "arguments": {"order": {"$any": True}}},
        {"tool": "look", "arguments": {"verbose": True}, "match": "ignore"},
        {"tool": "lo*", "agent": "de*"},
        "look",
        ("look", {"order": 1}),
        ["look", {"order": 1}],
    ],
)
async def test_a_call_may_be_written_as_data(written: Any) -> None:
    assert (await verdict(await calling((LOOK,)), written)).passed


async def test_data_may_hold_a_regular_expression() -> None:
    evidence = await calling((("look", {"order": "A-17"}),))
    assert (await verdict(evidence, {"tool": "look", "arguments": {"order": {"$regex": r"-\d+$"}}})).passed
    assert not (await verdict(evidence, {"tool": "look", "arguments": {"order": {"$regex": r"^\d+$"}}})).passed


# ------------------------------------------------------------------------------------------------------------------------------ reasons


async def test_a_missing_call_has_its_nearest_candidate_and_what_differs() -> None:
    evidence = await calling((("refund", {"order": 1, "amount": 900}),), (("refund", {"order": 2, "amount": 50}),))
    found = await verdict(evidence, ("refund", {"order": 2, "amount": 5}), mode="superset")
    answers = [event.seq for event in await evidence.events() if event.type == "llm_completed"]
    assert found.message == (
        f"0 of 1 expected calls were made; expected call 1, refund(order=2, amount=5), was not made: nearest is"
        f" refund(amount=50, order=2) at {answers[1]}; arguments.amount: expected 5, got 50"
    )
    [missing] = found.details["missing"]
    assert missing["why"] == [{"field": "arguments.amount", "expected": 5, "actual": 50, "why": "expected 5, got 50"}]


async def test_a_call_in_another_order_is_named_as_such() -> None:
    found = await verdict(await shop(), *SWAPPED)
    assert "is it, in another order" in found.message


async def test_a_call_that_is_wanted_twice_and_made_once_says_who_has_it() -> None:
    found = await verdict(await shop(), "look", "look", mode="superset")
    assert "fits it, and is expected call 1" in found.message


async def test_a_tool_that_was_never_called_is_named() -> None:
    found = await verdict(await shop(), "delete", mode="superset")
    assert "expected call 1, delete(...), was not made: no such tool was called" in found.message


async def test_many_reasons_are_counted() -> None:
    evidence = await calling(tuple(("look", {"order": each}) for each in range(9)))
    found = await verdict(evidence)
    assert found.message.endswith("; and 4 more")
    assert found.details["extra"] == list(range(9))


async def test_more_than_can_be_compared_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trajectory_match, "LARGEST", 8)
    found = await Trajectory(["look"] * 3, mode="superset").score(await shop())
    assert (found.passed, found.details) == (False, {"measurable": False})
    assert "more than can be compared" in found.message


async def test_what_takes_long_is_compared_in_a_thread_with_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = await shop()
    here = await verdict(evidence, *SWAPPED)
    monkeypatch.setattr(trajectory, "_QUICK", 0)
    assert await verdict(evidence, *SWAPPED) == here


# -------------------------------------------------------------------------------------------------------------------------------- score


@pytest.mark.parametrize(
    ("mode", "reference", "score"),
    [
        ("exact", ("look", "refund"), 4 / 5),
        ("unordered", ("label", "look"), 4 / 5),
        ("superset", ("look", "delete"), 1 / 2),
        ("in_order", ("look", "label"), 1.0),
        ("subset", ("look", "label", "delete"), 2 / 3),
    ],
)
async def test_the_score_is_the_share_that_is_right(mode: TrajectoryMode, reference: tuple[str, ...], score: float) -> None:
    evidence = await shop()
    found = await Trajectory(reference, mode=mode, threshold=0.6).score(evidence)
    assert found.score == pytest.approx(score)
    assert found.passed is (score >= 0.6)
    assert (await Trajectory(reference, mode=mode).check(evidence)).score is None


# ------------------------------------------------------------------------------------------------------------------- which calls count


async def gated() -> Evidence:
    """look returns; refund is denied; refund of 13 fails; label with arguments that a policy changed; and a tool that there is not."""
    rules = (
        PolicyRule(rule_id="no", action="deny", condition=lambda event: event.tool_args == {"order": 9}),
        PolicyRule(rule_id="other", action="allow", condition=lambda event: event.tool_name == "label", updated_tool_args={"order": 5}),
    )
    script = (asks(LOOK, ("refund", {"order": 9})), asks(("refund", {"order": 13}), LABEL, ("sing", {})), says("done"))
    return await ran(agent(*script, policy_engine=PolicyEngine(rules=rules)))


@pytest.mark.parametrize(
    ("counted", "reference"),
    [
        ("asked", (LOOK, ("refund", {"order": 9}), ("refund", {"order": 13}), LABEL, "sing")),
        ("permitted", (LOOK, ("refund", {"order": 13}), ("label", {"order": 5}), "sing")),
        ("started", (LOOK, ("refund", {"order": 13}), ("label", {"order": 5}))),
        ("succeeded", (LOOK, ("label", {"order": 5}))),
    ],
)
async def test_which_calls_count_is_an_option(counted: Counted, reference: Any) -> None:
    found = await verdict(await gated(), *reference, counted=counted)
    assert found.passed, found


async def test_calls_of_subagents_count_if_asked_for() -> None:
    helper = agent(asks(LOOK), says("looked"), tools=(look,))
    helper = helper.model_copy(update={"name": "helper"})
    boss = agent(asks(("transfer_to_helper", {"task": "look"}), LABEL), asks(REFUND), says("done"), subagents=(helper,))
    evidence = await ran(boss)
    alone = ("transfer_to_helper", "label", "refund")
    assert (await verdict(evidence, *alone)).passed
    found = await verdict(evidence, "transfer_to_helper", "label", "look", "refund", subagents=True)
    assert found.passed, found
    [child] = evidence.result.subagent_executions
    assert found.positions[2].startswith(f"{child.run_id}:")
    assert (await verdict(evidence, CallPattern("look", agent="helper"), mode="superset", subagents=True)).passed
    assert not (await verdict(evidence, CallPattern("look", agent="desk"), mode="superset", subagents=True)).passed


async def test_ids_that_repeat_within_a_run_do_not_mix_calls_up() -> None:
    """The first c1 returned and the second was denied."""
    rule = PolicyRule(rule_id="no", action="deny", condition=lambda event: event.tool_name == "refund")
    evidence = await ran(agent(asks(LOOK), asks(REFUND), says("done"), policy_engine=PolicyEngine(rules=(rule,))))
    calls = await calls_of(evidence.log, evidence.run_id, counted="asked")
    assert [(each.tool_call_id, each.outcome) for each in calls] == [("c1", "returned"), ("c1", "denied")]


async def test_a_background_tool_has_succeeded_when_its_ticket_is_resolved() -> None:
    @tool
    async def order(item: str) -> ToolDeferredHandle:
        """Order something that takes long."""
        return ToolDeferredHandle(ticket_id=item)

    log = MemoryEventLog()
    async with Runner(log=log, config=RunnerConfig(background_tool_poll_interval_s=0.01)) as runner:
        handle = await runner.run_handle(
            agent(asks(("order", {"item": "paint"})), says("wait"), says("here"), tools=(order,)), user_message="go"
        )
        async for event in handle.events:
            if event.type == "tool_deferred":
                assert [each.outcome for each in await calls_of(log, handle.run_id, counted="started")] == [""]
                assert not await calls_of(log, handle.run_id, counted="succeeded")
                await runner.resolve_background_tool(thread_id=handle.thread_id, run_id=handle.run_id, ticket_id="paint", output="a tin")
        await handle.await_result()
        assert len(await calls_of(log, handle.run_id, counted="succeeded")) == 1


# --------------------------------------------------------------------------------------------------------------------------- references


async def test_a_recorded_run_is_a_reference() -> None:
    first = await recorded(agent(asks(LOOK), asks(REFUND), says("done")))
    reference = await Trajectory.recorded(first.log, first.run_id)
    assert [str(each) for each in reference.reference] == ["look(order=1)", "refund(order=1)"]
    assert (await reference.check(await of(first))).passed
    assert not (await reference.check(await shop())).passed
    assert (await (await Trajectory.recorded(first.log, first.run_id, mode="in_order")).check(await shop())).passed


@pytest.mark.parametrize(
    ("reference", "options", "says_"),
    [
        (["look"], {"mode": "strict"}, "mode='strict' is none of: exact, in_order"),
        (["look"], {"arguments": "loose"}, "arguments='loose' is none of"),
        (["look"], {"counted": "all"}, "counted='all' is none of"),
        (["look"], {"parallel": "any"}, "parallel='any' is none of"),
        (["look"], {"tools": {"look": "loose"}}, "tools\\['look'\\]='loose' is none of"),
        ("look", {}, "a reference is a list of calls"),
        ([7], {}, "a call of a reference is"),
        ([{"name": "look"}], {}, "has no key 'name'"),
        ([{"arguments": {}}], {}, 'needs a "tool"'),
        ([{"tool": "look", "arguments": {"a": {"$type": "date"}}}], {}, "\\$type 'date' is none of"),
        ([{"tool": "look", "arguments": {"a": {"$regex": "("}}}], {}, "is no regular expression"),
        ([{"tool": "look", "match": "some"}], {}, "match='some' is none of"),
        ([("look", 7)], {}, "a call of a reference is"),
        ([{"tool": ""}], {}, "begins with the name of a tool"),
    ],
)
def test_what_is_no_reference_is_wrong_usage_with_the_way_out(reference: Any, options: dict[str, Any], says_: str) -> None:
    with pytest.raises(UsageError, match=says_):
        Trajectory(reference, **options)


async def test_a_golden_is_a_reference() -> None:
    evidence = await shop()
    golden = await Golden.of(evidence.log, evidence.run_id, name="shop")
    assert (await (await Trajectory.of_golden(golden)).check(evidence)).passed
    other = await calling((LOOK,), (LABEL,), (REFUND,))
    assert not (await (await Trajectory.of_golden(golden)).check(other)).passed
    assert (await (await Trajectory.of_golden(golden, mode="unordered")).check(other)).passed
