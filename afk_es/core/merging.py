"""Merges what runs that overlapped have said into one conversation, where some of it was compacted meanwhile.

A compaction names what it replaces by positions in the conversation of its own run. Where runs overlapped, the thread's conversation is
none of theirs. So every message is known by the run that brought it in and its number there: each run is folded over the conversation
that it really began with, and two conversations are joined by these names, as two copies of a set are that has things added to it and
taken out of it. What a compaction has not seen, it cannot replace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from afk_es.machine import AgentRunEvent, evolve, initial_state, remembered
from afk_es.machine.events import RunRef
from afk_es.machine.values import Message, Messages

Name = tuple[str, int]
"""The run that brought a message in, and its number there."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a model would be shown, and where it came from.

    Attributes:
        messages: by their names, in order.
        replaced: the names of what summaries stand for.
        summaries: the names of those, with the names of all that each stands for.
        reach: as far as what run it goes, by seq.
    """

    messages: dict[Name, Message]
    replaced: frozenset[Name]
    summaries: dict[Name, frozenset[Name]]
    reach: dict[str, int]


EMPTY = Conversation({}, frozenset(), {}, {})


def compacts(events: Sequence[AgentRunEvent]) -> bool:
    """Whether this run has replaced anything."""
    return any(event.type == "thread_compacted" and "cut" in event.data for event in events)


def merged(runs: Mapping[str, list[AgentRunEvent]], refs: Sequence[RunRef]) -> Messages:
    """The conversation of the runs referred to and of all that they follow.

    Args:
        runs: the events of all of them, by run, as far as any reference goes.
    """
    known: dict[tuple[str, int], Conversation] = {}
    stack = list(refs)
    while stack:
        run_id, seq = stack[-1]["run_id"], stack[-1]["seq"]
        events = runs[run_id][:seq]
        history: list[RunRef] = events[0].data.get("history", [])
        missing = [ref for ref in history if (ref["run_id"], ref["seq"]) not in known]
        if missing and (run_id, seq) not in known:
            stack.extend(missing)
            continue
        stack.pop()
        if (run_id, seq) not in known:
            known[run_id, seq] = continued(_all(known, history), events)
    return Messages(_all(known, refs).messages.values())


def continued(began_with: Conversation, events: Sequence[AgentRunEvent]) -> Conversation:
    """The conversation as a run left it that began with this one."""
    first = events[0]
    names = list(began_with.messages)
    replaced, summaries = set(began_with.replaced), dict(began_with.summaries)
    number = 0
    state = initial_state(first.run_id, first.thread_id, Messages(began_with.messages.values()))
    for event in events:
        before, state = state.messages, evolve(state, event)
        if event.type == "thread_compacted" and state.messages is not before:
            cut, kept = event.data["cut"], event.data["kept"]
            goes = frozenset(name for index, name in enumerate(names[:cut]) if index not in kept)
            replaced |= goes
            summaries[first.run_id, number] = goes.union(*(summaries[name] for name in goes if name in summaries))
            names[:cut] = [(first.run_id, number), *(names[index] for index in kept)]
            number += 1
        while len(names) < len(state.messages):
            names.append((first.run_id, number))
            number += 1
    whole = remembered(state)
    names.extend((first.run_id, number + index) for index in range(len(whole) - len(names)))
    reach = {**began_with.reach, first.run_id: events[-1].seq}
    return Conversation(dict(zip(names, whole, strict=True)), frozenset(replaced), summaries, reach)


def joined(one: Conversation, other: Conversation) -> Conversation:
    """Both: what either has and neither has replaced.

    What only the other has stands behind what its run had said here already, or at the end; its summaries stand where that was which they
    replaced.
    """
    order = [name for name in one.messages if name not in other.replaced]
    place = _place(one, other)
    for name in other.messages:
        if name in one.messages or name in one.replaced:
            continue
        if name in other.summaries:
            order.insert(place, name)
            place += 1
            continue
        said = next((index for index in range(len(order) - 1, -1, -1) if order[index][0] == name[0]), None)
        order.insert(len(order) if said is None else said + 1, name)
    summaries = {**one.summaries, **other.summaries}
    spare = _spare([name for name in order if name in summaries], summaries)
    messages = {name: _further(one, other, name) for name in order if name not in spare}
    reach = {run: max(one.reach.get(run, 0), other.reach.get(run, 0)) for run in one.reach | other.reach}
    return Conversation(messages, one.replaced | other.replaced | spare, summaries, reach)


def _spare(names: list[Name], summaries: Mapping[Name, frozenset[Name]]) -> frozenset[Name]:
    """Summaries that stand for nothing that another one of these does not stand for: many runs at once may each have compacted the same."""
    spare: set[Name] = set()
    for name in reversed(names):
        if any(other != name and other not in spare and summaries[name] <= summaries[other] for other in names):
            spare.add(name)
    return frozenset(spare)


def _place(one: Conversation, other: Conversation) -> int:
    """Where summaries that only the other has belong: before what was behind the first message that they replaced, or behind our own."""
    names = list(one.messages)
    first = next((index for index, name in enumerate(names) if name in other.replaced), None)
    if first is None:
        first = next((index for index, name in enumerate(names) if name not in one.summaries), len(names))
    return first


def _further(one: Conversation, other: Conversation, name: Name) -> Message:
    """The message from whichever goes further in its run: of a run that was laid down, the shorter has a stopgap for what was cut."""
    if name in one.messages and (name not in other.messages or one.reach[name[0]] >= other.reach[name[0]]):
        return one.messages[name]
    return other.messages[name]


def _all(known: Mapping[tuple[str, int], Conversation], refs: Sequence[RunRef]) -> Conversation:
    whole: Conversation | None = None
    for ref in refs:
        found = known[ref["run_id"], ref["seq"]]
        whole = found if whole is None else joined(whole, found)
    return whole or EMPTY
