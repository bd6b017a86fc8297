"""Recorded runs, checked again from their log: which are meant, what their rows say, and that nothing is run, spent or written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import Runner
from afk_es.debugger import ExpressionError
from afk_es.errors import ConfigurationError, RunNotFoundError, UsageError
from afk_es.evals import Contains
from afk_es.evals.assertions.call_pattern import call
from afk_es.evals.assertions.judge import LLMJudge
from afk_es.evals.assertions.likeness import similarity
from afk_es.evals.assertions.temporal import never
from afk_es.evals.assertions.trajectory import Trajectory
from afk_es.evals.models import EvalCase
from afk_es.evals.outcomes import EvalCaseResult
from afk_es.evals.rescoring import RunSelection, arescore, rescore
from afk_es.evals.suite import arun_suite
from afk_es.llms import LLMResponse
from afk_es.log.memory import MemoryEventLog
from afk_es.testing import ScriptedModel
from tests.debugger.recorded import agent, asks, cut_after, look, recorded, says

LOOK, REFUND, FAILING = ("look", {"order": 1}), ("refund", {"order": 2}), ("refund", {"order": 13})


def clock() -> SimulatedClock:
    return SimulatedClock(tick=0.01, autojump_threshold_s=0.01)


async def shop() -> tuple[MemoryEventLog, list[str]]:
    """Four runs of `desk`: one refunds, one looks, one fails, one with a helper; the oldest first."""
    log = MemoryEventLog()
    helper = agent(asks(LOOK), says("looked"), tools=(look,)).model_copy(update={"name": "helper"})
    desks = [
        agent(asks(LOOK), asks(REFUND), says("refunded")),
        agent(asks(LOOK), says("looked")),
        agent(ValueError("no answer")),
        agent(asks(("transfer_to_helper", {"task": "look"})), says("done"), subagents=(helper,)).model_copy(update={"name": "boss"}),
    ]
    ids = []
    async with Runner(log=log, clock=clock(), ids=SeededIds(3)) as runner:
        for number, desk in enumerate(desks):
            ids.append((await runner.run(desk, user_message="go", thread_id=f"t{number % 2}")).run_id)
    await log.open()
    return log, ids


NO_REFUND = never(call("refund"), name="no refund")


async def test_a_replay_is_no_further_row_unless_it_is_asked_for() -> None:
    log, ids = await shop()
    async with Runner(log=log, clock=clock(), ids=SeededIds(4)) as runner:
        replayed = await runner.replay(agent(says("never asked")), run_id=ids[0])
    await log.open()
    suite = await arescore(log, assertions=[NO_REFUND])
    assert [row.run_id for row in suite.results] == ids[::-1]
    for runs in (RunSelection(replays=True, newest=1), [replayed.run_id]):
        (row,) = (await arescore(log, runs, assertions=[NO_REFUND])).results
        assert row.run_id == replayed.run_id


async def test_every_run_is_a_row_the_newest_first() -> None:
    log, ids = await shop()
    seen: list[EvalCaseResult] = []
    suite = await arescore(log, assertions=[NO_REFUND], scorers=[similarity("looked")], progress=seen.append)
    assert [row.name for row in suite.results] == [row.run_id for row in suite.results] == ids[::-1]
    assert tuple(seen) == suite.results
    assert [row.outcome for row in suite.results] == ["failed", "failed", "passed", "failed"]
    assert (suite.total, suite.passed, suite.failed, suite.ok) == (4, 1, 3, False)
    looked = suite.results[2]
    assert (looked.tags, looked.state, looked.output, looked.scores) == (("desk",), "completed", "looked", {"similarity": 1.0})
    assert (looked.steps, looked.llm_calls, looked.tool_calls, looked.tokens, looked.cost_usd) == (2, 2, 1, 24, 0.5)
    assert (looked.duration_s > 0, looked.started_at is not None) == (True, True)
    assert suite.results[3].reasons[0].name == "no refund"
    assert suite.tags["desk"].total == 3


async def test_the_result_is_the_one_that_the_run_had() -> None:
    log, ids = await shop()
    live = await Runner(log=log).resume(agent("x"), run_id=ids[0], allow_agent_change=True)
    [row] = (await arescore(log, ids[0], assertions=[Contains("refunded")])).results
    assert row.result == live
    assert row.passed


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (RunSelection(agent="desk"), [2, 1, 0]),
        (RunSelection(agent="b*"), [3]),
        (RunSelection(state="failed"), [2]),
        (RunSelection(thread_id="t0"), [2, 0]),
        (RunSelection(where='tool = "refund"'), [0]),
        (RunSelection(newest=2), [3, 2]),
        (RunSelection(agent="desk", newest=1, state="completed"), [1]),
        (RunSelection(where="step > 9"), []),
    ],
)
async def test_a_selection_is_by_what_the_log_says(selection: RunSelection, expected: list[int]) -> None:
    log, ids = await shop()
    suite = await arescore(log, selection, assertions=[NO_REFUND])
    assert [row.name for row in suite.results] == [ids[each] for each in expected]
    assert suite.ok is (bool(expected) and 0 not in expected)


async def test_subagents_runs_are_rows_where_that_is_asked_for() -> None:
    log, _ids = await shop()
    suite = await arescore(log, RunSelection(subagents=True), assertions=[NO_REFUND])
    assert [row.tags for row in suite.results].count(("helper",)) == 1


async def test_many_runs_are_read_page_by_page() -> None:
    log = MemoryEventLog()
    async with Runner(log=log, clock=clock(), ids=SeededIds(3)) as runner:
        for _ in range(250):
            await runner.run(agent("done"), user_message="go")
    await log.open()
    assert (await arescore(log, assertions=[Contains("done")])).passed == 250


async def test_a_run_that_has_not_ended_is_not_run_and_says_so() -> None:
    whole = await recorded(agent(asks(LOOK), says("done")))
    cut = await cut_after(whole, "tool_started")
    suite = await arescore(cut.log, assertions=[NO_REFUND])
    [row] = suite.results
    assert (row.outcome, suite.not_run, suite.stopped) == ("not_run", 1, "1 run had not ended")
    assert "has not ended" in row.reasons[0].message


async def test_a_check_that_raises_is_an_error_of_its_row_and_the_others_go_on() -> None:
    def picky(result: Any) -> bool:
        return bool(result.final_text.index("looked") == 0)

    log, _ids = await shop()
    suite = await arescore(log, assertions=[picky])
    assert [row.outcome for row in suite.results] == ["error", "error", "passed", "error"]


async def test_runs_that_judges_made_are_nobodys_to_check() -> None:
    log, ids = await shop()
    judge = LLMJudge(ScriptedModel(lambda request: '{"reason": "fine", "score": 1}'), "good")
    first = await arescore(log, scorers=[judge])
    assert (first.total, first.passed, first.judging_cost_usd) == (4, 4, None)
    again = await arescore(log, assertions=[NO_REFUND])
    assert [row.name for row in again.results] == ids[::-1]
    assert len(await log.runs()) == 4 + 1 + 4, "the helper's and the judge's"


async def test_runs_of_one_case_are_its_attempts_and_its_expectations_count() -> None:
    log, ids = await shop()
    case = EvalCase(name="looks", agent=agent("x"), assertions=[Trajectory(["look"])], tags=("t",), expected_output="looked")
    suite = await arescore(log, ids[:3], cases=dict.fromkeys(ids[:3], case), scorers=[similarity()])
    assert [(row.label, row.outcome) for row in suite.results] == [("looks", "failed"), ("looks#2", "passed"), ("looks#3", "failed")]
    assert suite.results[2].reasons[0].message == "the run is failed, and was to be completed"
    assert suite.repeats is not None
    assert suite.repeats.pass_at[1] == pytest.approx(1 / 3)


async def test_a_run_may_be_named_as_on_the_command_line() -> None:
    log, ids = await shop()
    for name in (ids[1][:-3], "@last-failed", [ids[3], "@last"]):
        suite = await arescore(log, name, assertions=[NO_REFUND])
        assert suite.results[0].run_id in ids
    with pytest.raises(RunNotFoundError):
        await arescore(log, [ids[0], "nobody"], assertions=[NO_REFUND])


@pytest.mark.parametrize(
    ("options", "error", "says_"),
    [
        ({}, UsageError, "nothing to check by"),
        ({"assertions": [7]}, ConfigurationError, "is not an assertion"),
        ({"scorers": [Contains("x")]}, ConfigurationError, "is not a scorer"),
    ],
)
async def test_what_cannot_work_is_wrong_usage(options: dict[str, Any], error: type[Exception], says_: str) -> None:
    log, _ids = await shop()
    with pytest.raises(error, match=says_):
        await arescore(log, **options)


def test_a_selection_that_cannot_be_is_wrong_usage() -> None:
    with pytest.raises(ExpressionError):
        RunSelection(where="tool ==")
    with pytest.raises(UsageError, match="state='done' is none of: completed"):
        RunSelection(state="done")
    with pytest.raises(UsageError, match="newest is a number from 1"):
        RunSelection(newest=0)


def test_a_file_is_read_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    Runner(log=path).run_sync(agent("done"), user_message="go")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    suite = rescore(path, assertions=[Contains("done")])
    assert (suite.total, suite.ok, suite.results[0].log) == (1, True, str(path))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    judged = rescore(path, scorers=[LLMJudge(ScriptedModel(['{"reason": "fine", "score": 1}']), "good")])
    assert judged.ok, judged.results
    assert rescore(path, assertions=[Contains("done")]).total == 1


async def test_the_blocking_form_says_what_to_write_inside_a_loop() -> None:
    with pytest.raises(UsageError, match="await arescore"):
        rescore(MemoryEventLog(), assertions=[NO_REFUND])


async def test_a_row_says_of_a_run_and_its_subagents_what_the_suite_said_that_ran_it(tmp_path: Path) -> None:
    """Where an answer did not say how many tokens it took, the sum is not known, then and now."""
    helper = agent(asks(LOOK), says("looked"), tools=(look,)).model_copy(update={"name": "helper"})
    boss = agent(asks(("transfer_to_helper", {"task": "look"})), says("done"), subagents=(helper,)).model_copy(update={"name": "boss"})
    silent = LLMResponse(text="done", finish_reason="stop", usage=None, cost_usd=None)
    cases = [EvalCase(name="boss", agent=boss, user_message="go"), EvalCase(name="silent", agent=agent(silent), user_message="go")]
    place = str(tmp_path / "runs.db")
    ran = await arun_suite(runner_factory=lambda: Runner(log=place), cases=cases)
    named = {row.run_id: row for row in ran.results}
    again = await arescore(place, [row.run_id for row in ran.results if row.run_id], assertions=[Contains("done")])
    for row in again.results:
        then = named[row.run_id]
        assert (row.tokens, row.cost_usd, row.steps) == (then.tokens, then.cost_usd, then.steps)
        assert (row.llm_calls, row.tool_calls) == (then.llm_calls, then.tool_calls)
    assert (again.results[0].llm_calls, again.results[1].tokens) == (4, None)


async def test_an_empty_log_is_a_suite_without_rows_that_is_not_ok() -> None:
    log = MemoryEventLog()
    await log.open()
    suite = await arescore(log, assertions=[NO_REFUND])
    assert (suite.total, suite.ok, suite.results, suite.not_exercised) == (0, False, (), ())
