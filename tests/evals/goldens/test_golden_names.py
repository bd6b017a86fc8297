"""No id that chance made is left in a golden, wherever it stood; what people called by a name keeps it."""

from __future__ import annotations

import re

from afk_es.agents import Agent
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import Runner
from afk_es.evals import Golden
from afk_es.evals.goldens.names import Names, timer_at
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.log.memory import MemoryEventLog
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, ToolDeferredHandle, tool
from tests.core.scenario import limits
from tests.evals.recorded import check_whole

LONG = "toolu_01AbCdEf9876"
TICKET = "job-7f3a-11ee-b9d1"


def _talkative() -> Agent:
    """An agent whose tools and model say the ids that they were given, in texts, keys and arguments."""

    @tool
    async def begin(item: str, ctx: ToolContext) -> ToolDeferredHandle:
        """Begin something that takes a while."""
        return ToolDeferredHandle(ticket_id=TICKET, summary=f"{item} is {TICKET}", resume_hint=ctx.run_id)

    @tool(read_only=True)
    async def status(ctx: ToolContext) -> dict[str, object]:
        """Say how it stands."""
        return {"run": ctx.run_id, "thread": f"of {ctx.thread_id}.", TICKET: [f"({ctx.run_id})"]}

    def answer(request: LLMRequest) -> LLMResponse:
        turns = sum(bool(message.tool_calls) for message in request.messages)
        if turns == 0:
            return LLMResponse(text=f"I call {LONG}.", tool_calls=(ToolCall(LONG, "begin", {"item": "c1"}), ToolCall("c1", "status", {})))
        if turns == 1:
            return LLMResponse(text="", tool_calls=(ToolCall("c1", "status", {}),))
        return LLMResponse(text=f"{TICKET} of {LONG} is done, and so is c1.")

    return Agent(name="desk", model=ScriptedModel(answer), tools=[begin, status], fail_safe=limits())


async def _recorded() -> tuple[Golden, list[str]]:
    log = MemoryEventLog()
    await log.open()
    runner = Runner(log=log, clock=SimulatedClock(), ids=SeededIds(3))
    handle = await runner.run_handle(_talkative(), user_message="Go.")
    async for event in handle.events:
        if event.type == "tool_deferred":
            break
    await runner.resolve_background_tool(thread_id=handle.thread_id, run_id=handle.run_id, ticket_id=TICKET, output=f"{TICKET} is over")
    result = await handle.await_result()
    return await Golden.of(log, result.run_id, name="talkative"), [result.run_id, result.thread_id, LONG, TICKET, log.owner]


async def test_no_id_of_a_run_thread_call_ticket_or_owner_is_left_anywhere() -> None:
    golden, ids = await _recorded()
    facts = golden.text().partition("\n")[2]
    assert [each for each in ids if each in facts] == []
    assert "I call call_1." in facts
    assert '"ticket_1 of call_1 is done, and so is c1."' in facts, "a short id could be a word, and stays in texts"
    assert '"thread":"of thread_1."' in facts
    await check_whole(golden)


async def test_calls_are_named_by_their_ordinal_since_models_repeat_their_ids() -> None:
    golden, _ids = await _recorded()
    log = await golden.open_log()
    asked = [event.data["tool_calls"] for event in await log.read("run_1") if event.type == "llm_completed"]
    assert [[call["id"] for call in calls] for calls in asked][:2] == [["call_1", "call_2"], ["call_3"]]
    resolved = [event.data for event in await log.read("run_1") if event.type == "tool_background_resolved"]
    assert [(data["ticket_id"], data["tool_call_id"]) for data in resolved] == [("ticket_1", "call_1")]


def test_ids_are_found_between_other_words_and_not_inside_of_them() -> None:
    names = Names({"run_0a1b2c3d": "run_1"}, {"customer-42": "thread_1", "kitchen": "thread_2"})
    assert names.text("run_0a1b2c3d, (run_0a1b2c3d) and x-run_0a1b2c3d-y") == "run_1, (run_1) and x-run_1-y"
    assert names.text("run_0a1b2c3dd xrun_0a1b2c3d") == "run_0a1b2c3dd xrun_0a1b2c3d"
    assert names.text("customer-42 in the kitchen") == "thread_1 in the kitchen", "a thread with a name of people's choice could be a word"
    assert names.value({"run_0a1b2c3d": ["run_0a1b2c3d", 7, None]}) == {"run_1": ["run_1", 7, None]}


def test_an_id_with_odd_characters_is_found_too() -> None:
    names = Names({}, {"team/7: the desk": "thread_1"})
    assert names.text("of team/7: the desk!") == "of thread_1!"


def test_letters_are_numbered_in_the_order_in_which_they_were_posted() -> None:
    names = Names({}, {})
    names.order_letters([812, 7, 99, 7])
    assert names.letters == {7: 1, 99: 2, 812: 3}


def test_a_timer_names_the_event_that_began_it() -> None:
    assert timer_at("retry:12", {12: 9}) == "retry:9"
    assert timer_at("retry:12", {}) == "retry:12"
    assert timer_at("tea time", {12: 9}) == "tea time"
    assert re.match("retry", timer_at("retry:1", {}))
