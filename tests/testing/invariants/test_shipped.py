"""Goal: each shipped invariant is violated by a history that breaks its promise, at the event that does, and by nothing before it.

Method: made-up histories, told event by event; all but the last of them are right. That right histories of real runs violate nothing is
`test_right_histories`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from afk_es.machine.values import Message, ToolCall
from afk_es.testing.invariants import (
    ApprovalsAreBound,
    AtMostOnce,
    ChildrenAddUp,
    ControlsAreHeeded,
    CostLimitHolds,
    Invariant,
    InvariantViolation,
    LimitsHold,
    NoEffectWithoutAllow,
    NoLostTicket,
    NoSecretInTheLog,
    OneEnd,
    OneOwner,
    ResultsBelong,
    TimeLimitsHold,
    WellFormedRequests,
    WellNested,
    keeps_secret,
)
from afk_es.testing.simulation.facts import ModelAnswers, PersonSays, ToolReturns
from afk_es.tools import tool
from tests.testing.invariants.tales import Tale, spec


@tool
def plain() -> str:
    """A tool without hooks."""
    return ""


PLAIN: Any = plain
Wrong = Callable[[Tale], Any]


def violated(invariant: Invariant, tale: Tale, wrong: Wrong, match: str) -> InvariantViolation:
    """The violation that the last turn of a tale is."""
    with pytest.raises(InvariantViolation, match=match) as caught:
        wrong(tale)
    violation = caught.value
    assert (violation.name, violation.run_id) == (invariant.name, tale.run.run_id)
    return violation


def called(invariant: Invariant, *names: str, told: Any = None, **arguments: Any) -> Tale:
    """A tale up to where the model has asked for tools."""
    tale = Tale(invariant, told)
    tale.begins()
    tale.batch(*(names or ("pay",)), **arguments)
    return tale


class TestNoEffectWithoutAllow:
    def test_a_model_is_asked_without_a_decision(self) -> None:
        tale = Tale(NoEffectWithoutAllow())
        tale.happens("run_started")
        tale.happens("step_started")
        violation = violated(tale.invariant, tale, lambda tale: tale.happens("llm_called"), "no decision")
        assert violation.seq == 3

    @pytest.mark.parametrize("action", ["deny", "request_approval", "defer", "request_user_input"])
    def test_a_tool_starts_that_no_rule_allowed(self, action: str) -> None:
        tale = called(NoEffectWithoutAllow())
        tale.decides("c0", action)
        violated(tale.invariant, tale, lambda tale: tale.starts("c0"), "pay .c0. starts, and the")

    def test_a_tool_starts_that_the_policy_was_not_asked_about_since_another_call_was(self) -> None:
        tale = called(NoEffectWithoutAllow(), "pay", "pay")
        tale.decides("c0", "allow")
        tale.starts("c0")
        violated(tale.invariant, tale, lambda tale: tale.starts("c1", ordinal=2), "was not asked about it")

    def test_a_rewritten_argument_does_not_arrive(self) -> None:
        tale = called(NoEffectWithoutAllow(), "pay", amount=9)
        tale.decides("c0", "allow", updated_tool_args={"amount": 1})
        violated(tale.invariant, tale, lambda tale: tale.starts("c0", arguments={"amount": 9}), "other arguments than were decided on")

    def test_the_world_is_asked_before_the_log_knows(self) -> None:
        tale = called(NoEffectWithoutAllow())
        tale.decides("c0", "allow")
        violated(tale.invariant, tale, lambda tale: tale.runs_tool(seq=8), "the log has nothing yet")

    def test_the_world_gets_other_arguments_than_were_announced(self) -> None:
        tale = called(NoEffectWithoutAllow())
        tale.decides("c0", "allow")
        seq = tale.starts("c0")
        tale.runs_tool(seq)
        violated(tale.invariant, tale, lambda tale: tale.runs_tool(seq, arguments={"amount": 9}), "other arguments than were announced")

    def test_a_denied_call_returns(self) -> None:
        tale = called(NoEffectWithoutAllow())
        tale.decides("c0", "deny")
        violated(tale.invariant, tale, lambda tale: tale.ends("c0"), "returned, and the policy denied it")


class TestApprovalsAreBound:
    def asked(self, *names: str) -> Tale:
        tale = called(ApprovalsAreBound(), *names)
        for number, _name in enumerate(names or ("pay",)):
            tale.decides(f"c{number}", "request_approval")
            tale.asks_person(f"c{number}")
        return tale

    def said(self, tale: Tale, call_id: str, outcome: Any = "yes") -> None:
        request = _Request(f"approval:{call_id}", call_id)
        tale.invariant.answered(tale.ask("approval", "pay", request, None), PersonSays(outcome))

    def test_one_approval_serves_two_calls(self) -> None:
        tale = self.asked("pay", "pay")
        self.said(tale, "c0")
        tale.person_answers("c0", "granted")
        tale.starts("c0")
        violated(tale.invariant, tale, lambda tale: tale.starts("c1", ordinal=2), "the answer is still to come")

    def test_what_starts_has_other_arguments_than_were_approved(self) -> None:
        tale = self.asked()
        self.said(tale, "c0")
        tale.person_answers("c0", "granted")
        violated(tale.invariant, tale, lambda tale: tale.starts("c0", arguments={"amount": 9}), "other arguments than were approved")

    def test_an_answer_is_for_other_arguments(self) -> None:
        tale = self.asked()
        self.said(tale, "c0")
        violated(tale.invariant, tale, lambda tale: tale.person_answers("c0", "granted", {"amount": 9}), "is for other arguments")

    def test_a_no_becomes_a_yes(self) -> None:
        tale = self.asked()
        self.said(tale, "c0", "no")
        violated(tale.invariant, tale, lambda tale: tale.person_answers("c0", "granted"), "ann is said to have granted .* and did not")

    def test_a_call_that_was_refused_starts(self) -> None:
        tale = self.asked()
        self.said(tale, "c0", "no")
        tale.person_answers("c0", "denied")
        violated(tale.invariant, tale, lambda tale: tale.starts("c0"), "the answer is denied")

    def test_it_is_asked_again(self) -> None:
        tale = self.asked()
        violated(tale.invariant, tale, lambda tale: tale.asks_person("c0"), "asked again about pay")

    def test_it_is_answered_twice(self) -> None:
        tale = self.asked()
        self.said(tale, "c0")
        tale.person_answers("c0", "granted")
        violated(tale.invariant, tale, lambda tale: tale.person_answers("c0", "granted"), "is answered twice")

    def test_no_rule_wanted_the_question(self) -> None:
        tale = called(ApprovalsAreBound())
        tale.decides("c0", "allow")
        violated(tale.invariant, tale, lambda tale: tale.asks_person("c0"), "no rule wants that")

    def test_a_person_is_shown_other_arguments(self) -> None:
        tale = called(ApprovalsAreBound())
        tale.decides("c0", "request_approval")
        violated(tale.invariant, tale, lambda tale: tale.asks_person("c0", {"amount": 1}), "is what would run")

    def test_the_fallback_answers_something_else_than_it_is(self) -> None:
        tale = self.asked()
        tale.moment_s = 300.0
        violated(tale.invariant, tale, lambda tale: tale.person_answers("c0", "granted", by="fallback"), "the fallback is 'deny'")


class _Request:
    def __init__(self, request_id: str, tool_call_id: str) -> None:
        self.request_id = request_id
        self.tool_call_id = tool_call_id


class TestLimitsHold:
    def test_a_step_too_many(self) -> None:
        tale = Tale(LimitsHold(), spec(max_steps=1))
        tale.happens("run_started")
        tale.happens("step_started", step=1)
        violated(tale.invariant, tale, lambda tale: tale.happens("step_started", step=2), "max_steps is 1, and this is number 2")

    def test_a_request_too_many_counts_retries(self) -> None:
        tale = Tale(LimitsHold(), spec(max_llm_calls=1))
        tale.begins()
        tale.happens("llm_called")
        tale.happens("llm_failed")
        violated(tale.invariant, tale, lambda tale: tale.happens("llm_called", attempt=2), "max_llm_calls is 1, and this is number 2")

    def test_an_attempt_too_many(self) -> None:
        tale = Tale(LimitsHold())
        tale.begins()
        for attempt in (1, 2, 3):
            tale.happens("llm_called", attempt=attempt)
            tale.happens("llm_failed", attempt=attempt)
        violated(tale.invariant, tale, lambda tale: tale.happens("llm_called", attempt=4), "attempts of a request is 3")

    def test_a_tool_call_too_many(self) -> None:
        tale = called(LimitsHold(), "pay", "pay", told=spec(max_tool_calls=1))
        tale.starts("c0")
        tale.ends("c0")
        violated(tale.invariant, tale, lambda tale: tale.starts("c1", ordinal=2), "max_tool_calls is 1")

    def test_a_tool_too_many_at_once(self) -> None:
        tale = called(LimitsHold(), "pay", "pay", told=spec(max_parallel_tools=1))
        tale.starts("c0")
        violated(tale.invariant, tale, lambda tale: tale.starts("c1", ordinal=2), "max_parallel_tools is 1")

    def test_a_subagent_too_many_in_one_step(self) -> None:
        tale = called(LimitsHold(), "transfer_to_scout", "transfer_to_scout", told=spec(max_subagent_fanout_per_step=1))
        tale.happens("subagent_started", tool_call_id="c0", ordinal=1)
        wrong: Wrong = lambda tale: tale.happens("subagent_started", tool_call_id="c1", ordinal=2, run_id="run_3")  # noqa: E731
        violated(tale.invariant, tale, wrong, "max_subagent_fanout_per_step is 1")

    def test_a_level_too_deep(self) -> None:
        above = Tale(LimitsHold(), spec(max_subagent_depth=0))
        above.begins()
        below = Tale(above.invariant, world=above, parent="run_1")
        violated(below.invariant, below, lambda tale: tale.happens("run_started"), "max_subagent_depth is 0")

    @pytest.mark.parametrize("limit", ["max_steps", "max_llm_calls", "max_total_cost_usd", "max_wall_time_s", "max_tool_calls"])
    def test_it_stops_before_its_limit(self, limit: str) -> None:
        tale = called(LimitsHold(), told=spec(max_steps=2, max_llm_calls=2, max_total_cost_usd=1.0, max_wall_time_s=9.0, max_tool_calls=2))
        violated(tale.invariant, tale, lambda tale: tale.happens("limit_reached", limit=limit), "before it is reached")


class TestCostLimitHolds:
    def test_something_begins_with_the_money_spent(self) -> None:
        tale = Tale(CostLimitHolds(), spec(max_total_cost_usd=0.3))
        tale.begins()
        tale.happens("llm_called")
        tale.answers_request([], cost_usd=0.1)
        tale.happens("llm_called")
        tale.answers_request([], cost_usd=0.2)
        violated(tale.invariant, tale, lambda tale: tale.happens("llm_called"), "0.3 USD spent of 0.3")

    def test_something_begins_after_an_unknown_price(self) -> None:
        tale = Tale(CostLimitHolds(), spec(max_total_cost_usd=0.3))
        tale.begins()
        tale.happens("llm_called")
        tale.answers_request([], cost_usd=None)
        violated(tale.invariant, tale, lambda tale: tale.happens("llm_called"), "without a price")

    def test_the_same_money_is_promised_twice(self) -> None:
        tale = called(CostLimitHolds(), "transfer_to_scout", "transfer_to_scout", told=spec(max_total_cost_usd=1.0))
        tale.happens("subagent_started", tool_call_id="c0", cost_budget_usd=0.6)
        wrong: Wrong = lambda tale: tale.happens("subagent_started", tool_call_id="c1", run_id="run_3", cost_budget_usd=0.6)  # noqa: E731
        violated(tale.invariant, tale, wrong, "1.2 USD are promised")

    def test_a_child_spends_more_than_it_has(self) -> None:
        above = called(CostLimitHolds(), "transfer_to_scout", told=spec(max_total_cost_usd=1.0))
        above.happens("subagent_started", tool_call_id="c0", cost_budget_usd=0.5)
        below = Tale(above.invariant, world=above, parent="run_1")
        below.begins()
        below.happens("llm_called")
        below.answers_request([], cost_usd=0.5)
        violated(below.invariant, below, lambda tale: tale.happens("llm_called"), "that its parent has for it")


class TestTimeLimitsHold:
    def test_it_goes_on_after_its_time(self) -> None:
        tale = Tale(TimeLimitsHold(), spec(max_wall_time_s=10.0))
        tale.begins()
        tale.moment_s = 8.0
        tale.happens("run_interrupted")
        tale.moment_s = 100.0
        tale.happens("run_started", resumed=True, epoch=2)
        tale.moment_s = 103.0
        violated(tale.invariant, tale, lambda tale: tale.happens("llm_called"), "after 11 s of 10")

    def test_it_is_cut_too_late(self) -> None:
        tale = Tale(TimeLimitsHold(), spec(max_wall_time_s=10.0))
        tale.begins()
        tale.moment_s = 11.0
        violated(tale.invariant, tale, lambda tale: tale.happens("timer_fired", timer="wall_time:1"), "timer_fired after 11 s of 10")

    def test_a_tool_takes_longer_than_it_may(self) -> None:
        tale = called(TimeLimitsHold())
        tale.starts("c0")
        tale.moment_s = 6.0
        violated(tale.invariant, tale, lambda tale: tale.ends("c0"), "took 6 s of 5")


class TestOneEnd:
    def test_something_follows_the_end(self) -> None:
        tale = Tale(OneEnd())
        tale.begins()
        tale.happens("run_completed")
        violated(tale.invariant, tale, lambda tale: tale.happens("warning", kind="late"), "warning follows run_completed")

    @pytest.mark.parametrize("end", ["run_completed", "run_failed", "run_cancelled"])
    def test_it_goes_on_after_an_end_for_good(self, end: str) -> None:
        tale = Tale(OneEnd())
        tale.begins()
        tale.happens(end)
        violated(tale.invariant, tale, lambda tale: tale.happens("run_started", resumed=True, epoch=2), f"goes on after {end}")

    def test_two_owners_have_one_epoch(self) -> None:
        tale = Tale(OneEnd())
        tale.begins()
        violated(tale.invariant, tale, lambda tale: tale.happens("run_started", resumed=True, epoch=1), "which it had")

    def test_it_ends_before_its_child(self) -> None:
        tale = Tale(OneEnd())
        tale.begins()
        below = Tale(tale.invariant, world=tale, parent="run_1")
        below.begins()
        violated(tale.invariant, tale, lambda tale: tale.happens("run_failed"), "its subagent's run run_2 has not ended")


class TestControlsAreHeeded:
    @pytest.mark.parametrize("action", ["cancel", "interrupt"])
    def test_something_begins_after_somebody_wanted_it_to_end(self, action: str) -> None:
        tale = Tale(ControlsAreHeeded())
        tale.begins()
        tale.happens("control_requested", action=action)
        violated(tale.invariant, tale, lambda tale: tale.happens("llm_called"), f"asked to {action}")

    def test_a_cancelled_run_completes(self) -> None:
        tale = Tale(ControlsAreHeeded())
        tale.begins()
        tale.happens("control_requested", action="cancel")
        violated(tale.invariant, tale, lambda tale: tale.happens("run_completed"), "run_completed after somebody asked to cancel")

    def test_a_cancellation_is_forgotten_in_a_crash(self) -> None:
        tale = Tale(ControlsAreHeeded())
        tale.begins()
        tale.happens("control_requested", action="cancel")
        tale.happens("run_started", resumed=True, epoch=2)
        violated(tale.invariant, tale, lambda tale: tale.happens("llm_called"), "asked to cancel")

    def test_something_begins_in_a_pause(self) -> None:
        tale = Tale(ControlsAreHeeded())
        tale.begins()
        tale.happens("control_requested", action="pause")
        tale.happens("control_requested", action="resume")
        tale.happens("llm_called")
        tale.happens("control_requested", action="pause")
        violated(tale.invariant, tale, lambda tale: tale.happens("step_started", step=2), "while it is paused")


class TestWellNested:
    def test_a_request_is_sent_before_the_last_has_a_result(self) -> None:
        tale = Tale(WellNested())
        tale.begins()
        tale.happens("llm_called")
        violated(tale.invariant, tale, lambda tale: tale.happens("llm_called", ordinal=2), "has no result")

    def test_an_answer_comes_twice(self) -> None:
        tale = Tale(WellNested())
        tale.begins()
        tale.happens("llm_called")
        tale.answers_request([])
        violated(tale.invariant, tale, lambda tale: tale.answers_request([]), "llm_completed without a request")

    def test_a_batch_is_of_other_calls(self) -> None:
        tale = called(WellNested())
        wrong: Wrong = lambda tale: tale.happens("tool_batch_started", tool_call_ids=["c7"], tool_names=["pay"])  # noqa: E731
        violated(tale.invariant, tale, wrong, "the model asked for")

    @pytest.mark.parametrize(
        ("wrong", "match"),
        [
            (lambda tale: tale.starts("c7"), "no call of this batch"),
            (lambda tale: tale.starts("c0", ordinal=2), "starts as 2"),
            (lambda tale: tale.starts("c0", attempt=2), "says that it is attempt 2"),
            (lambda tale: tale.ends("c0"), "returned, and it never started"),
            (lambda tale: tale.ends("c0", name="look", outcome="denied"), "ends as one of look"),
            (lambda tale: tale.happens("tool_failed", tool_call_id="c0", tool_name="pay"), "no start without a result"),
            (lambda tale: tale.happens("step_started", step=2), "a step begins, and pay"),
        ],
    )
    def test_a_call_is_told_of_wrongly(self, wrong: Wrong, match: str) -> None:
        tale = called(WellNested())
        violated(tale.invariant, tale, wrong, match)

    def test_a_call_ends_twice(self) -> None:
        tale = called(WellNested())
        tale.starts("c0")
        tale.ends("c0")
        violated(tale.invariant, tale, lambda tale: tale.ends("c0"), "ends twice")

    def test_a_child_is_told_of_by_another_run(self) -> None:
        tale = called(WellNested(), "transfer_to_scout")
        tale.happens("subagent_started", tool_call_id="c0", ordinal=1)
        violated(tale.invariant, tale, lambda tale: tale.happens("subagent_completed", tool_call_id="c0", run_id="run_9"), "started run_2")


class TestResultsBelong:
    def test_the_log_has_another_output_than_the_tool_returned(self) -> None:
        tale = called(ResultsBelong(), "pay", "pay")
        first, second = tale.starts("c0"), tale.starts("c1", ordinal=2)
        tale.invariant.answered(tale.runs_tool(first, tool=PLAIN), ToolReturns("one"))
        tale.invariant.answered(tale.runs_tool(second, "c1", ordinal=2, tool=PLAIN), ToolReturns("two"))
        tale.ends("c1", output="two")
        violated(
            tale.invariant, tale, lambda tale: tale.ends("c0", output="two"), "it returned 'one', and the log has tool_completed 'two'"
        )

    def test_nobody_answered(self) -> None:
        tale = Tale(ResultsBelong())
        tale.begins()
        tale.happens("llm_called")
        violated(tale.invariant, tale, lambda tale: tale.answers_request([]), "that nobody has answered")

    def test_the_log_has_other_words_than_the_model_said(self) -> None:
        tale = Tale(ResultsBelong())
        tale.begins()
        seq = tale.happens("llm_called").seq
        tale.invariant.answered(tale.asks_model(seq), ModelAnswers("yes"))
        violated(tale.invariant, tale, lambda tale: tale.answers_request([], text="no"), "it said 'yes', and the log has 'no'")


class TestAtMostOnce:
    def test_a_start_reaches_the_tool_twice(self) -> None:
        tale = called(AtMostOnce())
        seq = tale.starts("c0")
        tale.runs_tool(seq)
        violated(tale.invariant, tale, lambda tale: tale.runs_tool(seq), "reaches the tool twice")

    def test_a_call_runs_whose_result_is_in_the_log(self) -> None:
        tale = called(AtMostOnce())
        seq = tale.starts("c0")
        tale.ends("c0")
        violated(tale.invariant, tale, lambda tale: tale.runs_tool(seq), "its result is in the log")

    def test_a_request_is_sent_twice(self) -> None:
        tale = Tale(AtMostOnce())
        tale.begins()
        seq = tale.happens("llm_called").seq
        tale.asks_model(seq)
        violated(tale.invariant, tale, lambda tale: tale.asks_model(seq), "is sent twice")

    def test_a_request_is_sent_that_was_answered(self) -> None:
        tale = Tale(AtMostOnce())
        tale.begins()
        seq = tale.happens("llm_called").seq
        tale.answers_request([])
        violated(tale.invariant, tale, lambda tale: tale.asks_model(seq), "was answered at seq 5")

    def test_what_was_cut_off_is_repeated_without_a_word(self) -> None:
        tale = called(AtMostOnce())
        tale.starts("c0")
        tale.happens("run_started", resumed=True, epoch=2)
        violated(tale.invariant, tale, lambda tale: tale.starts("c0", attempt=2), "neither failed nor is in doubt")

    def test_what_is_in_doubt_and_may_not_be_repeated_is(self) -> None:
        tale = called(AtMostOnce())
        seq = tale.starts("c0")
        tale.happens("run_started", resumed=True, epoch=2)
        tale.happens("effect_in_doubt", tool_call_id="c0", tool_name="pay", intent_seq=seq, resolution="run_again")
        violated(tale.invariant, tale, lambda tale: tale.starts("c0", attempt=2), "is in doubt, may not be repeated")

    def test_what_failed_and_may_not_be_repeated_is(self) -> None:
        tale = called(AtMostOnce())
        tale.starts("c0")
        tale.happens("tool_failed", tool_call_id="c0", tool_name="pay")
        violated(tale.invariant, tale, lambda tale: tale.starts("c0", attempt=2), "failed, may not be repeated")

    def test_what_may_be_repeated_may(self) -> None:
        tale = called(AtMostOnce(), "look")
        tale.starts("c0", "look")
        tale.happens("tool_failed", tool_call_id="c0", tool_name="look")
        tale.starts("c0", "look", attempt=2)
        tale.ends("c0", "look")

    def test_what_was_cut_off_ends_and_nobody_says_that_it_was(self) -> None:
        tale = called(AtMostOnce())
        tale.starts("c0")
        tale.happens("run_started", resumed=True, epoch=2)
        violated(tale.invariant, tale, lambda tale: tale.ends("c0", outcome="failed"), "the log does not say so")

    def test_what_is_in_doubt_is_said_to_have_been_denied(self) -> None:
        tale = called(AtMostOnce())
        seq = tale.starts("c0")
        tale.happens("run_started", resumed=True, epoch=2)
        tale.happens("effect_in_doubt", tool_call_id="c0", tool_name="pay", intent_seq=seq)
        violated(tale.invariant, tale, lambda tale: tale.ends("c0", outcome="denied"), "ends as 'denied'")

    def test_two_calls_have_one_key(self) -> None:
        tale = called(AtMostOnce(), "pay", "pay")
        tale.runs_tool(tale.starts("c0"))
        second = tale.starts("c1", ordinal=2)
        violated(tale.invariant, tale, lambda tale: tale.runs_tool(second, "c1", ordinal=2, key="k1"), "is another call's")

    def test_a_repetition_has_a_key_of_its_own(self) -> None:
        tale = called(AtMostOnce(), "look")
        tale.runs_tool(tale.starts("c0", "look"))
        tale.happens("tool_failed", tool_call_id="c0", tool_name="look")
        again = tale.starts("c0", "look", attempt=2)
        violated(tale.invariant, tale, lambda tale: tale.runs_tool(again, key="k9"), "is not that of its first start")


class TestOneOwner:
    def test_whoever_was_taken_over_from_writes(self) -> None:
        tale = Tale(OneOwner())
        tale.begins()
        tale.happens("run_started", resumed=True, epoch=2, writer=2)
        violated(tale.invariant, tale, lambda tale: tale.happens("step_started", step=2, writer=1), "process 2 has the run")

    def test_whoever_was_taken_over_from_asks_for_something_new(self) -> None:
        tale = Tale(OneOwner())
        tale.begins()
        tale.asks_model(tale.happens("llm_called").seq)
        tale.happens("run_started", resumed=True, epoch=2, writer=2)
        violated(tale.invariant, tale, lambda tale: tale.asks_model(6, process=1), "asked by process 1, and announced by process 2")

    def test_the_dead_write(self) -> None:
        tale = Tale(OneOwner())
        tale.begins()
        tale.invariant.died(1)
        violated(tale.invariant, tale, lambda tale: tale.happens("llm_called"), "which is dead")

    def test_the_dead_ask(self) -> None:
        tale = Tale(OneOwner())
        tale.begins()
        tale.invariant.died(1)
        violated(tale.invariant, tale, lambda tale: tale.asks_model(4), "which is dead")


class TestNoLostTicket:
    def deferred(self) -> Tale:
        tale = called(NoLostTicket())
        tale.starts("c0")
        tale.happens("tool_deferred", ticket_id="t1")
        return tale

    def test_it_completes_with_a_ticket_open(self) -> None:
        tale = self.deferred()
        violated(tale.invariant, tale, lambda tale: tale.happens("run_completed"), "of ticket t1 nobody hears any more")

    def test_it_completes_and_the_model_has_not_heard(self) -> None:
        tale = self.deferred()
        tale.happens("tool_background_resolved", ticket_id="t1")
        violated(tale.invariant, tale, lambda tale: tale.happens("run_completed"), "of ticket t1 nobody hears any more")

    def test_the_model_is_not_told(self) -> None:
        tale = self.deferred()
        tale.happens("tool_background_resolved", ticket_id="t1")
        tale.happens("step_started", step=2)
        violated(
            tale.invariant, tale, lambda tale: tale.asks_model(11, Message("user", "hi")), "ticket t1 has ended, and the model is not told"
        )

    def test_the_model_is_told(self) -> None:
        tale = self.deferred()
        tale.happens("tool_background_resolved", ticket_id="t1")
        tale.happens("step_started", step=2)
        tale.asks_model(11, Message("user", "ticket t1 has ended"))
        tale.happens("run_completed")

    def test_a_ticket_ends_twice(self) -> None:
        tale = self.deferred()
        tale.happens("tool_background_resolved", ticket_id="t1")
        violated(tale.invariant, tale, lambda tale: tale.happens("tool_background_resolved", ticket_id="t1"), "it is not open")

    def test_a_ticket_ends_as_another_call(self) -> None:
        tale = self.deferred()
        wrong: Wrong = lambda tale: tale.happens("tool_background_resolved", ticket_id="t1", tool_call_id="c1")  # noqa: E731
        violated(tale.invariant, tale, wrong, "ends as c1")

    def test_a_letter_is_taken_in_twice(self) -> None:
        tale = self.deferred()
        tale.happens("control_requested", action="pause", letter=3)
        violated(tale.invariant, tale, lambda tale: tale.happens("control_requested", action="pause", letter=3), "after letter 3")

    def test_a_deferred_call_ends_at_once_too(self) -> None:
        tale = self.deferred()
        violated(tale.invariant, tale, lambda tale: tale.ends("c0"), "goes on in the background")


class TestChildrenAddUp:
    def family(self, *, usage: Any = None) -> tuple[Tale, Tale]:
        above = called(ChildrenAddUp(), "transfer_to_scout")
        above.happens("subagent_started", tool_call_id="c0", ordinal=1)
        below = Tale(above.invariant, world=above, parent="run_1")
        below.begins()
        below.happens("llm_called")
        below.answers_request([], cost_usd=0.25, usage=usage)
        return above, below

    def test_a_child_cost_more_than_its_parent_says(self) -> None:
        above, _below = self.family()
        wrong: Wrong = lambda tale: tale.happens("subagent_completed", tool_call_id="c0", cost_usd=0.2)  # noqa: E731
        violated(above.invariant, above, wrong, "said to have cost 0.2 USD, and it was 0.25")

    def test_a_child_used_more_than_its_parent_says(self) -> None:
        above, _below = self.family(usage={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7})
        wrong: Wrong = lambda tale: tale.happens("subagent_completed", tool_call_id="c0", cost_usd=0.25)  # noqa: E731
        violated(above.invariant, above, wrong, "used .0, 0, 0. tokens, and it was .3, 4, 7.")

    def test_a_grandchild_that_was_under_way_is_forgotten(self) -> None:
        above, below = self.family()
        below.batch("transfer_to_scout")
        below.happens("subagent_started", tool_call_id="c0", ordinal=1, run_id="run_3")
        third = Tale(above.invariant, world=above, parent="run_2")
        third.begins()
        third.happens("llm_called")
        third.answers_request([], cost_usd=0.5)
        wrong: Wrong = lambda tale: tale.happens("subagent_completed", tool_call_id="c0", success=False, cost_usd=0.25)  # noqa: E731
        violated(above.invariant, above, wrong, "it was 0.75")

    def test_nobody_has_started_the_child(self) -> None:
        above = called(ChildrenAddUp(), "transfer_to_scout")
        below = Tale(above.invariant, world=above, parent="run_1")
        violated(below.invariant, below, lambda tale: tale.happens("run_started"), "which started none with that id")


ANSWER = Message("assistant", "", (ToolCall("c0", "pay", {}), ToolCall("c1", "look", {})))
ONE, TWO = Message("tool", "one", (), "c0"), Message("tool", "two", (), "c1")
HI = Message("user", "hi")


class TestWellFormedRequests:
    @pytest.mark.parametrize(
        ("messages", "match"),
        [
            ((HI, ONE), "has no call before it"),
            ((HI, ANSWER, ONE, HI), "have no results, and user goes on"),
            ((HI, ANSWER, ONE), "have no results"),
            ((HI, ANSWER, TWO, ONE), "stands before that of 'c0'"),
            ((HI, ANSWER, ONE, ONE, TWO), "has no call before it"),
            ((HI, Message("assistant", "so")), "ends with a message of role 'assistant'"),
            ((HI, Message("system", "late"), HI), "role 'system' within"),
            ((HI, Message("assistant", "", (ToolCall("c0", "pay", {}), ToolCall("c0", "pay", {}))), ONE, ONE), "two calls have one id"),
        ],
    )
    def test_a_provider_would_refuse_it(self, messages: tuple[Message, ...], match: str) -> None:
        tale = Tale(WellFormedRequests())
        tale.begins()
        violated(tale.invariant, tale, lambda tale: tale.asks_model(4, *messages), match)

    def test_what_was_looked_through_is_not_looked_through_again_but_what_follows_is(self) -> None:
        tale = Tale(WellFormedRequests())
        tale.begins()
        good = (HI, ANSWER, ONE, TWO)
        tale.asks_model(4, *good)
        tale.asks_model(4, *good, HI)
        violated(tale.invariant, tale, lambda tale: tale.asks_model(4, *good, HI, ONE), "message 5: a result of 'c0'")

    def test_what_the_run_was_asked_to_do_is_gone(self) -> None:
        tale = Tale(WellFormedRequests())
        tale.begins(user_message="refund it")
        violated(tale.invariant, tale, lambda tale: tale.asks_model(4, HI), "what the run was asked to do is not in it")

    def answered(self) -> Tale:
        tale = called(WellFormedRequests(), "pay", "look")
        for number, name in enumerate(("pay", "look")):
            tale.starts(f"c{number}", name, number + 1)
            tale.ends(f"c{number}", name, output=("one", "two")[number])
        return tale

    def test_the_last_results_are_gone(self) -> None:
        tale = self.answered()
        violated(tale.invariant, tale, lambda tale: tale.asks_model(4, HI), "the model asked for .'c0', 'c1'., and gets the results of ..")

    def test_a_result_is_shown_as_that_of_the_other_call(self) -> None:
        tale = self.answered()
        violated(tale.invariant, tale, lambda tale: tale.asks_model(4, HI, ANSWER, TWO_AS_ONE, TWO), "the result of c0 is shown as")


TWO_AS_ONE = Message("tool", "two", (), "c0")
SECRET = "sk-live-0123"


class TestNoSecretInTheLog:
    def test_an_event_holds_what_a_tool_was_given(self) -> None:
        tale = called(NoSecretInTheLog())
        tale.runs_tool(tale.starts("c0"), secrets={"KEY": SECRET})
        wrong: Wrong = lambda tale: tale.happens("tool_failed", tool_call_id="c0", tool_name="pay", error=f"with {SECRET}")  # noqa: E731
        violated(tale.invariant, tale, wrong, "tool_failed holds a secret")

    def test_a_model_is_shown_one(self) -> None:
        tale = called(NoSecretInTheLog())
        tale.runs_tool(tale.starts("c0"), secrets={"KEY": SECRET})
        violated(tale.invariant, tale, lambda tale: tale.asks_model(4, Message("user", SECRET)), "shown to the model")

    def test_what_the_world_says_itself_is_no_leak_of_ours(self) -> None:
        tale = called(NoSecretInTheLog())
        seq = tale.starts("c0")
        ask = tale.runs_tool(seq, secrets={"KEY": SECRET})
        tale.invariant.answered(ask, ToolReturns(SECRET))
        tale.ends("c0", output=SECRET)

    def test_a_planted_one_is_looked_for_whoever_says_it(self) -> None:
        tale = called(keeps_secret(SECRET)())
        ask = tale.runs_tool(tale.starts("c0"))
        tale.invariant.answered(ask, ToolReturns(SECRET))
        violated(tale.invariant, tale, lambda tale: tale.ends("c0", output=SECRET), "tool_completed holds a secret")
