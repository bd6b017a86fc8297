"""Effects that are not performed, since nothing was recorded for them: they are kept under way, and never answered."""

from __future__ import annotations

import asyncio

import msgspec

from afk_es.machine import Draft


class Unanswered(msgspec.Struct, frozen=True):
    """Something that today's run asks for, and that the recording has no answer to. Nothing was run.

    Attributes:
        run_id, seq: the event of the replay that announces it.
        what: what was asked for, such as "tool refund".
        reason: why there is no answer.
    """

    run_id: str
    seq: int
    what: str
    reason: str


class Holding:
    """What is held in one run.

    There are two kinds. What the recording never had is a reason to lay the run down as soon as nothing else goes on. What hung in the
    recording as well is waited with for whatever ended it there, such as a deadline.
    """

    def __init__(self) -> None:
        self._new: dict[str, Unanswered] = {}
        self._hung: dict[str, Unanswered] = {}

    @property
    def new(self) -> list[Unanswered]:
        """What the recording never had."""
        return list(self._new.values())

    @property
    def all(self) -> list[Unanswered]:
        """Everything, in order of kind."""
        return [*self._new.values(), *self._hung.values()]

    def has(self, effect_id: str) -> bool:
        """Whether this effect is held."""
        return effect_id in self._new or effect_id in self._hung

    async def hold(self, effect_id: str, unanswered: Unanswered, *, hung: bool = False) -> Draft:
        """Never answer; until it is no longer wanted."""
        kind = self._hung if hung else self._new
        kind[effect_id] = unanswered
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            kind.pop(effect_id, None)
        raise AssertionError("what is held is never answered")
