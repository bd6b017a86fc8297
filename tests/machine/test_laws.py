"""The laws of the machine, over simulated runs whose every answer, order, intrusion and crash Hypothesis chooses."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from afk_es.errors import InvariantError
from afk_es.machine import (
    EVENT_TYPES,
    LEGAL,
    AgentRunEvent,
    Draft,
    RunSpec,
    RunState,
    decide,
    endings,
    evolve,
    fold,
    initial_state,
    remembered,
    stamp,
)
from afk_es.machine.effects import CallModel, ExecuteTool
from afk_es.machine.events import TERMINAL
from afk_es.machine.legality import CALL_LEGAL, COMPACTION_LEGAL, TURN_LEGAL
from afk_es.machine.requests import facets_of, model_request, request_hash
from afk_es.machine.spec import POLICIES, BreakerRule, FailurePolicy, ModelSpec, Retention
from afk_es.machine.state import ToolBatch, ToolTurn
from afk_es.machine.values import Message, Messages, digest_json
from tests.machine.simulation import Hashed, Simulation, T, answers_to, spec_of

INTRUDERS = ("crash", "pause", "resume", "interrupt", "cancel", "result")


class Drawn:
    """Hypothesis chooses, so a failing run shrinks to the plainest one."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def pick(self, key: str, options: Sequence[T]) -> T:
        """One of the options, most often the first, the plain one, so that runs get far; shrinks towards it."""
        return options[max(0, self._data.draw(st.integers(-2 * len(options), len(options) - 1)))]


@st.composite
def retentions(draw: st.DrawFn) -> Retention:
    """Small ones, so that conversations outgrow them."""
    tokens, messages, turns = draw(st.sampled_from([(None, 3, None), (None, 6, None), (60, None, None), (200, None, 1)]))
    kind: Literal["drop", "function"] = draw(st.sampled_from(["function", "drop"]))
    share = draw(st.sampled_from([0.5, 1.0]))
    return Retention(tokens, messages, turns, share, draw(st.integers(0, 1)), kind, "s")


@st.composite
def specs(draw: st.DrawFn) -> RunSpec:
    """Agents with every policy, mode and kind of limit."""
    policies = st.sampled_from(list(POLICIES))
    fallbacks = st.sampled_from(["allow", "deny", "defer"])
    return spec_of(
        models=(ModelSpec("m", "p"), ModelSpec("backup", "p"))[: draw(st.integers(1, 2))],
        dynamic_instructions=draw(st.booleans()),
        output_schema=draw(st.sampled_from([None, {"type": "object"}])),
        max_steps=draw(st.integers(1, 6)),
        max_llm_calls=draw(st.integers(1, 9)),
        max_tool_calls=draw(st.integers(0, 15)),
        max_parallel_tools=draw(st.integers(1, 3)),
        max_total_cost_usd=draw(st.sampled_from([None, None, None, 1.0])),
        max_wall_time_s=draw(st.sampled_from([None, 300.0, 1.0])),
        llm_failure=draw(policies),
        tool_failure=draw(policies),
        subagent_failure=draw(policies),
        join_policy=draw(st.sampled_from(["all_required", "allow_optional_failures", "first_success", "quorum"])),
        routed=draw(st.sampled_from([False, False, True])),
        max_parallel=draw(st.integers(1, 3)),
        max_subagent_fanout_per_step=draw(st.integers(1, 4)),
        max_subagent_depth=draw(st.sampled_from([3, 3, 0])),
        approval_denial=draw(policies),
        attempts=draw(st.integers(1, 3)),
        breaker=draw(st.sampled_from([None, BreakerRule(1, 0.5), BreakerRule(2, 0.0), BreakerRule()])),
        mode=draw(st.sampled_from(["headless", "interactive", "external"])),
        approval_fallback=draw(fallbacks),
        input_fallback=draw(fallbacks),
        in_doubt=draw(st.sampled_from(["report", "ask", "retry"])),
        retention=draw(st.none() | retentions()),
        enabled=draw(st.sampled_from([True, True, True, False])),
        grace_s=draw(st.sampled_from([0.0, 30.0])),
        max_pending=draw(st.sampled_from([1, 256])),
        interrupt_on_resolve=draw(st.booleans()),
        at_end=draw(st.sampled_from(["wait", "park", "report"])),
    )


