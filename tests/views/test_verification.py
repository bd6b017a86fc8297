"""A sound log has no problems; each kind of impossible story is named by its rule and its seq."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from afk_es.agents import PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.core import RetentionPolicy
from afk_es.machine import AgentRunEvent, Draft, fold, initial_state
from afk_es.machine.effects import AskPerson, CallModel, RunSubagent
from afk_es.machine.spec import ModelSpec
from afk_es.views import Verification, problems
from tests.machine.simulation import Simulation, approval, llm_completed, spec_of, subagent_completed
from tests.machine.situations import answer_model, asked, asking_model
from tests.machine.test_delegation import delegating
from tests.machine.test_forks import forked
from tests.views.runs import agent, calls, eventful, events_of

Events = list[AgentRunEvent]


async def test_a_sound_run_has_no_problems_and_all_its_requests_are_proved() -> None:
    verification = Verification()
    events = await eventful()
    assert [problem for event in events for problem in verification.check(event)] == []
    assert (verification.events, verification.requests) == (len(events), 3)


async def test_failures_and_limits_are_no_problems() -> None:
    assert list(problems(await events_of(agent(ConnectionError("down"))))) == []
    assert list(problems(await events_of(agent(calls(("add", {"a": "x"})), calls(("nope", {})), "done")))) == []
    assert list(problems(await events_of(agent(calls(("add", {"a": 1, "b": 1})), max_steps=1)))) == []


async def test_a_person_who_answers_stands_in_for_a_result() -> None:
    condition = PolicyRuleCondition(tool_name="add")
    rule = PolicyRule(action="request_approval", condition=condition, subjects=("tool",))
    described = agent(calls(("add", {"a": 1, "b": 1})), "done", policy_engine=PolicyEngine([rule]))
    for fallback in ("allow", "deny"):
        events = await events_of(
            described.model_copy(update={"model": agent(calls(("add", {"a": 1, "b": 1})), "done").model}), approval_fallback=fallback
        )
        assert "approval_resolved" in [event.type for event in events]
        assert list(problems(events)) == []


def _place(events: Events, kind: str, which: int = 0) -> int:
    return [index for index, event in enumerate(events) if event.type == kind][which]


def _renumbered(events: Events) -> Events:
    return [replace(event, seq=index) for index, event in enumerate(events, start=1)]


def _with_data(events: Events, index: int, **changed: Any) -> Events:
    return [*events[:index], replace(events[index], data={**events[index].data, **changed}), *events[index + 1 :]]


def _without(kind: str, which: int = 0) -> Callable[[Events], Events]:
    def change(events: Events) -> Events:
        index = _place(events, kind, which)
        return _renumbered([*events[:index], *events[index + 1 :]])

    return change


def _twice(kind: str, which: int = 0) -> Callable[[Events], Events]:
    def change(events: Events) -> Events:
        index = _place(events, kind, which)
        return _renumbered([*events[: index + 1], events[index], *events[index + 1 :]])

    return change


def _lost(kind: str) -> Callable[[Events], Events]:
    def change(events: Events) -> Events:
        index = _place(events, kind)
        return [*events[:index], *events[index + 1 :]]

    return change


def _forged(kind: str, **changed: Any) -> Callable[[Events], Events]:
    return lambda events: _with_data(events, _place(events, kind), **changed)


def _resumed(epoch: int) -> Callable[[Events], Events]:
    def change(events: Events) -> Events:
        claim = {"agent_name": "agent", "resumed": True, "epoch": epoch, "owner": "other"}
        index = _place(events, "llm_called") + 1
        return _renumbered([*events[:index], replace(events[0], data=claim)])

    return change


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (_lost("tool_batch_started"), "gap"),
        (_without("run_started"), "claim"),
        (_resumed(1), "claim"),
        (_twice("run_completed"), "terminal"),
        (_twice("llm_called"), "intent"),
        (_without("llm_completed"), "fold"),
        (_without("llm_called"), "orphan"),
        (_twice("tool_started"), "intent"),
        (_without("tool_started"), "orphan"),
        (_twice("tool_completed"), "orphan"),
        (_forged("llm_called", request_hash="0" * 32), "request_hash"),
        (_forged("llm_called", model_index=7), "request_hash"),
        (_twice("tool_batch_started"), "fold"),
        (
            lambda events: _renumbered(
                [
                    *events[: _place(events, "tool_started")],
                    replace(
                        events[0],
                        type="approval_resolved",
                        data={
                            "request_id": "r",
                            "tool_call_id": "c1",
                            "arguments_hash": "h",
                            "outcome": "granted",
                            "by": "nobody",
                            "reason": None,
                        },
                    ),
                ]
            ),
            "orphan",
        ),
    ],
)
async def test_an_impossible_story_is_named_by_its_rule(change: Callable[[Events], Events], rule: str) -> None:
    found = list(problems(change(await eventful())))
    assert found
    assert found[0].rule == rule


async def test_a_resumed_stretch_may_follow_a_crash() -> None:
    assert list(problems(_resumed(2)(await eventful()))) == []


async def test_a_problem_does_not_hide_the_next_one() -> None:
    """After the fold has broken there is no state, but the rules that need none go on."""
    events = _lost("tool_batch_started")(_twice("run_completed")(await eventful()))
    assert {problem.rule for problem in problems(events)} >= {"gap", "terminal"}


async def test_a_start_that_was_in_doubt_may_be_closed_or_repeated_and_an_input_answered() -> None:
    """The parts of a story that come from people and from crashes, on their own, as the store would give them."""
    rule = PolicyRule(
        action="request_user_input",
        condition=PolicyRuleCondition(tool_name="add"),
        subjects=("tool",),
    )
    described = agent(calls(("add", {"a": 1, "b": 1})), "done", policy_engine=PolicyEngine([rule]))
    events = await events_of(described)
    index = _place(events, "input_resolved")
    answered = _with_data(events, index, outcome="answered", value="two", by="ada")[: index + 1]
    returned = _with_data(events, index + 1, success=True, output="two", error=None, outcome="returned")[index + 1]
    assert list(problems([*answered, returned])) == []


async def compacted() -> Events:
    """A run whose conversation was summed up between two steps."""
    policy = RetentionPolicy(max_messages=4, summariser=lambda messages: "They added.")
    script = [*[calls(("add", {"a": n, "b": n})) for n in range(3)], "done"]
    return await events_of(agent(*script), thread_retention=policy)


async def test_a_run_with_a_compaction_is_sound() -> None:
    events = await compacted()
    assert [event.type for event in events].count("thread_compacted") == 1
    assert not list(problems(events))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (_twice("compaction_started"), "intent"),
        (_without("compaction_started"), "orphan"),
        (_twice("thread_compacted"), "orphan"),
        (_without("thread_compacted"), "fold"),
        (_forged("thread_compacted", cut=2), "fold"),
        (_forged("thread_compacted", summary="They subtracted."), "request_hash"),
    ],
)
async def test_an_impossible_compaction_is_named_by_its_rule(change: Callable[[Events], Events], rule: str) -> None:
    found = list(problems(change(await compacted())))
    assert found[0].rule == rule


async def test_whoever_asks_sees_the_state_after_the_last_event_that_was_checked() -> None:
    events = await eventful()
    verification = Verification()
    assert verification.state is None
    for event in events:
        verification.check(event)
    assert verification.state == fold(initial_state(events[0].run_id, events[0].thread_id), events)


def test_a_long_run_is_proved_without_holding_its_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afk_es.views.verification._LEAVE_EVERY", 20)
    run = Simulation(spec_of())
    run.start()
    verification = Verification()
    while len(run.events) < 100:
        answer_model(run, llm_completed(f"c{run.state.step}", ["look"]))
        run.answer_plainly(CallModel)
    assert [problem for event in run.events for problem in verification.check(event)] == []
    assert verification.requests == run.types.count("llm_called")
    assert verification.state is not None
    assert verification.state.messages.held_from > 0
    assert verification.state.messages == run.state.messages


def test_a_fork_goes_on_with_what_was_under_way_and_so_does_its_next_stretch() -> None:
    run = asking_model()
    fork = forked(run, len(run.events))
    (call,) = fork.wanted(CallModel)
    fork.put(Draft("run_started", {"agent_name": "agent", "resumed": True, "epoch": 3, "owner": "o", "untouched": [call.seq]}))
    answer_model(fork, llm_completed("c"))
    assert list(problems(fork.events)) == []
    other = forked(run, len(run.events), spec_of(models=(ModelSpec("other", "p"),)))
    answer_model(other, llm_completed("c"))
    assert list(problems(other.events)) == []


def test_a_subagents_end_stands_in_for_the_calls_result_and_needs_a_start() -> None:
    run = delegating("scout")
    (effect,) = run.wanted(RunSubagent)
    run.answer(effect, subagent_completed(effect, output="fine"))
    run.effects()
    assert list(problems(run.events)) == []
    ended = _place(run.events, "subagent_completed")
    twice = _renumbered([*run.events[: ended + 1], run.events[ended], *run.events[ended + 1 :]])
    (problem,) = list(problems(twice))[:1]
    assert (problem.seq, problem.rule) == (ended + 2, "orphan")
    assert problem.message == "subagent_completed of call c-0 without a start that waits for a result"


def test_an_answer_that_is_put_off_leaves_the_question_open() -> None:
    run = asked("request_approval", mode="interactive")
    (ask,) = run.wanted(AskPerson)
    run.answer(ask, approval(ask.request, "deferred"))
    run.put(approval(ask.request, "granted"))
    run.effects()
    assert list(problems(run.events)) == []
    again = [*run.events, replace(run.events[_place(run.events, "approval_resolved", 1)], seq=len(run.events) + 1)]
    assert [problem.rule for problem in problems(again)] == ["orphan"]
