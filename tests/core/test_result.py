"""AgentResult: every field, for every state a run can end in."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel

from afk_es.core import AgentResult, Runner
from afk_es.errors import LLMConfigurationError, RunCancelledError, RunDegradedError, RunError, RunFailedError, RunInterruptedError
from tests.core.scenario import Counted, Stuck, agent, asks, limits, says


class Verdict(BaseModel):
    guilty: bool
    years: int = 0


async def completed(runner: Runner) -> AgentResult:
    return await runner.run(agent([asks(("work", {"n": 7}), cost=0.25), says("done", cost=0.5)], Counted().tool, name="judge"))


async def failed(runner: Runner) -> AgentResult:
    script = [asks(("work", {"n": 7}), text="one moment", cost=0.25), LLMConfigurationError("no credit")]
    return await runner.run(agent(script, Counted().tool, name="judge"))


async def degraded(runner: Runner) -> AgentResult:
    script = [asks(("work", {"n": 7}), text="one moment", cost=0.25), LLMConfigurationError("no credit")]
    return await runner.run(agent(script, Counted().tool, name="judge", fail_safe=limits(llm_failure_policy="retry_then_degrade")))


async def _stopped(runner: Runner, how: str) -> AgentResult:
    stuck = Stuck()
    described = agent([asks(("work", {"n": 7}), ("stuck", {}), text="one moment", cost=0.25)], Counted().tool, stuck.tool, name="judge")
    handle = await runner.run_handle(described)
    await stuck.begun.wait()
    async for event in handle.events:
        if event.type == "tool_completed":
            break
    await getattr(handle, how)("enough")
    return await handle.await_result()


async def cancelled(runner: Runner) -> AgentResult:
    return await _stopped(runner, "cancel")


async def interrupted(runner: Runner) -> AgentResult:
    return await _stopped(runner, "interrupt")


# how         state          final_text          error             steps, model calls, tool calls, cost
ENDINGS = {
    completed:   ("completed",   "done",             None,             2, 2, 1, 0.75),
    failed:      ("failed",      "no credit",        "no credit",      2, 2, 1, 0.25),
    degraded:    ("degraded",    "one moment",       "no credit",      2, 2, 1, 0.25),
    cancelled:   ("cancelled",   "one moment",       "enough",         1, 1, 2, 0.25),
    interrupted: ("interrupted", "one moment",       "enough",         1, 1, 2, 0.25),
}  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
async def test_every_field(ending: object, runner: Runner) -> None:
    state, text, error, steps, model_calls, tool_calls, cost = ENDINGS[ending]  # type: ignore[index]
    result = await ending(runner)  # type: ignore[operator]
    assert result.state == state
    assert text in result.final_text
    assert (result.error is None) if error is None else (error in result.error)
    assert result.run_id.startswith("run_")
    assert result.thread_id.startswith("thread_")
    assert result.total_cost_usd == pytest.approx(cost)
    usage = result.usage_aggregate
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == ((30, 7, 37) if state == "completed" else (10, 5, 15))
    assert (result.requested_model, result.provider_adapter) == ("scripted-1", "scripted")
    assert result.normalized_model == ("scripted-1-0613" if state == "completed" else "scripted-1")
    assert result.final_structured is None
    assert result.llm_response is not None
    assert result.llm_response.text == ("done" if state == "completed" else "one moment")
    assert result.subagent_executions == ()

    snapshot = result.state_snapshot
    assert (snapshot.state, snapshot.step, snapshot.llm_calls, snapshot.tool_calls) == (state, steps, model_calls, tool_calls)
    assert snapshot.total_cost_usd == pytest.approx(cost)
    assert (snapshot.elapsed_s, snapshot.open_tickets) == (0, 0)
    assert snapshot.seq == len(await runner.log.read(result.run_id))

    record = result.tool_executions[0]
    assert (record.tool_name, record.tool_call_id, record.success, record.output, record.error) == ("work", "c1", True, "done 7", None)
    assert (record.agent_name, record.agent_depth, record.agent_path) == ("judge", 0, ("judge",))
    assert [other.error for other in result.tool_executions[1:]] == (
        ["cancelled while it ran; it may have taken effect"] if state == "cancelled" else []
    )


@pytest.mark.parametrize(
    ("ending", "raised"),
    [(failed, RunFailedError), (degraded, RunDegradedError), (cancelled, RunCancelledError), (interrupted, RunInterruptedError)],
)
async def test_raise_for_state(ending: object, raised: type[RunError], runner: Runner) -> None:
    result = await ending(runner)  # type: ignore[operator]
    with pytest.raises(raised, match=result.run_id) as caught:
        result.raise_for_state()
    assert caught.value.result is result
    assert (result.error or "?") in str(caught.value)


async def test_raise_for_state_of_a_completed_run_gives_the_result_back(runner: Runner) -> None:
    result = await completed(runner)
    assert result.raise_for_state() is result


async def test_a_degraded_run_says_what_it_has_and_what_is_missing(runner: Runner) -> None:
    result = await degraded(runner)
    assert result.final_text == "one moment\n\nIncomplete:\n- the model call failed: no credit"


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
async def test_a_result_is_json_and_can_be_asked_for_again(ending: object, runner: Runner) -> None:
    result = await ending(runner)  # type: ignore[operator]
    dumped = json.loads(result.model_dump_json())
    assert dumped["state"] == result.state
    assert dumped["tool_executions"][0]["agent_path"] == ["judge"]
    assert AgentResult.model_validate(dumped).final_text == result.final_text


async def test_a_structured_answer_is_an_instance_live_and_from_the_log(runner: Runner) -> None:
    described = agent([says('{"guilty": true, "years": "3"}')], output_type=Verdict)
    result = await runner.run(described)
    assert result.final_structured == Verdict(guilty=True, years=3)
    again = await runner.resume(described, run_id=result.run_id)
    assert again == result
    assert json.loads(result.model_dump_json())["final_structured"] == {"guilty": True, "years": 3}


async def test_unknown_usage_and_price_stay_unknown(runner: Runner) -> None:
    result = await runner.run(agent(["just text"]))
    assert (result.total_cost_usd, result.state_snapshot.total_cost_usd) == (None, None)
    assert result.llm_response is not None
    assert result.llm_response.usage is None
