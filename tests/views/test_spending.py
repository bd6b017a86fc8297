"""What each model used up: the parts add up to what the run's state says of the whole, whatever happened to it."""

from __future__ import annotations

import pytest

from afk_es.views import ModelUse, overview, usage_by_model
from tests.machine.simulation import Hashed, Simulation, llm_completed, llm_failed, spec_of
from tests.machine.situations import answer_model, asking_model, fire_timers
from tests.views.runs import eventful

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
