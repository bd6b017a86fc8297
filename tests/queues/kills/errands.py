"""What is pushed in a kill test: errands of every kind, drawn by a seed. It knows no process and no database."""

from __future__ import annotations

import json
import random
from typing import Any, Literal, NamedTuple

Kind = Literal["chat", "strict", "moody", "careful", "job"]

EFFECTS = ("pay", "put", "look", "stamp")
REPEATABLE = frozenset({"put", "look", "stamp"})
"""Tools that may be run again under the same key; all others may not."""

NEVER_S = 3_600.0
"""A delay that no test waits for."""


class Errand(NamedTuple):
    """Something to have done, and what may become of it.

    Attributes:
        name: its own; every item of its effects begins with it.
        kind: the agent that has it: "chat" goes on where a tool fails, "strict" fails, "moody" has a model that fails, "careful" needs an
            approval for a tool; or "job".
        turns: the tools that it asks for, turn by turn; of a job, its handler alone.
        fails: how often its tool or its model fails before it does not; -1: always.
        lane: errands of one lane are done in order: a chat's thread, or a job's lane.
        key: its deduplication key; it is then pushed twice.
        cancelled: it is cancelled right after it was pushed.
        expects: the states that it may end in. One of whose effects nobody knows whether it took place may be dead as well.
    """

    name: str
    kind: Kind
    turns: tuple[tuple[str, ...], ...]
    fails: int = 0
    priority: int = 0
    delay_s: float = 0.0
    lane: str | None = None
    key: str | None = None
    max_attempts: int = 5
    cancelled: bool = False
    expects: frozenset[str] = frozenset({"completed"})

    @property
    def words(self) -> dict[str, Any]:
        """What whoever carries it out is told."""
        return {"name": self.name, "turns": self.turns, "fails": self.fails}

    @property
    def message(self) -> str:
        """The same as a user's message."""
        return json.dumps(self.words)


def errands(seed: int, count: int) -> list[Errand]:
    """So many of them; equal seeds have equal beginnings."""
    chance = random.Random(seed)
    drawn: list[Errand] = []
    while len(drawn) < count:
        drawn += _some(chance, len(drawn))
    return drawn[:count]


def _some(chance: random.Random, number: int) -> list[Errand]:
    draw = _DRAWS[chance.choices(range(len(_DRAWS)), _WEIGHTS)[0]]
    found = draw(chance, f"e{number:05d}")
    if found[0].lane is None and not found[0].cancelled:
        found = [_varied(chance, errand) for errand in found]
    return found


def _varied(chance: random.Random, errand: Errand) -> Errand:
    """With a priority, a delay or a key, or with none of them."""
    if chance.random() < 0.3:
        errand = errand._replace(priority=chance.choice((-5, -1, 1, 5, 10)))
    if chance.random() < 0.1:
        errand = errand._replace(delay_s=round(chance.uniform(0.3, 2.0), 3))
    return errand._replace(key=f"key-{errand.name}") if chance.random() < 0.3 else errand


def _turns(chance: random.Random) -> tuple[tuple[str, ...], ...]:
    """One to three tools, in one turn or several."""
    tools = [chance.choice(EFFECTS) for _ in range(chance.randint(1, 3))]
    if chance.random() < 0.5:
        return (tuple(tools),)
    return tuple((tool,) for tool in tools)


def _chat(chance: random.Random, name: str) -> list[Errand]:
    return [Errand(name, "chat", _turns(chance))]


def _job(chance: random.Random, name: str) -> list[Errand]:
    return [Errand(name, "job", ((chance.choice(("pay", "put", "stamp")),),))]


def _flaky(chance: random.Random, name: str) -> list[Errand]:
    kind: Kind = chance.choice(("job", "strict"))
    return [Errand(name, kind, (("flaky",),), fails=chance.randint(1, 2))]


def _moody(chance: random.Random, name: str) -> list[Errand]:
    return [Errand(name, "moody", _turns(chance), fails=chance.randint(1, 2))]


def _broken(chance: random.Random, name: str) -> list[Errand]:
    return [Errand(name, "job", (("flaky",),), fails=-1, max_attempts=2, expects=frozenset({"dead"}))]


def _careful(chance: random.Random, name: str) -> list[Errand]:
    return [Errand(name, "careful", ((chance.choice(EFFECTS), "wire"), (chance.choice(EFFECTS),)))]


def _thread(chance: random.Random, name: str) -> list[Errand]:
    return [Errand(f"{name}.{turn}", "chat", _turns(chance), lane=f"thread-{name}") for turn in range(chance.randint(2, 4))]


def _lane(chance: random.Random, name: str) -> list[Errand]:
    lane = f"lane-{name}"
    found = [Errand(f"{name}.{number}", "job", ((chance.choice(("pay", "put")),),), lane=lane) for number in range(chance.randint(2, 4))]
    if chance.random() < 0.3:
        # One that is tried again holds up those behind it.
        found[0] = found[0]._replace(turns=(("flaky",),), fails=1)
    return found


def _called_off(chance: random.Random, name: str) -> list[Errand]:
    if chance.random() < 0.7:
        return [Errand(name, "chat", _turns(chance), delay_s=NEVER_S, cancelled=True, expects=frozenset({"cancelled"}))]
    return [Errand(name, "chat", _turns(chance), cancelled=True, expects=frozenset({"cancelled", "completed"}))]


_DRAWS = (_chat, _job, _flaky, _moody, _broken, _careful, _thread, _lane, _called_off)
_WEIGHTS = (40, 24, 8, 4, 2, 5, 3, 3, 3)
