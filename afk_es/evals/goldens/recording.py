"""A run of a log as the facts of a golden: which runs belong to it, under names that stay, from a fixed time on, without secrets."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from afk_es.core.history import ThreadMemory
from afk_es.core.replayability import unreplayable
from afk_es.core.result import text_of_run
from afk_es.debugger.exchange.golden_derived import shortened
from afk_es.debugger.exchange.golden_facts import BEGINNING, Fact, GoldenOutcome, Role
from afk_es.debugger.exchange.golden_runs import PARTS, part_kind
from afk_es.errors import RunNotFoundError, UsageError
from afk_es.evals.goldens.forks import flattened
from afk_es.evals.goldens.names import CallNames, Names
from afk_es.handlers.withholding import secrets_of
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.delegation import child_run_id
from afk_es.machine.events import EVENT_TYPES, SCHEMA_VERSION, TERMINAL
from afk_es.machine.values import canonical_json, digest
from afk_es.redaction import Redaction
from afk_es.views import redacted_event

MOST_RUNS = 1_000
"""Runs of one golden. A log is data, perhaps somebody's that leads in a circle."""

_OF_VARIATIONS = frozenset({"forked_from", "forked_as", "fork", "answers_from", "recorded_agent", "replay_of"})
_MARKS = frozenset({"reused", "edited", "stubbed"})
_MICROSECOND = dt.timedelta(microseconds=1)


class Chosen(msgspec.Struct):
    """A run that goes into a golden.

    Attributes:
        events: all of it.
        name, thread: its new ids.
        seqs: the numbers of its events by those that they had.
        taken_over: of a fork, the runs of subagents whose results it reused, by the ids under which it announced them.
        parent: the new id of the run that started it, and its new root.
    """

    events: list[AgentRunEvent]
    role: Role
    name: str
    thread: str
    seqs: dict[int, int]
    taken_over: dict[str, str]
    parent: tuple[str, str] | None = None

    @property
    def run_id(self) -> str:
        """The id that it had."""
        return self.events[0].run_id


async def chosen_runs(log: EventLog, run_id: str, *, thread: bool) -> list[Chosen]:
    """The run and all that it needs, under their new names: each run behind those that it builds on and those that it started.

    Args:
        thread: check the runs before it on its thread as well.

    Raises:
        RunNotFoundError: there is no such run.
        UsageError: one of them cannot be replayed; the message says which, why, and what to do.
    """
    reader = _Reader(log)
    main = await reader.whole(run_id)
    if main is None:
        raise RunNotFoundError(f"{log.location} has no run {run_id!r}")
    parent = main.events[0].data.get("parent")
    if parent is not None:
        root = parent.get("root", parent["run_id"])
        raise UsageError(f"run {run_id} is a subagent's: record the run that it belongs to, {root}, which takes it along")
    found: list[Chosen] = []
    for number, (run, checked) in enumerate(await reader.on_thread(main, thread=thread), start=1):
        if checked and (reason := unreplayable(run.events)) is not None:
            raise UsageError(f"no golden can be made of run {run.run_id}: {reason}")
        run.role, run.name = "checked" if checked else "context", f"run_{number}"
        if checked:
            await reader.add_children(run, run.name, found)
        found.append(run)
    return found


