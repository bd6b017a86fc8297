"""The calls of one answer: how many go on at once, in which order, what is said of each end, and when a run is laid down with the rest.

Method: the machine alone; where it matters that something is concluded at once, the decision itself is looked at.
"""

from __future__ import annotations

from typing import Any

import pytest

from afk_es.machine import Draft, decide
from afk_es.machine.effects import (
    AskPerson,
    CallModel,
    CancelSubagent,
    EvaluatePolicy,
    ExecuteTool,
    RouteSubagents,
    RunSubagent,
    Wait,
    tool_key,
)
from afk_es.machine.spec import ModelSpec
from afk_es.machine.values import digest_json
from tests.machine.simulation import (
    Simulation,
    approval,
    control,
    given,
    llm_completed,
    node,
    policy,
    routed,
    spec_of,
    subagent_completed,
    subagent_waiting,
    tool_completed,
    tool_failed,
)
from tests.machine.situations import asked, asking_model, executing, fire_timers, gating, started, state_of
from tests.machine.test_delegation import delegating, planned

UNKNOWN = (
    "the outcome of this call is unknown: the process that ran it died before it returned. It may or may not have taken effect. "
    "Check before you repeat it"
)


def gates(run: Simulation) -> dict[str, EvaluatePolicy]:
    """The calls whose policy is being asked, by id."""
    return {gate.call.id: gate for gate in run.wanted(EvaluatePolicy) if gate.call is not None}


def gate(run: Simulation, call_id: str, action: str, **more: Any) -> None:
    """When the policy has its say on that call."""
    effect = gates(run)[call_id]
    assert effect.call is not None
    run.answer(effect, policy(action, effect.call, **more))


def questions(run: Simulation) -> dict[str, AskPerson]:
    """What people are being asked, by call."""
    return {effect.request["tool_call_id"]: effect for effect in run.wanted(AskPerson)}


def under_way(run: Simulation) -> list[str]:
    """The calls that run."""
    return [effect.call.id for effect in run.effects() if isinstance(effect, (ExecuteTool, RunSubagent))]


def concluded(run: Simulation) -> list[tuple[str, str]]:
    """What the machine concludes at once, by type and call."""
    return [(draft.type, draft.data.get("tool_call_id", "")) for draft in decide(run.state).events]


def ends(run: Simulation) -> dict[str, dict[str, Any]]:
    """The data of each call's end."""
    run.effects()
    return {event.data["tool_call_id"]: event.data for event in run.events if event.type == "tool_completed"}


def waiting_for_people(names: list[str], **changes: Any) -> Simulation:
    """Given a run whose calls are all put before a person."""
    run = gating(names, mode="interactive", **changes)
    while pending := gates(run):
        gate(run, next(iter(pending)), "request_approval")
    run.effects()
    return run


def let_through(run: Simulation, *call_ids: str) -> None:
    """When a person lets these calls through, in one breath."""
    open_ones = questions(run)
    run.put(*[approval(open_ones[call_id].request, "granted") for call_id in call_ids])


# ----------------------------------------------------------------------------------------------------------------------- how many at once


@pytest.mark.parametrize(("places", "names"), [(1, ["c-0"]), (2, ["c-0", "c-1"]), (3, ["c-0", "c-1", "c-2"])])
@pytest.mark.parametrize(("tool", "limit"), [("pay", "max_parallel_tools"), ("scout", "max_parallel")])
def test_no_more_calls_are_gated_than_there_are_places(tool: str, limit: str, places: int, names: list[str]) -> None:
    assert list(gates(gating([tool] * 3, **{limit: places}))) == names


@pytest.mark.parametrize(("places", "started"), [(1, 1), (2, 2), (3, 3)])
@pytest.mark.parametrize(
    ("tool", "limit", "kind"), [("pay", "max_parallel_tools", "tool_started"), ("scout", "max_parallel", "subagent_started")]
)
def test_what_people_let_through_at_once_starts_at_once_as_far_as_there_are_places(
    tool: str, limit: str, kind: str, places: int, started: int
) -> None:
    run = waiting_for_people([tool] * 3, **{limit: places})
    let_through(run, "c-0", "c-1", "c-2")
    assert concluded(run) == [(kind, f"c-{number}") for number in range(started)]


