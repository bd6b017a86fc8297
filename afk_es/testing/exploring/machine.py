"""State machines of Hypothesis for agents: each rule is something that can happen to a run, and invariants are checked after each.

    ShopTest = agent_machine(shop, invariants=[*SHIPPED, NeverPaysTwice]).TestCase

or, with rules and invariants of one's own:

    class Shop(agent_machine(shop)):
        @rule(order=st.sampled_from(["A-17", "B-4"]))
        def the_customer_writes(self, order: str) -> None:
            self.says(f"Where is {order}?")

    ShopTest = Shop.TestCase

What fails is told as a program that can be pasted and run, then made smaller by the event-level shrinker, and written as a log.
"""

from __future__ import annotations

import os
import re
import sys
import unittest
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

from hypothesis import HealthCheck, Phase, reject, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from afk_es.agents import Agent, PolicyEngine
from afk_es.core import RunnerConfig
from afk_es.errors import UsageError
from afk_es.llms import UserMessage
from afk_es.testing.exploring.acquaintance import Acquaintance
from afk_es.testing.exploring.adversary import Adversary
from afk_es.testing.exploring.artefact import DIRECTORY, debug_command, golden_command, write_counterexample
from afk_es.testing.exploring.drawn import DrawnChoices
from afk_es.testing.exploring.shrinking import Shrunk, shrink
from afk_es.testing.exploring.telling import told
from afk_es.testing.exploring.trial import Stage, violated
from afk_es.testing.exploring.world_options import Trouble, WorldOptions
from afk_es.testing.invariants import SHIPPED, InvariantLike, checked
from afk_es.testing.simulation import facts
from afk_es.testing.simulation.asks import AskKind
from afk_es.testing.simulation.facts import (
    Action,
    Answer,
    Control,
    Crash,
    Script,
    StalledProcess,
    TicketEnds,
    TimePasses,
    Together,
    UserSays,
)
from afk_es.testing.simulation.world import Simulation

SHRINKING_S = 20.0
"""Real seconds that the event-level shrinker has, by default."""

_FURTHEST_WRITE = 8
"""A process may die at one of so many writes to come."""

_MOMENTS = st.sampled_from([TimePasses(), TimePasses(1.0), TimePasses(31.0), TimePasses(301.0), TimePasses(4_000.0)])
_CRASHES = st.builds(
    Crash,
    appends=st.integers(0, _FURTHEST_WRITE),
    when=st.sampled_from(["after", "before"]),
    downtime_s=st.sampled_from([0.0, 1.0, 400.0]),
)


class _LentChoices(DrawnChoices):
    """Choices drawn from whatever rule is being drawn."""

    def __init__(self) -> None:
        """Nothing is drawn before a rule lends its data."""

    def borrow(self, data: st.DataObject) -> None:
        """Draw from this from now on."""
        DrawnChoices.__init__(self, data)


Drawing = Callable[["AgentMachine", st.DataObject], Action | None]


def _drawn(choose: Drawing) -> st.SearchStrategy[Any]:
    """An action that the machine chooses as it stands; the rule shows the action, and not how it was drawn."""

    @st.composite
    def action(draw: st.DrawFn) -> Action:
        chosen = choose(draw(st.runner()), draw(st.data()))
        return chosen if chosen is not None else reject()

    return action()


def _answers(*kinds: AskKind) -> st.SearchStrategy[Any]:
    return _drawn(lambda machine, data: machine.draw_answer(data, kinds))


class Failure(NamedTuple):
    """A run that failed."""

    script: Script
    violation: Exception
    simulation: Simulation