class _Reader:
    """Reads runs and what belongs to them, each in one sequence."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._memory = ThreadMemory()

    async def whole(self, run_id: str) -> Chosen | None:
        """The run, or None where there is none."""
        events = await self._log.read(run_id)
        if not events:
            return None
        seqs: dict[int, int] = {}
        taken_over: dict[str, str] = {}
        if any("forked_from" in event.data for event in events if event.type == "run_started"):
            history = await self._memory.read(self._log, events[0].data.get("history", []))
            events, seqs, taken_over = flattened(events, history)
        return Chosen(events, "context", "", "thread_1", seqs, taken_over)

    async def on_thread(self, main: Chosen, *, thread: bool) -> list[tuple[Chosen, bool]]:
        """The run and those that it builds on, in the order of the thread, and whether each is to be checked."""
        known: dict[str, Chosen] = {main.run_id: main}
        waiting = [main]
        while waiting:
            for ref in waiting.pop().events[0].data.get("history", []):
                name = ref["run_id"]
                if name in known:
                    continue
                run = await self.whole(name)
                if run is None:
                    raise UsageError(
                        f"run {main.run_id} builds on run {name}, which {self._log.location} does not have; record it where both are"
                    )
                known[name] = run
                waiting.append(run)
                _bound(known)
        positions: dict[str, int] = {}
        for name in known:
            head = await self._log.head(name)
            positions[name] = head.last_position if head is not None else 0
        last = main.run_id
        order = _behind_what_they_follow(known, sorted(known, key=lambda name: (name == last, positions[name])))
        return [(known[name], name == last or (thread and not _only_compacts(known[name].events))) for name in order]

    async def add_children(self, parent: Chosen, root: str, found: list[Chosen]) -> None:
        """The runs that its subagents made, and those below, each behind what it started."""
        for event in parent.events:
            if event.type != "subagent_started":
                continue
            run_id = event.data["run_id"]
            child = await self.whole(parent.taken_over.get(run_id, run_id))
            # Announced, and never begun.
            if child is None:
                continue
            if child.events[-1].type not in TERMINAL:
                raise UsageError(f"run {child.run_id}, a subagent's of {parent.run_id}, has not ended: resume {parent.run_id} first")
            child.role, child.name, child.parent = "subagent", child_name(parent.name, event), (parent.name, root)
            child.thread = f"thread_{digest(child.name.encode())}"
            await self.add_children(child, root, found)
            found.append(child)
            _bound(found)


def _behind_what_they_follow(known: dict[str, Chosen], order: list[str]) -> list[str]:
    """The runs in this order, but each behind those whose turns it saw: one that was followed while it lay interrupted ended after its follower."""
    found: dict[str, None] = {}
    waiting = list(reversed(order))
    opened: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        before = [ref["run_id"] for ref in known[name].events[0].data.get("history", []) if ref["run_id"] not in found]
        if before and name not in opened:
            opened.add(name)
            waiting += [name, *reversed(before)]
        else:
            found[name] = None
    return list(found)


def _only_compacts(events: list[AgentRunEvent]) -> bool:
    return bool(events[0].data.get("agent", {}).get("retention", {}).get("alone"))


def child_name(parent: str, started: AgentRunEvent) -> str:
    """The id of a subagent's run as the machine would derive it of its parent's new id."""
    data = started.data
    return child_run_id(parent, data.get("ordinal", started.seq), data.get("attempt", 1))


def _bound(found: Any) -> None:
    if len(found) > MOST_RUNS:
        raise UsageError(f"more than {MOST_RUNS} runs belong to it; record a run of a younger thread")


class Recorder:
    """Makes facts of the runs that were chosen.

    Args:
        redaction: None for an exact copy.
    """

    def __init__(self, runs: list[Chosen], redaction: Redaction | None) -> None:
        self.redaction = redaction
        self.models: dict[str, None] = {}
        self._runs = runs
        self._began = min(run.events[0].at for run in runs)
        self._seqs = {run.run_id: run.seqs for run in runs if run.seqs}
        self._names = Names({run.run_id: run.name for run in runs}, {run.events[0].thread_id: run.thread for run in runs})
        self._names.order_letters(letter for run in runs for event in run.events if type(letter := event.data.get("letter")) is int)
        self._parts: dict[tuple[str, str], Fact] = {}
        self._ids: dict[tuple[str, bytes], str] = {}
        self._announced: dict[str, dict[str, Any]] = {}
        """Where a subagent's run was announced, as its `parent` has it, by its new name."""

    def facts(self) -> list[Fact]:
        """All facts of the golden: the parts first, then the runs. What the runs came to is left open; see `with_outcome`."""
        # A subagent's run says by which call it was started, so the calls of its parent have their names first.
        renamed = {run.name: self._renamed(run) for run in _parents_first(self._runs)}
        found: list[Fact] = []
        for run in self._runs:
            first = run.events[0].at
            begins = {"run": run.name, "thread": run.thread, "role": run.role, "starts": _seconds(first - self._began)}
            found.append(Fact("run", begins))
            found += [self._fact(run, event, first) for event in renamed[run.name]]
            found.append(Fact("outcome", {"run": run.name, "state": "", "final_text": ""}))
        return [*self._parts.values(), *found]

    def _renamed(self, run: Chosen) -> list[AgentRunEvent]:
        """The events under their new names, without what is only of the run's past and without secrets."""
        calls = CallNames(self._names)
        found = []
        for event in run.events:
            named = calls.of(event)
            if isinstance(ticket := event.data.get("ticket_id"), str):
                # Before the texts of this event, which may name it as well.
                self._names.ticket(ticket)
            if event.type == "subagent_started":
                name = child_name(run.name, event)
                self._names.runs[event.data["run_id"]] = name
                self._names.found_in_texts(event.data["run_id"], name)
                self._announced[name] = {"tool_call_id": named["tool_call_id"], "seq": event.seq} if "tool_call_id" in named else {}
            data = self._data(run, event, named)
            message = self._names.text(event.message)
            found.append(redacted_event(msgspec.structs.replace(event, data=data, message=message), self.redaction))
        return found

    def _data(self, run: Chosen, event: AgentRunEvent, named: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in event.data.items():
            if key in _OF_VARIATIONS or (key in _MARKS and event.type in EVENT_TYPES):
                continue
            if key == "tool_calls" and key in named:
                found[key] = [{**self._names.value(call), "id": call["id"]} for call in named[key]]
            elif key in named:
                found[key] = named[key]
            else:
                found[key] = self._item(run, event, key, item)
        return found

    def _item(self, run: Chosen, event: AgentRunEvent, key: str, item: Any) -> Any:
        names = self._names
        match key:
            case "up_to" if isinstance(item, list):
                return [{**ref, "run_id": names.runs.get(ref["run_id"], ref["run_id"])} for ref in item]
            case "history" if isinstance(item, list):
                return [self._ref(ref) for ref in item]
            case "parent" if run.parent is not None:
                about = {key: place for key, place in self._announced.get(run.name, {}).items() if key in item}
                return {**item, **about, "run_id": run.parent[0], **({"root": run.parent[1]} if "root" in item else {})}
            case "run_id" if isinstance(item, str):
                return names.runs.get(item, item)
            case "thread_id" if isinstance(item, str):
                return names.threads.get(item, item)
            case "ticket_id" if isinstance(item, str):
                return names.ticket(item)
            case "letter" if type(item) is int:
                return names.letters[item]
            case "agent" | "model":
                # What the agent's author wrote is no id, even where a thread has the name of a model; today's agent says the same.
                return item
            case "expires_at" if isinstance(item, str):
                return self._moved(item)
            case "imported" if event.type == "run_started" and isinstance(item, dict):
                kept = {name: each for name, each in item.items() if name != "imported_at"}
                return names.value(
                    {**kept, **({"source": os.path.basename(kept["source"])} if isinstance(kept.get("source"), str) else {})}
                )
            case _:
                return names.value(item)

    def _ref(self, ref: dict[str, Any]) -> dict[str, Any]:
        seqs = self._seqs.get(ref["run_id"], {})
        return {**ref, "run_id": self._names.runs.get(ref["run_id"], ref["run_id"]), "seq": seqs.get(ref["seq"], ref["seq"])}

    def _moved(self, moment: str) -> str:
        try:
            at = dt.datetime.fromisoformat(moment)
        except ValueError:
            return moment
        return (BEGINNING + (at - self._began)).isoformat() if at.tzinfo is not None else moment

    def _fact(self, run: Chosen, event: AgentRunEvent, first: dt.datetime) -> Fact:
        value: dict[str, Any] = {
            "run": run.name,
            "seq": event.seq,
            "at": _seconds(event.at - first),
            "type": event.type,
            "step": event.step,
        }
        if event.state != "running":
            value["state"] = event.state
        if event.message:
            value["message"] = event.message
        if event.schema_version != SCHEMA_VERSION:
            value["schema_version"] = event.schema_version
        data = shortened(event.type, event.data)
        row = EVENT_TYPES.get(event.type)
        for key in row.parts if row is not None else ():
            if key in data:
                data[key] = self._agent(data[key]) if key == "agent" else self._part(part_kind(key), f"{key}_", data[key])
        return Fact("event", {**value, "data": data})

    def _agent(self, spec: dict[str, Any]) -> str:
        self.models |= dict.fromkeys(model["model"] for model in spec["models"])
        parts: dict[str, Any] = {}
        for key, kind in PARTS.items():
            if spec.get(key) is None:
                continue
            if kind == "tool":
                parts[key] = [self._part(kind, tool["name"], tool) for tool in spec[key]]
            else:
                parts[key] = self._part(kind, f"{spec['agent_name']}", spec[key])
        return self._part("agent", spec["agent_name"], {**spec, **parts})

    def _part(self, kind: str, name: str, value: Any) -> str:
        """The id of a part: the name, with a number where others of that kind have it; of names that end so, always with one."""
        key = (kind, canonical_json(value))
        known = self._ids.get(key)
        if known is not None:
            return known
        number = 1
        numbered = name.endswith("_")
        part_id = f"{name}1" if numbered else name
        while (kind, part_id) in self._parts:
            number += 1
            part_id = f"{name}{number}" if numbered else f"{name}#{number}"
        self._ids[key] = part_id
        self._parts[kind, part_id] = Fact(kind, {"id": part_id, "value": value})
        return part_id


def outcome_of(state: RunState, calls: Iterable[Mapping[str, Any]]) -> GoldenOutcome:
    """What a run in this state came to, having asked for these calls."""
    usage = state.usage
    return GoldenOutcome(
        state=state.status,
        final_text=text_of_run(state),
        final_structured=state.output if state.status in ("completed", "degraded") else None,
        error=None if state.status == "completed" else state.reason,
        llm_calls=state.llm_calls,
        tool_calls=state.tool_calls,
        tokens=(usage.input_tokens, usage.output_tokens, usage.total_tokens),
        cost_usd=float(state.cost_usd) if state.cost_known else None,
        calls=tuple({"tool_name": call["tool_name"], "arguments": call["arguments"]} for call in calls),
    )


def with_outcomes(facts: Iterable[Fact], states: Mapping[str, RunState]) -> Iterator[Fact]:
    """The facts, with what each run came to that ended in its state."""
    calls: list[dict[str, Any]] = []
    for fact in facts:
        if fact.kind == "run":
            calls = []
        elif fact.kind == "event" and fact.value["type"] == "llm_completed":
            calls += fact.value["data"]["tool_calls"]
        if fact.kind == "outcome":
            run_id = fact.value["run"]
            yield Fact("outcome", {"run": run_id, **msgspec.to_builtins(outcome_of(states[run_id], calls))})
        else:
            yield fact


def _parents_first(runs: list[Chosen]) -> Iterator[Chosen]:
    """The runs in the order of the thread, each before those that it started."""
    family: list[Chosen] = []
    for run in runs:
        family.append(run)
        if run.role != "subagent":
            yield from reversed(family)
            family.clear()


def _seconds(since: dt.timedelta) -> float:
    return (since // _MICROSECOND) / 1e6


def secrets_in(runs: Iterable[Chosen], redaction: Redaction) -> list[str]:
    """Values that stand under a secret's name somewhere in the runs, and may stand elsewhere without it."""
    return secrets_of([event for run in runs for event in run.events], redaction)
