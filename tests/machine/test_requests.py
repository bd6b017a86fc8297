"""What a request's hash is made of, and its very value: logs of every version hold it, so it is the same for ever."""

from __future__ import annotations

import datetime as dt

import pytest
from msgspec.structs import replace

from afk_es.machine import Draft, initial_state, remembered, stamp
from afk_es.machine.effects import AskPerson, Wait, endings
from afk_es.machine.requests import ModelRequest, facets_of, model_request, request_hash
from afk_es.machine.spec import Limits, ModelSpec, RunSpec, ToolSpec
from afk_es.machine.state import Facets, Failure, RunState, Ticket, ToolTurn
from afk_es.machine.values import Message, Messages, ToolCall, digest_json
from tests.machine.simulation import llm_completed
from tests.machine.situations import answer_model, asking_model, executing
from tests.machine.test_background import deferred

LOOK = ToolSpec("look", "reads", {"type": "object"}, read_only=True)
SPEC = RunSpec(
    "agent",
    (ModelSpec("m", "p"), ModelSpec("backup", "q")),
    "Be brief.",
    tools=(LOOK,),
    parameters={"temperature": 0.5},
    output_schema={"type": "object"},
)


def asking(spec: RunSpec = SPEC) -> RunState:
    messages = Messages([Message("user", "Hello")])
    return RunState("run_1", "thread_1", spec=spec, facets=facets_of(spec), instructions="Be brief.", messages=messages)


def test_the_facets_are_digests_of_what_the_model_sees_of_the_agent() -> None:
    tools = digest_json([["look", "reads", {"type": "object"}]])
    parameters = digest_json([{"temperature": 0.5}, {"type": "object"}])
    assert facets_of(SPEC) == Facets(tools, parameters, digest_json("Be brief."))


def test_a_request_has_all_that_is_sent_and_the_hash_of_it() -> None:
    state = asking()
    hashed = digest_json([*("backup", state.facets.instructions, state.facets.tools, state.facets.parameters), state.messages.digest()])
    sent = ModelRequest("backup", "Be brief.", state.messages, (LOOK,), {"temperature": 0.5}, {"type": "object"}, hashed)
    assert model_request(state, 1) == sent
    assert model_request(state).model == "m"


def test_the_hash_is_what_it_was_in_every_version() -> None:
    assert request_hash(asking(), "m") == "6941a45442e0603ada7bb9d1c9c0af09"


@pytest.mark.parametrize(
    "other",
    [
        replace(SPEC, tools=(replace(LOOK, name="watch"),)),
        replace(SPEC, tools=(replace(LOOK, description="writes"),)),
        replace(SPEC, tools=(replace(LOOK, parameters={}),)),
        replace(SPEC, parameters={}),
        replace(SPEC, output_schema=None),
        replace(SPEC, instructions="Be long."),
    ],
)
def test_what_the_model_sees_changes_the_hash(other: RunSpec) -> None:
    assert request_hash(asking(other), "m") != request_hash(asking(), "m")


def test_what_the_model_does_not_see_leaves_the_hash_alone() -> None:
    unseen = replace(SPEC, agent_name="b", tools=(replace(LOOK, read_only=False, timeout_s=3.0),), limits=Limits(max_steps=1))
    assert request_hash(asking(unseen), "m") == request_hash(asking(), "m")


# ------------------------------------------------------------------------------------------------------------ what a thread remembers


NOT_RUN = "This call was not run: the run ended before it."
CUT = "This call was started, and the run ended before it returned; it may or may not have taken effect."


def test_calls_that_were_asked_for_and_never_begun_were_not_run() -> None:
    run = asking_model()
    run.put(llm_completed("c", ["look", "pay"]))
    assert list(remembered(run.state))[2:] == [Message("tool", NOT_RUN, (), "c-0"), Message("tool", NOT_RUN, (), "c-1")]


@pytest.mark.parametrize(
    ("status", "in_doubt", "failed", "told"),
    [
        ("done", False, False, "what it said"),
        ("done", True, True, "what it said"),
        ("running", False, False, CUT),
        ("in_doubt", False, True, CUT),
        ("parked", False, False, CUT),
        ("cancelling", False, False, CUT),
        ("approval", True, False, CUT),
        ("backoff", False, True, "This call failed: no luck"),
        ("waiting", False, False, NOT_RUN),
        ("asking", False, False, NOT_RUN),
    ],
)
def test_each_call_of_a_batch_that_did_not_end_is_told_of_by_how_far_it_came(status: str, in_doubt: bool, failed: bool, told: str) -> None:
    run = executing(["look"])
    assert run.state.batch is not None
    failure = Failure("no luck", "E") if failed else None
    turn = ToolTurn(1, ToolCall("c-0", "look", {}), status, in_doubt=in_doubt, failure=failure, content="what it said")  # type: ignore[arg-type]
    state = replace(run.state, batch=run.state.batch.with_turn(turn))
    assert list(remembered(state))[-1] == Message("tool", told, (), "c-0")


def test_open_tickets_are_told_of_after_everything_else() -> None:
    run = deferred("t1")
    answer_model(run, llm_completed("d", ["look"]))
    ticket = Ticket("t2", "watch", "c-9", 3, run.now, run.now)
    state = replace(run.state, tickets=(*run.state.tickets, ticket), notices=(Message("user", "news"),))
    open_one = "The background tool {} (ticket {}) had not ended when this run did; its result did not reach this conversation."
    assert list(remembered(state))[-3:] == [
        Message("user", "news"),
        Message("user", open_one.format("pay", "t1")),
        Message("user", open_one.format("watch", "t2")),
    ]
    settled = asking_model().state
    assert remembered(settled) is settled.messages


# -------------------------------------------------------------------------------------------------------------------- small certainties


def test_time_never_goes_back_within_a_run() -> None:
    state = asking_model().state
    earlier, later = state.at - dt.timedelta(hours=1), state.at + dt.timedelta(hours=1)
    assert stamp(state, Draft("warning", {}), earlier).at == state.at
    assert stamp(state, Draft("warning", {}), later).at == later
    assert stamp(initial_state("r", "t"), Draft("run_started", {}), later).seq == 1


@pytest.mark.parametrize("kind", ["approval", "input"])
def test_a_question_ends_in_an_answer_of_its_kind_or_in_a_warning(kind: str) -> None:
    assert endings(AskPerson("ask:3", 3, kind, {})) == {f"{kind}_resolved", "warning"}  # type: ignore[arg-type]
    assert endings(Wait("w", "w", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))) == {"timer_fired"}
