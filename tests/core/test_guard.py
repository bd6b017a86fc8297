"""A guard lays a run down before its next call: nothing it objects to is announced or called, in the run or in those below it."""

from __future__ import annotations

from collections.abc import Sequence

from afk_es.core import AgentRunEvent, Runner
from afk_es.machine import Draft, RunState
from tests.core.scenario import Counted, agent, asks, log_of, model_of, only, says, types


class Forbids:
    """A guard that objects to an event type from its nth time on, and keeps what it was told."""

    def __init__(self, kind: str, nth: int = 1) -> None:
        self.told: list[AgentRunEvent] = []
        self._kind = kind
        self._nth = nth

    def note(self, event: AgentRunEvent) -> None:
        self.told.append(event)

    def objection(self, state: RunState, drafts: Sequence[Draft]) -> str | None:
        assert drafts, "it is asked about something"
        so_far = sum(event.type == self._kind for event in self.told)
        if so_far + 1 >= self._nth and any(draft.type == self._kind for draft in drafts):
            return f"no {self._kind}"
        return None


async def test_what_is_objected_to_is_neither_announced_nor_called(runner: Runner) -> None:
    work = Counted()
    described = agent([asks(("work", {"n": 1})), says("done")], work.tool)
    handle = await runner.run_handle(described, user_message="go", guard=Forbids("tool_started"))
    result = await handle.await_result()

    assert (result.state, result.error, work.ran) == ("interrupted", "no tool_started", 0)
    events = await log_of(runner, result.run_id)
    assert types(events)[-3:] == ["policy_decision", "control_requested", "run_interrupted"]
    assert events[-2].data["origin"] == "guard"


async def test_it_is_told_of_every_event_in_its_order_before_the_next_call(runner: Runner) -> None:
    guard = Forbids("step_started", nth=2)
    work = Counted()
    described = agent([asks(("work", {"n": 1})), says("done")], work.tool)
    result = await (await runner.run_handle(described, user_message="go", guard=guard)).await_result()

    assert guard.told == await log_of(runner, result.run_id)
    assert (work.ran, len(model_of(described).requests), result.state_snapshot.step) == (1, 1, 1)


async def test_a_run_that_was_laid_down_by_a_guard_goes_on_without_it(runner: Runner) -> None:
    work = Counted()
    described = agent([asks(("work", {"n": 1})), says("done")], work.tool)
    result = await (await runner.run_handle(described, user_message="go", guard=Forbids("tool_started"))).await_result()
    again = await runner.resume(described, run_id=result.run_id)

    assert (again.state, again.final_text, work.ran) == ("completed", "done", 1)


async def test_the_runs_of_subagents_are_watched_as_well(runner: Runner) -> None:
    work = Counted()
    helper = agent([asks(("work", {"n": 1})), says("found")], work.tool, name="helper")
    boss = agent([asks(("transfer_to_helper", {"task": "go"})), says("done")], name="boss", subagents=[helper])
    guard = Forbids("tool_started")
    result = await (await runner.run_handle(boss, user_message="go", guard=guard)).await_result()

    assert (result.state, work.ran) == ("interrupted", 0)
    (started,) = only(await log_of(runner, result.run_id), "subagent_started")
    child = await log_of(runner, started.data["run_id"])
    assert types(child)[-2:] == ["control_requested", "run_interrupted"]
    assert {event.run_id for event in guard.told} == {result.run_id, started.data["run_id"]}


async def test_a_run_that_ends_by_itself_is_not_asked_to(runner: Runner) -> None:
    guard = Forbids("run_completed_by_nobody")
    result = await (await runner.run_handle(agent([says("done")]), user_message="go", guard=guard)).await_result()
    assert (result.state, "control_requested" in types(guard.told)) == ("completed", False)