@st.composite
def runs(draw: st.DrawFn) -> Simulation:
    """Ended runs, with whatever may intrude."""
    simulation = Simulation(draw(specs()))
    simulation.start()
    simulation.run(Drawn(draw(st.data())), INTRUDERS)
    if simulation.state.status == "interrupted" and draw(st.booleans()):
        simulation.resume()
        simulation.run(Drawn(draw(st.data())), INTRUDERS)
    if simulation.state.status == "failed" and draw(st.booleans()):
        simulation.reopen()
        simulation.run(Drawn(draw(st.data())), INTRUDERS)
    return simulation


@given(runs())
@settings(max_examples=250)
def test_every_run_ends_with_one_terminal_event_last_in_each_stretch_and_never_stands_still(run: Simulation) -> None:
    # `Simulation` itself asserts that no state is dead, that decide answers twice alike, and that every event has its declared shape.
    stretches = 0
    for event, following in itertools.zip_longest(run.events, run.events[1:]):
        if event.type in TERMINAL:
            stretches += 1
            assert following is None or following.type == "run_started"
    assert run.events[-1].type in TERMINAL
    assert stretches <= run.types.count("run_started")


@given(runs())
@settings(max_examples=250)
def test_limits_hold_exactly(run: Simulation) -> None:
    limits = run.spec.limits
    assert run.types.count("llm_called") <= limits.max_llm_calls
    assert run.types.count("tool_started") + run.types.count("subagent_started") <= limits.max_tool_calls
    assert run.types.count("step_started") <= limits.max_steps
    for before, event in zip(run.states, run.events, strict=False):
        if event.type in ("llm_called", "tool_started", "subagent_started") and limits.max_total_cost_usd is not None:
            assert before.cost_usd < limits.max_total_cost_usd, "a call was made after the money was spent"
        if before.batch is not None and event.type == "tool_started":
            occupied = sum(turn.status in ("running", "backoff") and turn.child is None for turn in before.batch.turns)
            assert occupied < limits.max_parallel_tools
        if before.batch is not None and event.type == "subagent_started":
            assert run.spec.delegation is not None
            taken = sum(turn.status in ("running", "cancelling", "backoff") for turn in before.batch.turns if turn.child is not None)
            again = next(turn for turn in before.batch.turns if turn.call.id == event.data["tool_call_id"]).status == "backoff"
            assert taken - again < run.spec.delegation.max_parallel
        if event.type in ("llm_called", "tool_started", "subagent_started"):
            assert not before.overdue, "a call was made after the time was up"


@given(runs())
@settings(max_examples=250)
def test_a_model_is_left_alone_after_its_failures_in_a_row_and_only_then(run: Simulation) -> None:
    rule = run.spec.breaker
    row: Counter[int] = Counter()
    last: dict[int, float] = {}
    asked = 0
    for before, event in zip(run.states, run.events, strict=False):
        data, now = event.data, before.at.timestamp()
        match event.type:
            case "llm_called" | "circuit_open":
                asked = data["model_index"]
                cooling = rule is not None and row[asked] >= rule.failures and now < last[asked] + rule.cooldown_s
                assert cooling == (event.type == "circuit_open")
            case "llm_completed":
                row[asked] = 0
            case "run_started" if data.get("reopened"):
                row.clear()
            case "llm_failed" if data["classification"] == "retryable" and data["model"] != "none":
                row[asked] += 1
                last[asked] = event.at.timestamp()
            case _:
                pass


@given(runs())
def test_every_intent_has_at_most_one_result_and_nothing_that_returned_runs_again(run: Simulation) -> None:
    started: Counter[tuple[int, str]] = Counter()
    over: set[tuple[int, str]] = set()
    batch = asking = 0
    for after, event in zip(run.states[1:], run.events, strict=True):
        match event.type:
            case "tool_batch_started" | "subagents_routed":
                batch = event.seq
            case "tool_deferred" if after.batch is not None and turn_named(after.batch, event).status == "failed":
                pass  # The deferral was refused, so the call's end is still to come.
            case "tool_started" | "subagent_started":
                key = (batch, event.data["tool_call_id"])
                assert key not in over, "a finished call was started again"
                started[key] += 1
                assert event.data["attempt"] == started[key]
            case "tool_completed" | "tool_deferred":
                key = (batch, event.data["tool_call_id"])
                assert key not in over, "a call has two results"
                over.add(key)
            case "llm_called":
                asking += 1
                assert event.data["ordinal"] == asking
            case _:
                pass


