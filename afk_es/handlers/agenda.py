"""What was said to a recorded run by callers, people and the holders of tickets, to be said to another when it was.

An answer is said to the question, or about the ticket, that stands for the recorded one in the run of today; where that does not come up,
it is never said. What does not fit the run any more, since it has gone another way, is left unsaid as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from afk_es.handlers.substitutes import MARKS
from afk_es.handlers.tape import Part, Tape
from afk_es.handlers.virtual_time import Due, VirtualTime, Waiting
from afk_es.machine import AgentRunEvent, Draft, RunState
from afk_es.machine.admission import refusal

_STATEMENTS = frozenset({"control_requested", "warning"})
"""Types that answer nothing."""


class _Word:
    """One thing that was said, as it is said today."""

    __slots__ = ("data", "due", "event")

    def __init__(self, event: AgentRunEvent, addressed: dict[str, Any]) -> None:
        self.event = event
        self.data = {key: value for key, value in event.data.items() if key not in MARKS} | addressed
        self.due: Due | None = None

    @property
    def statement(self) -> bool:
        """Whether it answers nothing."""
        return self.event.type in _STATEMENTS


class Agenda:
    """What is still to be said to one run, in all its stretches.

    Args:
        run: as its family's time knows it.

    Attributes:
        said: answers that were.
    """

    def __init__(self, tape: Tape, time: VirtualTime, run: Waiting) -> None:
        self.said: int = 0
        self._tape = tape
        self._time = time
        self._run = run
        self._words: list[_Word] = []
        self._part: Part | None = None
        self._state: Callable[[], RunState] | None = None
        self._post: Callable[[Draft], None] | None = None
        self._coming = 0

    def over(self, state: Callable[[], RunState], post: Callable[[Draft], None]) -> None:
        """Say it to this stretch from now on."""
        self._state, self._post = state, post

    def open(self, part: Part) -> None:
        """A stretch begins. What had been said before it began is said at once, since it was taken in before anything else."""
        self._part = part
        self._words += [_Word(event, {}) for event in part.controls]
        first = self._tape.behind_joints(part.first) + 1
        for word in sorted(self._words, key=lambda each: each.event.seq):
            if word.event.seq == first:
                first += 1
                self._time.advance_to(self._tape.moment(word.event.seq))
                self._say(word)
            else:
                self._schedule(word)

    def close(self) -> None:
        """The stretch is over. What was not said is said in a later one, if that is where it stands."""
        for word in self._words:
            if word.due is not None:
                word.due.cancelled = True
                word.due = None

    def answer(self, event: AgentRunEvent, question: dict[str, Any]) -> None:
        """Have a person's answer given to this question of today."""
        same = ("request_id", "tool_call_id", "arguments_hash")
        self._add(_Word(event, {key: question[key] for key in same if key in event.data and key in question}))

    def end_ticket(self, event: AgentRunEvent, call_id: str) -> None:
        """Have it told what a ticket came to that this call of today has opened."""
        self._add(_Word(event, {"tool_call_id": call_id}))

    @property
    def coming(self) -> bool:
        """Whether something is being said at this moment."""
        return self._coming > 0

    @property
    def answers_due(self) -> bool:
        """Whether an answer is to come in this stretch."""
        return any(word.due is not None and not word.statement for word in self._words)

    def _add(self, word: _Word) -> None:
        self._words.append(word)
        self._schedule(word)

    def _schedule(self, word: _Word) -> None:
        """Have it said at its moment, where that is in this stretch."""
        seq, part = word.event.seq, self._part
        if part is not None and part.first <= seq <= part.last:
            word.due = self._time.put(self._tape.moment(seq), Due(self._run, seq, lambda: self._come(word)))

    def _come(self, word: _Word) -> None:
        # Behind whoever was woken before it, in the order of the recording.
        self._coming += 1
        asyncio.get_running_loop().call_soon(self._say_due, word)

    def _say_due(self, word: _Word) -> None:
        self._coming -= 1
        if word in self._words:
            self._say(word)
        self._time.stir()

    def _say(self, word: _Word) -> None:
        assert self._state is not None
        assert self._post is not None
        self._words.remove(word)
        state = self._state()
        draft = Draft(word.event.type, dict(word.data), word.event.message)
        if state.ended or refusal(state, draft) is not None:
            return
        if not word.statement:
            self.said += 1
            draft.data["reused"] = {"run_id": self._tape.run_id, "seq": word.event.seq}
        self._post(draft)