def test_tools_and_subagents_have_places_of_their_own() -> None:
    run = gating(["scout", "pay", "look", "clerk"], max_parallel_tools=1, max_parallel=1)
    assert list(gates(run)) == ["c-0", "c-1"]
    run.answer_plainly(ExecuteTool, RunSubagent)
    assert under_way(run) == ["c-0", "c-1"]
    (pay,) = run.wanted(ExecuteTool)
    run.answer(pay, tool_completed(pay.call))
    assert list(gates(run)) == ["c-2"]


def test_a_tool_that_will_be_tried_again_keeps_its_place() -> None:
    run = gating(["look", "pay", "strict"], max_parallel_tools=1, mode="interactive", tool_failure="retry_then_continue")
    gate(run, "c-0", "request_approval")
    gate(run, "c-1", "request_approval")
    gate(run, "c-2", "request_approval")
    let_through(run, "c-0")
    (look,) = run.wanted(ExecuteTool)
    run.answer(look, tool_failed(look.call, 1, "retryable"))
    let_through(run, "c-1")
    assert under_way(run) == []
    fire_timers(run)
    assert under_way(run) == ["c-0"]
    (look,) = run.wanted(ExecuteTool)
    run.answer(look, tool_completed(look.call))
    assert under_way(run) == ["c-1"]


def test_no_policy_is_asked_while_a_tool_that_will_be_tried_again_has_the_last_place() -> None:
    run = executing(["look", "pay"], max_parallel_tools=1, tool_failure="retry_then_continue")
    (look,) = run.wanted(ExecuteTool)
    run.answer(look, tool_failed(look.call, 1, "retryable"))
    assert gates(run) == {}
    fire_timers(run)
    (look,) = run.wanted(ExecuteTool)
    run.answer(look, tool_completed(look.call))
    assert list(gates(run)) == ["c-1"]


@pytest.mark.parametrize("asked_before", [True, False])
def test_a_subagent_that_will_be_asked_again_keeps_its_place(asked_before: bool) -> None:
    run = gating(["scout", "clerk"], max_parallel=1, mode="interactive", subagent_failure="retry_then_continue")
    if asked_before:
        gate(run, "c-0", "request_approval")
        gate(run, "c-1", "request_approval")
        let_through(run, "c-0")
    run.answer_plainly(RunSubagent, AskPerson)
    (first,) = run.wanted(RunSubagent)
    run.answer(first, subagent_completed(first, error="no line", classification="retryable"))
    if asked_before:
        let_through(run, "c-1")
    assert (under_way(run), gates(run)) == ([], {})
    fire_timers(run)
    assert (under_way(run), gates(run)) == (["c-0"], {})
    (again,) = run.wanted(RunSubagent)
    run.answer(again, subagent_completed(again, output="fine"))
    run.answer_plainly(RunSubagent)
    assert under_way(run) == ["c-1"]


@pytest.mark.parametrize("asked_before", [True, False])
def test_a_subagent_that_is_being_cancelled_keeps_its_place(asked_before: bool) -> None:
    nodes = [node("b", "clerk"), node("a", "scout", timeout_s=5.0), node("c", "clerk")]
    run = started(routed=True, max_parallel=1, mode="interactive")
    (ask,) = run.wanted(RouteSubagents)
    plan = {"nodes": [each | {"required": False} for each in nodes], "edges": [], "join_policy": "allow_optional_failures"}
    run.answer(ask, routed(plan))
    gate(run, "b", "request_approval")
    gate(run, "a", "allow")
    assert under_way(run) == ["a"]
    (timer,) = [effect for effect in run.wanted(Wait) if effect.timer.startswith("timeout:")]
    run.answer(timer, Draft("timer_fired", {"timer": timer.timer}))
    if asked_before:
        let_through(run, "b")
    (stop,) = run.wanted(CancelSubagent)
    assert (under_way(run), gates(run)) == ([], {})
    run.answer(stop, subagent_completed(stop, error="cancelled", state="cancelled"))
    assert (under_way(run), list(gates(run))) == (["b"], []) if asked_before else ([], ["c"])


