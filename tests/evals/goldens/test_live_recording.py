"""Live runs as goldens: what they begin with is read from a golden again, so that it can be recorded anew."""

from __future__ import annotations

import pytest

from afk_es.agents import Agent, FailSafeConfig
from afk_es.core import Runner
from afk_es.errors import LLMConfigurationError, UsageError
from afk_es.evals import Golden, check_golden
from afk_es.evals.goldens.live_recording import Said, record_live, said_in
from afk_es.llms import Image, LLMResponse, ToolCall
from afk_es.log.memory import MemoryEventLog
from afk_es.testing import ScriptedModel
from afk_es.tools import tool


@tool(read_only=True)
async def lost() -> str:
    """Where the order is."""
    return "nowhere"


PIXEL = Image(url="https://example.org/a.png")


def counting() -> Agent:
    return Agent(name="desk", model=ScriptedModel(lambda request: f"{len(request.messages)} messages"))


async def test_a_conversation_is_recorded_and_can_be_had_again() -> None:
    said = [Said("Hello", {"customer": 7}), Said(["And this?", PIXEL]), Said(None)]
    golden, result = await record_live(Runner(log=MemoryEventLog()), counting(), said, name="talk", mode="contract", agent_ref="desk:agent")
    assert (golden.runs, golden.mode, golden.header.agent) == (("run_1", "run_2", "run_3"), "contract", "desk:agent")
    assert result.final_text == "4 messages"
    assert (await check_golden(golden, counting())).ok
    again = await said_in(golden)
    assert [(each.user_message, each.context) for each in again[::2]] == [("Hello", {"customer": 7}), (None, {})]
    assert not isinstance(again[1].user_message, (str, type(None)))
    assert [getattr(part, "url", None) for part in again[1].user_message] == [None, PIXEL.url]
    anew, _result = await record_live(Runner(log=MemoryEventLog()), counting(), again, name="talk", mode="contract", agent_ref="desk:agent")
    assert [fact.value for fact in anew.facts if fact.kind == "outcome"] == [fact.value for fact in golden.facts if fact.kind == "outcome"]


async def test_a_run_that_goes_on_with_turns_of_which_nothing_is_checked_cannot_be_had_again() -> None:
    runner = Runner(log=MemoryEventLog())
    async with runner:
        first = await runner.run(counting(), user_message="Hello")
        second = await runner.run(counting(), user_message="And now?", thread_id=first.thread_id)
        golden = await Golden.of(runner.log, second.run_id, name="talk")
    with pytest.raises(UsageError, match="earlier turns that are not checked"):
        await said_in(golden)


async def test_a_model_that_could_not_be_asked_is_no_behaviour_and_an_agent_that_fails_is() -> None:
    keyless = Agent(name="desk", model=ScriptedModel([LLMConfigurationError("no API key")]))
    with pytest.raises(UsageError, match=r"its model could not be asked, so it is no golden: .*no API key"):
        await record_live(Runner(log=MemoryEventLog()), keyless, [Said("Hi")], name="x", mode="strict")
    limited = Agent(name="desk", model=ScriptedModel(lambda request: "Hello"), fail_safe=FailSafeConfig(max_llm_calls=1), tools=[lost])
    calling = limited.model_copy(update={"model": ScriptedModel([LLMResponse(tool_calls=(ToolCall("c1", "lost", {}),))])})
    _golden, result = await record_live(Runner(log=MemoryEventLog()), calling, [Said("Hi")], name="x", mode="strict")
    assert result.state == "failed"
