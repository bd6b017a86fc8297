"""`explore`: looks for a run of an agent that breaks a promise, whatever models, tools, people, time and processes do.

def test_no_refund_without_approval():
    explore(agent, invariants=[*SHIPPED, requires_approval("issue_refund"), stays_below(cost_usd=1.0)])
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import find, settings
from hypothesis import strategies as st

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import SystemClock
from afk_es.core import RunnerConfig
from afk_es.errors import ConfigurationError, LogError, UsageError
from afk_es.llms import UserMessage
from afk_es.testing.exploring.acquaintance import Acquaintance
from afk_es.testing.exploring.adversary import Adversary
from afk_es.testing.exploring.artefact import DIRECTORY, SUFFIX, read_counterexample, safe_name, write_counterexample
from afk_es.testing.exploring.bounds import PlayedAs
from afk_es.testing.exploring.coverage import Coverage, Explored, expected_of, reached
from afk_es.testing.exploring.driving import drive
from afk_es.testing.exploring.findings import Find, NotExercisedError, NotRepeatableError, ViolationFound, difference
from afk_es.testing.exploring.markers import counting
from afk_es.testing.exploring.pools import Overrides, PooledChoices, Pools
from afk_es.testing.exploring.profiles import Profile, profile_of, seed_of
from afk_es.testing.exploring.shrinking import shrink
from afk_es.testing.exploring.trial import Stage, violated
from afk_es.testing.exploring.world_options import PeoplePlay, ToolPlay, WorldOptions
from afk_es.testing.invariants import SHIPPED, InvariantLike, checked
from afk_es.testing.simulation.virtual_loop import check_no_loop_runs
from afk_es.testing.simulation.world import Simulation, playing

BATCH = 1_000
"""Examples after which new arguments are made, which takes as long as some thirty examples."""


def explore(
    agent: Agent | Sequence[Agent],
    *,
    invariants: Iterable[InvariantLike] = SHIPPED,
    user_message: UserMessage | None = "Hello",
    context: Mapping[str, Any] | None = None,
    config: RunnerConfig | None = None,
    policy_engine: PolicyEngine | None = None,
    tools: Mapping[str, ToolPlay] | None = None,
    arguments: Overrides | None = None,
    people: PeoplePlay | None = None,
    crashes: bool = True,
    world: WorldOptions | None = None,
    require: Iterable[str] = (),
    max_examples: int | None = None,
    seconds: float | None = None,
    profile: str | Profile | None = None,
    seed: int | None = None,
    name: str | None = None,
    directory: str | os.PathLike[str] | None = DIRECTORY,
) -> Explored:
    """Run an agent in many simulated worlds that are out to break it, and check invariants at every event.

    Models, tools and people are played by an adversary; everything else is real: policies, hooks, validation, limits, subagents, the loop, the
    log and recovery. Each example does its worst, then nothing goes wrong any more and the run has to come to its end. A plain function: call
    it in a test, or anywhere.

    Args:
        agent: the agent; of several versions, the first begins, and others may go on after a crash.
        invariants: what must hold, fresh for each example; default the shipped ones, which one's own go beside: `[*SHIPPED, mine]`.
        user_message, context, config, policy_engine: of the run; by default people can be asked.
        tools: per tool how it is played: "simulated" (the default: whatever fits its annotation, and its code does not run), "real" (its code
            runs: what it awaits takes no real time, but a `time.sleep` or a lock holds the exploration up, and a warning names it), a function of the arguments that
            says what it returns, or a Hypothesis strategy.
        arguments: per tool, strategies for some of its arguments; see `afk_es.testing.arguments`.
        people: how people are played: "any" (the default), "yes", "no", or a function of the request.
        crashes: whether processes die, stall and are replaced; default True.
        world: all that may happen; default everything.
        require: names of what some example has to reach (see `Coverage`), such as "rule:refunds-above-100", "limit:max_tool_calls",
            "tool_failed".
        max_examples: default the profile's.
        seconds: go on for so many real seconds instead; nothing stops an example that is under way.
        profile: "dev", "ci" or "nightly"; default as `AFK_ES_PROFILE` says, else "ci" where `CI` is set, else "dev".
        seed: what the examples are drawn from; default a new one, which is told, or under "ci" one of the name.
        name: of the files of a violation; default the pytest test's, else the agent's.
        directory: where the log and the script of a violation are written, over those of the last time, which are tried first; None for
            nowhere.

    Returns:
        What was reached, where nothing was found.

    Raises:
        ViolationFound: an example violates an invariant; it tells the smallest, and where its log is.
        NotRepeatableError: the agent's code keeps state between examples.
        NotExercisedError: something in `require` was never reached.
        ConfigurationError: something given cannot work.
        UsageError: an event loop runs here, as in an async test.
    """
    __tracebackhide__ = True
    check_no_loop_runs()
    agents = (agent,) if isinstance(agent, Agent) else tuple(agent)
    if not agents:
        raise ConfigurationError("an exploration needs an agent")
    chosen = profile_of(profile)
    if max_examples is not None:
        if max_examples < 1:
            raise ConfigurationError(f"max_examples is at least 1, and this is {max_examples}")
        chosen = replace(chosen, examples=max_examples)
    if seconds is not None and seconds <= 0:
        raise ConfigurationError(f"seconds are more than 0, and these are {seconds:g}")
    _check_tools_are_there("arguments says what is sent to", arguments or (), agents)
    invariants = tuple(invariants)
    checked(invariants)
    played = _world(world, tools, people, crashes, agents)
    bounds = PlayedAs(played, _plain_outputs(played))
    said = {"bounds": bounds, "user_message": user_message, "context": context, "config": config, "policy_engine": policy_engine}
    name = name or _test_name() or agents[0].name
    exploration = _Exploration(
        Stage(agents, lambda: checked(invariants), said),
        played,
        bounds,
        Acquaintance(agents, policy_engine, context, invariants),
        arguments or {},
        chosen,
        name,
        seed if seed is not None else seed_of(chosen, name),
    )
    kept_in = Path(directory) if directory is not None else None
    finds = exploration.search(seconds, kept_in)
    if finds:
        raise exploration.finding(finds, kept_in) from None
    explored = exploration.explored
    if missing := [each for each in require if not explored.reached(each)]:
        raise NotExercisedError(missing, explored)
    return explored


class _Exploration:
    """One call of `explore`."""

    def __init__(
        self,
        stage: Stage,
        world: WorldOptions,
        bounds: PlayedAs,
        known: Acquaintance,
        overrides: Overrides,
        profile: Profile,
        name: str,
        seed: int,
    ) -> None:
        self._stage = stage
        self._world = world
        self._bounds = bounds
        self._known = known
        self._overrides = overrides
        self._profile = profile
        self._name = name
        self._seed = seed
        self._clock = SystemClock()
        self._began = self._clock.monotonic()
        self._examples = 0
        self._events = 0
        self._counts: Counter[str] = Counter()
        self._finds: dict[str, Find] = {}

    @property
    def explored(self) -> Explored:
        """What was reached so far."""
        hoped = [name for name in self._counts if name.startswith("sometimes:")]
        return Explored(
            agent=self._stage_agents[0].name,
            profile=self._profile.name,
            seed=self._seed,
            examples=self._examples,
            events=self._events,
            seconds=self._passed,
            counts=dict(self._counts),
            missed=tuple(name for name in (*expected_of(self._known), *hoped) if not reached(self._counts, name)),
        )

    @property
    def _stage_agents(self) -> Sequence[Agent]:
        agent = self._stage.agent
        return (agent,) if isinstance(agent, Agent) else agent

    @property
    def _passed(self) -> float:
        return self._clock.monotonic() - self._began

    def search(self, seconds: float | None, directory: Path | None) -> list[Find]:
        """Look, and return what was found, the smallest first."""
        if directory is not None:
            self._try_the_last(directory / f"{safe_name(self._name)}{SUFFIX}")
        if not self._finds:
            # Nothing happens at first: what is wrong with the agent itself shows here.
            self._example(None)
        pools = Pools(self._overrides, self._seed)
        number = 0
        while not self._finds and (number < self._profile.examples if seconds is None else self._passed < seconds):
            if number and number % BATCH == 0:
                pools = Pools(self._overrides, self._seed + number)
            number += 1
            self._example(PooledChoices((self._seed << 32) + number, pools))
        return sorted(self._finds.values(), key=lambda find: len(find.script))

    def finding(self, finds: Sequence[Find], directory: Path | None) -> AssertionError:
        """The smallest find, made smaller and written down."""
        find = finds[0]
        trial = self._stage.perform(find.script)
        if trial.violation is None or violated(trial.violation) != violated(find.violation):
            return NotRepeatableError(f"an example was found that violates {violated(find.violation)!r}, and the next time it did not")
        shrunk = shrink(find.script, self._stage, violation=find.violation, most_seconds=self._profile.shrink_seconds)
        path, unwritten = None, None
        if directory is not None:
            try:
                path = write_counterexample(shrunk.trial.simulation, shrunk.violation, directory, self._name, script=shrunk.script)
            except (OSError, LogError) as error:
                # What was found matters more than its file.
                unwritten = f"{directory}: {error}"
        return ViolationFound(find, shrunk, path, self._seed, [violated(each.violation) for each in finds[1:]], unwritten)

    # ------------------------------------------------------------------------------------------------------------------------ the inside

    def _try_the_last(self, path: Path) -> None:
        """Try what was found the last time, if it was kept."""
        try:
            kept = read_counterexample(path)
        except (UsageError, OSError):
            return
        trial = self._stage.perform(kept.script)
        if trial.violation is not None:
            self._examples += 1
            self._take_down(Find(trial.script, trial.violation, self._examples, self._passed))

    def _example(self, choices: PooledChoices | None) -> None:
        coverage = Coverage()
        simulation = Simulation(self._stage.agent, observers=(coverage, *self._stage.observers()), **self._stage.arguments)
        adversary = Adversary(choices, self._world, known=self._known, bounds=self._bounds) if choices is not None else None
        with counting() as marks:
            violation = drive(simulation, adversary)
        self._examples += 1
        self._events += coverage.events
        self._counts.update(dict.fromkeys(coverage.reached, 1))
        self._counts.update({name: min(held, 1) for name, held in marks.items()})
        if self._bounds.mistake is not None:
            raise self._bounds.mistake
        if violation is not None:
            self._take_down(Find(simulation.script, violation, self._examples, self._passed))
            return
        if self._examples < 5 or self._examples % 100 == 0:
            self._check_repeats(simulation)

    def _take_down(self, find: Find) -> None:
        name = violated(find.violation)
        known = self._finds.get(name)
        if known is None:
            self._finds[name] = find
        elif len(find.script) < len(known.script):
            self._finds[name] = replace(find, example=known.example, seconds=known.seconds)

    def _check_repeats(self, simulation: Simulation) -> None:
        again = playing(simulation.script, self._stage.agent, **self._stage.arguments)
        again.close()
        if what := difference(simulation, again):
            raise NotRepeatableError(what)


def _world(
    world: WorldOptions | None, tools: Mapping[str, ToolPlay] | None, people: PeoplePlay | None, crashes: bool, agents: Sequence[Agent]
) -> WorldOptions:
    world = world if world is not None else WorldOptions()
    if tools is not None:
        _check_tools_are_there("tools says how to play", tools, agents)
        for name, play in tools.items():
            if not (callable(play) or play in ("simulated", "real")) and not isinstance(play, st.SearchStrategy):
                raise ConfigurationError(
                    f"{name!r} is played 'simulated', 'real', by a function of its arguments or a Hypothesis strategy, and not {play!r}"
                )
        world = replace(world, tools={**world.tools, **tools})
    if people is not None:
        world = replace(world, people=people)
    return world if crashes else world.without("crashes", "stalls", "upgrades")


def _check_tools_are_there(said: str, named: Iterable[str], agents: Sequence[Agent]) -> None:
    there = {tool.name for agent in Acquaintance(agents).agents.values() for tool in agent.tools}
    if unknown := sorted(set(named) - there):
        raise ConfigurationError(f"{said} {unknown[0]!r}, and the agent has {', '.join(sorted(there)) or 'no tools'}")


def _plain_outputs(world: WorldOptions) -> dict[str, Any]:
    """The simplest value of each strategy that plays a tool."""
    quietly = settings(database=None, derandomize=True)
    strategies = {name: play for name, play in world.tools.items() if isinstance(play, st.SearchStrategy)}
    return {name: find(play, lambda _value: True, settings=quietly) for name, play in strategies.items()}


def _test_name() -> str | None:
    """The test that pytest runs now."""
    current = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    return re.sub(r"^.*?([^/]+)\.py::", r"\1::", current).replace("::", ".") or None