# ------------------------------------------------------------------------------------------------------------------- the limit on calls


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (["look", "pay", "pay"], ("tool_failed", "tool_started")),
        (["scout", "clerk", "clerk"], ("subagent_completed", "subagent_started")),
    ],
)
@pytest.mark.parametrize(("calls", "starts"), [(3, 2), (4, 3)])
def test_the_limit_on_calls_holds_within_one_decision(names: list[str], kinds: tuple[str, str], calls: int, starts: int) -> None:
    """A retry uses up the call that a sibling had counted on, and all of them may start in the same moment."""
    run = waiting_for_people(names, max_tool_calls=calls, tool_failure="retry_then_continue", subagent_failure="retry_then_continue")
    let_through(run, "c-0")
    if kinds[0] == "tool_failed":
        (look,) = run.wanted(ExecuteTool)
        run.answer(look, tool_failed(look.call, 1, "retryable"))
    else:
        (child,) = run.wanted(RunSubagent)
        run.answer(child, subagent_completed(child, error="no line", classification="retryable"))
    wait = next(effect for effect in run.wanted(Wait) if effect.timer.startswith("retry:"))
    open_ones = questions(run)
    run.answer(wait, Draft("timer_fired", {"timer": wait.timer}))
    run.put(*[approval(open_ones[call_id].request, "granted") for call_id in ("c-1", "c-2")])
    refused = [("limit_reached", ""), ("tool_completed", "c-2")] if starts < 3 else []
    assert concluded(run) == [*[(kinds[1], f"c-{number}") for number in range(starts)], *refused]
    if refused:
        message = "max_tool_calls reached: this run may make 3 tool calls; this one was not run"
        reached, over = decide(run.state).events[-2:]
        assert reached == Draft("limit_reached", {"limit": "max_tool_calls", "maximum": 3, "used": 1}, message)
        assert (over.data["outcome"], over.data["error"]) == ("limited", message)


def test_a_call_in_doubt_is_not_run_again_beyond_the_limit_on_calls_and_stays_unknown() -> None:
    run = executing(["look"], max_tool_calls=1)
    run.resume()
    end = ends(run)["c-0"]
    assert (end["outcome"], end["error"]) == ("unknown", f"{UNKNOWN}. It was not run again: max_tool_calls is reached")
    assert run.types.count("limit_reached") == 1


def test_what_is_beyond_the_limits_is_said_before_the_calls_are_refused_each_limit_once() -> None:
    run = gating(["scout", "clerk", "clerk", "pay", "pay"], max_subagent_fanout_per_step=1, max_tool_calls=3)
    run.answer_plainly(CallModel)
    last = [event for event in run.events if event.type in ("limit_reached", "tool_completed")]
    told = [(event.type, event.data.get("limit") or event.data["tool_call_id"]) for event in last]
    assert told == [
        ("tool_completed", "c-0"),
        ("limit_reached", "max_tool_calls"),
        ("limit_reached", "max_subagent_fanout_per_step"),
        ("tool_completed", "c-1"),
        ("tool_completed", "c-2"),
        ("tool_completed", "c-3"),
        ("tool_completed", "c-4"),
    ]
    beyond = "max_subagent_fanout_per_step reached: 1 subagents in one step; this one was not asked, ask it in the next step"
    assert [end["error"] for end in ends(run).values()][1:3] == [beyond, beyond]


# ---------------------------------------------------------------------------------------------------------------------- starts and ends


def test_a_start_says_with_what_and_under_which_key() -> None:
    run = gating(["look"])
    gate(run, "c-0", "allow", updated_tool_args={"n": 7})
    (draft,) = decide(run.state).events
    assert draft == Draft(
        "tool_started",
        {
            "tool_name": "look",
            "tool_call_id": "c-0",
            "ordinal": 1,
            "attempt": 1,
            "arguments_hash": digest_json({"n": 7}),
            "idempotency_key": tool_key("run_1", 1),
        },
    )
    (effect,) = run.wanted(ExecuteTool)
    assert (effect.call.arguments, effect.timeout_s, effect.attempt, effect.ordinal) == ({"n": 7}, 5.0, 1, 1)


def test_keys_and_ordinals_go_on_from_batch_to_batch_and_a_tool_without_a_time_limit_has_none() -> None:
    run = executing(["look", "pay"])
    assert [effect.timeout_s for effect in run.wanted(ExecuteTool)] == [5.0, None]
    run.answer_plainly(CallModel)
    run.put(llm_completed("d", ["pay"]))
    run.answer_plainly(ExecuteTool)
    (effect,) = run.wanted(ExecuteTool)
    assert (effect.ordinal, effect.idempotency_key) == (3, tool_key("run_1", 3))


