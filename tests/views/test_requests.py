"""The exact request of any past model call can be rebuilt, and its hash proves it."""

from __future__ import annotations

import msgspec
import pytest

from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import Runner
from afk_es.core.history import ThreadMemory
from afk_es.errors import UsageError
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.log.memory import MemoryEventLog
from afk_es.testing import ScriptedModel
from afk_es.views import request_at
from tests.views.runs import add, agent, calls, eventful


async def test_every_request_of_a_run_is_the_one_that_the_model_got() -> None:
    model = ScriptedModel([calls(("add", {"a": 1, "b": 2})), LLMResponse(text="3")])
    described = agent(tools=(add,)).model_copy(update={"model": model})
    log = MemoryEventLog()
    async with Runner(log=log) as runner:
        result = await runner.run(described, user_message="go")
        events = await log.read(result.run_id)
    seqs = [event.seq for event in events if event.type == "llm_called"]
    assert len(seqs) == len(model.requests) == 2
    for seq, sent in zip(seqs, model.requests, strict=True):
        rebuilt = request_at(events, seq)
        assert rebuilt.proved
        assert _same(rebuilt.request.instructions, list(rebuilt.request.messages), sent)


def _same(instructions: str | None, messages: list[object], sent: LLMRequest) -> bool:
    system, *rest = sent.messages
    return system.content == instructions and rest == messages


async def test_a_run_on_a_thread_needs_what_the_thread_remembered() -> None:
    log = MemoryEventLog()
    async with Runner(log=log, clock=SimulatedClock(), ids=SeededIds(2)) as runner:
        first = await runner.run(agent("one"), user_message="first")
        second = await runner.run(agent("two"), user_message="second", thread_id=first.thread_id)
        events = await log.read(second.run_id)
        history = await ThreadMemory().read(log, events[0].data["history"])
    seq = next(event.seq for event in events if event.type == "llm_called")
    assert request_at(events, seq, history).proved
    assert not request_at(events, seq).proved


async def test_a_changed_answer_is_found_out_by_the_next_request() -> None:
    events = await eventful()
    first = next(index for index, event in enumerate(events) if event.type == "llm_completed")
    events[first] = msgspec.structs.replace(events[first], data={**events[first].data, "text": "forged"})
    later = [event.seq for event in events if event.type == "llm_called"][1]
    assert not request_at(events, later).proved


@pytest.mark.parametrize(("seq", "told"), [(1, "there is none before it"), (5, "the last one before it is at seq 4"), (999, "at seq")])
async def test_a_seq_without_a_request_says_where_there_is_one(seq: int, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        request_at(await eventful(), seq)
