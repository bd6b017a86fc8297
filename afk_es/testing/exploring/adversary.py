"""Plays the world against an agent, one action at a time: models, tools, people, time, and whatever befalls the process.

Every choice is put to `Choices`, so the same adversary serves Hypothesis, which shrinks, and seeds, which are fast. It is out to reach what
seldom happens: most of what it does is sound, so that runs get far, and each example has troubles of its own, so that none hides another.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from afk_es.testing.exploring.acquaintance import Acquaintance, output_schema
from afk_es.testing.exploring.bounds import PlayedAs
from afk_es.testing.exploring.choices import Choices
from afk_es.testing.exploring.model_play import HOSTILE, HUGE, ModelPlay
from afk_es.testing.exploring.world_options import TROUBLES, Trouble, WorldOptions
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.facts import (
    Action,
    Answer,
    Control,
    Crash,
    Fact,
    PersonSays,
    StalledProcess,
    Summarises,
    TicketEnds,
    TimePasses,
    Together,
    ToolDefers,
    ToolFails,
    ToolReturns,
    UserSays,
)
from afk_es.testing.simulation.world import Simulation

DISTURBANCES: tuple[Trouble, ...] = ("time", "controls", "crashes", "stalls", "races")
MOMENTS = (None, 1.0, 31.0, 301.0, 4_000.0)
"""Seconds that may pass: up to the next timer, past a retry, a breaker's pause, an approval's term, and a ticket's."""


