"""Goal: a team of agents survives its process. Method: kill it wherever parent or child may die, resume the parent alone, check every promise.

What is promised of a team: nothing a child finished runs again, no child's run is made twice, a child's log that has ended stays as it is,
every child has ended when its parent has, and the result is that of the team nobody killed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent, DelegationNode, DelegationPlan, FailSafeConfig, PolicyEngine, PolicyRule, RouterInput
from afk_es.core import AgentResult, AgentRunHandle, Runner, RunnerConfig
from afk_es.errors import LLMConfigurationError
from afk_es.llms import LLMRequest, LLMResponse, ToolCall, Usage
from afk_es.machine.children import live_children
from afk_es.machine.events import TERMINAL
from afk_es.testing import CrashScenario, CrashTrial, ScriptedModel, crash_at, crash_everywhere, rehearse
from tests.core.scenario import always
from tests.crash.journal import Journal
from tests.crash.scenarios import planned, since_user, tools_in

UNREPEATABLE = {"pay"}


def worker(directory: Path, name: str, *plan: list[str], **more: Any) -> Agent:
    """A subagent that works through a plan."""
    tools = tools_in(Journal(directory / "journal.jsonl"))
    used = {tool for turn in plan for tool in turn}
    return Agent(name=name, model=ScriptedModel(planned(plan)), tools=[tools[each] for each in sorted(used)], **more)


def delegating(*names: str) -> Callable[[LLMRequest], LLMResponse]:
    """A model that hands one task to each of these at once, and then says whose answers it got."""

    def answer(request: LLMRequest) -> LLMResponse:
        said = since_user(request)
        usage = Usage(10, 5, 15)
        if not said:
            calls = tuple(ToolCall(f"to_{name}", f"transfer_to_{name}", {"task": f"work, {name}"}) for name in names)
            return LLMResponse(tool_calls=calls, finish_reason="tool_calls", usage=usage, cost_usd=0.01)
        told = [f"{message.tool_call_id}: {message.content.strip().splitlines()[-1]}" for message in said if message.role == "tool"]
        return LLMResponse(text="\n".join(told), finish_reason="stop", usage=usage, cost_usd=0.01)

    return answer


def one_child(directory: Path) -> Agent:
    helper = worker(directory, "helper", ["put"], ["pay"])
    return Agent(name="boss", model=ScriptedModel(delegating("helper")), subagents=[helper])


def two_children(directory: Path) -> Agent:
    team = [worker(directory, "one", ["pay"]), worker(directory, "two", ["put", "look"])]
    return Agent(name="boss", model=ScriptedModel(delegating("one", "two")), subagents=team)


def one_after_the_other(directory: Path) -> Agent:
    return two_children(directory).model_copy(update={"subagent_parallelism_mode": "single"})


def three_levels(directory: Path) -> Agent:
    low = worker(directory, "low", ["pay"])
    middle = Agent(name="middle", model=ScriptedModel(delegating("low")), subagents=[low])
    return Agent(name="top", model=ScriptedModel(delegating("middle")), subagents=[middle])


async def _never(request: LLMRequest) -> LLMResponse:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


def first_success(directory: Path) -> Agent:
    team = [worker(directory, "quick", ["put"]), Agent(name="slow", model=ScriptedModel(_never))]
    return Agent(name="boss", model=ScriptedModel(delegating("quick", "slow")), subagents=team, join_policy="first_success")


def all_required(directory: Path) -> Agent:
    broken = Agent(name="broken", model=ScriptedModel(lambda request: LLMConfigurationError("no such model")))
    team = [broken, Agent(name="slow", model=ScriptedModel(_never))]
    return Agent(name="boss", model=ScriptedModel(delegating("broken", "slow")), subagents=team)


def tried_again(directory: Path) -> Agent:
    journal = Journal(directory / "journal.jsonl")

    def unlucky_at_first(request: LLMRequest) -> Any:
        # By the run, and not by the request: the second attempt is another run.
        run_id = request.metadata["run_id"]
        journal.note("asked", run=run_id)
        first = next(line["run"] for line in journal.lines() if line["what"] == "asked")
        return ConnectionError("the line is down") if run_id == first else planned([["put"]])(request)

    flaky = Agent(
        name="flaky",
        model=ScriptedModel(unlucky_at_first),
        tools=[tools_in(journal)["put"]],
        fail_safe=FailSafeConfig(llm_failure_policy="fail"),
    )
    fail_safe = FailSafeConfig(subagent_failure_policy="retry_then_fail")
    return Agent(name="boss", model=ScriptedModel(delegating("flaky")), subagents=[flaky], fail_safe=fail_safe)


def routed(directory: Path) -> Agent:
    def router(given: RouterInput) -> DelegationPlan | None:
        if given.step > 1:
            return None
        return DelegationPlan(
            nodes=(
                DelegationNode(id="find", subagent="one", task="find"),
                DelegationNode(id="check", subagent="two", task="check", inputs={"found": "find"}),
                DelegationNode(id="extra", subagent="broken", task="extra", required=False),
            ),
            edges=(("find", "check"),),
            join_policy="allow_optional_failures",
        )

    broken = Agent(name="broken", model=ScriptedModel(lambda request: LLMConfigurationError("no such model")))
    team = [worker(directory, "one", ["pay"]), worker(directory, "two", ["put"]), broken]
    model = ScriptedModel(lambda request: "\n".join(message.content for message in request.messages))
    return Agent(name="boss", model=model, subagents=team, subagent_router=router)


def limited(directory: Path) -> Agent:
    boss = one_child(directory)
    return boss.model_copy(update={"fail_safe": FailSafeConfig(max_total_cost_usd=1.0)})


async def _cancel_when_a_child_runs(handle: AgentRunHandle) -> None:
    async for event in handle.events:
        # A process that died just before it cancelled would have cancelled; the next one does.
        if event.type == "subagent_started" or (event.type == "run_started" and live_children(handle._stretch.state)):
            await handle.cancel("enough")


def under_approval(directory: Path) -> Agent:
    rule = PolicyRule(rule_id="four eyes", action="request_approval", subjects=("tool",), condition=lambda event: event.tool_name == "pay")
    low = worker(directory, "low", ["put"], ["pay"], policy_engine=PolicyEngine([rule]))
    middle = Agent(name="middle", model=ScriptedModel(delegating("low")), subagents=[low])
    return Agent(name="top", model=ScriptedModel(delegating("middle")), subagents=[middle])


def transfer_under_approval(directory: Path) -> Agent:
    rule = PolicyRule(rule_id="four eyes", action="request_approval", subjects=("subagent",), condition=always)
    return one_child(directory).model_copy(update={"policy_engine": PolicyEngine([rule])})


async def _approve(runner: Runner, result: AgentResult) -> bool:
    for request in result.pending:
        await runner.approve(run_id=request.run_id, request_id=request.request_id, by="ann")
    return True


async def _cancel_from_outside(runner: Runner, result: AgentResult) -> bool:
    await (await runner.attach(run_id=result.run_id, by="ann")).cancel("enough")
    return True


EXTERNAL = RunnerConfig(interaction_mode="external")

TEAMS: dict[str, CrashScenario] = {
    "one child": CrashScenario(agent=one_child, user_message="Do it"),
    "two children": CrashScenario(agent=two_children, user_message="Do it"),
    "one after the other": CrashScenario(agent=one_after_the_other, user_message="Do it"),
    "three levels": CrashScenario(agent=three_levels, user_message="Do it"),
    "first success": CrashScenario(agent=first_success, user_message="Do it"),
    "all required": CrashScenario(agent=all_required, user_message="Do it"),
    "tried again": CrashScenario(agent=tried_again, user_message="Do it"),
    "a plan": CrashScenario(agent=routed, user_message="Do it"),
    "a cost limit": CrashScenario(agent=limited, user_message="Do it"),
    "under approval": CrashScenario(agent=under_approval, user_message="Do it", config=EXTERNAL, answer=_approve),
    "transfer under approval": CrashScenario(agent=transfer_under_approval, user_message="Do it", config=EXTERNAL, answer=_approve),
    "cancelled where it lies": CrashScenario(agent=under_approval, user_message="Do it", config=EXTERNAL, answer=_cancel_from_outside),
    "cancelled": CrashScenario(agent=one_child, user_message="Do it", control=_cancel_when_a_child_runs),
}


def about(name: str, problems: Iterable[str]) -> list[str]:
    """The problems that are ones: how far a child has come when its parent is cancelled depends on when that is."""
    return [problem for problem in problems if name != "cancelled" or "tool_executions is" not in problem]


def what_the_world_saw(trial: CrashTrial, result: AgentResult) -> Iterator[str]:
    """Payments were made once, every child has ended, and no more runs were made than were announced."""
    lines = [line for line in Journal(trial.directory / "journal.jsonl").lines() if "call_id" in line]
    for line in lines:
        same = [other for other in lines if other["key"] == line["key"]]
        if line["what"] in UNREPEATABLE and len(same) > 1 and trial.scenario.config.in_doubt == "report":
            yield f"{line['what']} took effect {len(same)} times"
    family = trial.family()
    for run_id, events in family.items():
        if result.state != "interrupted" and events[-1].type not in TERMINAL - {"run_interrupted"}:
            yield f"run {run_id} has not ended, and its parent has"
        announced = [event.data["run_id"] for event in events if event.type == "subagent_started"]
        ended = [event.data["run_id"] for event in events if event.type == "subagent_completed"]
        if len(set(announced)) != len(announced) or len(set(ended)) != len(ended):
            yield f"run {run_id} made a child twice: {announced}"
        if result.state != "interrupted" and set(announced) != set(ended):
            yield f"run {run_id} ended without the end of {set(announced) - set(ended)}"
    paid = ("llm_completed", "thread_compacted", "compaction_failed")
    spent = sum(event.data.get("cost_usd") or 0 for events in family.values() for event in events if event.type in paid)
    if abs((result.total_cost_usd or 0) - spent) > 1e-9:
        yield f"{spent} was spent, and the result says {result.total_cost_usd}"


@pytest.mark.parametrize("name", TEAMS)
def test_a_team_survives_a_crash_at_every_point(name: str) -> None:
    matrix = crash_everywhere(TEAMS[name], what_the_world_saw)
    print(name, matrix.summary())
    assert about(name, matrix.problems) == []
    assert matrix.summary()["missed"] == 0
    assert any(":append:" in point.what for outcome in matrix.outcomes for point in outcome.points), "children die as well"


@pytest.mark.parametrize("name", TEAMS)
def test_a_team_survives_a_second_crash_while_it_is_resumed(name: str) -> None:
    scenario = TEAMS[name]
    chance = random.Random(name)
    rehearsal = rehearse(scenario)
    for first in chance.sample(rehearsal.points, 6):
        with CrashTrial(scenario) as trial:
            trial.run_until(first)
            trial.run()
            passed = list(trial.passed)
        if passed:
            second = chance.choice(passed)
            outcome = crash_at(scenario, (first, second), rehearsal, what_the_world_saw)
            assert about(name, outcome.problems) == [], f"{first} and then {second}"
