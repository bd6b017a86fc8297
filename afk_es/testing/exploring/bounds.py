"""What the people and tools of a simulated world may answer, where its author has said how they are played.

An adversary keeps to that by itself. Whoever edits scripts does not know of it, and neither does the plain course of things after the last
action: so a simulation asks here.
"""

from __future__ import annotations

from typing import Any

from afk_es.errors import ToolError, text_of
from afk_es.testing.exploring.world_options import WorldOptions
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.facts import Fact, PersonSays, ToolFails, ToolReturns, ToolRuns
from afk_es.testing.simulation.world import plain_fact


class PlayedAs:
    """The bounds that `WorldOptions` draw.

    Args:
        world: says how tools and people are played.
        outputs: per tool that is played by a strategy, one value of it, which is its plain answer.

    Attributes:
        mistake: what a function raised that plays people; it is the caller's, and none of the agent's.
    """

    def __init__(self, world: WorldOptions, outputs: dict[str, Any] | None = None) -> None:
        self.mistake: Exception | None = None
        self._world = world
        self._outputs = {name: [output] for name, output in (outputs or {}).items()}

    def plain(self, ask: Ask) -> Fact:
        """The plain answer."""
        if ask.kind == "tool":
            return self.fixed(ask) or self._plain_output(ask)
        if ask.kind in ("approval", "input"):
            return self.said(ask) or PersonSays()
        return plain_fact(ask)

    def allows(self, ask: Ask, fact: Fact) -> bool:
        """Whether this may be answered."""
        match fact:
            case ToolReturns(output):
                fixed = self.fixed(ask)
                return fact == fixed if fixed is not None else output in self._outputs.get(ask.name, [output])
            case ToolRuns():
                return self._world.tools.get(ask.name) == "real"
            case PersonSays(outcome) if outcome in ("yes", "no"):
                said = self.said(ask)
                return said is None or said.outcome == outcome
            case _:
                return True

    def fixed(self, ask: Ask) -> Fact | None:
        """What a tool answers that runs, or that a function plays; None for others."""
        play = self._world.tools.get(ask.name, "simulated")
        if play == "real":
            return ToolRuns()
        if play == "simulated" or not callable(play):
            return None
        try:
            return ToolReturns(play(dict(ask.about)))
        except ToolError as error:
            return ToolFails("error", text_of(error))
        except Exception as error:  # noqa: BLE001 - it stands for the tool, which may raise whatever it likes
            return ToolFails("crash", f"{type(error).__name__}: {text_of(error)}")

    def said(self, ask: Ask) -> PersonSays | None:
        """What people say whose word is given; None where it is open.

        Raises:
            Exception: whatever a function raised that plays them; it is kept as `mistake`.
        """
        people = self._world.people
        if people == "any":
            return None
        if not callable(people):
            return PersonSays("yes") if people == "yes" else PersonSays("no", words="no")
        try:
            said = people(ask.about)
        except Exception as error:
            self.mistake = error
            raise
        if isinstance(said, PersonSays):
            return said
        return PersonSays("yes") if said else PersonSays("no", words="no")

    def remember(self, ask: Ask, output: Any) -> None:
        """Allow a value that a strategy made."""
        outputs = self._outputs.setdefault(ask.name, [])
        if output not in outputs:
            outputs.append(output)

    def _plain_output(self, ask: Ask) -> ToolReturns:
        outputs = self._outputs.get(ask.name)
        return ToolReturns(outputs[0]) if outputs else ToolReturns()
