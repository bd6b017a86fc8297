"""The facts of a golden as runs: put together again, folded, and appended to a log under the ids that the file gives them.

Every fold is the machine's and every append goes through the store's own checks, so a golden holds what a log may hold and nothing else.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any, cast, get_args

import msgspec

from afk_es.core.history import ThreadMemory
from afk_es.debugger.exchange.golden_derived import derived, with_defaults
from afk_es.debugger.exchange.golden_facts import BEGINNING, Fact, GoldenHeader, GoldenOutcome, Role, read_golden, wrong
from afk_es.debugger.exchange.sources import shown
from afk_es.errors import AfkError, InvariantError
from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.log.upcast import UPCASTERS, upcast
from afk_es.machine import AgentRunEvent, RunState, evolve, initial_state
from afk_es.machine.events import EVENT_TYPES, SCHEMA_VERSION, validate
from afk_es.machine.spec import RunSpec
from afk_es.machine.values import Messages, plain

PARTS: dict[str, str] = {"instructions": "instructions", "tools": "tool", "limits": "limits"}
"""Keys of a `RunSpec` that are facts of their own, and which."""

_RESTORE = "restore the line from version control, or record the golden anew"
_LONGEST_S = 100 * 365 * 86_400.0


class GoldenRun(msgspec.Struct):
    """A run of a golden, as its file has it.

    Attributes:
        starts: in seconds since the beginning of the golden.
        events: its events' facts; at least one once the file is read.
        line: of the fact that begins it.
        outcome_line: of its outcome.
    """

    run_id: str
    thread_id: str
    role: Role
    starts: float
    events: list[Fact]
    outcome: GoldenOutcome | None = None
    line: int = 0
    outcome_line: int = 0


class Places:
    """Where in the file the events of a golden stand, for messages about them."""

    def __init__(self, name: str, lines: dict[tuple[str, int], int]) -> None:
        self.name = name
        self._lines = lines

    def line(self, run_id: str, seq: int) -> int | None:
        """The line of an event; None where it stands in no file."""
        return self._lines.get((run_id, seq)) or None

    def of(self, run_id: str, seq: int) -> str:
        """ "FILE:LINE" of an event, or the file alone."""
        line = self.line(run_id, seq)
        return self.name if line is None else f"{self.name}:{line}"


class GoldenRuns:
    """What a golden holds.

    Args:
        name: of the file, for messages.

    Raises:
        GoldenError: the lines make no golden; the message says which and why.
    """

    def __init__(self, name: str, header: GoldenHeader, facts: list[Fact]) -> None:
        self.name = name
        self.header = header
        self._parts: dict[tuple[str, str], Fact] = {}
        self._agents: dict[str, dict[str, Any]] = {}
        self._values: dict[tuple[str, str], Any] = {}
        self.runs: dict[str, GoldenRun] = {}
        open_run: GoldenRun | None = None
        for fact in facts:
            open_run = self._taken(fact, open_run)
        if open_run is not None:
            raise self._wrong(facts[-1], f"run {open_run.run_id} has no outcome: the file was cut off; {_RESTORE}")
        for run_id in header.runs:
            run = self.runs.get(run_id)
            if run is None or run.role != "checked":
                raise wrong(name, 1, f"the header names run {run_id!r} as one that is checked, and the file has no such run; {_RESTORE}")

    @property
    def places(self) -> Places:
        """Where its events stand."""
        return Places(self.name, {(run.run_id, fact.value["seq"]): fact.line for run in self.runs.values() for fact in run.events})

    async def load(self, log: EventLog) -> None:
        """Append all runs to an open log.

        Raises:
            GoldenError: an event cannot happen where it stands, or cannot be stored; the message says where.
        """
        memory = ThreadMemory()
        for run in self.runs.values():
            for stretch in self._stretches(run, await self._history(run, memory, log), memory):
                try:
                    await log.append(stretch, epoch=stretch[0].data["epoch"])
                except AfkError as error:
                    raise wrong(self.name, run.line, f"run {run.run_id} cannot be stored: {error}") from error

    async def open_log(self) -> MemoryEventLog:
        """An open log in memory that holds all runs; see `load`. It is the caller's to close."""
        log = MemoryEventLog(ids=_OwnerName())
        await log.open()
        await self.load(log)
        return log

    def spec(self, run_id: str) -> RunSpec:
        """The agent of a run.

        Raises:
            GoldenError: there is no such run, or it tells of no agent.
        """
        run = self.runs.get(run_id)
        if run is None:
            raise wrong(self.name, 0, f"it has no run {run_id!r}; there are: {', '.join(self.runs)}")
        first = run.events[0]
        try:
            return msgspec.convert(self._agent(first, first.value.get("data", {}).get("agent")), RunSpec)
        except msgspec.ValidationError as error:
            raise self._wrong(first, f"the agent makes no sense: {error}; {_RESTORE}") from error

    # --------------------------------------------------------------------------------------------------------------------- the lines

    def _taken(self, fact: Fact, run: GoldenRun | None) -> GoldenRun | None:
        """Take in the next line; the run that is open after it."""
        match fact.kind:
            case "instructions" | "tool" | "limits" | "content" | "agent":
                if run is not None:
                    raise self._wrong(fact, f"run {run.run_id} has no outcome before this {fact.kind}; {_RESTORE}")
                key = (fact.kind, self._text(fact, "id"))
                if key in self._parts or "value" not in fact.value:
                    raise self._wrong(fact, f"{fact.kind} {key[1]!r} is said twice, or has no `value`; {_RESTORE}")
                self._parts[key] = fact
                return None
            case "run":
                if run is not None:
                    raise self._wrong(fact, f"run {run.run_id} has no outcome before the next run begins; {_RESTORE}")
                return self._run(fact)
            case "event":
                if run is None:
                    raise self._wrong(fact, f"an event stands in no run; {_RESTORE}")
                self._event_line(fact, run)
                return run
            case "outcome":
                if run is None or not run.events:
                    raise self._wrong(fact, f"an outcome of a run without events; {_RESTORE}")
                self._outcome(fact, run)
                return None
            case _:
                raise self._wrong(
                    fact, f"a fact of the kind {shown(fact.kind)}, which this afk_es does not know: upgrade afk_es, or {_RESTORE}"
                )

    def _run(self, fact: Fact) -> GoldenRun:
        run_id, role = self._text(fact, "run"), fact.value.get("role")
        starts = fact.value.get("starts")
        if role not in get_args(Role) or run_id in self.runs or not _is_time(starts):
            raise self._wrong(fact, f"a run has an id of its own, a role ({', '.join(get_args(Role))}) and `starts` in seconds; {_RESTORE}")
        run = GoldenRun(run_id, self._text(fact, "thread"), cast(Role, role), float(cast(float, starts)), [], line=fact.line)
        self.runs[run_id] = run
        return run

    def _event_line(self, fact: Fact, run: GoldenRun) -> None:
        value = fact.value
        if value.get("run") != run.run_id:
            raise self._wrong(fact, f"an event of run {shown(value.get('run'))} stands in run {run.run_id}; {_RESTORE}")
        seq, expected = value.get("seq"), len(run.events) + 1
        if type(seq) is not int or seq != expected:
            raise self._wrong(fact, f"seq {shown(seq)} of run {run.run_id} stands where seq {expected} belongs; {_RESTORE}")
        well_formed = (
            isinstance(value.get("type"), str)
            and _is_time(value.get("at"))
            and type(value.get("step", 0)) is int
            and isinstance(value.get("state", ""), str)
            and isinstance(value.get("message", ""), str)
            and type(value.get("schema_version", 0)) is int
            and isinstance(value.get("data", {}), dict)
        )
        if not well_formed:
            raise self._wrong(fact, f"an event has a type, `at` in seconds, a step, a state, a message and an object as data; {_RESTORE}")
        run.events.append(fact)

    def _outcome(self, fact: Fact, run: GoldenRun) -> None:
        if fact.value.get("run") != run.run_id:
            raise self._wrong(fact, f"the outcome of run {shown(fact.value.get('run'))} stands in run {run.run_id}; {_RESTORE}")
        try:
            run.outcome = msgspec.convert({key: item for key, item in fact.value.items() if key != "run"}, GoldenOutcome)
        except msgspec.ValidationError as error:
            raise self._wrong(fact, f"the outcome makes no sense: {error}; {_RESTORE}") from error
        run.outcome_line = fact.line

    def _text(self, fact: Fact, key: str) -> str:
        value = fact.value.get(key)
        if not isinstance(value, str) or not value:
            raise self._wrong(fact, f"`{key}` of this {fact.kind} is text, and not {shown(value)}; {_RESTORE}")
        return value

    def _wrong(self, fact: Fact, message: str) -> Exception:
        return wrong(self.name, fact.line, message)

    # -------------------------------------------------------------------------------------------------------------------- the events

    def _stretches(self, run: GoldenRun, history: Messages, memory: ThreadMemory) -> list[list[AgentRunEvent]]:
        """The events of a run, in the pieces in which they are appended: what claims a run is the first of its append."""
        found: list[list[AgentRunEvent]] = []
        for event in self._events(run, history, memory):
            if event.type == "run_started":
                found.append([])
            found[-1].append(event)
        return found

    def _events(self, run: GoldenRun, history: Messages, memory: ThreadMemory) -> Iterator[AgentRunEvent]:
        """The events of a run, whole, each checked against the state before it. What the run came to is remembered."""
        state = initial_state(run.run_id, run.thread_id, history)
        for fact in run.events:
            try:
                event = self._event(fact, run, state)
                if event.seq == 1 and event.type != "run_started":
                    raise ValueError(f"a run begins with run_started, and not with {event.type}")
                state = evolve(state, event)
            except InvariantError as error:
                raise self._wrong(fact, f"it cannot happen here: {error}; {_RESTORE}") from error
            except (AfkError, LookupError, TypeError, ValueError, OverflowError) as error:
                if isinstance(error, AfkError) and str(error).startswith(f"{self.name}:"):
                    raise
                raise self._wrong(fact, f"{fact.value['type']} at seq {fact.value['seq']}: {_said(error)}; {_RESTORE}") from error
            yield event
        memory.keep(state)

    def _event(self, fact: Fact, run: GoldenRun, state: RunState) -> AgentRunEvent:
        value = fact.value
        kind = value["type"]
        # As a log gives it back: what the model is shown of a tool's output has its keys in that order, whoever wrote them in which.
        data = self._with_parts(fact, kind, plain(value.get("data", {})))
        version = self._version(fact)
        known = EVENT_TYPES.get(kind)
        if known is not None and version < SCHEMA_VERSION:
            data = upcast(UPCASTERS, kind, data, stored=version, wanted=SCHEMA_VERSION)
            version = SCHEMA_VERSION
        if known is not None and version > SCHEMA_VERSION:
            raise ValueError(f"it has schema version {version}, this afk_es understands up to {SCHEMA_VERSION}; upgrade afk_es")
        data = with_defaults(kind, data)
        if follows := derived(state, kind, data):
            data = {**follows, **data}
        if known is not None:
            validate(kind, data)
        at = BEGINNING + dt.timedelta(0, 0, round(run.starts * 1e6) + round(value["at"] * 1e6))
        return AgentRunEvent(
            kind,
            run.run_id,
            run.thread_id,
            value["seq"],
            at,
            value.get("state", "running"),
            value.get("step", 0),
            value.get("message", ""),
            data,
            version,
        )

    def _version(self, fact: Fact) -> int:
        version: int = fact.value.get("schema_version", self.header.recorded.event_schema)
        return version

    def _with_parts(self, fact: Fact, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        row = EVENT_TYPES.get(kind)
        parts = [key for key in row.parts if key in data] if row is not None else []
        if not parts:
            return data
        found = dict(data)
        for key in parts:
            found[key] = self._agent(fact, data[key]) if key == "agent" else plain(self._part(fact, part_kind(key), data[key]))
        return found

    def _agent(self, fact: Fact, reference: Any) -> Any:
        # One dict per agent: the machine decodes a spec once for all that share it.
        if isinstance(reference, str) and (known := self._agents.get(reference)) is not None:
            return known
        spec = self._part(fact, "agent", reference)
        if not isinstance(spec, dict):
            raise self._wrong(self._parts["agent", reference], f"an agent is an object; {_RESTORE}")
        whole = dict(spec)
        for key, kind in PARTS.items():
            if whole.get(key) is None:
                continue
            references = whole[key]
            if kind == "tool":
                if not isinstance(references, list):
                    raise self._wrong(self._parts["agent", reference], f"`tools` of an agent is a list of ids of tools; {_RESTORE}")
                whole[key] = [self._part(self._parts["agent", reference], kind, each) for each in references]
            else:
                whole[key] = self._part(self._parts["agent", reference], kind, references)
        self._agents[reference] = found = plain(whole)
        return found

    def _part(self, fact: Fact, kind: str, reference: Any) -> Any:
        found = self._parts.get((kind, reference)) if isinstance(reference, str) else None
        if found is None:
            raise self._wrong(fact, f"it refers to the {kind} {shown(reference)}, which is not in the file; {_RESTORE}")
        return found.value["value"]

    async def _history(self, run: GoldenRun, memory: ThreadMemory, log: EventLog) -> Messages:
        refs = run.events[0].value.get("data", {}).get("history", [])
        if not refs:
            return Messages()
        try:
            return await memory.read(log, refs)
        except (AfkError, InvariantError, LookupError, TypeError, ValueError) as error:
            raise self._wrong(run.events[0], f"what run {run.run_id} builds on is missing or makes no sense: {_said(error)}") from error


class _OwnerName:
    """No chance is in the log of a golden, its owner's id included."""

    def new(self, kind: str) -> str:
        return f"{kind}_1"


def part_kind(key: str) -> str:
    """Which kind of fact the declared part of an event is."""
    return "instructions" if key == "instructions" else "content"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, LookupError) else str(error)


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < _LONGEST_S


