"""A golden's run and a run of today, compared: the debugger's alignment, with what differs in each pair put into a class.

Entries that one side alone has are looked at in blocks, between two pairs, so that what belongs together is told once: a call that is
not made any more takes its policy decision, its start and its result with it, and a subagent that is not started its whole run. What is
always the company of something else (a step, a request that was allowed) is told of alone only where nothing else of the run is found, so that
no difference passes in silence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from afk_es.debugger.changes import changes
from afk_es.debugger.comparison import Side, aligned
from afk_es.debugger.entries import Entry
from afk_es.debugger.recording import Recording
from afk_es.evals.goldens.agent_changes import agent_changes
from afk_es.evals.goldens.call_changes import Asked, CallLedger, counterparts
from afk_es.evals.goldens.divergence import Divergence, DivergenceClass, MatchMode, Place
from afk_es.evals.goldens.event_changes import alone_finding, end_finding, event_findings, is_quiet
from afk_es.evals.goldens.finding import Finding
from afk_es.evals.goldens.modes import Ignored, counts
from afk_es.evals.goldens.requests import Explained, RequestComparison, Requests
from afk_es.machine.events import TERMINAL
from afk_es.machine.values import digest_json
from afk_es.views.timeline import Timeline

FINDINGS_KEPT = 500
"""Divergences of one run that are put in order; those beyond it are counted only."""

_OF_THE_AGENT = frozenset({"run_started", "instructions_resolved", "llm_called"})
"""Types that say again and again what an agent is; each difference is told once."""

_INTENTS = frozenset({"llm_called", "tool_started", "compaction_started"})
"""Types that a run which was taken over may have twice."""

_CAUSES = frozenset({"limit_reached", "policy_decision", "llm_completed", "subagents_routed"})
"""Types that stand before others in the same place, as what these follow from."""

Rank = tuple[int, int, int]
"""Where a finding stands: the pair or block, the entry in it, and what comes first of one entry."""


class Compared(NamedTuple):
    """What a comparison came to: divergences in order of their places, how many more there are, equal entries, and notes."""

    divergences: list[Divergence]
    more: int
    same: int
    notes: list[str]


class At(NamedTuple):
    """An answer that asked for calls, and where it stands in the comparison."""

    entry: Entry
    rank: Rank


class _Calls:
    """The calls of one side: those of the answer a run gave last, and how many it has asked for."""

    def __init__(self) -> None:
        self._ordinals: dict[str, int] = defaultdict(int)
        self.explained: dict[str, set[str]] = defaultdict(set)
        """Per run, the ids of calls of its last answer that are findings of their own."""

    def asked(self, entry: Entry, rank: Rank) -> list[Asked]:
        """The calls that an entry asks for: a model's tool calls, a router's plan."""
        event = entry.event
        if event.type == "llm_completed":
            wanted = [(call["tool_name"], call["arguments"], call["id"]) for call in event.data["tool_calls"]]
        elif event.type == "subagents_routed" and event.data["plan"] is not None:
            wanted = [(node["subagent"], node["task"], node["id"]) for node in event.data["plan"]["nodes"]]
        else:
            return []
        first = self._ordinals[event.run_id]
        self._ordinals[event.run_id] = first + len(wanted)
        self.explained[event.run_id] = set()
        return [
            Asked(entry.path, name, arguments, index, first + index, call_id, At(entry, rank))
            for index, (name, arguments, call_id) in enumerate(wanted)
        ]

    def explains(self, entry: Entry) -> bool:
        """Whether the entry is about a call that is a finding of its own."""
        return entry.event.data.get("tool_call_id") in self.explained[entry.event.run_id]


class Differences:
    """Compares two runs, their subagents' among them.

    Args:
        mode: what counts; see `modes`.
        version: of afk_es that recorded the golden.
    """

    def __init__(self, mode: MatchMode, version: str) -> None:
        self._mode = mode
        self._version = version
        self._ledger = CallLedger()
        self._recorded, self._today = _Calls(), _Calls()
        self._requests = RequestComparison()
        self._told: set[tuple[tuple[str, ...], str]] = set()
        """Identities of findings about an agent and what every request repeats of it, with its path."""
        self._explained: dict[str, Explained] = {}
        """Per run of today, what its messages differ in and is told already."""
        self._partners: dict[tuple[str, str], tuple[str, str]] = {}
        """Of calls that stand for one another: run and id of the recorded one, by those of today's."""
        self._apart: set[str] = set()
        """Runs of subagents that only one side has."""
        self._quiet: list[tuple[Rank, Finding, Entry | None, Entry | None]] = []
        self._found: list[tuple[Rank, Divergence]] = []
        self._ranks: dict[int, Rank] = {}
        """Of the entries that are looked at, by their id()."""
        self._more = 0
        self._any = False
        self._doubted: tuple[set[tuple[str, int, str]], set[tuple[str, int, str]]] = (set(), set())
        self._ignored = Ignored(mode)
        self._position = 0
        self.same: int = 0

    async def of(self, recorded: Recording, today: Recording) -> Compared:
        """Compare a golden's run with a run of today; the outermost agent may have another name."""
        old, new = Requests(), Requests()
        name = recorded.first.data["agent_name"]
        left, right = Side([recorded], hear=old.hear), Side([today], hear=new.hear, root=name)
        self._doubted = old.doubted, new.doubted
        block: list[tuple[bool, Entry]] = []
        async for kind, one, other in aligned(left, right):
            if kind == "only_a" and one is not None:
                block.append((True, one))
            elif kind == "only_b" and other is not None:
                block.append((False, other))
            elif one is not None and other is not None:
                self._alone(block)
                block.clear()
                self._pair(one, other, old, new, same=kind == "same")
        self._alone(block)
        for finding, gone, come in self._ledger.findings():
            self._call(finding, gone, come)
        self._silence()
        self._found.sort(key=lambda each: each[0])
        faults, taken_over = {**old.faults, **new.faults}, old.taken_over | new.taken_over
        notes = [
            *self._ignored.notes(),
            *[f"run {run_id} was taken over from a process that had died, which is not compared" for run_id in sorted(taken_over)],
            *[f"run {run_id} does not fold, so the rest of its requests was not compared: {fault}" for run_id, fault in faults.items()],
        ]
        return Compared([divergence for _rank, divergence in self._found], self._more, self.same, notes)

    # ----------------------------------------------------------------------------------------------------------------------- pairs

    def _pair(self, one: Entry, other: Entry, old: Requests, new: Requests, *, same: bool) -> None:
        """Two entries of one kind side by side."""
        self._position += 1
        self._ranks = dict.fromkeys((id(one), id(other)), (self._position, 0, 0))
        self.same += same
        kind = one.event.type
        if kind in ("llm_completed", "subagents_routed"):
            self._answers(one, other)
        if not same:
            self._changed(one, other)
        if kind == "llm_called":
            self._request(one, other, old, new)

    def _changed(self, one: Entry, other: Entry) -> None:
        told = one.event.type == "run_started" and self._agents(one, other)
        for finding in event_findings(one, other, self._version):
            told = True
            if finding.field == "attempt" and (self._again(one, 0) or self._again(other, 1)):
                # The attempt that the crash cut off counts as one, and of that nothing is compared.
                continue
            self._explain(one, other, finding)
            if one.event.type not in _OF_THE_AGENT or self._is_news(other, finding):
                self._add(finding, one, other)
        if not told:
            change = next(changes(one.facts, other.facts), None)
            if change is not None:
                kind: DivergenceClass = "order" if one.event.type == "tool_batch_started" else "params"
                finding = Finding("event", kind, change.path, change.before, change.after, f"{one.event.type} says it differently")
                self._quiet.append((self._rank(one), finding, one, other))

    def _again(self, entry: Entry, side: int) -> bool:
        """Whether the entry is about a call that a crash left in doubt: in the golden (0), or today (1)."""
        event = entry.event
        return (event.run_id, event.step, event.data.get("tool_call_id", "")) in self._doubted[side]

    def _is_news(self, today: Entry, finding: Finding) -> bool:
        """Whether it is told for the first time that an agent differs in this way."""
        key = (today.path, finding.identity)
        if key in self._told:
            return False
        self._told.add(key)
        return True

    def _agents(self, one: Entry, other: Entry) -> bool:
        """Compare the agents that two runs begin with; whether they differ."""
        recorded, today = one.event.data.get("agent"), other.event.data.get("agent")
        if recorded is None or today is None:
            return False
        for finding in agent_changes(recorded, today):
            if self._is_news(other, finding):
                self._add(finding, one, other)
            if finding.field.startswith("models[") and finding.field.endswith((".model", ".provider")):
                # Every request repeats it.
                self._is_news(other, msgspec.structs.replace(finding, field=finding.field.rpartition(".")[2]))
        return bool(recorded != today)

    def _explain(self, recorded: Entry, today: Entry, finding: Finding) -> None:
        """Note what follows from this finding, and is told of with it: a message that differs later, a call that is not let through."""
        if finding.field == "action" and finding.kind == "policy":
            for calls, entry in ((self._recorded, recorded), (self._today, today)):
                calls.explained[entry.event.run_id].add(entry.event.data.get("tool_call_id", ""))
        known = self._explained_of(today.event.run_id)
        if today.event.type in ("tool_completed", "subagent_completed"):
            known.calls.add(today.event.data.get("tool_call_id", ""))
        known.texts.update(digest_json(value) for value in (finding.expected, finding.actual) if isinstance(value, str))

    def _explained_of(self, run_id: str) -> Explained:
        return self._explained.setdefault(run_id, Explained(set(), set()))

    def _request(self, one: Entry, other: Entry, old: Requests, new: Requests) -> None:
        if one.event.data.get("request_hash") == other.event.data.get("request_hash"):
            return
        runs = one.event.run_id, other.event.run_id
        before, after = old.take(runs[0], one.event.seq), new.take(runs[1], other.event.seq)
        if before is not None and after is not None:
            for finding in self._requests.differences(runs, before, after, self._explained_of(runs[1])):
                if self._is_news(other, finding):
                    self._add(finding, one, other)
        # What a call id stands for changes with every answer.
        self._explained_of(runs[1]).calls.clear()

    # ----------------------------------------------------------------------------------------------------------------------- calls

    def _answers(self, one: Entry | None, other: Entry | None) -> None:
        """The calls that one answer, or two side by side, ask for."""
        gone = self._recorded.asked(one, self._rank(one)) if one is not None else []
        come = self._today.asked(other, self._rank(other)) if other is not None else []
        change = self._ledger.enter(gone, come)
        if not change.gone and not change.come:
            return
        # Where calls have only moved, it is a matter of taste which of them did.
        moved = {call.identity for call in change.gone} & {call.identity for call in change.come}
        for call in gone if moved else change.gone:
            self._recorded.explained[call.at.entry.event.run_id].add(call.call_id)
        for call in come if moved else change.come:
            run_id = call.at.entry.event.run_id
            self._today.explained[run_id].add(call.call_id)
            self._explained_of(run_id).calls.add(call.call_id)
        for old, new in counterparts(change):
            self._partners[new.at.entry.event.run_id, new.call_id] = old.at.entry.event.run_id, old.call_id

    def _call(self, finding: Finding, gone: Asked | None, come: Asked | None) -> None:
        one, other = (None if call is None else call.at.entry for call in (gone, come))
        rank = min(call.at.rank for call in (gone, come) if call is not None)
        self._add(finding, one, other, rank=rank, calls=(gone, come))

    # ----------------------------------------------------------------------------------------------------------------------- blocks

    def _alone(self, block: list[tuple[bool, Entry]]) -> None:
        """Entries that one side alone has, between two pairs."""
        if not block:
            return
        self._position += 1
        sides: tuple[list[Entry], list[Entry]] = ([], [])
        self._ranks = {}
        for recorded, entry in block:
            side = sides[0] if recorded else sides[1]
            self._ranks[id(entry)] = (self._position, len(side), int(entry.event.type not in _CAUSES))
            side.append(entry)
        left = [self._unexplained(side, recorded) for side, recorded in zip(sides, (True, False), strict=True)]
        left = self._renamed(*left)
        self._ends(*left)
        for entries, recorded in zip(left, (True, False), strict=True):
            for entry in entries:
                self._entry(entry, recorded)
        self._partnered(*sides)

    def _unexplained(self, entries: list[Entry], recorded: bool) -> list[Entry]:
        """Those of them that are not the company of a call that is a finding of its own."""
        calls = self._recorded if recorded else self._today
        left = []
        for entry in entries:
            event = entry.event
            if event.run_id in self._apart:
                continue
            if event.type == "subagent_started":
                self._apart.add(event.data["run_id"])
            if event.type in ("llm_completed", "subagents_routed"):
                self._answers(entry, None) if recorded else self._answers(None, entry)
            again = event.type in _INTENTS and self._again(entry, 0 if recorded else 1)
            if not again and not calls.explains(entry):
                left.append(entry)
        return left

    def _renamed(self, gone: list[Entry], come: list[Entry]) -> list[list[Entry]]:
        """Tell of events of one call that name another tool, as in a golden that was edited; what is left of both sides."""
        waiting: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
        for entry in come:
            waiting[_call_key(entry)].append(entry)
        left: list[Entry] = []
        told: set[tuple[str, int, str]] = set()
        for entry in gone:
            others = waiting[_call_key(entry)] if entry.tool else []
            if not others:
                left.append(entry)
                continue
            other = others.pop(0)
            message = f"{entry.tool} is called here in the golden, and {other.tool} today"
            finding = Finding("call", "missing", "tool_name", entry.tool, other.tool, message)
            call = (other.event.run_id, other.event.step, other.event.data.get("tool_call_id", ""))
            if call not in told:
                told.add(call)
                self._add(finding, entry, other)
            come = [each for each in come if each is not other]
        return [left, come]

    def _ends(self, gone: list[Entry], come: list[Entry]) -> None:
        """Tell of a run that ends in another way, once for both sides."""
        for entry in [each for each in gone if each.event.type in TERMINAL]:
            other = next((each for each in come if each.event.type in TERMINAL and each.path == entry.path), None)
            if other is not None:
                gone.remove(entry)
                come.remove(other)
                self._add(end_finding(entry, other), entry, other)

    def _entry(self, entry: Entry, recorded: bool) -> None:
        """One entry that only one side has."""
        finding = alone_finding(entry, self._version, recorded=recorded)
        sides = (entry, None) if recorded else (None, entry)
        if finding.subject == "engine" or not is_quiet(entry):
            if entry.event.type == "llm_completed" and entry.event.data["tool_calls"]:
                return  # Its calls are findings of their own.
            self._add(finding, *sides)
        else:
            self._quiet.append((self._rank(entry), finding, *sides))

    def _partnered(self, gone: list[Entry], come: list[Entry]) -> None:
        """What is said of calls that stand for one another, although their arguments or tools differ: by type, in order."""
        waiting: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
        for entry in gone:
            waiting[entry.event.run_id, entry.event.data.get("tool_call_id", ""), entry.event.type].append(entry)
        for entry in come:
            partner = self._partners.get((entry.event.run_id, entry.event.data.get("tool_call_id", "")))
            others = waiting[(*partner, entry.event.type)] if partner is not None else []
            if others:
                self._changed(others.pop(0), entry)

    # ----------------------------------------------------------------------------------------------------------------------- findings

    def _silence(self) -> None:
        """Where nothing was found although the runs differ, tell of the first that differs."""
        if not self._any:
            for rank, finding, one, other in self._quiet[:1]:
                self._add(finding, one, other, rank=rank)

    def _rank(self, entry: Entry) -> Rank:
        """Where an entry that is looked at stands."""
        return self._ranks[id(entry)]

    def _add(
        self,
        finding: Finding,
        one: Entry | None,
        other: Entry | None,
        *,
        rank: Rank | None = None,
        calls: tuple[Asked | None, Asked | None] = (None, None),
    ) -> None:
        # What another version records beside what both do explains nothing else.
        self._any = self._any or finding.subject != "engine"
        if not counts(finding, self._mode):
            self._ignored.add(finding)
            return
        if len(self._found) >= FINDINGS_KEPT:
            self._more += 1
            return
        if rank is None:
            rank = min(self._rank(entry) for entry in (one, other) if entry is not None)
        places = [place_of(entry, call) for entry, call in zip((one, other), calls, strict=True)]
        self._found.append(
            (rank, Divergence(finding.kind, finding.field, finding.expected, finding.actual, places[0], places[1], finding.message))
        )


def _call_key(entry: Entry) -> tuple[Any, ...]:
    data = entry.event.data
    return entry.path, entry.event.type, data.get("tool_call_id"), entry.arguments


def place_of(entry: Entry | None, call: Asked | None = None) -> Place | None:
    """An entry as a place; of an answer, with the call that is meant."""
    if entry is None:
        return None
    event = entry.event
    tool, call_id = (call.name, call.call_id) if call is not None else (entry.tool, event.data.get("tool_call_id", ""))
    return Place(event.run_id, event.seq, event.step, entry.path, event.type, Timeline().line(event).text, tool, call_id)


def merged(found: Iterable[Compared]) -> Compared:
    """Several comparisons, one after the other."""
    divergences: list[Divergence] = []
    notes: list[str] = []
    more = same = 0
    for each in found:
        divergences += each.divergences
        more += each.more
        same += each.same
        notes += [note for note in each.notes if note not in notes]
    return Compared(divergences, more, same, notes)