def test_an_end_that_the_machine_writes_has_everything_that_one_from_a_tool_has() -> None:
    run = gating(["pay"], agent_path=("boss",))
    gate(run, "c-0", "deny")
    (draft,) = decide(run.state).events
    assert draft == Draft(
        "tool_completed",
        {
            "tool_name": "pay",
            "tool_call_id": "c-0",
            "success": False,
            "output": None,
            "error": "rule 7",
            "agent_name": "agent",
            "agent_depth": 1,
            "agent_path": ["boss", "agent"],
            "outcome": "denied",
            "latency_ms": 0.0,
            "classification": "non_fatal",
        },
    )


def test_a_denial_without_a_reason_says_who_denied() -> None:
    run = gating(["pay"])
    gate(run, "c-0", "deny", reason=None)
    assert ends(run)["c-0"]["error"] == "denied by policy"


@pytest.mark.parametrize(
    ("attempt", "classification", "outcome", "said"),
    [(0, "non_fatal", "invalid", "non_fatal"), (1, "terminal", "failed", "terminal"), (1, "non_fatal", "failed", "non_fatal")],
)
def test_a_failure_for_good_is_the_end_and_keeps_its_class(attempt: int, classification: str, outcome: str, said: str) -> None:
    run = executing(["pay"]) if attempt else gating(["pay"])
    call = run.wanted(ExecuteTool)[0].call if attempt else gates(run)["c-0"].call
    assert call is not None
    run.put(tool_failed(call, attempt, classification))
    end = ends(run)["c-0"]
    assert (end["outcome"], end["error"], end["classification"], end["success"]) == (outcome, "pay broke", said, False)


def test_an_end_that_is_no_failure_has_no_class() -> None:
    run = executing(["pay"])
    run.resume()
    assert "classification" not in ends(run)["c-0"]
    assert ends(run)["c-0"]["error"] == UNKNOWN


def test_a_persons_words_are_the_output_of_the_call_they_stand_in_for() -> None:
    run = asked("request_user_input", payload={"prompt": "Which?"}, mode="interactive")
    (ask,) = run.wanted(AskPerson)
    run.answer(ask, given(ask.request, "answered", "blue"))
    end = ends(run)["c-0"]
    assert (end["success"], end["output"], end["error"], end["outcome"]) == (True, "blue", None, "returned")


def test_what_a_subagent_said_is_the_output_of_its_call() -> None:
    run = delegating("scout", "clerk", join_policy="first_success")
    first, _second = run.wanted(RunSubagent)
    run.answer(first, subagent_completed(first, output="gold"))
    end = ends(run)["c-0"]
    assert (end["success"], end["output"], end["error"]) == (True, "gold", None)
    (stop,) = run.wanted(CancelSubagent)
    run.answer(stop, subagent_completed(stop, error="cancelled", state="cancelled"))
    end = ends(run)["c-1"]
    why = "cancelled, because it was no longer needed: another subagent succeeded first"
    assert (end["success"], end["outcome"], end["error"]) == (False, "cancelled", why)


# --------------------------------------------------------------------------------------------------------------------- a run that has to end


def test_calls_that_were_in_flight_when_a_run_is_cancelled_end_by_what_is_known_of_them() -> None:
    run = executing(["pay", "look", "strict"])
    (pay, look, strict) = run.wanted(ExecuteTool)
    run.answer(look, tool_failed(look.call, 1, "terminal"))
    run.resume()
    run.put(control("cancel"))
    assert concluded(run) == [
        ("effect_in_doubt", "c-0"),
        ("tool_completed", "c-0"),
        ("tool_completed", "c-1"),
        ("effect_in_doubt", "c-2"),
        ("tool_completed", "c-2"),
        ("run_cancelled", ""),
    ]
    events = decide(run.state).events
    doubts = [draft.data for draft in events if draft.type == "effect_in_doubt"]
    assert [(data["intent_seq"], data["resolution"]) for data in doubts] == [(pay.seq, "report"), (strict.seq, "report")]
    over = {draft.data["tool_call_id"]: (draft.data["outcome"], draft.data["error"]) for draft in events if draft.type == "tool_completed"}
    assert over == {"c-0": ("unknown", UNKNOWN), "c-1": ("failed", "look broke"), "c-2": ("unknown", UNKNOWN)}
    assert (events[-1].data["reason"], events[-1].message) == (run.state.control and run.state.control.reason,) * 2


