"""What a recording has, and a replay of it never asked for."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from afk_es.handlers.tape import Tape


class Leftover(msgspec.Struct, frozen=True):
    """A recorded answer that nobody asked for.

    Attributes:
        run_id, seq, type: the event of the recording.
        what: what had been asked for, such as "tool refund".
    """

    run_id: str
    seq: int
    type: str
    what: str


def leftovers(tape: Tape) -> Iterator[Leftover]:
    """The answers of a tape that were not given, kind by kind, each kind in order."""
    for kind, shelf in (("model", tape.models), ("tool", tape.tools), ("", tape.subagents), ("summary", tape.summaries)):
        for asked in shelf:
            if not asked.given and asked.answer is not None:
                what = f"{kind} {asked.name.replace('subagent:', 'subagent ')}".strip()
                yield Leftover(tape.run_id, asked.answer.seq, asked.answer.type, what)
    for question in tape.questions:
        for answer in question.answers:
            yield Leftover(tape.run_id, answer.seq, answer.type, f"{question.kind} for {question.name}")
    for endings in tape.tickets.values():
        for ending in endings:
            yield Leftover(tape.run_id, ending.seq, ending.type, f"background tool {ending.data['tool_name']}")
