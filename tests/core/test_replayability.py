"""Which recorded runs can be run again on their answers: one predicate, with a reason and a way out for each that cannot."""

from __future__ import annotations

import msgspec
import pytest

from afk_es.core.replayability import unreplayable
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import AgentRunEvent
from tests.evals.recorded import desk, ran


@pytest.fixture
async def events() -> list[AgentRunEvent]:
    """A run that has ended."""
    log = MemoryEventLog()
    await log.open()
    return await log.read(await ran(log, desk()))


def test_a_run_that_has_ended_can_be_replayed(events: list[AgentRunEvent]) -> None:
    assert unreplayable(events) is None


def test_one_that_has_not_is_to_be_resumed_unless_it_is_a_part_of_another(events: list[AgentRunEvent]) -> None:
    assert f"afk-es resume {events[0].run_id}" in (unreplayable(events[:-1]) or "")
    assert unreplayable(events[:-1], part=True) is None
    assert unreplayable([]) is not None


def test_one_that_another_agent_went_on_with_is_refused_with_what_changed(events: list[AgentRunEvent]) -> None:
    spec = {**events[0].data["agent"], "instructions": "Be rude."}
    resumed = msgspec.structs.replace(events[1], type="run_started", data={**events[0].data, "resumed": True, "agent": spec})
    reason = unreplayable([events[0], resumed, *events[2:]])
    assert reason is not None
    assert "another agent went on with it at seq 2" in reason
    assert "instructions" in reason


def test_one_in_which_a_person_decided_about_an_effect_in_doubt_is_refused(events: list[AgentRunEvent]) -> None:
    asked = msgspec.structs.replace(events[4], type="effect_in_doubt", data={"effect": "tool", "intent_seq": 4, "resolution": "ask"})
    assert "a person decided" in (unreplayable([*events[:4], asked, *events[5:]]) or "")