def test_a_call_that_runs_when_its_run_is_cancelled_may_have_taken_effect() -> None:
    run = executing(["pay"])
    run.put(control("cancel"))
    end = ends(run)["c-0"]
    assert (end["outcome"], end["error"]) == ("cancelled", "cancelled while it ran; it may have taken effect")


def test_what_a_subagent_came_to_in_the_moment_of_the_cancelling_is_kept() -> None:
    run = delegating("scout", "clerk", join_policy="allow_optional_failures")
    first, second = run.wanted(RunSubagent)
    run.put(subagent_completed(first, output="gold"), control("cancel"))
    (stop,) = run.wanted(CancelSubagent)
    assert (stop.run_id, stop.reason) == (second.run_id, "cancel requested by test")
    run.put(subagent_completed(stop, error="cancelled", state="cancelled"))
    assert concluded(run) == [("tool_completed", "c-0"), ("tool_completed", "c-1"), ("run_cancelled", "")]
    first_end, second_end = (draft.data for draft in decide(run.state).events[:2])
    assert (first_end["outcome"], first_end["output"]) == ("returned", "gold")
    assert (second_end["outcome"], second_end["error"]) == ("cancelled", "cancelled with the run that asked for it")


def test_a_run_that_has_to_fail_is_not_kept_by_what_is_over() -> None:
    run = executing(["pay", "look", "strict"], max_parallel_tools=2, tool_failure="fail")
    run.resume()
    (look,) = run.wanted(ExecuteTool)
    assert ends(run)["c-0"]["outcome"] == "unknown"
    run.answer(look, tool_failed(look.call, look.attempt, "terminal"))
    assert state_of(run) == "failed"


def test_a_question_that_is_open_does_not_hide_what_is_in_doubt_behind_it() -> None:
    run = gating(["pay", "look", "strict"], mode="interactive", tool_failure="fail")
    gate(run, "c-0", "request_approval")
    run.answer_plainly(ExecuteTool, AskPerson)
    look, _strict = run.wanted(ExecuteTool)
    run.put(tool_failed(look.call, 1, "terminal"))
    run.effects()
    run.resume()
    assert state_of(run) == "failed"
    assert ends(run)["c-2"]["outcome"] == "unknown"


def test_a_question_about_what_is_in_doubt_says_so_and_is_no_longer_put_once_the_run_has_to_fail() -> None:
    run = executing(["pay", "look"], in_doubt="ask", mode="interactive", tool_failure="fail")
    _pay, look = run.wanted(ExecuteTool)
    run.resume()
    (ask,) = run.wanted(AskPerson)
    assert ask.request["reason"] == f"{UNKNOWN}. Run it again?"
    (look,) = run.wanted(ExecuteTool)
    run.put(tool_failed(look.call, look.attempt, "terminal"))
    end = ends(run)["c-0"]
    assert (state_of(run), end["outcome"], end["error"]) == ("failed", "unknown", UNKNOWN)


@pytest.mark.parametrize(("llm_failure", "status"), [("fail", "failed"), ("degrade", "degraded")])
def test_money_that_is_spent_in_the_middle_of_a_batch_ends_the_run_once_nothing_is_in_flight(llm_failure: str, status: str) -> None:
    priced = (ModelSpec("m", "p", priced=True),)
    run = asking_model(max_total_cost_usd=1.0, models=priced, max_parallel_tools=1, llm_failure=llm_failure)
    run.put(llm_completed("c", ["pay", "pay"], cost_usd=0.4))
    run.answer_plainly(ExecuteTool)
    assert len(run.wanted(ExecuteTool)) == 1
    run.resume(spec_of(max_total_cost_usd=0.3, models=priced, max_parallel_tools=1, llm_failure=llm_failure, in_doubt="retry"))
    assert state_of(run) == status
    assert ends(run)["c-0"]["outcome"] == "unknown"
    assert "max_total_cost_usd reached: 0.4 of 0.3 used" in run.state.reason
    assert run.types.count("tool_started") == 1, "no further call is made"


