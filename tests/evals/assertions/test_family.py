"""A run and its subagents' runs as one: which they are, and that all of their events are seen, however many there are."""

from __future__ import annotations

from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.evals.assertions import family
from afk_es.evals.assertions.call_pattern import call
from afk_es.evals.assertions.calls import calls_of
from afk_es.evals.assertions.family import events_of, members
from afk_es.evals.assertions.temporal import at_most
from afk_es.evals.evidence import Evidence
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.log.memory import MemoryEventLog
from tests.debugger.recorded import agent, asks, cut_after, look, recorded, says
from tests.evals.evidences import ran

LOOK = ("look", {"order": 1})


async def nested() -> Evidence:
    """boss -> two helpers side by side -> each a deeper one; every one looks once, the boss last."""

    def named(name: str, *script: Any, **fields: Any) -> Agent:
        return agent(*script, **fields).model_copy(update={"name": name})

    def looks_once(request: LLMRequest) -> LLMResponse:
        return says("seen") if request.messages[-1].role == "tool" else asks(LOOK)

    deep = named("deep", *[looks_once] * 4, tools=(look,))
    helpers = [
        named(name, asks(("transfer_to_deep", {"task": "look"})), asks(LOOK), says("done"), tools=(look,), subagents=(deep,))
        for name in ("left", "right")
    ]
    both = asks(("transfer_to_left", {"task": "a"}), ("transfer_to_right", {"task": "b"}))
    return await ran(agent(both, asks(LOOK), says("done"), subagents=tuple(helpers)))


async def test_a_family_is_a_run_and_all_below_it_each_behind_what_started_it() -> None:
    evidence = await nested()
    found = await members(evidence.log, evidence.run_id, subagents=True)
    assert [len(member.path) for member in found] == [0, 1, 2, 1, 2]
    assert found[0].run_id == evidence.run_id
    assert [member.path for member in found] == sorted(member.path for member in found)
    assert await members(evidence.log, evidence.run_id, subagents=False) == found[:1]


async def test_calls_of_a_family_are_in_the_order_in_which_they_were_asked_for() -> None:
    evidence = await nested()
    calls = await calls_of(evidence.log, evidence.run_id, subagents=True)
    assert [(each.agent, each.tool_name) for each in calls] == [
        ("desk", "transfer_to_left"),
        ("desk", "transfer_to_right"),
        ("left", "transfer_to_deep"),
        ("deep", "look"),
        ("left", "look"),
        ("right", "transfer_to_deep"),
        ("deep", "look"),
        ("right", "look"),
        ("desk", "look"),
    ]


async def test_a_subagent_that_was_announced_and_never_began_is_no_member() -> None:
    helper = agent(asks(LOOK), says("seen"), tools=(look,)).model_copy(update={"name": "helper"})
    whole = await recorded(agent(asks(("transfer_to_helper", {"task": "look"})), says("done"), subagents=(helper,)))
    cut = await cut_after(whole, "subagent_started")
    assert [member.run_id for member in await members(cut.log, cut.run_id, subagents=True)] == [cut.run_id]


async def test_all_events_are_seen_also_of_runs_that_are_too_long_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = await nested()
    claim = at_most(0, call("look"), subagents=True)
    held = await claim.check(evidence)
    monkeypatch.setattr(family, "LONGEST", 0)
    monkeypatch.setattr(family, "PAGE", 3)
    assert await claim.check(evidence) == held
    assert [event async for event in events_of(evidence.log, evidence.run_id)] == await evidence.log.read(evidence.run_id)


async def test_a_log_without_the_run_has_no_events() -> None:
    log = MemoryEventLog()
    await log.open()
    assert [event async for event in events_of(log, "nobody")] == []
