"""A thread is what runs remember of one another; whatever became of a run, what the next one is shown is a legal conversation."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from afk_es.core import Runner
from afk_es.core.history import ThreadMemory
from afk_es.errors import LLMConfigurationError
from afk_es.llms import LLMRequest, ToolCall
from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.machine.events import RunRef
from tests.core.scenario import (
    Counted,
    Stuck,
    StuckModel,
    agent,
    asks,
    assert_legal,
    laid_down,
    limits,
    log_of,
    model_of,
    never,
    says,
    turns,
)


async def asked_on(runner: Runner, thread_id: str, text: str = "and now?") -> LLMRequest:
    """What the model of the next run on this thread is shown."""
    described = agent([says("ok")])
    result = await runner.run(described, user_message=text, thread_id=thread_id)
    assert result.state == "completed"
    return model_of(described).requests[0]


async def test_the_second_run_sees_the_turns_of_the_first_with_its_tool_calls_and_results(runner: Runner) -> None:
    first = await runner.run(agent([asks(("work", {"n": 1}), text="hm"), says("one")], Counted().tool), user_message="begin")
    request = await asked_on(runner, first.thread_id)
    assert [(role, content.splitlines()[-1]) for role, content in turns(request)] == [
        ("user", "begin"),
        ("assistant", "hm"),
        ("tool", "done 1"),
        ("assistant", "one"),
        ("user", "and now?"),
    ]
    assert request.messages[1].tool_calls == (ToolCall("c1", "work", {"n": 1}),)
    assert request.messages[2].tool_call_id == "c1"


async def test_a_run_without_a_thread_begins_a_new_one(runner: Runner) -> None:
    first = await runner.run(agent([says("one")]), user_message="begin")
    second = await runner.run(agent([says("two")]), user_message="begin")
    assert first.thread_id != second.thread_id


@pytest.mark.parametrize("how", ["failed", "cancelled", "interrupted", "failed in the batch"])
async def test_after_a_run_that_ended_badly_every_call_is_answered(how: str, runner: Runner) -> None:
    stuck, work = Stuck(), Counted(RuntimeError("broke"))
    if how == "failed":
        described = agent([asks(("work", {})), LLMConfigurationError("down")], work.tool)
    elif how == "failed in the batch":
        described = agent(
            [asks(("work", {}), ("work", {}), ("work", {}))],
            work.tool,
            fail_safe=limits(tool_failure_policy="fail_run", max_parallel_tools=1),
        )
    else:
        described = agent([asks(("stuck", {}), ("work", {}), ("stuck", {}))], work.tool, stuck.tool, fail_safe=limits(max_parallel_tools=1))
    handle = await runner.run_handle(described, user_message="go")
    if how in ("cancelled", "interrupted"):
        await stuck.begun.wait()
        await (handle.cancel() if how == "cancelled" else handle.interrupt())
    result = await handle.await_result()
    assert result.state == how.split()[0]
    request = await asked_on(runner, result.thread_id)
    assert_legal(request)
    assert [message.content for message in request.messages if message.role == "user"] == ["go", "and now?"]


async def test_concurrent_runs_on_one_thread_are_remembered_in_the_order_they_ended(runner: Runner) -> None:
    slow, quick = StuckModel("slow answer"), StuckModel("quick answer")
    one = await runner.run_handle(agent(slow), user_message="slow question", thread_id="t")
    two = await runner.run_handle(agent(quick), user_message="quick question", thread_id="t")
    quick.let_go.set()
    await two.await_result()
    slow.let_go.set()
    await one.await_result()
    expected = [
        ("user", "quick question"), ("assistant", "quick answer"), ("user", "slow question"), ("assistant", "slow answer"),
        ("user", "and now?"),
    ]  # fmt: skip
    assert turns(await asked_on(runner, "t")) == expected
    assert turns(await asked_on(runner, "t", "next")) == [*expected, ("assistant", "ok"), ("user", "next")], "each turn once, from then on"


async def test_a_run_that_was_followed_while_it_lay_interrupted_keeps_what_it_did_after_it_was_resumed(runner: Runner) -> None:
    stuck = Stuck()
    described = agent([asks(("stuck", {})), says("finished after all")], stuck.tool)
    handle = await runner.run_handle(described, user_message="begin", thread_id="t")
    await stuck.begun.wait()
    await handle.interrupt()
    await handle.await_result()
    assert_legal(await asked_on(runner, "t", "in between"))
    stuck.let_go.set()
    assert (await runner.resume(described, run_id=handle.run_id)).state == "completed"

    request = await asked_on(runner, "t")
    assert_legal(request)
    said = [content for role, content in turns(request) if role != "tool"]
    assert said == ["begin", "", "finished after all", "in between", "ok", "and now?"]


async def test_another_runner_on_the_same_file_sees_the_same_history(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    first = await Runner(log=path).run(agent([asks(("work", {"n": 1})), says("one")], Counted().tool), user_message="begin")
    async with Runner(log=path) as one, Runner(log=path) as other:
        warm = await asked_on(one, first.thread_id, "from one")
        cold = await asked_on(other, first.thread_id, "from the other")
        assert turns(cold) == [*turns(warm), ("assistant", "ok"), ("user", "from the other")]
        again = await asked_on(one, first.thread_id, "from one again")
        assert turns(again) == [*turns(cold), ("assistant", "ok"), ("user", "from one again")]


def counted_reads(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the runs that are read from the log from now on."""
    reads: list[str] = []
    read = log.read

    async def noted(run_id: str, **options: Any) -> Any:
        reads.append(run_id)
        return await read(run_id, **options)

    monkeypatch.setattr(log, "read", noted)
    monkeypatch.setenv("AFK_ES_ALWAYS_REPLAY", "0")
    return reads