class Adversary:
    """Plays one example. What it knows of the agents is found out at its first action.

    Args:
        choices: decides.
        world: what may happen.
        known, bounds: what is known of the agents, and what may be answered, where many examples share it.

    Attributes:
        on: the troubles of this example; drawn at the first action.
        actions: how many it has chosen.
    """

    def __init__(
        self, choices: Choices, world: WorldOptions | None = None, *, known: Acquaintance | None = None, bounds: PlayedAs | None = None
    ) -> None:
        self.on: frozenset[Trouble] = frozenset()
        self.actions: int = 0
        self._choices = choices
        self._world = world if world is not None else WorldOptions()
        self._known = known
        self._bounds = bounds if bounds is not None else PlayedAs(self._world)
        self._model: ModelPlay | None = None
        self._turns = 1

    def next_action(self, simulation: Simulation) -> Action | None:
        """What happens next; None where there is nothing left to do but to let it finish."""
        self.prepare(simulation)
        if self.actions >= self._world.actions:
            return None
        self.actions += 1
        if simulation.over:
            return self._reopening(simulation) or self._next_turn()
        if action := self._disturbance(simulation):
            return action
        return self._plain(simulation)

    def prepare(self, simulation: Simulation) -> None:
        """Draw the troubles of this example and get to know the agents, once. Before `fact` is asked without `next_action`."""
        if self._model is None:
            self._model = self._prepared(simulation)

    def fact(self, ask: Ask) -> Fact:
        """What an ask is answered with."""
        match ask.kind:
            case "model":
                assert self._model is not None
                return self._model.fact(ask)
            case "tool":
                return self._of_tool(ask)
            case "approval" | "input":
                return self._of_people(ask)
            case "summary":
                return Summarises(None) if self._now("model_failures", 30) else Summarises()

    # --------------------------------------------------------------------------------------------------------------------- what comes next

    def _prepared(self, simulation: Simulation) -> ModelPlay:
        world, choices = self._world, self._choices
        self.on = frozenset(each for each in TROUBLES if each in world.always or (each in world.troubles and choices.chance(50)))
        if self._known is None:
            self._known = Acquaintance(simulation.agents, simulation.policy_engine, simulation.context)
        return ModelPlay(choices, self._known, self.on)

    def _reopening(self, simulation: Simulation) -> Action | None:
        """A run that failed is gone on with: somebody who intervenes may not leave it at that."""
        root = simulation.root
        if root is None or root.state.status != "failed" or simulation.process.error is not None or not self._now("controls", 40):
            return None
        return Control("reopen")

    def _next_turn(self) -> Action | None:
        if self._turns >= self._world.turns or not self._now("turns", 60):
            return None
        self._turns += 1
        return UserSays(self._choices.pick(self._world.user_messages))

    def _plain(self, simulation: Simulation) -> Action | None:
        """What moves the run on."""
        choices, root = self._choices, simulation.root
        asks = list(simulation.pending.values())
        tickets = simulation.tickets
        if asks and not (tickets and choices.chance(20)):
            ask = choices.pick(asks)
            return Answer(ask.key, self.fact(ask))
        if simulation.process.at_work:
            if root is not None and root.state.status == "paused":
                return Control("resume")
            if tickets and not choices.chance(20):
                return self._ticket_ends(simulation)
            return TimePasses()
        return None if root is None or simulation.process.error is not None else Control("resume")

    def _disturbance(self, simulation: Simulation) -> Action | None:
        possible = [each for each in DISTURBANCES if each in self.on]
        if not possible or not self._choices.chance(18):
            return None
        choices = self._choices
        match choices.pick(possible):
            case "time":
                return TimePasses(choices.pick(MOMENTS))
            case "controls":
                return Control(choices.pick(("pause", "resume", "interrupt", "cancel")))
            case "crashes":
                return self._crash(simulation)
            case "stalls":
                return StalledProcess()
            case _:
                return self._race(simulation)

    def _crash(self, simulation: Simulation) -> Crash:
        choices = self._choices
        version = None
        if len(simulation.agents) > 1 and self._now("upgrades", 60):
            version = choices.integer(0, len(simulation.agents) - 1)
        return Crash(choices.integer(0, 6), choices.pick(("after", "before")), choices.pick((0.0, 1.0, 400.0, 100_000.0)), version)

    def _race(self, simulation: Simulation) -> Action | None:
        choices = self._choices
        asks = list(simulation.pending.values())
        together: list[Answer | Control | TicketEnds] = []
        for _number in range(choices.integer(1, 2)):
            if asks:
                ask = asks.pop(choices.integer(0, len(asks) - 1))
                together.append(Answer(ask.key, self.fact(ask)))
        if simulation.tickets:
            together.append(self._ticket_ends(simulation))
        if len(together) < 2:
            together.append(Control(choices.pick(("cancel", "interrupt", "pause", "resume"))))
        if choices.chance(50):
            together.reverse()
        return Together(tuple(together)) if len(together) > 1 else None

    def _ticket_ends(self, simulation: Simulation) -> TicketEnds:
        choices = self._choices
        ticket = choices.integer(0, len(simulation.tickets) - 1)
        if self._now("tool_failures", 30):
            return TicketEnds(ticket, error="it broke in the background")
        return TicketEnds(ticket, self._odd_output() if self._now("odd_outputs", 30) else "done")

    # ---------------------------------------------------------------------------------------------------------------- what the world answers

    def _of_tool(self, ask: Ask) -> Fact:
        choices = self._choices
        if self._now("tool_failures", 20):
            return ToolFails(choices.pick(("error", "crash", "timeout")))
        if self._now("deferrals", 30):
            return ToolDefers(None, choices.pick((None, 30.0, 3.0, 1_000.0)))
        fixed = self._bounds.fixed(ask)
        if fixed is not None:
            return fixed
        play = self._world.tools.get(ask.name, "simulated")
        if play == "simulated":
            return ToolReturns(self._output(ask))
        self._bounds.remember(ask, output := choices.drawn(play))
        return ToolReturns(output)

    def _output(self, ask: Ask) -> Any:
        if self._now("odd_outputs", 30):
            return self._odd_output()
        schema = output_schema(ask.tool) if ask.tool is not None else None
        return self._choices.value(schema) if schema is not None else None

    def _odd_output(self) -> Any:
        odd: tuple[Any, ...] = (None, "", 0, [], {}, {"error": "no"}, [1, [2, [3, [4]]]], -1.5, {"": {"": None}}, *HOSTILE)
        return self._choices.pick((*odd, HUGE) if "huge" in self.on else odd)

    def _of_people(self, ask: Ask) -> PersonSays:
        choices = self._choices
        outside = self._now("people_outside", 40)
        if self._now("people_wait", 25):
            return PersonSays(choices.pick(("put_off", "absent")))
        said = self._bounds.said(ask)
        if said is None:
            said = PersonSays("no", words="no") if self._now("people_say_no", 50) else PersonSays("yes")
        return replace(said, outside=True) if outside else said

    def _now(self, trouble: Trouble, percent: int) -> bool:
        return trouble in self.on and self._choices.chance(percent)
