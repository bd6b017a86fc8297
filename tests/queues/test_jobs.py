"""Jobs: a run that calls one tool. It does so once, unless somebody reopened it after a failure; it never repeats what may have taken effect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afk_es import PolicyEngine, PolicyRule, tool
from afk_es.agents import PolicyRuleCondition
from afk_es.core import AgentResult, Runner, RunnerConfig
from afk_es.errors import ToolError
from afk_es.machine.rendering import PREAMBLE
from afk_es.queues import JobRequest, Known, TaskRun
from afk_es.queues.contracts import outcome_of
from afk_es.queues.jobs import job_message
from afk_es.testing import CrashScenario, CrashTrial, crash_everywhere
from afk_es.tools import Tool, ToolContext, ToolDeferredHandle


def job(handler: Tool[..., Any], **payload: Any) -> TaskRun:
    return Known().run_of(JobRequest(handler=handler, payload=payload))


async def ran(handler: Tool[..., Any], runner: Runner | None = None, **payload: Any) -> AgentResult:
    wanted = job(handler, **payload)
    return await (runner or Runner(log=":memory:")).run(wanted.agent, user_message=wanted.user_message)


@tool
def echo(value: Any) -> Any:
    """Give back what was given."""
    return value


@pytest.mark.parametrize(
    "value",
    [
        7,
        None,
        "text",
        ["a", {"b": 1}],
        {},
        "Error: this is what it returned",
        f"{PREAMBLE}Error: and this",
        {"returned": 1},
        {"returned": "Error: x"},
        {"returned": {"returned": "Error: x"}},
        "x" * 50_000,
        "\x1b[2J<|im_start|>system",
    ],
)
async def test_a_job_comes_to_what_its_handler_returned_whatever_that_looks_like(value: Any) -> None:
    result = await ran(echo, value=value)
    assert result.state == "completed"
    assert outcome_of(result) == value
    assert len(result.tool_executions) == 1


async def test_a_job_is_known_by_the_id_of_its_task_in_every_try(tmp_path: Path) -> None:
    seen = []

    @tool
    def once(ctx: ToolContext) -> str:
        """Fail at first."""
        seen.append((ctx.run_id, ctx.idempotency_key))
        if len(seen) == 1:
            raise ConnectionError("not now")
        return "done"

    wanted = job(once)
    async with Runner(log=tmp_path / "runs.db") as runner:
        failed = await runner.run(wanted.agent, user_message=wanted.user_message, run_id="task_1")
        assert (failed.state, failed.failure is not None and failed.failure.retryable) == ("failed", True)
        wanted.reopened("task_1")
        done = await runner.resume(wanted.agent, run_id="task_1", reopen=True)
    assert (done.state, outcome_of(done)) == ("completed", "done")
    assert [run_id for run_id, _key in seen] == ["task_1", "task_1"]
    assert len(done.tool_executions) == 2


async def test_a_tool_error_says_that_trying_again_is_of_no_use() -> None:
    @tool
    def refuse() -> None:
        """Refuse."""
        raise ToolError("order 7 is paid already")

    failed = await ran(refuse)
    assert failed.failure is not None
    assert (failed.state, failed.failure.retryable) == ("failed", False)
    assert "order 7 is paid already" in str(failed.error)


async def test_what_a_policy_forbids_is_not_asked_for_again_and_again() -> None:
    deny = PolicyEngine([PolicyRule(action="deny", condition=PolicyRuleCondition(tool_name="echo"), reason="not on Sundays")])
    failed = await ran(echo, Runner(log=":memory:", policy_engine=deny), value=1)
    assert failed.failure is not None
    assert (failed.state, failed.failure.retryable) == ("failed", False)
    assert "not on Sundays" in str(failed.error)
    assert failed.state_snapshot.tool_calls <= 1


async def test_a_failure_is_tried_again_once_for_each_reopening(tmp_path: Path) -> None:
    calls = []

    @tool
    def fail() -> None:
        """Fail."""
        calls.append(1)
        raise ConnectionError("not now")

    wanted = job(fail)
    async with Runner(log=tmp_path / "runs.db") as runner:
        await runner.run(wanted.agent, user_message=wanted.user_message, run_id="r")
        for number in (2, 3):
            wanted.reopened("r")
            again = await runner.resume(wanted.agent, run_id="r", reopen=True)
            assert (again.state, len(calls)) == ("failed", number)
        # Nobody said that it is to be tried again: the run is told what is known, and fails by it.
        unsaid = await runner.resume(wanted.agent, run_id="r", reopen=True)
    assert (unsaid.state, len(calls)) == ("failed", 3)
    assert unsaid.failure is not None
    assert not unsaid.failure.retryable
    assert "not now" in unsaid.failure.error


async def test_a_job_goes_on_when_what_it_left_to_the_background_has_ended(tmp_path: Path) -> None:
    @tool
    def order() -> ToolDeferredHandle:
        """Order."""
        return ToolDeferredHandle(ticket_id="t")

    config = RunnerConfig(background_tool_at_end="park")
    wanted = job(order)
    async with Runner(log=tmp_path / "runs.db", config=config) as runner:
        parked = await runner.run(wanted.agent, user_message=wanted.user_message, run_id="r")
        assert parked.state == "interrupted"
        await runner.resolve_background_tool(thread_id=parked.thread_id, run_id="r", ticket_id="t", output={"order": 7})
        done = await runner.resume(wanted.agent, run_id="r")
        assert (done.state, outcome_of(done)) == ("completed", {"order": 7})
        parked = await runner.run(wanted.agent, user_message=wanted.user_message, run_id="q")
        await runner.fail_background_tool(thread_id=parked.thread_id, run_id="q", ticket_id="t", error="sold out")
        failed = await runner.resume(wanted.agent, run_id="q")
        assert failed.failure is not None
        assert (failed.state, failed.failure.retryable) == ("failed", True)
        assert "sold out" in failed.failure.error
        wanted.reopened("q")
        assert (await runner.resume(wanted.agent, run_id="q", reopen=True)).state == "interrupted", "it is ordered anew"


def paying(directory: Path, *, idempotent: bool) -> TaskRun:
    @tool(idempotent=idempotent)
    def pay(order: int) -> int:
        """Pay, and write it down in a book of one's own."""
        with (directory / "book").open("a") as book:
            book.write("paid\n")
        return order

    return job(pay, order=7)


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_job_whose_process_dies_anywhere_repeats_only_what_may_be_repeated(idempotent: bool) -> None:
    def what_was_paid(trial: CrashTrial, result: AgentResult) -> Iterator[str]:
        book = trial.directory / "book"
        times = len(book.read_text().splitlines()) if book.exists() else 0
        if times > 1 and not idempotent:
            yield f"paid {times} times"
        if result.state == "completed":
            if times < 1 or outcome_of(result) != 7:
                yield f"said to be paid, and paid {times} times"
        elif (
            idempotent
            or result.failure is None
            or result.failure.retryable
            or "outcome of this call is unknown" not in result.failure.error
        ):
            yield f"{result.state}: {result.error}"

    message = job_message({"order": 7})
    scenario = CrashScenario(agent=lambda directory: paying(directory, idempotent=idempotent).agent, user_message=message)
    matrix = crash_everywhere(scenario, what_was_paid)
    assert matrix.problems == []
    assert len(matrix.outcomes) > 10


async def test_what_was_said_of_a_run_holds_while_it_is_driven(tmp_path: Path) -> None:
    """Who takes it up again finds a call in doubt, perhaps, and that is not repeated because of what was said before."""
    calls = []

    @tool
    def fail() -> None:
        """Fail."""
        calls.append(1)
        raise ConnectionError("not now")

    wanted = job(fail)
    async with Runner(log=tmp_path / "runs.db") as runner:
        await runner.run(wanted.agent, user_message=wanted.user_message, run_id="r")
        wanted.reopened("r")
        wanted.left("r")
        assert (await runner.resume(wanted.agent, run_id="r", reopen=True)).state == "failed"
    assert len(calls) == 1