async def test_a_long_thread_reads_nothing_again_in_the_process_that_wrote_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log = MemoryEventLog()
    reads = counted_reads(log, monkeypatch)
    async with Runner(log=log) as runner:
        for number in range(200):
            await runner.run(agent([says(f"answer {number}")]), user_message=f"question {number}", thread_id="long")
        assert reads == []
        request = await asked_on(runner, "long")
        assert len(request.messages) == 401


async def test_a_cold_process_reads_each_run_of_a_thread_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.db"
    async with Runner(log=path) as runner:
        results = [await runner.run(agent([says(str(n))]), user_message="q", thread_id="t") for n in range(10)]
        assert (await log_of(runner, results[-1].run_id))[0].data["history"] == [{"run_id": results[-2].run_id, "seq": 6}]
    log = SqliteEventLog(path)
    reads = counted_reads(log, monkeypatch)
    async with Runner(log=log) as cold:
        assert len((await asked_on(cold, "t")).messages) == 21
        assert sorted(reads) == sorted(result.run_id for result in results)
    await log.close()


async def test_many_runs_at_once_on_one_thread_are_each_remembered_once(runner: Runner) -> None:
    await asyncio.gather(*(runner.run(agent([says(f"a{n}")]), user_message=f"q{n}", thread_id="t") for n in range(20)))
    said = [content for _role, content in turns(await asked_on(runner, "t"))]
    assert sorted(said[:-1]) == sorted([f"a{n}" for n in range(20)] + [f"q{n}" for n in range(20)])


async def test_what_was_read_for_one_run_is_not_taken_for_the_history_of_another(runner: Runner) -> None:
    """A run that was resumed after another had followed it is folded further for a third than it was for the second."""
    run_id = await laid_down(runner, agent([never, says("one, late")]))
    first = await runner.log.head(run_id)
    assert first is not None
    second = await runner.run(agent([says("two")]), user_message="second", thread_id=first.thread_id)
    await runner.resume(agent([says("one, late")]), run_id=run_id)
    third = await runner.run(agent([says("three")]), user_message="third", thread_id=first.thread_id)
    of_second: RunRef = {"run_id": second.run_id, "seq": second.state_snapshot.seq}
    of_third: RunRef = {"run_id": third.run_id, "seq": third.state_snapshot.seq}
    cold, warm = ThreadMemory(), ThreadMemory()
    await warm.read(runner.log, [of_third])
    assert await warm.read(runner.log, [of_second]) == await cold.read(runner.log, [of_second])


@pytest.mark.parametrize("backwards", [False, True])
async def test_a_memory_that_is_asked_of_each_run_of_a_thread_reads_each_once(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, backwards: bool
) -> None:
    """Whoever looks at a whole thread, such as a golden check, asks of run after run; what came before is known from the one before it."""
    results = [await runner.run(agent([says(str(n))]), user_message="q", thread_id="t") for n in range(10)]
    refs: list[RunRef] = [{"run_id": result.run_id, "seq": result.state_snapshot.seq} for result in results]
    cold = [await ThreadMemory().read(runner.log, [ref]) for ref in refs]
    reads, memory = counted_reads(runner.log, monkeypatch), ThreadMemory()
    order = sorted(range(10), reverse=backwards)
    assert [await memory.read(runner.log, [refs[place]]) for place in order] == [cold[place] for place in order]
    assert sorted(reads) == sorted(result.run_id for result in results)