async def golden_log(path: str) -> MemoryEventLog:
    """An open log in memory with the runs of a golden file, for whoever only reads.

    Raises:
        GoldenError: it is none that can be read.
        OSError: it cannot be read.
    """
    header, facts = read_golden(path)
    return await GoldenRuns(path, header, facts).open_log()


async def golden_stretches(log: EventLog, path: str) -> list[tuple[list[list[AgentRunEvent]], str]]:
    """The runs of a golden file, stretch by stretch, each with where it stands in the file.

    Args:
        log: where they are to go.

    Raises:
        GoldenError: it is none that can be read, or the log has one of its runs or threads already.
    """
    header, facts = read_golden(path)
    runs = GoldenRuns(path, header, facts)
    beside = await runs.open_log()
    found: list[tuple[list[list[AgentRunEvent]], str]] = []
    try:
        for run in runs.runs.values():
            if await log.head(run.run_id) is not None or await log.thread(run.thread_id):
                raise wrong(
                    path,
                    run.line,
                    f"{log.location} has run {run.run_id} or {run.thread_id} already, of another golden; import it with --db NEW.db",
                )
            stretches: list[list[AgentRunEvent]] = []
            for event in await beside.read(run.run_id):
                if event.type == "run_started":
                    stretches.append([])
                stretches[-1].append(event)
            found.append((stretches, f"{path}:{run.line}"))
    finally:
        await beside.close()
    return found


__all__ = ["golden_log", "golden_stretches", "GoldenRun", "GoldenRuns", "PARTS", "part_kind", "Places"]
