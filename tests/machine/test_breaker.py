"""The circuit breaker: the fold by itself, against a plain account of its calls, and what it makes of a run's model calls."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afk_es.errors import InvariantError
from afk_es.machine import Draft, RunSpec, evolve, fold, initial_state, stamp
from afk_es.machine.breaker import CLOSED, Breaker, abandoned, called, cooldown_left_s, failed, may_call, succeeded
from afk_es.machine.effects import CallModel, ResolveInstructions
from afk_es.machine.spec import BreakerRule, ModelSpec
from tests.machine.simulation import Simulation, llm_completed, llm_failed, spec_of
from tests.machine.situations import answer_model, asking_model, fire_timers, started

RULE = BreakerRule(failures=3, cooldown_s=10.0)


def opened(at: float = 100.0) -> Breaker:
    """A breaker that has just opened."""
    breaker = CLOSED
    for _ in range(RULE.failures):
        breaker = failed(breaker, RULE, at)
    return breaker


def test_failures_in_a_row_open_it_and_a_success_in_between_begins_the_row_anew() -> None:
    breaker = failed(failed(CLOSED, RULE, 1.0), RULE, 2.0)
    assert may_call(breaker, RULE, 2.0)
    assert succeeded(breaker) == CLOSED
    breaker = failed(breaker, RULE, 3.0)
    assert not may_call(breaker, RULE, 3.0)
    assert not may_call(breaker, RULE, 12.9)
    assert cooldown_left_s(breaker, RULE, 5.0) == 8.0
    assert may_call(breaker, RULE, 13.0)


def test_one_probe_goes_through_after_the_cooldown_and_decides() -> None:
    probing = called(opened())
    assert not may_call(probing, RULE, 200.0), "a second call beside the probe"
    assert succeeded(probing) == CLOSED
    again = failed(probing, RULE, 111.0)
    assert not may_call(again, RULE, 120.9)
    assert may_call(again, RULE, 121.0)


def test_a_probe_that_says_nothing_leaves_the_place_to_the_next() -> None:
    assert may_call(abandoned(called(opened())), RULE, 110.0)
    assert abandoned(CLOSED) == CLOSED
    assert called(CLOSED) == CLOSED


def test_late_failures_of_calls_that_had_begun_before_do_not_put_the_probe_off() -> None:
    assert failed(opened(at=100.0), RULE, 109.0) == opened(at=100.0)


@given(st.lists(st.tuples(st.sampled_from(["fail", "answer", "cut"]), st.floats(0, 20)), max_size=40), st.integers(1, 4))
def test_it_never_lets_a_call_through_within_the_cooldown_after_so_many_failures(calls: list[tuple[str, float]], most: int) -> None:
    """Calls one after the other, each where it is allowed: the plain account is the row of failures and the time of the last."""
    rule, breaker, now = BreakerRule(most, 10.0), CLOSED, 0.0
    row, last = 0, 0.0
    for outcome, pause in calls:
        now += pause
        allowed = may_call(breaker, rule, now)
        assert allowed == (row < most or now >= last + 10.0)
        if not allowed:
            continue
        breaker = called(breaker)
        if outcome == "fail":
            row, last = row + 1, now
            breaker = failed(breaker, rule, now)
        elif outcome == "answer":
            row = 0
            breaker = succeeded(breaker)
        else:
            breaker = abandoned(breaker)


# ------------------------------------------------------------------------------------------------------------------------------ in a run

TWO = (ModelSpec("m", "p"), ModelSpec("backup", "q"))


def asked_of(run: Simulation) -> list[tuple[str, str]]:
    """What was done with which model: asked, or left alone."""
    return [(event.type, event.data["model"]) for event in run.events if event.type in ("llm_called", "circuit_open")]


def fail_the_first(run: Simulation, times: int) -> None:
    """When requests to the first model fail."""
    for _ in range(times):
        answer_model(run, llm_failed("retryable"))
        if run.state.call is not None and run.state.call.status == "backoff":
            fire_timers(run)


def broken_in_two_steps() -> Simulation:
    """Given a run whose first model fails three attempts in the first step and two in the second, which makes five."""
    run = asking_model(models=TWO, breaker=BreakerRule(5, 30.0))
    fail_the_first(run, 3)
    answer_model(run, llm_completed("c", ["look"]))
    run.answer_plainly(CallModel)
    fail_the_first(run, 2)
    return run


def test_the_count_goes_on_from_step_to_step_and_the_fallback_is_asked_without_a_wait() -> None:
    run = broken_in_two_steps()
    assert run.types[-3:] == ["llm_failed", "circuit_open", "llm_called"]
    assert asked_of(run)[-2:] == [("circuit_open", "m"), ("llm_called", "backup")]
    opened_at = next(event for event in run.events if event.type == "circuit_open")
    cooldown_s = pytest.approx(30.0, abs=0.01)
    assert opened_at.data == {"model": "m", "model_index": 0, "failures": 5, "cooldown_s": cooldown_s, "classification": "retryable"}
    assert "5 failures in a row" in opened_at.message
    assert "no luck" in opened_at.message


def test_later_steps_leave_the_model_alone_until_a_probe_after_the_cooldown() -> None:
    run = broken_in_two_steps()
    answer_model(run, llm_completed("d", ["look"]))
    run.answer_plainly(CallModel)
    assert asked_of(run)[-2:] == [("circuit_open", "m"), ("llm_called", "backup")]
    run.now += run.now - run.now.replace(year=run.now.year - 1)
    answer_model(run, llm_completed("e", ["look"]))
    run.answer_plainly(CallModel)
    assert asked_of(run)[-1] == ("llm_called", "m"), "the probe"
    answer_model(run, llm_failed("retryable"))
    assert asked_of(run)[-2:] == [("circuit_open", "m"), ("llm_called", "backup")], "a failed probe is not tried again"
    assert run.state.breakers[0].failures == 6


def test_an_answer_closes_it_and_leaves_nothing_behind() -> None:
    run = asking_model(breaker=BreakerRule(5, 30.0))
    fail_the_first(run, 2)
    assert [breaker.failures for breaker in run.state.breakers] == [2]
    answer_model(run, llm_completed("c", ["look"]))
    assert not run.state.breakers


def test_without_a_fallback_an_open_breaker_is_a_terminal_failure() -> None:
    for policy, ends in (("retry_then_fail", "failed"), ("retry_then_continue", "degraded")):
        run = asking_model(breaker=BreakerRule(2, 30.0), llm_failure=policy)
        fail_the_first(run, 2)
        run.effects()
        assert (run.types.count("llm_called"), run.state.status) == (2, ends)
        assert "circuit_open" in run.types
        if ends == "failed":
            assert run.events[-1].data["error_type"] == "CircuitOpen"


@pytest.mark.parametrize("classification", ["terminal", "non_fatal"])
def test_failures_that_cannot_pass_say_nothing_of_the_provider(classification: str) -> None:
    run = asking_model(models=TWO, breaker=BreakerRule(1, 30.0))
    answer_model(run, llm_failed(classification))
    assert run.state.breakers == ()
    assert "circuit_open" not in run.types


def test_instructions_that_fail_are_no_failure_of_the_model() -> None:
    run = started(dynamic_instructions=True, breaker=BreakerRule(1, 30.0))
    run.effects()
    run.put(llm_failed("retryable", model="none", attempt=0))
    assert run.state.breakers == ()


def test_instructions_that_fail_while_the_models_breaker_is_open_are_tried_again_and_the_policy_is_still_asked() -> None:
    run = started(models=TWO, dynamic_instructions=True, breaker=BreakerRule(1, 3600.0))
    run.answer_plainly(CallModel)
    fail_the_first(run, 1)
    answer_model(run, llm_completed("c", ["look"]))
    run.answer_plainly(ResolveInstructions)
    (resolve,) = run.wanted(ResolveInstructions)
    run.answer(resolve, llm_failed("retryable", model="none", attempt=0))
    assert run.state.call is not None
    assert run.state.call.status == "backoff"
    fire_timers(run)
    run.answer_plainly(CallModel)
    assert run.types[-4:] == ["instructions_resolved", "policy_decision", "circuit_open", "llm_called"]


def test_a_cooldown_of_nothing_leaves_every_retry_to_be_a_probe() -> None:
    run = asking_model(breaker=BreakerRule(1, 0.0))
    fail_the_first(run, 3)
    run.effects()
    assert (run.types.count("llm_called"), "circuit_open" in run.types) == (3, False)


def test_it_is_folded_again_by_whoever_resumes_the_run() -> None:
    run = broken_in_two_steps()
    assert fold(initial_state("run_1", "thread_1"), run.events) == run.state
    run.resume()
    run.effects()
    assert run.types[-3:] == ["run_started", "effect_in_doubt", "llm_called"], "the fallback that was being asked is asked again"
    assert run.state.breakers[0].open_since is not None
    run.resume(msgspec.structs.replace(run.spec, models=(ModelSpec("another", "p"),)))
    assert run.state.breakers == (), "another chain of models begins anew"


def test_a_model_may_have_a_retry_of_its_own_which_is_not_that_of_the_instructions() -> None:
    models = (msgspec.structs.replace(TWO[0], retry=msgspec.structs.replace(spec_of().retry, attempts=2)), TWO[1])
    run = asking_model(models=models)
    fail_the_first(run, 2)
    assert asked_of(run) == [("llm_called", "m"), ("llm_called", "m"), ("llm_called", "backup")]
    run = started(models=models, dynamic_instructions=True)
    for _ in range(2):
        run.effects()
        run.put(llm_failed("retryable", model="none", attempt=0))
        fire_timers(run)
    assert run.state.call is not None
    assert run.state.call.failures == 2


def test_a_log_that_leaves_another_model_alone_than_the_one_to_be_asked_is_broken() -> None:
    run = asking_model(models=TWO, breaker=BreakerRule(1, 30.0))
    state = run.states[-2]
    assert state.call is not None
    assert state.call.status == "allowed"
    draft = Draft("circuit_open", {"model": "backup", "model_index": 1, "failures": 1, "cooldown_s": 1.0})
    with pytest.raises(InvariantError, match="is not the one"):
        evolve(state, stamp(state, draft, state.at))


def test_a_spec_of_an_older_version_has_no_breaker() -> None:
    assert msgspec.convert({"agent_name": "a", "models": []}, RunSpec).breaker is None


def test_a_probe_holds_the_others_back_and_keeps_what_is_known() -> None:
    breaker = opened(at=100.0)
    assert called(breaker) == Breaker(3, 100.0, probing=True)
    assert abandoned(called(breaker)) == breaker
    assert failed(called(breaker), RULE, 111.0) == Breaker(4, 111.0)


def test_what_is_said_of_a_model_that_is_not_asked_is_exact() -> None:
    run = asking_model(breaker=BreakerRule(2, 30.0))
    fail_the_first(run, 2)
    run.effects()
    at = run.types.index("circuit_open")
    opened_at = [event.at for event in run.events if event.type == "llm_failed"][-1]
    # What was decided was decided at the moment of the event before.
    cooldown_s = round(30.0 - (run.events[at - 1].at - opened_at).total_seconds(), 6)
    left_alone = run.events[at]
    assert left_alone.data == {"model": "m", "model_index": 0, "failures": 2, "cooldown_s": cooldown_s, "classification": "terminal"}
    said = f"another {cooldown_s:.3g} s; the last attempt failed: no luck"
    assert left_alone.message == f"model 'm' was not asked: 2 failures in a row, and it is left alone for {said}"


def test_what_another_model_failed_at_is_not_said_of_one_that_was_not_asked() -> None:
    run = asking_model(models=TWO, breaker=BreakerRule(1, 3600.0))
    fail_the_first(run, 1)
    answer_model(run, llm_failed("retryable"))
    run.effects()
    first, second = [event for event in run.events if event.type == "circuit_open"][:2]
    assert (first.data["model"], first.data["classification"]) == ("m", "retryable")
    assert first.message.endswith("; the last attempt failed: no luck")
    assert (second.data["model"], second.data["classification"]) == ("backup", "terminal")


def test_a_fallback_that_is_left_alone_says_nothing_of_the_models_before_it() -> None:
    run = asking_model(models=TWO, breaker=BreakerRule(1, 3600.0), attempts=1)
    answer_model(run, llm_failed("retryable"))
    answer_model(run, llm_completed("c", ["look"]))
    run.answer_plainly(CallModel)
    (_, left_alone) = [event for event in run.events if event.type in ("circuit_open", "llm_failed")]
    assert left_alone.data["model"] == "m"
    assert "the last attempt failed" not in left_alone.message, "in this step nobody has failed"


def test_models_that_are_left_alone_in_a_row_have_not_failed_in_this_step() -> None:
    run = asking_model(models=TWO, breaker=BreakerRule(1, 3600.0), llm_failure="retry_then_continue", attempts=1)
    answer_model(run, llm_failed("retryable"))
    answer_model(run, llm_failed("retryable"))
    run.answer_plainly(CallModel)
    left_alone = [event for event in run.events if event.type == "circuit_open"]
    assert [(event.step, event.data["model"]) for event in left_alone] == [(2, "m"), (2, "backup")]
    assert all(event.message.endswith(" s") for event in left_alone)


def test_the_rest_of_a_cooldown_is_told_to_the_microsecond() -> None:
    run = broken_in_two_steps()
    answer_model(run, llm_completed("d", ["look"]))
    run.answer_plainly(CallModel)
    opened_at = next(event.at for event in reversed(run.events) if event.type == "llm_failed")
    at = max(place for place, kind in enumerate(run.types) if kind == "circuit_open")
    passed_s = (run.events[at - 1].at - opened_at).total_seconds()
    assert passed_s > 0
    assert run.events[at].data["cooldown_s"] == round(30.0 - passed_s, 6)
