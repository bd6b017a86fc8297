"""What an adversary may do to a run: the troubles by their names, and how much of each a caller wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

from afk_es.errors import ConfigurationError
from afk_es.testing.simulation.facts import PersonSays

Trouble = Literal[
    "parallel_calls",
    "odd_arguments",
    "wrong_types",
    "broken_json",
    "unknown_tool",
    "duplicate_ids",
    "repeated_calls",
    "huge",
    "empty",
    "refusal",
    "truncated",
    "hostile_text",
    "unknown_usage",
    "unknown_cost",
    "costly",
    "model_failures",
    "tool_failures",
    "deferrals",
    "odd_outputs",
    "people_say_no",
    "people_wait",
    "people_outside",
    "time",
    "crashes",
    "stalls",
    "controls",
    "races",
    "turns",
    "upgrades",
]

TROUBLES: dict[Trouble, str] = {
    "parallel_calls": "the model asks for several calls at once",
    "odd_arguments": "arguments that the tool takes and that are seldom sent: empty, huge, hostile, at the edge",
    "wrong_types": "the model sends arguments that the tool does not take",
    "broken_json": "the model's arguments are no JSON",
    "unknown_tool": "the model calls what there is not",
    "duplicate_ids": "the model gives a call an id that it has given before",
    "repeated_calls": "the model asks again for what it has asked for, as it was or with one argument changed",
    "huge": "texts and outputs of tens of thousands of letters",
    "empty": "the model says nothing at all",
    "refusal": "the model refuses to answer",
    "truncated": "the model's answer ends in the middle",
    "hostile_text": "texts with control characters, and with what looks like other roles' words",
    "unknown_usage": "the provider does not say how many tokens were used",
    "unknown_cost": "nobody knows what an answer cost",
    "costly": "answers cost about as much as the limit, or more",
    "model_failures": "the model times out, is overloaded, refuses the request, or the connection is lost",
    "tool_failures": "tools raise or time out",
    "deferrals": "tools go on in the background, and end there, fail there or expire",
    "odd_outputs": "tools return what their annotation does not say",
    "people_say_no": "people refuse",
    "people_wait": "people put the question off, are not there, or answer too late",
    "people_outside": "people answer past the provider, as from another process",
    "time": "time passes while something is waited for",
    "crashes": "the process dies, at any write or in between, and another goes on",
    "stalls": "the process stops without dying, and another takes over",
    "controls": "somebody pauses, resumes, interrupts or cancels the run",
    "races": "several things happen at one moment",
    "turns": "the user goes on with the thread after a run has ended",
    "upgrades": "another version of the agent goes on after a crash, where several were given",
}
"""Per trouble, what it is."""

assert set(TROUBLES) == set(get_args(Trouble))

ToolPlay: TypeAlias = Literal["simulated", "real"] | Callable[[dict[str, Any]], Any] | Any
"""How a tool is played: "simulated" returns anything that fits its annotation, "real" runs its own code, a function of the arguments says
what it returns, and so does a Hypothesis strategy."""

PeoplePlay: TypeAlias = Literal["any", "yes", "no"] | Callable[[Any], PersonSays | bool]
"""How people are played: "any" answers as it falls, and a function of the request answers a `PersonSays`, or whether they agree."""


@dataclass(frozen=True, kw_only=True)
class WorldOptions:
    """What may happen in a simulated world.

    Attributes:
        actions: most actions of one example before everything goes plainly; default 60.
        troubles: those that may be on; default all. Each example has about half of them, so that one does not always hide another.
        always: those that are on in every example; default none.
        tools: how tools are played, by name; those that are not named are simulated.
        people: how people are played; default "any".
        user_messages: what the user says in later turns.
        turns: most runs on the thread; default 2.

    Raises:
        ConfigurationError: a trouble that there is not, or no room for a single action.
    """

    actions: int = 60
    troubles: frozenset[Trouble] = frozenset(TROUBLES)
    always: frozenset[Trouble] = frozenset()
    tools: Mapping[str, ToolPlay] = field(default_factory=dict)
    people: PeoplePlay = "any"
    user_messages: tuple[str, ...] = ("Go on.", "Do that again.")
    turns: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "troubles", frozenset(self.troubles))
        object.__setattr__(self, "always", frozenset(self.always))
        if unknown := sorted((self.troubles | self.always) - set(TROUBLES)):
            raise ConfigurationError(f"there is no trouble {unknown[0]!r}; there are {', '.join(TROUBLES)}")
        if not (callable(self.people) or self.people in ("any", "yes", "no")):
            raise ConfigurationError(f"people are played 'any', 'yes', 'no' or by a function of the request, and not {self.people!r}")
        if self.actions < 1 or self.turns < 1:
            raise ConfigurationError("a world needs at least one action and one turn")

    def without(self, *troubles: Trouble) -> WorldOptions:
        """The same world without these."""
        gone = frozenset(troubles)
        return replace(self, troubles=self.troubles - gone, always=self.always - gone)


CALM = WorldOptions(troubles=frozenset())
"""A world in which nothing goes wrong: the model asks for what it may ask for, tools answer, people agree."""