def turn_named(batch: ToolBatch, event: AgentRunEvent) -> ToolTurn:
    """The call that the event is about."""
    turn = batch.find(event.data["tool_call_id"])
    assert turn is not None
    return turn


@given(runs(), st.data())
def test_folding_in_pieces_is_folding_at_once_and_json_changes_nothing(run: Simulation, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(run.events)))
    empty = initial_state("run_1", "thread_1")
    head = fold(empty, run.events[:cut])
    assert head == run.states[cut]
    assert fold(head, run.events[cut:]) == run.state
    stored = msgspec.json.decode(msgspec.json.encode(run.events), type=list[AgentRunEvent])
    assert fold(empty, stored) == run.state


@given(runs(), st.data())
def test_an_unknown_type_changes_nothing_but_the_position(run: Simulation, data: st.DataObject) -> None:
    state = run.states[data.draw(st.integers(0, len(run.events)))]
    event = stamp(state, Draft("from_the_future", {"what": "ever"}), state.at)
    assert evolve(state, event) == replace(state, seq=state.seq + 1)


@given(runs(), st.data())
def test_older_states_are_left_alone_by_newer_ones_and_by_forks(run: Simulation, data: st.DataObject) -> None:
    seen = [list(state.messages) for state in run.states]
    digests = [state.messages.digest() for state in run.states]
    fork = Simulation(run.spec)
    fork.state = run.states[data.draw(st.integers(1, len(run.events)))]
    if not fork.state.ended:
        fork.resume()
        fork.run(Hashed(7))
    assert [list(state.messages) for state in run.states] == seen
    for state, messages, digest in zip(run.states, seen, digests, strict=True):
        assert Messages(messages).digest() == state.messages.digest() == digest


