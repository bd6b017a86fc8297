"""Each row of the table of `reopening_facts`: how a run fails, and what the machine wants done when it is reopened; and what is no reopening."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from afk_es.errors import InvariantError
from afk_es.machine import Draft, RunSpec, decide
from afk_es.machine.effects import (
    CallModel,
    CancelSubagent,
    EvaluatePolicy,
    ExecuteTool,
    ResolveInstructions,
    RouteSubagents,
    RunSubagent,
    Summarise,
    ValidateOutput,
)
from afk_es.machine.spec import BreakerRule, ModelSpec
from tests.machine.simulation import (
    Simulation,
    compaction_failed,
    control,
    llm_completed,
    llm_failed,
    node,
    policy,
    routed,
    spec_of,
    subagent_completed,
    tool_completed,
    tool_failed,
)
from tests.machine.situations import answer_model, asked, asking_model, executing, fire_timers, gating, started, state_of
from tests.machine.test_compaction import compacting_alone

TWO = (ModelSpec("m", "p"), ModelSpec("backup", "q"))


def refused_by_the_model(classification: str = "terminal", **changes: Any) -> Simulation:
    run = asking_model(**changes)
    while not run.state.ended:
        answer_model(run, llm_failed(classification))
        if run.state.call is not None and run.state.call.status == "backoff":
            fire_timers(run)
    return run


def refused_by_the_policy() -> Simulation:
    run = started(dynamic_instructions=True)
    run.answer_plainly(EvaluatePolicy)
    (gate,) = run.wanted(EvaluatePolicy)
    run.answer(gate, policy("deny"))
    return run


def without_instructions() -> Simulation:
    run = started(dynamic_instructions=True)
    (resolve,) = run.wanted(ResolveInstructions)
    run.answer(resolve, llm_failed("terminal", model="none"))
    return run


def without_a_route() -> Simulation:
    run = started(routed=True, subagent_failure="fail")
    (ask,) = run.wanted(RouteSubagents)
    run.answer(ask, Draft("subagents_routed", {"plan": None, "error": "no plan", "error_type": "ValueError"}))
    return run


def by_a_tool() -> Simulation:
    run = executing(["pay", "look"], tool_failure="fail_run", max_parallel_tools=1)
    (first,) = run.wanted(ExecuteTool)
    run.answer(first, tool_failed(first.call, 1, "terminal"))
    return run


def by_a_person() -> Simulation:
    return asked("request_approval", approval_denial="fail")


def by_a_subagent() -> Simulation:
    run = gating(["scout", "clerk", "pay"], subagent_failure="fail", join_policy="all_required", max_parallel_tools=1)
    run.answer_plainly(RunSubagent, ExecuteTool)
    scout, clerk = run.wanted(RunSubagent)
    run.answer(scout, subagent_completed(scout, error="it broke", classification="terminal"))
    (cancel,) = run.wanted(CancelSubagent)
    run.answer(cancel, subagent_completed(cancel, error="cancelled", state="cancelled"))
    for effect in run.wanted(ExecuteTool):
        run.answer(effect, tool_completed(effect.call))
    assert clerk.run_id == cancel.run_id
    return run


def by_a_plan() -> Simulation:
    run = started(routed=True, subagent_failure="fail")
    (ask,) = run.wanted(RouteSubagents)
    run.answer(ask, routed({"nodes": [node("a", "scout")], "edges": []}))
    run.answer_plainly(RunSubagent)
    (child,) = run.wanted(RunSubagent)
    run.answer(child, subagent_completed(child, error="it broke", classification="terminal"))
    return run


def by_a_compaction() -> Simulation:
    run, summarise = compacting_alone()
    run.answer(summarise, compaction_failed(1, "terminal"))
    return run


def beyond_the_fanout() -> Simulation:
    run = gating(["scout", "clerk"], subagent_failure="fail", max_subagent_fanout_per_step=1, join_policy="allow_optional_failures")
    run.answer_plainly(CallModel)
    return run


def beyond_the_tool_calls() -> Simulation:
    run = executing(["look", "pay"], max_tool_calls=1, tool_failure="fail")
    run.answer_plainly(CallModel)
    return run


def beyond_the_steps() -> Simulation:
    run = asking_model(output_schema={"type": "object"}, max_steps=1)
    answer_model(run, llm_completed("c"))
    (check,) = run.wanted(ValidateOutput)
    run.answer(check, Draft("output_rejected", {"error": "age: missing"}))
    return run


def beyond_the_money() -> Simulation:
    run = asking_model(max_total_cost_usd=1.0)
    answer_model(run, llm_completed("c", ["look"], cost_usd=1.5))
    return run


def unpriced_answer() -> Simulation:
    run = asking_model(max_total_cost_usd=1.0)
    answer_model(run, llm_completed("c", ["look"]))
    return run


def unpriced_model() -> Simulation:
    return started(max_total_cost_usd=1.0, models=(ModelSpec("m", "p", priced=False),))


def more(run: Simulation, **limits: Any) -> RunSpec:
    return replace(run.spec, limits=replace(run.spec.limits, **limits))


@dataclass(frozen=True)
class Row:
    """A way to fail.

    Attributes:
        fails: a run that has failed so, or is about to.
        wants: the kind of effect that is wanted first when it is reopened.
        mended: the spec with which it goes on, where one with the same fails at once.
        told: what the model is shown of it.
    """

    fails: Callable[[], Simulation]
    error_type: str
    wants: type
    mended: Callable[[Simulation], RunSpec] | None = None
    told: str = ""


ROWS = {
    "a terminal error": Row(refused_by_the_model, "E", EvaluatePolicy),
    "attempts used up": Row(lambda: refused_by_the_model("retryable"), "E", EvaluatePolicy),
    "fallbacks used up": Row(lambda: refused_by_the_model(models=TWO), "E", EvaluatePolicy),
    "circuits open": Row(lambda: refused_by_the_model("retryable", breaker=BreakerRule(1, 3600.0)), "CircuitOpen", EvaluatePolicy),
    "policy": Row(refused_by_the_policy, "PolicyDenied", EvaluatePolicy),
    "instructions": Row(without_instructions, "E", ResolveInstructions),
    "router": Row(without_a_route, "ValueError", RouteSubagents),
    "tool": Row(by_a_tool, "ToolFailed", EvaluatePolicy, told="pay broke"),
    "person": Row(by_a_person, "ApprovalDenied", EvaluatePolicy, told="(by fallback)"),
    "subagent": Row(by_a_subagent, "SubagentFailed", EvaluatePolicy, told="it broke"),
    "plan": Row(by_a_plan, "SubagentFailed", EvaluatePolicy, told="it broke"),
    "compaction": Row(by_a_compaction, "E", Summarise),
    "fan-out": Row(beyond_the_fanout, "LimitReached", EvaluatePolicy, told="max_subagent_fanout_per_step reached"),
    "max_tool_calls": Row(
        beyond_the_tool_calls, "LimitReached", EvaluatePolicy, lambda run: more(run, max_tool_calls=3), "max_tool_calls reached"
    ),
    "max_steps": Row(beyond_the_steps, "LimitReached", EvaluatePolicy, lambda run: more(run, max_steps=2), "age: missing"),
    "max_llm_calls": Row(
        lambda: refused_by_the_model("retryable", max_llm_calls=1), "LimitReached", CallModel, lambda run: more(run, max_llm_calls=2)
    ),
    "max_total_cost_usd": Row(beyond_the_money, "LimitReached", EvaluatePolicy, lambda run: more(run, max_total_cost_usd=2.0)),
    "unpriced answer": Row(unpriced_answer, "UnknownPrice", EvaluatePolicy, lambda run: more(run, max_total_cost_usd=None)),
    "unpriced model": Row(unpriced_model, "UnknownPrice", EvaluatePolicy, lambda run: replace(run.spec, models=(ModelSpec("m", "p"),))),
}


@pytest.fixture(params=ROWS.values(), ids=list(ROWS))
def row(request: pytest.FixtureRequest) -> Row:
    """Each row of the table."""
    found: Row = request.param
    return found


def failed(row: Row) -> Simulation:
    run = row.fails()
    assert state_of(run) == "failed"
    assert run.events[-1].data["error_type"] == row.error_type
    return run


def test_what_failed_is_forgiven_and_the_run_goes_on_where_it_stood(row: Row) -> None:
    run = failed(row)
    step, elapsed = run.state.step, run.state.elapsed
    run.reopen(row.mended(run) if row.mended is not None else None)
    assert (run.state.status, run.state.reason, run.state.fault, run.state.elapsed) == ("running", "", None, elapsed)
    assert isinstance(run.effects()[0], row.wants)
    assert run.state.step - step in (0, 1)
    if row.told:
        if run.state.batch is not None:
            run.answer_plainly(CallModel)
        assert any(row.told in message.content for message in run.state.messages)


def test_what_still_holds_fails_it_again_at_once_by_the_same(row: Row) -> None:
    if row.mended is None:
        return
    run = failed(row)
    end, length = run.events[-1], len(run.events)
    run.reopen()
    assert state_of(run) == "failed"
    assert (run.events[-1].data, run.events[-1].message) == (end.data, end.message)
    assert len(run.events) - length <= 3, "it is begun, says what limit was reached, and fails"


def test_a_plain_world_lets_every_reopened_run_complete(row: Row) -> None:
    run = failed(row)
    run.reopen(row.mended(run) if row.mended is not None else None)
    run.answer_plainly(CallModel)
    while not run.state.ended:
        answer_model(run, llm_completed("z", cost_usd=0.125))
        run.answer_plainly(CallModel)
    assert run.state.status == "completed"


def test_the_agents_own_model_is_asked_first_and_as_often_as_in_a_step_that_begins() -> None:
    run = refused_by_the_model("retryable", models=TWO, breaker=BreakerRule(2, 3600.0), attempts=2)
    assert run.state.breakers
    before = run.types.count("llm_called")
    run.reopen()
    assert run.state.breakers == ()
    for _ in range(2):
        answer_model(run, llm_failed("retryable"))
        if run.state.call is not None and run.state.call.status == "backoff":
            fire_timers(run)
    called = [event.data for event in run.events if event.type == "llm_called"][before:]
    assert [(data["model"], data["attempt"]) for data in called][:2] == [("m", 1), ("m", 2)]
    assert (called[0]["ordinal"], run.state.call is not None and run.state.call.routed) == (before + 1, False)


def test_a_request_in_doubt_is_one_also_where_the_run_is_reopened() -> None:
    run = asking_model()
    unpriced = replace(run.spec, models=(ModelSpec("m", "p", priced=False),), limits=replace(run.spec.limits, max_total_cost_usd=1.0))
    run.resume(unpriced)
    assert state_of(run) == "failed"
    run.reopen(replace(unpriced, limits=replace(unpriced.limits, max_total_cost_usd=None)))
    run.effects()
    (doubt,) = [event for event in run.events if event.type == "effect_in_doubt"]
    assert (doubt.data["effect"], doubt.data["resolution"]) == ("llm", "ask_again")


def test_a_failure_of_another_kind_is_forgiven_whatever_the_limits_say() -> None:
    run = by_a_tool()
    run.effects()
    run.reopen(more(run, max_tool_calls=1))
    assert run.state.fault is None
    assert state_of(run) == "running"


@pytest.mark.parametrize("end", ["interrupted", "completed", "cancelled", "running", "forked", "new"])
def test_only_a_run_that_failed_is_reopened(end: str) -> None:
    run = asking_model()
    more: dict[str, Any] = {}
    match end:
        case "interrupted":
            run.put(control("interrupt"))
        case "cancelled":
            run.put(control("cancel"))
        case "completed":
            answer_model(run, llm_completed("c"))
        case "forked":
            run = refused_by_the_model()
            more = {"forked_from": {"run_id": "run_1", "seq": run.state.seq}, "forked_as": "run_2"}
        case "new":
            run = Simulation(spec_of())
            more = {"agent": {"agent_name": "agent", "models": [{"model": "m", "provider": "p"}]}}
        case _:
            pass
    run.effects()
    data = {"agent_name": "agent", "resumed": end not in ("forked", "new"), "epoch": run.state.epoch + 1, "owner": "o", "reopened": True}
    with pytest.raises(InvariantError):
        run.put(Draft("run_started", {**data, **more}))


def test_a_failed_run_is_not_resumed_without_a_word() -> None:
    run = refused_by_the_model()
    with pytest.raises(InvariantError, match="run_started cannot happen in phase 'model' of a run that is failed"):
        run.resume()


def test_a_run_may_be_reopened_again_and_again() -> None:
    run = refused_by_the_model()
    for epoch in (2, 3, 4):
        run.reopen()
        assert run.state.epoch == epoch
        answer_model(run, llm_failed("terminal"))
        assert state_of(run) == "failed"
    assert decide(run.state).events == ()
