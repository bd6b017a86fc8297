"""Runs that nobody chose, drawn from a seed: what agents ask for, how it goes, and where their processes die. One generator for the gate and
for the long command, so that a seed means the same run in both.

A run is one that comes to the same every time it is run, since a killed one is compared with one that was not: what is drawn leaves out what
hangs on which of two goes on first, and each place that does so says why.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from afk_es.agents import Agent, FailSafeConfig
from afk_es.core import AgentResult, RunnerConfig
from afk_es.errors import LLMConfigurationError
from afk_es.llms import LLMRequest, LLMResponse, ToolCall, Usage
from afk_es.testing import CrashPoint, CrashScenario, CrashTrial, ScriptedModel
from tests.crash.journal import Journal
from tests.crash.scenarios import (
    Clerks,
    Plan,
    agent,
    answer_from_outside,
    background,
    deliver,
    failing_at_first,
    first_run,
    going_by_words,
    in_a_few_words,
    in_a_models_words,
    keeping,
    never_there,
    planned,
    ruled,
    short,
    since_user,
    tools_in,
)
from tests.crash.test_matrix import what_the_world_saw
from tests.crash.test_teams import what_the_world_saw as what_the_world_saw_of_teams

Kind = Literal["clerk", "people", "background", "compaction", "team"]
KINDS: tuple[Kind, ...] = ("clerk", "clerk", "people", "background", "compaction", "team", "team")

TOOLS = ["pay", "look", "put", "flaky", "broken"]
"""Not the one that runs in a thread: which of its siblings it overtakes is not the same each time, and a point is named by its place."""


@dataclass(frozen=True)
class GeneratedRun:
    """A run, and the promises of its own kind beside those of every run."""

    seed: int
    kind: Kind
    scenario: CrashScenario

    @property
    def name(self) -> str:
        return f"seed {self.seed} ({self.kind}, {self.scenario.log})"

    def check(self, trial: CrashTrial, result: AgentResult) -> Iterator[str]:
        """What the journal, which only tools and people wrote, says of it."""
        yield from what_the_world_saw_of_teams(trial, result)
        if self.kind != "team":
            yield from what_the_world_saw(trial, result)


def generated_run(seed: int) -> GeneratedRun:
    """The run of this seed."""
    chance = random.Random(f"run {seed}")
    kind = chance.choice(KINDS)
    scenario = _DRAWN[kind](chance)
    # In a team, whose append is first in a store with a thread of its own is a matter of time; real kills have them there.
    if kind != "team" and chance.random() < 0.15:
        scenario = replace(scenario, log="sqlite")
    return GeneratedRun(seed, kind, scenario)


def drawn_deaths(seed: int, scenario: CrashScenario, points: Sequence[CrashPoint], at_most: int) -> Iterator[tuple[CrashPoint, ...]]:
    """Where the processes of a run die: at one point, or at one and then, in half of the cases, at another while it is resumed."""
    chance = random.Random(f"deaths {seed}")
    for first in chance.sample(points, min(at_most, len(points))):
        deaths = [first]
        if chance.random() < 0.5:
            with CrashTrial(scenario) as trial:
                trial.run_until(first)
                trial.run()
                deaths += chance.sample(trial.passed, min(1, len(trial.passed)))
        yield tuple(deaths)


# --------------------------------------------------------------------------------------------------------------------------- the kinds


def drawn_clerk(chance: random.Random) -> CrashScenario:
    """A run of up to three batches of up to four calls, with limits, policies and failures as they fall.

    A tool fails at first only where it is tried again often enough: an attempt in doubt uses up one of the world's failures, so that the
    resumed run would do better than the one nobody killed. And where a failing tool fails the run, all calls of a batch start at once: else
    it would be a matter of time which of them it stops.
    """
    plan = [[chance.choice(TOOLS) for _ in range(chance.randint(1, 4))] for _ in range(chance.randint(1, 3))]
    policy, fail_times = chance.choice([("continue_with_error", 0), ("fail_run", 0), ("retry_then_continue", 1), ("retry_then_fail", 2)])
    fail_safe = FailSafeConfig(
        tool_failure_policy=policy,
        max_tool_calls=chance.choice([2, 4, 200]),
        max_parallel_tools=chance.choice([1, 2, 16]) if policy.endswith(("error", "continue")) else 16,
    )
    make = agent(plan, fail_times=fail_times, fail_safe=fail_safe, wrap=chance.choice([None, failing_at_first]))
    in_doubt = chance.choice(["report", "report", "retry", "ask"])
    return CrashScenario(agent=make, user_message=f"Do {plan}", config=RunnerConfig(in_doubt=in_doubt))


def _clerk(chance: random.Random) -> CrashScenario:
    scenario = drawn_clerk(chance)
    fate = chance.random()
    if fate < 0.2:
        return replace(scenario, thread_id="thread_of_two", before=first_run)
    if fate < 0.4:
        return _falling_back(chance)
    return scenario


def _falling_back(chance: random.Random) -> CrashScenario:
    """A model out of reach, a fallback that answers, a breaker that may open between them; and limits on requests, steps and cost."""
    plan = _plan(chance, ["pay", "look", "put", "broken"], batches=3, calls=2)
    fail_safe = FailSafeConfig(
        fallback_model_chain=(ScriptedModel(planned(plan), model="scripted-2"),),
        breaker_failure_threshold=chance.choice([2, 4, 50]),
        max_llm_calls=chance.choice([4, 50]),
        max_steps=chance.choice([2, 20]),
        max_total_cost_usd=chance.choice([None, 0.02]),
        llm_failure_policy=chance.choice(["retry_then_fail", "retry_then_degrade"]),
    )
    wrap = chance.choice([never_there, failing_at_first])
    return CrashScenario(agent=agent(plan, fail_safe=fail_safe, wrap=wrap), user_message=f"Do {plan}")


def _people(chance: random.Random) -> CrashScenario:
    """Tools that are denied, approved, put off or answered by people, who sit there or answer from outside."""
    plan = _plan(chance, ["pay", "look", "put"], batches=3, calls=3)
    actions = ["deny", "request_approval", "request_approval", "request_user_input"]
    interactive = chance.random() < 0.5
    if not interactive:
        actions.append("defer")
    payloads = {"request_user_input": [{}, {"argument": "item"}]}
    rules = []
    for name in chance.sample(["pay", "look", "put"], chance.randint(1, 3)):
        action = chance.choice(actions)
        rules.append((name, action, chance.choice(payloads.get(action, [{}]))))
    scenario = CrashScenario(agent=agent(plan), user_message=f"Do {plan} under {rules}", policy_engine=ruled(*rules))
    in_doubt = chance.choice(["report", "ask"])
    if interactive:
        return replace(scenario, config=RunnerConfig(interaction_mode="interactive", in_doubt=in_doubt), people=Clerks)
    return replace(scenario, config=RunnerConfig(interaction_mode="external", in_doubt=in_doubt), answer=answer_from_outside)


def _background(chance: random.Random) -> CrashScenario:
    """Work that is handed in as soon as there is a ticket for it, or never."""
    items = [f"item{n}" for n in range(chance.randint(1, 3))]
    settings: dict[str, Any] = {"background_tool_poll_interval_s": 60}
    if chance.random() < 0.6:
        grace = chance.choice([0, 60])
        config = RunnerConfig(background_tool_interrupt_on_resolve=chance.random() < 0.5, background_tool_default_grace_s=grace, **settings)
        return CrashScenario(agent=background(*items), user_message=f"Order {items}", beside=deliver, config=config)
    at_end = chance.choice(["park", "report"])
    config = RunnerConfig(background_tool_at_end=at_end, background_tool_max_pending=chance.choice([1, 256]), **settings)
    return CrashScenario(agent=background(*items), user_message=f"Order {items}", config=config)


def _compaction(chance: random.Random) -> CrashScenario:
    """A conversation that grows too large on the way, and is summed up by a function, a model, or one that fails."""
    plan = _plan(chance, ["pay", "look", "put"], batches=5, calls=2)
    summariser = chance.choice([in_a_few_words, ScriptedModel(in_a_models_words), ScriptedModel(_out_of_order)])
    config = keeping(summariser, max_messages=chance.choice([3, 4, 6]))
    return CrashScenario(agent=going_by_words(plan), user_message=f"Do {plan}", config=config)


def _out_of_order(request: LLMRequest) -> LLMResponse:
    raise LLMConfigurationError("no such model")


def _team(chance: random.Random) -> CrashScenario:
    """A boss with subagents, who may have their own, at work beside each other and beside tools.

    No member has a limit, and no tool's failure fails a run: how far its siblings come before they are told is a matter of time.
    """
    numbers = iter(range(1, 100))
    member = _member(chance, "boss", 2, numbers)
    mode = chance.choice(["parallel", "parallel", "single"])
    under_approval = chance.random() < 0.3
    rules = ruled(("pay", "request_approval", {})) if under_approval else None
    return CrashScenario(
        agent=lambda directory: member(directory).model_copy(update={"subagent_parallelism_mode": mode}),
        user_message="Do it together",
        policy_engine=rules,
        config=RunnerConfig(interaction_mode="external" if under_approval else "headless"),
        answer=answer_from_outside if under_approval else None,
    )


def _member(chance: random.Random, name: str, levels: int, numbers: Iterator[int]) -> Callable[[Path], Agent]:
    team = [_member(chance, f"clerk{next(numbers)}", levels - 1, numbers) for _ in range(chance.randint(1, 2))] if levels else []
    names = [f"clerk{n}" for n in range(100)]
    own = [each for each in names if any(each == given.__name__ for given in team)]
    plan: Plan = [
        [chance.choice([*[f"transfer_to_{each}" for each in own], "pay", "put", "look", "broken"]) for _ in range(chance.randint(1, 3))]
        for _ in range(chance.randint(1, 2))
    ]

    def make(directory: Path) -> Agent:
        journal = Journal(directory / "journal.jsonl")
        tools = tools_in(journal)
        used = {each for turn in plan for each in turn}
        return Agent(
            name=name,
            model=ScriptedModel(_delegating(plan)),
            tools=[tools[each] for each in sorted(used & tools.keys())],
            subagents=[each(directory) for each in team],
        )

    make.__name__ = name
    return make


def _delegating(plan: Plan) -> Callable[[LLMRequest], LLMResponse]:
    """Follows a plan of tools and subagents, and in the end tells what each call returned."""

    def answer(request: LLMRequest) -> LLMResponse:
        said = since_user(request)
        turn = sum(bool(message.tool_calls) for message in said)
        usage = Usage(10, 5, 15)
        if turn < len(plan):
            calls = [
                ToolCall(f"call_{turn + 1}_{n}", name, _arguments(name, f"{turn + 1}.{n}")) for n, name in enumerate(plan[turn], start=1)
            ]
            return LLMResponse(tool_calls=tuple(calls), finish_reason="tool_calls", usage=usage, cost_usd=0.01)
        told = [f"{message.tool_call_id}: {short(message.content)}" for message in said if message.role == "tool"]
        return LLMResponse(text=" ".join(["done", *told]), finish_reason="stop", usage=usage, cost_usd=0.01)

    return answer


def _arguments(name: str, item: str) -> dict[str, Any]:
    return {"task": f"Do {item}."} if name.startswith("transfer_to_") else {"item": item}


def _plan(chance: random.Random, tools: Sequence[str], *, batches: int, calls: int) -> list[list[str]]:
    return [[chance.choice(tools) for _ in range(chance.randint(1, calls))] for _ in range(chance.randint(1, batches))]


_DRAWN: dict[Kind, Callable[[random.Random], CrashScenario]] = {
    "clerk": _clerk,
    "people": _people,
    "background": _background,
    "compaction": _compaction,
    "team": _team,
}