class AgentMachine(RuleBasedStateMachine):
    """A simulated run, in which whatever can happen happens in any order; made by `agent_machine`.

    A subclass may add rules and invariants; they find the simulation in `simulation`, and let something happen by `perform`.

    Attributes:
        simulation: the run.
        stage, world, directory, shrinking_s: what `agent_machine` was given.
    """

    stage: ClassVar[Stage]
    world: ClassVar[WorldOptions]
    known: ClassVar[Acquaintance]
    directory: ClassVar[Path | None]
    shrinking_s: ClassVar[float]
    is_extended: ClassVar[bool] = True
    failures: ClassVar[dict[str, Failure]]
    """The last failure of each invariant: Hypothesis performs the smallest last."""
    last: ClassVar[tuple[Script, Simulation] | None] = None
    """The last run, and what had happened before it came plainly to its end."""

    def __init__(self) -> None:
        super().__init__()
        if not hasattr(type(self), "stage"):
            raise UsageError("AgentMachine knows no agent; make a machine of yours with agent_machine(agent)")
        self.simulation: Simulation = Simulation(self.stage.agent, observers=self.stage.observers(), **self.stage.arguments)
        self._choices = _LentChoices()
        self._adversary = Adversary(self._choices, self.world, known=self.known)
        self._moves = 0
        self._troubles = 0
        self._failed = False
        self._watched(self.simulation.begin)

    # ------------------------------------------------------------------------------------------------------------------ for subclasses

    def perform(self, action: Action) -> None:
        """Let this happen; what does not fit is let go. Raises what an invariant raises."""
        self._watched(lambda: self.simulation.perform(action))

    def says(self, text: str) -> None:
        """The user goes on with the thread, once the run has ended."""
        self.perform(UserSays(text))

    def waits_for(self, *kinds: AskKind) -> bool:
        """Whether the run waits for something of one of these kinds."""
        return any(ask.kind in kinds for ask in self.simulation.pending.values())

    def draw_answer(self, data: st.DataObject, kinds: Sequence[AskKind]) -> Answer | None:
        """An answer to something of these kinds that the run waits for, as an adversary would give it."""
        asks = [ask for ask in self.simulation.pending.values() if ask.kind in kinds]
        if not asks:
            return None
        self._choices.borrow(data)
        self._adversary.prepare(self.simulation)
        ask = self._choices.pick(asks)
        return Answer(ask.key, self._adversary.fact(ask))

    def draw_moment(self, data: st.DataObject) -> Together | None:
        """Two or three things that happen before the run can take in any of them."""
        first = self.draw_answer(data, ("model", "tool", "approval", "input", "summary"))
        members: list[Answer | Control | TicketEnds] = [first] if first is not None else []
        others = [each for each in self.simulation.pending.values() if first is None or each.key != first.to]
        if others and self._choices.chance(50):
            members.append(Answer(others[0].key, self._adversary.fact(others[0])))
        if self.simulation.tickets and self._choices.chance(50):
            members.append(TicketEnds())
        if len(members) < 2 or self._choices.chance(30):
            members.append(Control(self._choices.pick(("cancel", "interrupt", "pause", "resume"))))
        return Together(tuple(members)) if len(members) > 1 else None

    # -------------------------------------------------------------------------------------------------------------------------- rules

    @precondition(lambda self: self.waits_for("model"))
    @rule(action=_answers("model"))
    def the_model_answers(self, action: Answer) -> None:
        """The model answers, well or badly, or does not."""
        self._move(action)

    @precondition(lambda self: self.waits_for("tool"))
    @rule(action=_answers("tool"))
    def a_tool_ends(self, action: Answer) -> None:
        """A tool returns, fails, or goes on in the background."""
        self._move(action)

    @precondition(lambda self: self.waits_for("approval", "input"))
    @rule(action=_answers("approval", "input"))
    def a_person_answers(self, action: Answer) -> None:
        """Somebody who was asked answers, or does not."""
        self._move(action)

    @precondition(lambda self: self.waits_for("summary"))
    @rule(action=_answers("summary"))
    def a_summary_comes(self, action: Answer) -> None:
        """The summariser answers, or fails."""
        self._move(action)

    @precondition(lambda self: bool(self.simulation.tickets))
    @rule(
        action=st.builds(
            TicketEnds, ticket=st.integers(0, 2), output=st.sampled_from(["done", None]), error=st.none() | st.just("it broke")
        )
    )
    def background_work_ends(self, action: TicketEnds) -> None:
        """What a tool does in the background ends, or fails."""
        self._move(action)

    @precondition(lambda self: self.simulation.waits_for_time and (self._room("time") or not self.simulation.pending))
    @rule(action=_MOMENTS)
    def time_passes(self, action: TimePasses) -> None:
        """Some of it."""
        self._trouble(action)

    @precondition(lambda self: self.simulation.process.at_work and self._room("crashes"))
    @rule(action=_CRASHES)
    def the_process_dies(self, action: Crash) -> None:
        """Now, or at one of the next writes; and another one goes on."""
        self._trouble(action)

    @precondition(lambda self: self.simulation.process.at_work and self.simulation.root is not None and self._room("stalls"))
    @rule()
    def the_process_stalls(self) -> None:
        """Another one takes over, and the first wakes up at the end."""
        self._trouble(StalledProcess())

    @precondition(lambda self: self.simulation.process.at_work and self.simulation.root is not None and self._room("controls"))
    @rule(action=st.builds(Control, st.sampled_from(["pause", "interrupt", "cancel"])))
    def somebody_intervenes(self, action: Control) -> None:
        """A person pauses the run, lays it down or cancels it."""
        self._trouble(action)

    @precondition(lambda self: self.can_go_on)
    @rule()
    def somebody_resumes(self) -> None:
        """A paused run, or one that was laid down, goes on."""
        self._move(Control("resume"))

    @precondition(lambda self: self.can_be_reopened and self._room("controls"))
    @rule()
    def somebody_reopens(self) -> None:
        """A run that failed goes on."""
        self._trouble(Control("reopen"))

    @precondition(lambda self: bool(self.simulation.pending) and self.simulation.process.at_work and self._room("races"))
    @rule(action=_drawn(lambda machine, data: machine.draw_moment(data)))
    def at_one_moment(self, action: Together) -> None:
        """Several things at once."""
        self._trouble(action)

    @precondition(lambda self: self.has_turns)
    @rule(text=_drawn(lambda machine, data: machine.draw_text(data)))
    def the_user_says(self, text: str) -> None:
        """The run has ended, and the user says more."""
        self._move(UserSays(text))

    @precondition(lambda self: not self.goes_on)
    @rule()
    def it_is_over(self) -> None:
        """Nothing happens any more. Hypothesis wants a rule for every step that is left."""

    def teardown(self) -> None:
        """Let nothing go wrong any more: the run has to come to its end; then clear away."""
        type(self).last = (self.simulation.script, self.simulation)
        try:
            if not self._failed:
                self._watched(self.simulation.finish)
                self._watched(self.simulation.close)
        finally:
            self.simulation.abandon()

    # ---------------------------------------------------------------------------------------------------------------------- the inside

    @property
    def can_go_on(self) -> bool:
        """Whether the run is paused or was laid down."""
        simulation, root = self.simulation, self.simulation.root
        if root is None or simulation.over:
            return False
        return root.state.status == ("paused" if simulation.process.at_work else "interrupted")

    @property
    def can_be_reopened(self) -> bool:
        """Whether the run has failed."""
        simulation, root = self.simulation, self.simulation.root
        return simulation.over and root is not None and root.state.status == "failed" and simulation.process.error is None

    @property
    def goes_on(self) -> bool:
        """Whether there is anything that moves the run on."""
        simulation = self.simulation
        return bool(simulation.pending or simulation.tickets or simulation.waits_for_time or self.can_go_on or self.has_turns)

    @property
    def has_turns(self) -> bool:
        """Whether the run has ended, and the user may say more."""
        simulation = self.simulation
        if not simulation.over or simulation.process.error is not None:
            return False
        return "turns" in self.world.troubles and len(simulation.results) < self.world.turns

    def draw_text(self, data: st.DataObject) -> Any:
        """What the user says next."""
        self._choices.borrow(data)
        return self._choices.pick(self.world.user_messages)

    def _room(self, trouble: Trouble) -> bool:
        """Whether this may happen now. Without a bound most steps would be troubles, and runs would not get far."""
        return trouble in self.world.troubles and self._troubles <= self._moves

    def _move(self, action: Action) -> None:
        self._moves += 1
        self.perform(action)

    def _trouble(self, action: Action) -> None:
        self._troubles += 1
        self.perform(action)

    def _watched(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception as error:
            self._failed = True
            self.failures[violated(error)] = Failure(self.simulation.script, error, self.simulation)
            raise

    @classmethod
    @lru_cache
    def _to_test_case(cls) -> Any:
        """What `TestCase` is: Hypothesis's own, which tells of a failure also how it is opened."""
        made = super()._to_test_case()

        class AgentTestCase(made):  # type: ignore[misc, valid-type]  # a class that Hypothesis makes
            settings = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=False)

            def runTest(self) -> None:
                __tracebackhide__ = True
                cls.failures.clear()
                smallest: Exception | None = None
                try:
                    run_state_machine_as_test(cls, settings=cls.fitting(self.settings))
                except Exception as error:
                    smallest = cls.explained(error)
                    if smallest is error:
                        raise
                finally:
                    cls.failures.clear()
                if smallest is not None:
                    raise smallest from None

        test: Any = AgentTestCase
        test.runTest.is_hypothesis_test = True
        test.runTest._hypothesis_state_machine_class = cls
        test.__name__, test.__qualname__, test.__module__ = made.__name__, made.__qualname__, cls.__module__
        return cast("type[unittest.TestCase]", test)

    @classmethod
    def fitting(cls, given: settings) -> settings:
        """The settings, without what is of no use here.

        The phase that explains traces every line that is run, and would tell of ours. And where nobody added rules or invariants, a script tells
        all that happened, which the event-level shrinker makes smaller in a hundredth of the time: there one failure is enough.
        """
        dropped = {Phase.explain} if cls.is_extended else {Phase.explain, Phase.shrink}
        phases = [each for each in given.phases if each not in dropped]
        return settings(given, phases=phases, report_multiple_bugs=given.report_multiple_bugs and cls.is_extended)

    @classmethod
    def explained(cls, error: Exception) -> Exception:
        """The failure with notes: the smallest run that was found, its log, and how to open it. One that is not of the run stays as it is."""
        if not cls.is_extended and (kept := cls.failures.get(violated(error))) is not None:
            shrunk = cls._shrunk(kept)
            if shrunk is not None:
                violation = shrunk.violation.with_traceback(None)
                violation.__notes__ = [cls._note(shrunk, kept)]
                return violation
        found = leaves(error)
        for each in found:
            if (kept := cls.failures.get(violated(each))) is not None:
                each.add_note(cls._note(cls._shrunk(kept), kept))
            elif len(found) == 1 and cls.last is not None and not isinstance(each, HypothesisException):
                # A rule or an invariant of the subclass: the run that it failed in was performed last.
                script, simulation = cls.last
                each.add_note(cls._note(None, Failure(script, each, simulation)))
        return error

    @classmethod
    def _shrunk(cls, kept: Failure) -> Shrunk | None:
        """The failure made smaller; None where the script alone does not show it: a rule or an invariant of a subclass decided it."""
        try:
            return shrink(kept.script, cls.stage, violation=kept.violation, most_seconds=cls.shrinking_s)
        except UsageError:
            return None

    @classmethod
    def _note(cls, shrunk: Shrunk | None, kept: Failure) -> str:
        script, violation, simulation = kept.script, kept.violation, kept.simulation
        if shrunk is not None:
            script, violation, simulation = shrunk.script, shrunk.violation, shrunk.trial.simulation
        lines = ["The smallest run that was found:", *(f"  {line}" for line in told(script))]
        if shrunk is not None:
            before, after = shrunk.before, shrunk.after
            lines.append(
                f"  (from {before.events} events and {before.actions} actions to {after.events} and {after.actions} in {shrunk.seconds:.1f} s)"
            )
            lines += ["As a program:", *(f"  {line}" for line in program(cls.__name__, script))]
        if cls.directory is not None:
            path = write_counterexample(simulation, violation, cls.directory, cls.__name__, script=script)
            lines += ["To look at it:", f"  {debug_command(path, violation)}", "To keep it as a golden:", f"  {golden_command(path)}"]
        return "\n".join(lines)


