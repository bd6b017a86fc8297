"""Resume: what a run goes on from, and what is refused before anything is written."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.core import Runner, RunnerConfig
from afk_es.errors import AgentMismatchError, ConfigurationError, LLMConfigurationError, RunNotFoundError, RunOwnedError, UsageError
from afk_es.log.memory import MemoryEventLog
from tests.core.scenario import (
    Counted,
    Stuck,
    StuckModel,
    agent,
    always,
    asks,
    laid_down,
    limits,
    log_of,
    model_of,
    never,
    only,
    says,
    types,
)


@pytest.mark.parametrize("script", [[says("done")], [LLMConfigurationError("down")]], ids=["completed", "failed"])
async def test_a_run_that_has_ended_returns_its_result_and_nothing_is_written(script: Any, runner: Runner) -> None:
    described = agent([asks(("work", {})), *script], Counted().tool)
    result = await runner.run(described)
    before = await log_of(runner, result.run_id)
    again = await runner.resume(described, run_id=result.run_id)
    assert again == result
    assert await log_of(runner, result.run_id) == before

    handle = await runner.resume_handle(described, run_id=result.run_id)
    assert handle.done
    await handle.cancel()
    assert [event async for event in handle.events] == []
    assert await handle.await_result() == result


async def test_a_run_that_has_ended_returns_its_result_whatever_the_agent_is_today(runner: Runner) -> None:
    class Answer(BaseModel):
        text: str

    class Other(BaseModel):
        number: int

    result = await runner.run(agent([says('{"text": "x"}')], output_type=Answer))
    other = await runner.resume(agent([], output_type=Other, name="other"), run_id=result.run_id)
    assert (other.state, other.final_structured) == ("completed", {"text": "x"})


async def test_an_unknown_run(runner: Runner) -> None:
    with pytest.raises(RunNotFoundError, match="run_nowhere"):
        await runner.resume(agent([]), run_id="run_nowhere")


@pytest.mark.parametrize("run_id", ["", " ", None, 7])
async def test_a_run_id_that_is_none(run_id: Any, runner: Runner) -> None:
    with pytest.raises(ConfigurationError, match="run_id is a non-empty string"):
        await runner.resume(agent([]), run_id=run_id)


async def test_the_wrong_thread(runner: Runner) -> None:
    described = agent([says("ok")])
    result = await runner.run(described, thread_id="t")
    with pytest.raises(UsageError, match="belongs to thread 't', not to 'u'"):
        await runner.resume(described, run_id=result.run_id, thread_id="u")
    assert (await runner.resume(described, run_id=result.run_id, thread_id="t")).state == "completed"


BASE: dict[str, Any] = {"name": "clerk", "instructions": "be kind"}
OTHERS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "agent_name 'clerk' -> 'other'": ((), {"name": "other"}),
    "instructions 'be kind' -> 'be quick'": ((), {"instructions": "be quick"}),
    "dynamic_instructions False -> True": ((), {"instructions": lambda context: "x"}),
    "limits.max_llm_calls 50 -> 3": ((), {"fail_safe": limits(max_llm_calls=3)}),
    "policies.llm_failure 'retry_then_fail' -> 'fail'": ((), {"fail_safe": limits(llm_failure_policy="fail")}),
    "parameters {} -> {'reasoning_effort': 'high'}": ((), {"reasoning_effort": "high"}),
    "tool work is gone": (("without",), {}),
    "tool more is new": (("more",), {}),
    "tool work differs in idempotent": (("work idempotent",), {}),
    "models ['scripted-1'] -> ['stuck']": ((), {"model": StuckModel()}),
}


@pytest.mark.parametrize("difference", OTHERS)
async def test_another_agent_is_refused_with_what_differs_and_nothing_is_written(difference: str, runner: Runner) -> None:
    tools, fields = OTHERS[difference]
    recorded = agent([asks(("stuck", {}))], Counted().tool, Stuck().tool, **BASE)
    handle = await runner.run_handle(recorded)
    async for event in handle.events:
        if event.type == "tool_started":
            break
    await handle.interrupt()
    await handle.await_result()
    before = await log_of(runner, handle.run_id)

    offered = [Counted(idempotent="work idempotent" in tools).tool, Stuck().tool]
    if "without" in tools:
        offered.pop(0)
    if "more" in tools:
        offered.append(Counted(name="more").tool)
    with pytest.raises(AgentMismatchError) as caught:
        await runner.resume(agent([says("x")], *offered, **{**BASE, **fields}), run_id=handle.run_id)
    assert difference in str(caught.value)
    assert "allow_agent_change=True" in str(caught.value)
    assert await log_of(runner, handle.run_id) == before


async def test_the_same_agent_made_again_is_the_same_agent(runner: Runner) -> None:
    """Everything that is data is compared as it is read back from the log, so a rebuilt agent is not taken for another."""

    class Answer(BaseModel):
        items: list[tuple[int, str]] = []

    def made(script: list[Any]) -> Agent:
        engine = PolicyEngine([PolicyRule(action="allow", condition=always)])
        return agent(script, Counted(timeout=3).tool, output_type=Answer, reasoning_effort="low", policy_engine=engine, **BASE)

    run_id = await laid_down(runner, made([never]))
    assert (await runner.resume(made([says("{}")]), run_id=run_id)).state == "completed"
    assert "agent" not in only(await log_of(runner, run_id), "run_started")[1].data


async def test_allow_agent_change_goes_on_and_records_the_new_agent(runner: Runner) -> None:
    run_id = await laid_down(runner, agent([never], Counted().tool, **BASE))
    changed = agent([says("ok")], Counted().tool, **{**BASE, "instructions": "be quick"})
    assert (await runner.resume(changed, run_id=run_id, allow_agent_change=True)).state == "completed"
    assert only(await log_of(runner, run_id), "run_started")[1].data["agent"]["instructions"] == "be quick"
    assert model_of(changed).requests[0].messages[0].content == "be quick"


async def test_a_call_of_a_tool_that_the_new_agent_lacks_fails_as_unknown(runner: Runner) -> None:
    stuck = Stuck(idempotent=True)
    handle = await runner.run_handle(agent([asks(("stuck", {}))], stuck.tool))
    await stuck.begun.wait()
    await handle.interrupt()
    await handle.await_result()
    changed = agent([says("never mind")])
    result = await runner.resume(changed, run_id=handle.run_id, allow_agent_change=True)
    assert (result.state, stuck.ran) == ("completed", 1)


async def test_what_the_operator_chooses_may_change_and_is_recorded() -> None:
    log = MemoryEventLog()
    async with Runner(log=log) as runner:
        run_id = await laid_down(runner, agent([never], Counted().tool))
    async with Runner(log=log, config=RunnerConfig(in_doubt="retry")) as other:
        assert (await other.resume(agent([says("ok")], Counted().tool), run_id=run_id)).state == "completed"
        assert only(await log_of(other, run_id), "run_started")[1].data["agent"]["in_doubt"] == "retry"


# -------------------------------------------------------------------------------------------------------------------------- owners


async def test_a_run_that_goes_on_here_is_not_resumed(runner: Runner) -> None:
    stuck = StuckModel()
    described = agent(stuck)
    handle = await runner.run_handle(described)
    for _ in range(2):
        with pytest.raises(RunOwnedError, match="is alive"):
            await runner.resume(described, run_id=handle.run_id)
    stuck.let_go.set()
    assert (await handle.await_result()).state == "completed"


async def test_two_runners_on_one_file_respect_each_other(tmp_path: Path) -> None:
    stuck = StuckModel()
    described = agent(stuck)
    async with Runner(log=tmp_path / "runs.db") as one, Runner(log=tmp_path / "runs.db") as other:
        handle = await one.run_handle(described)
        with pytest.raises(RunOwnedError):
            await other.resume(described, run_id=handle.run_id)
        await handle.interrupt()
        await handle.await_result()
        stuck.let_go.set()
        assert (await other.resume(described, run_id=handle.run_id)).state == "completed"


async def test_of_two_that_resume_at_once_one_gets_the_run_and_keeps_it(runner: Runner) -> None:
    stuck = StuckModel()
    described = agent(stuck)
    handle = await runner.run_handle(described)
    await handle.interrupt()
    await handle.await_result()
    both = await asyncio.gather(*(runner.resume_handle(described, run_id=handle.run_id) for _ in range(2)), return_exceptions=True)
    (refused,) = [each for each in both if isinstance(each, BaseException)]
    (taken,) = [each for each in both if not isinstance(each, BaseException)]
    assert isinstance(refused, RunOwnedError)
    with pytest.raises(RunOwnedError):
        await runner.resume(described, run_id=handle.run_id)
    stuck.let_go.set()
    assert (await taken.await_result()).state == "completed"


OTHER_PROCESS = """
import asyncio, sys
from afk_es.core import Runner
from tests.core.scenario import StuckModel, agent

async def main():
    handle = await Runner(log=sys.argv[1]).run_handle(agent(StuckModel()))
    print(handle.run_id, flush=True)
    await handle.await_result()

asyncio.run(main())
"""


def test_a_run_of_another_live_process_is_not_resumed_and_of_a_dead_one_is(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    stuck = StuckModel()
    stuck.let_go.set()
    process = subprocess.Popen([sys.executable, "-c", OTHER_PROCESS, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        with pytest.raises(RunOwnedError):
            asyncio.run(Runner(log=path).resume(agent(stuck), run_id=run_id))
    finally:
        process.kill()
        process.communicate()
    result = asyncio.run(Runner(log=path).resume(agent(stuck), run_id=run_id))
    assert (result.state, result.final_text) == ("completed", "late")


async def test_a_resumed_run_opens_a_new_stretch(runner: Runner) -> None:
    described = agent([never, says("ok")])
    run_id = await laid_down(runner, described)
    result = await runner.resume(described, run_id=run_id)
    events = await log_of(runner, run_id)
    started = only(events, "run_started")
    assert [(event.data["resumed"], event.data["epoch"]) for event in started] == [(False, 1), (True, 2)]
    assert types(events)[-1] == "run_completed"
    assert result.state_snapshot.seq == len(events)