# ------------------------------------------------------------------------------------------------------------------------- laid down


def test_a_run_is_laid_down_with_the_question_that_nobody_here_can_answer() -> None:
    run = gating(["pay"], mode="external")
    gate(run, "c-0", "request_approval")
    assert state_of(run) == "interrupted"
    assert run.state.reason == "waits for an answer from outside: pay (c-0)"
    assert run.events[-1].data == {"reason": run.state.reason}


def test_a_run_is_laid_down_with_all_its_questions_once_nothing_else_goes_on() -> None:
    run = gating(["pay", "look", "pay"], mode="external", tool_failure="retry_then_continue")
    gate(run, "c-0", "request_approval")
    gate(run, "c-2", "request_approval")
    run.answer_plainly(ExecuteTool)
    (look,) = run.wanted(ExecuteTool)
    run.answer(look, tool_failed(look.call, 1, "retryable"))
    assert state_of(run) == "running", "a retry is to come"
    (wait,) = [effect for effect in run.wanted(Wait) if effect.timer.startswith("retry:")]
    run.answer(wait, Draft("timer_fired", {"timer": wait.timer}))
    (look,) = run.wanted(ExecuteTool)
    run.answer(look, tool_completed(look.call))
    assert state_of(run) == "interrupted"
    assert run.state.reason == "waits for answers from outside: pay (c-0), pay (c-2)"


def test_a_run_is_laid_down_with_its_subagents_and_says_whom_it_waits_for() -> None:
    run = delegating("scout", "clerk", "clerk", join_policy="allow_optional_failures")
    first, second, third = run.wanted(RunSubagent)
    run.answer(first, subagent_completed(first, output="gold"))
    run.answer(second, subagent_waiting(second))
    run.answer(third, subagent_waiting(third))
    assert state_of(run) == "interrupted"
    laid_down = [f"subagent clerk ({each.call.id}, {each.run_id}) was laid down: waits for ann" for each in (second, third)]
    assert run.state.reason == "; ".join(laid_down)


def test_a_plan_lays_its_run_down_as_well() -> None:
    run = planned({"nodes": [node("a", "scout")]})
    (child,) = run.wanted(RunSubagent)
    run.answer(child, subagent_waiting(child))
    assert run.state.batch is not None
    assert (state_of(run), run.state.reason) == ("interrupted", f"subagent scout (a, {child.run_id}) was laid down: waits for ann")


def test_a_call_that_is_cut_has_no_class_even_where_an_earlier_attempt_of_it_failed() -> None:
    run = executing(["look"], tool_failure="retry_then_continue")
    (look,) = run.wanted(ExecuteTool)
    run.answer(look, tool_failed(look.call, 1, "retryable"))
    fire_timers(run)
    run.put(control("cancel"))
    end = ends(run)["c-0"]
    assert (end["outcome"], "classification" in end) == ("cancelled", False)


@pytest.mark.parametrize("name", ["pay", "scout"])
def test_every_call_that_has_failed_has_its_end_in_the_log_before_its_run_fails(name: str) -> None:
    """The first failure makes the run one that has to fail; what a sibling fails with after that is a fact of the run nevertheless."""
    run = gating([name, "look"], tool_failure="fail", subagent_failure="fail", join_policy="allow_optional_failures")
    run.answer_plainly(ExecuteTool, RunSubagent)
    (look,) = [effect for effect in run.wanted(ExecuteTool) if effect.call.tool_name == "look"]
    first = next(effect for effect in run.effects() if isinstance(effect, (ExecuteTool, RunSubagent)))
    run.put(tool_failed(look.call, 1, "terminal"))
    run.effects()
    if isinstance(first, ExecuteTool):
        run.put(tool_failed(first.call, 1, "terminal"))
    else:
        run.put(subagent_completed(first, error="it broke", classification="terminal"))
    assert {call_id: end["outcome"] for call_id, end in ends(run).items()} == {"c-0": "failed", "c-1": "failed"}
    assert state_of(run) == "failed"
    failed_by = "c-0" if name == "pay" else "c-1"
    assert failed_by in run.state.reason, "the first that the model asked for; a subagent that the join can do without is no reason"