@given(runs())
def test_every_answer_that_an_effect_may_end_in_is_accepted_wherever_the_effect_appears(run: Simulation) -> None:
    for state in run.states[:: max(1, len(run.states) // 12)]:
        for effect in decide(state).effects:
            drafts = answers_to(state, effect)
            assert {draft.type for draft in drafts} == set(endings(effect)), "the simulation answers with everything that is allowed"
            for draft in drafts:
                evolve(state, stamp(state, draft, state.at))


@given(runs())
def test_what_is_remembered_answers_every_tool_call_once_and_in_order(run: Simulation) -> None:
    for state in run.states:
        pending: list[str] = []
        for message in remembered(state):
            if message.role == "tool":
                assert message.tool_call_id == pending.pop(0)
            else:
                assert not pending
                pending = [call.id for call in message.tool_calls]
        assert not pending


@given(runs())
def test_whatever_is_compacted_the_model_is_shown_a_legal_conversation_with_the_request(run: Simulation) -> None:
    for before, event in zip(run.states, run.events, strict=False):
        if event.type == "llm_called":
            assert Message("user", "Hello") in before.messages
            pending: list[str] = []
            for message in before.messages:
                if message.role == "tool":
                    assert message.tool_call_id == pending.pop(0)
                else:
                    assert not pending
                    pending = [call.id for call in message.tool_calls]
            assert not pending


@given(runs())
def test_a_request_is_rebuilt_from_the_log_and_its_hash_proves_it(run: Simulation) -> None:
    for before, event in zip(run.states, run.events, strict=False):
        if event.type == "llm_called":
            request = model_request(before, event.data["model_index"])
            facets = replace(facets_of(before.spec), instructions=digest_json(request.instructions))
            rebuilt = replace(before, facets=facets, messages=Messages(list(request.messages)))
            assert event.data["request_hash"] == request.hash == request_hash(rebuilt, event.data["model"])


TOLERANT: tuple[FailurePolicy, ...] = ("continue_with_error", "retry_then_continue", "degrade", "retry_then_degrade")


@given(st.integers(0, 10**6), st.sampled_from(TOLERANT), st.sampled_from(TOLERANT), st.data())
def test_a_run_killed_anywhere_and_resumed_reaches_the_result_of_the_unkilled_one(
    seed: int, tool_failure: FailurePolicy, llm_failure: FailurePolicy, data: st.DataObject
) -> None:
    # Failures here do not stop siblings, and limits leave room for what is done twice: those two do depend on the order of things.
    spec = spec_of(
        in_doubt="retry",
        mode="interactive",
        models=(ModelSpec("m", "p"), ModelSpec("backup", "p")),
        max_steps=4,
        dynamic_instructions=bool(seed % 2),
        output_schema={"type": "object"} if seed % 3 == 0 else None,
        tool_failure=tool_failure,
        llm_failure=llm_failure,
        subagent_failure=tool_failure,
        join_policy="allow_optional_failures",
        routed=seed % 5 == 0,
        tools=tuple(msgspec.structs.replace(tool, raise_on_error=False) for tool in spec_of().tools),
        retention=Retention(max_messages=3 + seed % 5, summariser="function", name="s") if seed % 5 else None,
    )
    whole = Simulation(spec, patient=True)
    whole.start()
    whole.run(Hashed(seed))

    # A person here is asked again about what was put off when somebody takes the run up again, so there the two runs part.
    assume(not any(put_off(event) for event in whole.events))

    killed = Simulation(spec, patient=True)
    killed.events = whole.events[: data.draw(st.integers(1, len(whole.events) - 1))]
    killed.state = fold(killed.state, killed.events)
    killed.now = killed.state.at
    killed.resume()
    killed.run(Hashed(seed))

    assert outcome(killed.state) == outcome(whole.state)
    returned = [event.data["tool_call_id"] for event in killed.events if event.type == "tool_completed"]
    assert Counter(returned) == Counter(event.data["tool_call_id"] for event in whole.events if event.type == "tool_completed")


def put_off(event: AgentRunEvent) -> bool:
    """Whether a question is left for later, by a rule or by a person."""
    return event.data.get("action") == "defer" or (event.type.endswith("_resolved") and event.data.get("outcome") == "deferred")


def outcome(state: RunState) -> dict[str, Any]:
    """What a caller sees of a run."""
    named = (
        "status",
        "phase",
        "step",
        "answer",
        "output",
        "missing",
        "fault",
        "reason",
        "cost_usd",
        "usage",
        "tool_requests",
        "instructions",
    )
    tickets = sorted(ticket.ticket_id for ticket in state.tickets)
    return {name: getattr(state, name) for name in named} | {"messages": list(state.messages), "tickets": tickets}


@given(st.lists(st.integers(0, 4), min_size=2, max_size=4), st.sampled_from(list(POLICIES)))
def test_who_finishes_first_makes_no_difference(answers: list[int], tool_failure: FailurePolicy) -> None:
    run = Simulation(spec_of(tool_failure=tool_failure, subagent_failure=tool_failure))
    run.start()
    run.answer_plainly(CallModel)
    (model,) = run.wanted(CallModel)
    names = ("look", "pay", "strict", "pay")[: len(answers)]
    calls = [{"id": f"{name}-{place}", "tool_name": name, "arguments": {}} for place, name in enumerate(names)]
    run.put(Draft("llm_completed", {**answers_to(run.state, model)[0].data, "tool_calls": calls, "tool_call_count": len(calls)}))
    run.answer_plainly(ExecuteTool)
    executions = run.wanted(ExecuteTool)
    drafts = [answers_to(run.state, effect)[answer] for effect, answer in zip(executions, answers, strict=True)]
    # Retries are timed by the seq of the failure, so a permutation moves them; what does not retry must come out the same to the last bit.
    drafts = [draft for draft in drafts if draft.data.get("classification") != "retryable"]
    ends = set()
    for order in itertools.permutations(drafts):
        state = run.state
        for draft in order:
            state = evolve(state, stamp(state, draft, state.at))
        ends.add(repr(state))
    assert len(ends) == 1


def test_every_declared_type_is_folded_or_never_stored_and_every_table_knows_only_declared_types() -> None:
    legal = frozenset().union(*LEGAL.values())
    assert legal == {name for name, row in EVENT_TYPES.items() if row.stored}
    assert set(CALL_LEGAL) | set(TURN_LEGAL) | set(COMPACTION_LEGAL) <= legal
    for name in sorted(set(EVENT_TYPES) - legal):
        state = initial_state("r", "t")
        with pytest.raises(InvariantError, match="never stored"):
            evolve(state, stamp(state, Draft(name, {}), state.at))
