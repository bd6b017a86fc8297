"""contract.md, "AgentResult": its fields, its records, and the table of states."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from afk_es import Agent, Runner
from afk_es.core import AgentResult, SubagentExecutionRecord, ToolExecutionRecord
from afk_es.errors import LLMConfigurationError
from afk_es.llms import LLMRequest, LLMResponse, Usage
from afk_es.testing import ScriptedModel
from tests.contract.test_agent import hands_over, helper
from tests.core.scenario import Counted, StuckModel, agent, asks, limits, says

RESULT = [
    "final_text",
    "state",
    "run_id",
    "thread_id",
    "tool_executions",
    "subagent_executions",
    "usage_aggregate",
    "total_cost_usd",
    "requested_model",
    "normalized_model",
    "provider_adapter",
    "final_structured",
    "llm_response",
    "state_snapshot",
    "error",
]
SNAPSHOT = ["state", "step", "llm_calls", "tool_calls", "elapsed_s", "total_cost_usd"]
TOOL_RECORD = ["tool_name", "tool_call_id", "success", "output", "error", "latency_ms", "agent_name", "agent_depth", "agent_path"]
SUBAGENT_RECORD = ["subagent_name", "success", "output_text", "error", "latency_ms", "run_id"]


class Verdict(BaseModel):
    refund: bool


async def whole(runner: Runner) -> AgentResult:
    """A run of two model calls and two tool calls, of which one fails."""
    described = agent(
        [asks(("work", {"n": 1}), ("work", {"n": "many"}), cost=0.25), says('{"refund": true}', cost=0.5)],
        Counted().tool,
        name="judge",
        output_type=Verdict,
    )
    return await runner.run(described, user_message="go", thread_id="t")


async def test_it_has_every_field(runner: Runner) -> None:
    result = await whole(runner)
    assert set(RESULT) <= AgentResult.model_fields.keys()
    assert set(SNAPSHOT) <= type(result.state_snapshot).model_fields.keys()
    assert set(TOOL_RECORD) <= ToolExecutionRecord.model_fields.keys()
    assert set(SUBAGENT_RECORD) <= SubagentExecutionRecord.model_fields.keys()


async def test_each_field_says_what_its_name_says(runner: Runner) -> None:
    result = await whole(runner)
    assert (result.final_text, result.state, result.thread_id, result.error) == ('{"refund": true}', "completed", "t", None)
    assert result.run_id in {record.run_id for record in await runner.log.runs()}
    assert result.usage_aggregate == Usage(input_tokens=30, output_tokens=7, total_tokens=37)
    assert result.total_cost_usd == pytest.approx(0.75)
    assert (result.requested_model, result.normalized_model, result.provider_adapter) == ("scripted-1", "scripted-1-0613", "scripted")
    assert result.final_structured == Verdict(refund=True)
    assert result.llm_response is not None
    assert (result.llm_response.text, result.llm_response.usage) == ('{"refund": true}', Usage(20, 2, 22))
    assert result.subagent_executions == ()


async def test_the_state_snapshot(runner: Runner) -> None:
    snapshot = (await whole(runner)).state_snapshot
    assert (snapshot.state, snapshot.step, snapshot.llm_calls, snapshot.tool_calls) == ("completed", 2, 2, 1)
    assert snapshot.elapsed_s >= 0
    assert snapshot.total_cost_usd == pytest.approx(0.75)


async def test_tool_execution_records(runner: Runner) -> None:
    good, bad = sorted((await whole(runner)).tool_executions, key=lambda record: record.tool_call_id)
    assert (good.tool_name, good.tool_call_id, good.success, good.output, good.error) == ("work", "c1", True, "done 1", None)
    assert (good.agent_name, good.agent_depth, tuple(good.agent_path)) == ("judge", 0, ("judge",))
    assert good.latency_ms >= 0
    assert (bad.tool_call_id, bad.success, bad.output) == ("c2", False, None)
    assert "n" in (bad.error or "")


async def test_it_is_json(runner: Runner) -> None:
    assert json.loads((await whole(runner)).model_dump_json())["state"] == "completed"


# ---------------------------------------------------------------------------------------------------------------- the states' table


async def test_completed_the_model_answered_with_text_only_and_final_text_is_the_answer(runner: Runner) -> None:
    result = await runner.run(agent([asks(("work", {}), text="wait"), says("the answer")], Counted().tool), user_message="go")
    assert (result.state, result.final_text) == ("completed", "the answer")


@pytest.mark.parametrize(
    ("script", "fields", "message"),
    [
        ([LLMConfigurationError("bad key")], {}, "bad key"),
        ([asks(("work", {})), asks(("work", {}))], {"max_llm_calls": 1}, "max_llm_calls"),
        ([asks(("work", {"n": 1})), says("x")], {"max_tool_calls": 0, "tool_failure_policy": "fail_run"}, "max_tool_calls"),
    ],
    ids=["unrecoverable error", "a limit", "a limit of tools"],
)
async def test_failed_and_final_text_is_the_error_message(script: Any, fields: dict[str, Any], message: str, runner: Runner) -> None:
    result = await runner.run(agent(script, Counted().tool, fail_safe=limits(**fields)), user_message="go")
    assert result.state == "failed"
    assert message in result.final_text
    assert result.final_text == result.error


async def test_degraded_and_final_text_is_best_effort_saying_what_is_missing(runner: Runner) -> None:
    work = Counted(RuntimeError("the printer is on fire"))
    described = agent([asks(("work", {})), says("two of three pages")], work.tool, fail_safe=limits(tool_failure_policy="degrade"))
    result = await runner.run(described, user_message="go")
    assert result.state == "degraded"
    assert result.final_text.startswith("two of three pages")
    assert "the printer is on fire" in result.final_text


@pytest.mark.parametrize(("verb", "state"), [("cancel", "cancelled"), ("interrupt", "interrupted")])
@pytest.mark.parametrize("said", ["", "as far as I got"])
async def test_cancelled_and_interrupted_and_final_text_is_partial_text_or_empty(verb: str, state: str, said: str, runner: Runner) -> None:
    stuck = StuckModel()

    async def answer(request: LLMRequest) -> LLMResponse:
        if request.messages[-1].role == "user":
            return asks(("work", {}), text=said)
        return await stuck.chat(request)

    handle = await runner.run_handle(agent(ScriptedModel(answer), Counted().tool), user_message="go")
    await stuck.asked.wait()
    await getattr(handle, verb)()
    result = await handle.await_result()
    assert (result.state, result.final_text) == (state, said)


async def test_interrupted_by_a_timeout_can_be_resumed(runner: Runner) -> None:
    stuck = StuckModel()
    result = await runner.run(agent(stuck, fail_safe=limits(max_wall_time_s=5)), user_message="go")
    assert result.state == "interrupted"
    stuck.let_go.set()
    more: Agent = agent(stuck, fail_safe=limits(max_wall_time_s=50))
    assert (await runner.resume(more, run_id=result.run_id, allow_agent_change=True)).final_text == "late"


# ------------------------------------------------------------------------------------------ "include its subagents'"


async def test_a_parents_usage_cost_and_tool_records_include_its_subagents(runner: Runner) -> None:
    child = helper([asks(("work", {"n": 3}), cost=0.25), says("helped", cost=0.25)], tools=[Counted().tool])

    def priced(request: LLMRequest) -> LLMResponse:
        return hands_over(request).model_copy(update={"usage": Usage(100, 10, 110), "cost_usd": 1.0})

    result = await runner.run(agent(ScriptedModel(priced), subagents=[child], name="lead"), user_message="go")
    assert result.state == "completed"
    assert result.usage_aggregate == Usage(230, 27, 257)
    assert result.total_cost_usd == pytest.approx(2.5)
    (record,) = [record for record in result.tool_executions if record.tool_name == "work"]
    assert (record.agent_name, record.agent_depth, tuple(record.agent_path)) == ("helper", 1, ("lead", "helper"))


async def test_subagent_execution_records(runner: Runner) -> None:
    children = [helper([says("helped")], name="good"), helper([LLMConfigurationError("down")], name="bad")]
    result = await runner.run(agent(ScriptedModel(hands_over), subagents=children), user_message="go")
    good, bad = sorted(result.subagent_executions, key=lambda record: record.subagent_name, reverse=True)
    assert (good.subagent_name, good.success, good.output_text, good.error) == ("good", True, "helped", None)
    assert (bad.subagent_name, bad.success) == ("bad", False)
    assert "down" in (bad.error or "")
    for record in (good, bad):
        assert record.latency_ms >= 0
        assert (await runner.log.read(record.run_id))[0].type == "run_started"