def leaves(error: Exception) -> list[Exception]:
    """The error, or of a group each of its members."""
    if isinstance(error, ExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


def agent_machine(
    agent: Agent | Sequence[Agent],
    *,
    invariants: Iterable[InvariantLike] = SHIPPED,
    user_message: UserMessage | None = "Hello",
    context: Mapping[str, Any] | None = None,
    config: RunnerConfig | None = None,
    policy_engine: PolicyEngine | None = None,
    world: WorldOptions | None = None,
    name: str | None = None,
    directory: str | os.PathLike[str] | None = DIRECTORY,
    shrinking_s: float = SHRINKING_S,
) -> type[AgentMachine]:
    """Make a state machine of an agent: its `.TestCase` is a test, for unittest and pytest; subclasses may add rules and invariants.

    Args:
        agent: the agent; of several versions, the first begins.
        invariants: what must hold, fresh for each run; default the shipped ones.
        user_message, context, config, policy_engine: of the run; by default people can be asked.
        world: what may happen; default everything.
        name: of the machine; default made of the agent's. Hypothesis keeps failing examples under it, together with the module that calls,
            so two machines of one module whose agents have the same name need names.
        directory: where the log of a failure is written; None for nowhere.
        shrinking_s: real seconds that the event-level shrinker has, once Hypothesis has done what it can.

    Raises:
        ConfigurationError: one of the invariants is none.
        UsageError: the name is no identifier, or there is no agent.
    """
    agents = (agent,) if isinstance(agent, Agent) else tuple(agent)
    if not agents:
        raise UsageError("a machine needs an agent")
    called = name if name is not None else _machine_name(agents[0].name)
    if not called.isidentifier():
        raise UsageError(f"{called!r} is no name of a class; call the machine something like {_machine_name(called)!r}")
    given = tuple(invariants)
    checked(given)
    module = str(sys._getframe(1).f_globals.get("__name__", "__main__"))
    arguments = {"user_message": user_message, "context": context, "config": config, "policy_engine": policy_engine}
    return type(
        called,
        (AgentMachine,),
        {
            "__module__": module,
            "__qualname__": called,
            "__doc__": f"What can happen to runs of {agents[0].name}.",
            # Hypothesis keys its database by the class's source, and this one has none. Its name alone may be another module's as well.
            "_hypothesis_internal_add_digest": f"{module}.{called}".encode(),
            "stage": Stage(agents, lambda: checked(given), arguments),
            "world": world if world is not None else WorldOptions(),
            "known": Acquaintance(agents, policy_engine, context),
            "directory": Path(directory) if directory is not None else None,
            "shrinking_s": shrinking_s,
            "failures": {},
            "is_extended": False,
            "__init_subclass__": classmethod(cast(Any, _extended)),
        },
    )


def _extended(cls: type[AgentMachine], **options: Any) -> None:
    """A subclass may have rules and invariants that no script tells, and keeps failures of its own."""
    cls.is_extended = True
    cls.failures = {}


def program(machine: str, script: Script) -> list[str]:
    """A script as lines of Python that do it again with the machine."""
    names = sorted({name for action in script for name in re.findall(r"\b([A-Z]\w+)\(", repr(action)) if hasattr(facts, name)})
    lines = [f"from afk_es.testing import {', '.join(names)}"] if names else []
    return [*lines, f"state = {machine}()", *(f"state.perform({action!r})" for action in script), "state.teardown()"]


def _machine_name(agent: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", agent)
    made = "".join(word[:1].upper() + word[1:] for word in words)
    return f"{'' if made[:1].isalpha() else 'Agent'}{made}Machine"
