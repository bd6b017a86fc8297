"""What each model used up: the parts add up to what the run's state says of the whole, whatever happened to it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from afk_es.machine import AgentRunEvent
from afk_es.machine.values import Usage
from afk_es.views import ModelUse, overview, usage_by_model
from tests.machine.simulation import Hashed, Simulation, llm_completed, llm_failed, spec_of
from tests.machine.situations import answer_model, asking_model, fire_timers
from tests.views.runs import eventful
from tests.views.test_metrics import answered, called, failed, fork, started, story

USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


@pytest.mark.parametrize("seed", range(30))
def test_the_parts_add_up_to_the_whole(seed: int) -> None:
    run = Simulation(spec_of(in_doubt="retry", max_steps=5, llm_failure="retry_then_continue"))
    run.start()
    run.run(Hashed(seed), ("crash", "pause", "resume"))
    uses = usage_by_model(run.events)
    assert sum(use.requests for use in uses.values()) == run.state.llm_calls
    assert sum(use.answers for use in uses.values()) == run.types.count("llm_completed")
    costs = [use.cost_usd for use in uses.values() if use.cost_usd is not None]
    assert bool(costs) == run.state.cost_known
    assert sum(costs) == pytest.approx(float(run.state.cost_usd))


def test_retries_hits_and_tokens_of_the_providers_cache_are_told_apart() -> None:
    run = asking_model()
    answer_model(run, llm_failed("retryable"))
    fire_timers(run)
    answer_model(run, llm_completed("c", ["look"], usage={**USAGE, "cache_read_tokens": 8}, cost_usd=0.1))
    answer_model(run, llm_completed("d", ["look"], usage=USAGE, cost_usd=0.2))
    answer_model(run, llm_completed("e", usage=dict.fromkeys(USAGE, 0), cost_usd=0.0, cached=True))
    assert usage_by_model(run.events) == {"m": ModelUse(4, 3, 1, run.state.usage, 8, 0.3)}


async def test_a_run_at_a_glance_tells_it_too() -> None:
    events = await eventful()
    assert overview(events).spending == usage_by_model(events)


async def test_a_whole_run_has_one_row_for_its_one_model() -> None:
    events = await eventful()
    (use,) = usage_by_model(events).values()
    assert use.requests == sum(event.type == "llm_called" for event in events)
    assert usage_by_model([]) == {}


def begun(*, asked: bool) -> list[AgentRunEvent]:
    """A fork's events as far as its first own one: of a run with one answer, and with another request under way where that is said."""
    usage = (10, 2)
    facts = [(0.0, "run_started", started()), (1.0, "llm_called", called()), (2.0, "llm_completed", answered(usage=usage))]
    under_way = [(3.0, "llm_called", called())] if asked else []
    return story(*facts, *under_way, (9.0, "run_started", fork()))


def then(events: list[AgentRunEvent], *facts: tuple[str, dict[str, Any]]) -> list[AgentRunEvent]:
    """The events, and these after them."""
    last = events[-1]
    return [*events, *(replace(last, type=kind, data=data, seq=last.seq + n) for n, (kind, data) in enumerate(facts, start=1))]


def test_what_a_fork_shares_is_the_other_runs_and_what_it_asks_is_its_own() -> None:
    assert usage_by_model(begun(asked=False)) == {}
    own = then(begun(asked=False), ("llm_called", called(index=1)), ("llm_completed", answered(usage=(1, 1), cost=None)))
    assert usage_by_model(own) == {"m1": ModelUse(1, 1, 0, Usage(1, 1, 2), 0, None)}


def test_a_request_under_way_at_a_fork_counts_where_it_is_answered_there_and_not_where_it_is_asked_anew() -> None:
    assert usage_by_model(begun(asked=True)) == {"m0": ModelUse(requests=1)}
    answered_there = then(begun(asked=True), ("llm_completed", answered(usage=(1, 1), cost=0.5)))
    assert usage_by_model(answered_there) == {"m0": ModelUse(1, 1, 0, Usage(1, 1, 2), 0, 0.5)}
    anew = then(begun(asked=True), ("llm_called", called(index=1)), ("llm_failed", failed()))
    assert usage_by_model(anew) == {"m1": ModelUse(requests=1)}


@pytest.mark.parametrize(("kind", "data"), [("llm_completed", answered()), ("llm_failed", failed())])
def test_what_a_fork_reuses_is_not_counted_again(kind: str, data: dict[str, Any]) -> None:
    assert usage_by_model(then(begun(asked=True), (kind, data | {"reused": 4}))) == {}
    twice = then(begun(asked=True), (kind, data | {"reused": 4}), ("llm_called", called()), ("llm_failed", failed()))
    assert usage_by_model(twice) == {"m0": ModelUse(requests=1)}
