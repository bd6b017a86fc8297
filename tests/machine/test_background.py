"""Tickets: what is waited for, for how long, how many there may be, and what a run does that would end before its background tools have.

Method: the machine alone, told what happens; time is what the events say.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from afk_es.errors import InvariantError
from afk_es.machine import Draft, RunSpec, decide, fold, initial_state, remembered
from afk_es.machine.admission import admitted
from afk_es.machine.effects import CallModel, ExecuteTool, Wait
from afk_es.machine.state import Failure
from afk_es.machine.tickets import expirations, refused
from tests.machine.simulation import Simulation, control, llm_completed, llm_failed, spec_of, tool_completed
from tests.machine.situations import answer_model, asking_model, executing, state_of

LEGACY = replace(spec_of(), background=None)
MINUTE = dt.timedelta(minutes=1)


def deferral(effect: ExecuteTool, ticket_id: str, **more: Any) -> Draft:
    data = {"tool_name": effect.call.tool_name, "tool_call_id": effect.call.id, "ticket_id": ticket_id}
    return Draft("tool_deferred", {**data, "status": "pending", "summary": None, "resume_hint": None, **more})


def ended(run: Simulation, ticket_id: str, **more: Any) -> Draft:
    """The result of the open ticket of that id."""
    ticket = next(ticket for ticket in run.state.tickets if ticket.ticket_id == ticket_id)
    data = {"tool_name": ticket.tool_name, "tool_call_id": ticket.tool_call_id, "ticket_id": ticket_id, "output": "done"}
    return Draft("tool_background_resolved", {**data, **more})


def deferred(*ticket_ids: str, terms_s: tuple[float, ...] = (), spec: RunSpec | None = None, **changes: Any) -> Simulation:
    """Given a run whose last batch deferred one call per id, each with its term in seconds, or without one."""
    run = executing(["pay"] * len(ticket_ids), spec=spec, **changes)
    terms = terms_s or (None,) * len(ticket_ids)
    for effect, ticket_id, term in zip(run.wanted(ExecuteTool), ticket_ids, terms, strict=True):
        expires = {} if term is None else {"expires_at": (run.now + dt.timedelta(seconds=term)).isoformat()}
        run.answer(effect, deferral(effect, ticket_id, **expires))
    run.effects()
    return run


def answered(*ticket_ids: str, **changes: Any) -> Simulation:
    """Given a run whose model has answered while these tickets are open."""
    run = deferred(*ticket_ids, **changes)
    answer_model(run, llm_completed("d"))
    return run


def waits(run: Simulation) -> list[str]:
    """The timers of the run, but for its deadline."""
    return [effect.timer for effect in run.wanted(Wait) if effect is not run.state.deadline]


def fire(run: Simulation, kind: str) -> None:
    """When the timer of that kind is due."""
    wait = next(effect for effect in run.wanted(Wait) if effect.timer.startswith(kind))
    run.answer(wait, Draft("timer_fired", {"timer": wait.timer}))
    run.effects()


def results(run: Simulation, kind: str) -> list[dict[str, Any]]:
    return [event.data for event in run.events if event.type == kind]


# ----------------------------------------------------------------------------------------------------------------------------- refusals


def test_a_ticket_beyond_the_maximum_fails_its_call_and_is_no_ticket() -> None:
    run = deferred("a", "b", "c", max_pending=2)
    assert [ticket.ticket_id for ticket in run.state.tickets] == ["a", "b"]
    (refused,) = results(run, "tool_completed")
    assert (refused["outcome"], refused["tool_call_id"]) == ("failed", "c-2")
    assert "background_tool_max_pending reached: 2 results" in refused["error"]
    run.put(ended(run, "a"))
    answer_model(run, llm_completed("d", ["pay"]))
    run.answer_plainly(ExecuteTool)
    (effect,) = run.wanted(ExecuteTool)
    run.answer(effect, deferral(effect, "d"))
    assert [ticket.ticket_id for ticket in run.state.tickets] == ["b", "d"]


def test_two_open_tickets_cannot_have_one_id_and_a_closed_one_gives_it_free() -> None:
    run = deferred("same", "same")
    (refused,) = results(run, "tool_completed")
    assert refused["tool_call_id"] == "c-1"
    assert "ticket 'same' is open already" in refused["error"]
    run.put(ended(run, "same"))
    answer_model(run, llm_completed("d", ["pay"]))
    run.answer_plainly(ExecuteTool)
    (effect,) = run.wanted(ExecuteTool)
    run.answer(effect, deferral(effect, "same"))
    assert [ticket.tool_call_id for ticket in run.state.tickets] == ["d-0"]


def test_where_background_tools_are_not_enabled_a_deferral_is_a_failure() -> None:
    run = deferred("a", enabled=False)
    assert run.state.tickets == ()
    assert "background tools are not enabled" in results(run, "tool_completed")[0]["error"]


def test_a_refused_deferral_is_judged_by_the_policy_like_any_failure() -> None:
    assert state_of(deferred("a", enabled=False, tool_failure="fail_run")) == "failed"


def test_a_log_from_before_tickets_could_be_resolved_is_taken_as_it_was() -> None:
    run = deferred("same", "same", spec=LEGACY)
    assert len(run.state.tickets) == 2
    assert waits(run)[0].startswith("expiry:"), "resumed, it waits for them as today's runs do"
    assert remembered(run.state) == run.state.messages


# ------------------------------------------------------------------------------------------------------------------------------- grace


def test_without_grace_the_next_step_begins_at_once() -> None:
    assert deferred("a").state.phase == "model"


def test_with_grace_the_next_step_waits_and_has_the_result() -> None:
    run = deferred("a", grace_s=60)
    assert run.state.phase == "between"
    assert [timer.split(":")[0] for timer in waits(run)] == ["grace", "expiry"]
    run.put(ended(run, "a", output="paid"))
    run.answer_plainly(CallModel)
    (call,) = run.wanted(CallModel)
    assert "paid" in call.messages[-1].content


def test_grace_that_is_over_lets_the_step_begin_and_the_ticket_stays_open() -> None:
    run = deferred("a", grace_s=60)
    before = run.now
    fire(run, "grace")
    assert run.now - before >= MINUTE
    assert (run.state.phase, len(run.state.tickets)) == ("model", 1)
    answer_model(run, llm_completed("d", ["look"]))
    run.answer_plainly(CallModel)
    assert run.state.step == 3, "a batch that deferred nothing waits for nothing, whatever is open from before"


def test_grace_is_for_all_that_the_batch_deferred_and_for_nothing_else() -> None:
    run = deferred("a", "b", grace_s=60)
    run.put(ended(run, "a"))
    assert run.effects()
    assert run.state.phase == "between"
    run.put(ended(run, "b"))
    run.effects()
    assert run.types[-1] == "step_started"


def test_a_result_that_came_before_its_batch_was_over_is_not_waited_for() -> None:
    run = executing(["pay", "look"], grace_s=60)
    pay, look = run.wanted(ExecuteTool)
    run.answer(pay, deferral(pay, "a"))
    run.put(ended(run, "a"))
    run.answer(look, tool_completed(look.call))
    run.effects()
    assert run.state.phase == "model"


def test_a_pause_holds_the_grace_and_a_crash_does_not_lengthen_it() -> None:
    run = deferred("a", grace_s=60)
    (until,) = {effect.until for effect in run.wanted(Wait) if effect.timer.startswith("grace")}
    run.put(control("pause"))
    assert run.effects() == ()
    run.put(control("resume"))
    run.resume()
    (after,) = {effect.until for effect in run.wanted(Wait) if effect.timer.startswith("grace")}
    assert after == until


# ------------------------------------------------------------------------------------------------------------------------------- expiry


def test_a_ticket_expires_when_its_term_is_over_and_the_model_hears_of_it() -> None:
    run = deferred("a", terms_s=(60,))
    run.answer_plainly(CallModel)
    fire(run, "expiry")
    assert run.state.tickets == ()
    (failure,) = results(run, "tool_background_failed")
    assert failure["expired"]
    assert failure["error"] == "it expired: no result came within 60 s"
    assert "it expired" in run.state.notices[0].content


def test_one_timer_stands_for_all_terms_that_end_by_then_and_the_next_follows() -> None:
    run = deferred("late", "a", "b", terms_s=(600, 60, 60))
    run.answer_plainly(CallModel)
    fire(run, "expiry")
    assert [failure["ticket_id"] for failure in results(run, "tool_background_failed")] == ["a"]
    fire(run, "expiry")
    assert [ticket.ticket_id for ticket in run.state.tickets] == ["late"]
    run = deferred("a", "b", terms_s=(60, 59.999))
    fire(run, "expiry")
    assert len(results(run, "tool_background_failed")) == 2
    assert len(results(run, "timer_fired")) == 1


def test_a_clock_that_is_a_hair_early_is_taken_at_its_word() -> None:
    run = deferred("a", terms_s=(60,))
    (timer,) = waits(run)
    run.put(Draft("timer_fired", {"timer": timer}))
    run.effects()
    assert run.state.tickets == ()


def test_a_ticket_without_a_term_has_the_runs_and_a_naive_one_is_in_utc() -> None:
    run = deferred("a", result_ttl_s=60)
    (ticket,) = run.state.tickets
    assert ticket.expires_at - ticket.deferred_at == MINUTE
    run = executing(["pay"])
    (effect,) = run.wanted(ExecuteTool)
    run.answer(effect, deferral(effect, "a", expires_at="2030-01-01T00:00:00"))
    assert run.state.tickets[0].expires_at == dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


def test_a_term_that_is_no_time_is_a_log_that_cannot_be() -> None:
    run = executing(["pay"])
    (effect,) = run.wanted(ExecuteTool)
    with pytest.raises(InvariantError, match="holds what cannot be"):
        run.put(deferral(effect, "a", expires_at="soon"))


def test_the_next_owner_finds_what_has_expired_meanwhile_unless_a_letter_was_quicker() -> None:
    run = answered("a", "b", terms_s=(60, 600), at_end="park")
    assert run.state.status == "interrupted"
    run.now += 2 * MINUTE
    letter = ended(run, "a")
    for posted, kind in ((False, "tool_background_failed"), (True, "tool_background_resolved")):
        again = Simulation(run.spec)
        again.events, again.state, again.now = list(run.events), run.state, run.now
        again.resume()
        if posted:
            again.put(admitted(again.state, letter, 1))
        again.effects()
        assert [data["ticket_id"] for data in results(again, kind)] == ["a"]
        assert [ticket.ticket_id for ticket in again.state.tickets] == ["b"]


def test_a_timer_of_a_ticket_that_has_ended_changes_nothing() -> None:
    run = deferred("a", "b")
    timer = waits(run)[0]
    run.put(ended(run, "a"))
    before = run.effects()
    run.put(Draft("timer_fired", {"timer": timer}))
    assert run.effects() == before


# ---------------------------------------------------------------------------------------------------------------------------- at the end


def test_a_run_that_has_answered_waits_for_its_tickets_and_takes_another_step_with_them() -> None:
    run = answered("a")
    assert (state_of(run), run.state.phase) == ("running", "answered")
    assert waits(run), "it waits, but not for ever"
    assert run.state.deadline in run.effects(), "and the wait counts as running time"
    run.put(ended(run, "a", output="paid"))
    run.answer_plainly(CallModel)
    (call,) = run.wanted(CallModel)
    assert [message.role for message in call.messages][-2:] == ["assistant", "user"]
    assert "paid" in call.messages[-1].content
    answer_model(run, llm_completed("e", text="all done"))
    assert (state_of(run), run.state.answer) == ("completed", "all done")


def test_a_result_that_came_while_the_model_answered_is_told_in_another_step() -> None:
    run = deferred("a")
    run.answer_plainly(CallModel)
    run.put(ended(run, "a"))
    answer_model(run, llm_completed("d"))
    assert (run.state.step, run.state.phase) == (3, "model")


@pytest.mark.parametrize(("at_once", "step"), [(True, 3), (False, 2)])
def test_it_goes_on_with_the_first_result_or_with_the_last(at_once: bool, step: int) -> None:
    run = answered("a", "b", interrupt_on_resolve=at_once)
    run.put(ended(run, "a"))
    run.effects()
    assert run.state.step == step
    if not at_once:
        run.put(ended(run, "b"))
        run.answer_plainly(CallModel)
        assert run.state.step == 3
        assert sum("has ended" in message.content for message in run.state.messages) == 2


def test_a_ticket_that_expires_at_the_end_is_a_result_as_well() -> None:
    run = answered("a")
    fire(run, "expiry")
    answer_model(run, llm_completed("e"))
    assert (state_of(run), run.state.step) == ("completed", 3)


def test_a_run_may_be_laid_down_until_its_tickets_have_ended() -> None:
    run = answered("a", at_end="park")
    assert state_of(run) == "interrupted"
    assert run.state.reason == "waits for background tools: pay (ticket a)"
    run.resume()
    assert state_of(run) == "interrupted"
    run.resume()
    run.put(ended(run, "a"))
    answer_model(run, llm_completed("e"))
    assert state_of(run) == "completed"


def test_a_run_may_end_and_say_what_had_not_ended() -> None:
    run = answered("a", "b", at_end="report")
    assert (state_of(run), run.state.missing) == (
        "degraded",
        ("background tool pay (ticket a) had not ended", "background tool pay (ticket b) had not ended"),
    )


def test_a_run_that_waits_for_nothing_still_takes_a_step_for_what_is_there() -> None:
    run = deferred("a", "b", at_end="report", interrupt_on_resolve=False)
    run.answer_plainly(CallModel)
    run.put(ended(run, "a"))
    answer_model(run, llm_completed("d"))
    assert run.state.step == 3
    answer_model(run, llm_completed("e"))
    assert state_of(run) == "degraded"


@pytest.mark.parametrize("at_end", ["wait", "park"])
def test_without_a_step_left_nothing_is_waited_for(at_end: str) -> None:
    run = answered("a", at_end=at_end, max_steps=2)
    assert state_of(run) == "failed"
    assert run.state.reason.startswith("max_steps reached: 2 of 2 used; there is no step left")
    assert state_of(answered("a", at_end=at_end, max_steps=2, llm_failure="retry_then_degrade")) == "degraded"


def test_reporting_needs_no_step_and_says_what_was_not_told() -> None:
    run = deferred("a", "b", at_end="report", max_steps=2)
    run.answer_plainly(CallModel)
    run.put(ended(run, "a"))
    answer_model(run, llm_completed("d"))
    assert state_of(run) == "degraded"
    assert [sentence.split(";")[0] for sentence in run.state.missing] == [
        "background tool pay (ticket b) had not ended",
        "max_steps reached: 2 of 2 used",
    ]
    run = answered("a", at_end="report", max_steps=2)
    assert run.state.missing == ("background tool pay (ticket a) had not ended",)


def test_limits_hold_over_the_steps_that_results_lead_to() -> None:
    run = answered("a", "b", max_llm_calls=3)
    run.put(ended(run, "a"))
    answer_model(run, llm_completed("e"))
    assert state_of(run) == "failed"
    assert results(run, "limit_reached")[0]["limit"] == "max_llm_calls"


@pytest.mark.parametrize("at_end", ["wait", "park", "report"])
def test_a_paused_run_neither_ends_nor_goes_on(at_end: str) -> None:
    run = deferred("a", at_end=at_end)
    run.answer_plainly(CallModel)
    run.put(control("pause"))
    (call,) = run.wanted(CallModel)
    run.answer(call, llm_completed("d"))
    assert run.effects() == ()
    run.put(ended(run, "a"))
    assert run.effects() == ()
    run.put(control("resume"))
    run.effects()
    assert (run.state.step, run.state.phase) == (3, "model")


@pytest.mark.parametrize(("action", "status"), [("cancel", "cancelled"), ("interrupt", "interrupted")])
def test_a_run_that_waits_can_be_stopped(action: str, status: str) -> None:
    run = answered("a")
    run.put(control(action))
    assert state_of(run) == status


def test_a_wait_that_uses_the_time_up_is_interrupted_and_can_go_on() -> None:
    run = answered("a", max_wall_time_s=30.0)
    assert run.state.deadline is not None
    run.answer(run.state.deadline, Draft("timer_fired", {"timer": run.state.deadline.timer}))
    assert state_of(run) == "interrupted"


def test_a_failing_step_after_the_wait_ends_the_run_as_any_would() -> None:
    run = answered("a", llm_failure="fail_fast")
    run.put(ended(run, "a"))
    answer_model(run, llm_failed("terminal"))
    assert state_of(run) == "failed"


def test_a_structured_answer_is_validated_before_the_wait_and_after_it() -> None:
    run = asking_model(output_schema={"type": "object"})
    answer_model(run, llm_completed("c", ["pay"]))
    run.answer_plainly(ExecuteTool)
    (effect,) = run.wanted(ExecuteTool)
    run.answer(effect, deferral(effect, "a"))
    for text in ("first", "second"):
        answer_model(run, llm_completed("d", text=text))
        (validation,) = (effect for effect in run.effects() if not isinstance(effect, Wait))
        run.answer(validation, Draft("output_validated", {"output": {"text": text}}))
        if text == "first":
            run.put(ended(run, "a"))
    assert (state_of(run), run.state.output) == ("completed", {"text": "second"})


# ------------------------------------------------------------------------------------------------------------------------ what is said


def test_a_letter_must_name_the_call_that_opened_the_ticket() -> None:
    run = deferred("a")
    assert admitted(run.state, ended(run, "a"), 1).type == "tool_background_resolved"
    wrong = admitted(run.state, ended(run, "a", tool_call_id="other"), 1)
    assert "is of tool call 'c-0', and not of 'other'" in wrong.message
    run.put(ended(run, "a"))
    assert "not open" in admitted(run.state, Draft(run.events[-1].type, run.events[-1].data), 2).message


def test_a_thread_remembers_what_had_not_ended() -> None:
    run = answered("a", at_end="report")
    run.effects()
    assert remembered(run.state)[-1].content.startswith("The background tool pay (ticket a) had not ended when this run did")


def test_a_run_with_tickets_folds_to_what_it_was() -> None:
    run = deferred("a", "b", "b", grace_s=60)
    fire(run, "grace")
    answer_model(run, llm_completed("d"))
    run.put(ended(run, "a"))
    run.effects()
    assert fold(initial_state("run_1", "thread_1"), run.events) == run.state
    assert msgspec.to_builtins(run.state.spec)["background"] == {"grace_s": 60}


def test_a_run_whose_tickets_all_have_ended_waits_for_nothing_more() -> None:
    run = answered("a", "b")
    run.put(ended(run, "a"), ended(run, "b"))
    answer_model(run, llm_completed("e"))
    assert (state_of(run), decide(run.state).effects) == ("completed", ())


# ------------------------------------------------------------------------------------------------------------------------- word by word


def test_why_a_deferral_is_refused_is_exact() -> None:
    open_ones = deferred("t1").state
    assert refused(open_ones, "t2") is None
    taken = "ticket 't1' is open already, and names other work; each call needs a ticket of its own"
    assert refused(open_ones, "t1") == Failure(taken, "DeferralRefused")
    full = "background_tool_max_pending reached: 1 results are waited for; this call's will not be taken"
    assert refused(deferred("t1", max_pending=1).state, "t2") == Failure(full, "LimitReached")
    never = "background tools are not enabled here (background_tools_enabled), and this tool deferred its result"
    assert refused(asking_model(enabled=False).state, "t1") == Failure(never, "DeferralRefused")
    assert refused(replace(open_ones, spec=LEGACY), "t1") is None


@pytest.mark.parametrize(("term_s", "said"), [(0.04, "0.0"), (9.94, "9.9"), (10.0, "10"), (10.4, "10"), (3600.0, "3600")])
def test_an_expired_ticket_says_how_long_it_was_waited_for(term_s: float, said: str) -> None:
    run = deferred("t1", terms_s=(60.0,))
    (ticket,) = run.state.tickets
    over = replace(ticket, expires_at=ticket.deferred_at + dt.timedelta(seconds=term_s), expired=True)
    error = f"it expired: no result came within {said} s"
    data = {"tool_name": "pay", "tool_call_id": "c-0", "ticket_id": "t1", "error": error, "expired": True}
    assert expirations(replace(run.state, tickets=(over, ticket))) == (Draft("tool_background_failed", data, error),)


def test_half_a_second_of_grace_is_grace() -> None:
    run = deferred("t1", grace_s=0.5)
    assert [timer.split(":")[0] for timer in waits(run)] == ["grace", "expiry"]


def test_a_run_that_is_laid_down_names_all_it_waits_for() -> None:
    run = answered("t1", "t2", at_end="park")
    assert run.state.reason == "waits for background tools: pay (ticket t1), pay (ticket t2)"
