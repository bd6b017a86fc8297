"""Recorded runs in which every text that somebody may choose is hostile: what a log of others may hold, and a view must survive.

The demo's runs have every kind of event that the debugger shows. Each of their texts is put between two pieces of poison, by the declared
shape of its event: only what is one of a few words by declaration, or steers the fold, stays, for another word there would make another
event of it. The same text becomes the same hostile text everywhere, so calls still have their results and families hold together.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec
from msgspec.structs import replace

from afk_es.log import EventLog, open_log
from afk_es.machine import AgentRunEvent
from afk_es.machine.events import EVENT_TYPES, Draft
from afk_es.machine.spec import RunSpec

TERMINAL = "\x1b[5m\x1b]8;;//evil.example\x1b\\\x1b]52;c;aGE=\x07\x9b31m\r\x08\x7f\u202e\u2066\u2028\x85"
"""What a terminal obeys: SGR, OSC 8 (a link) and OSC 52 (the clipboard), CSI in C1, return, backspace, DEL; and what turns or breaks a line."""

MARKUP = "\"'><script>owned()</script><img src=//evil.example/x onerror=owned()>]]>--> [x](javascript:owned()) ![x](//evil.example/p.png) ```\n</title>"
"""What leaves an attribute, an element, a comment, CDATA, a fence, and then runs, loads or leads away."""

SECRET = " sk-proj-PLANTED0123456789abcdefghij "
"""What looks like a key, and stands in each text of a run but in the ids of runs and threads, by which they are asked for."""

KEPT = frozenset(
    {
        "action", "at_end", "classification", "event_type", "kind", "mode", "outcome", "reason_code", "request_kind", "state", "status",
        "subagent_digest", "timer", "type", "request_hash", "expires_at",
    }
)  # fmt: skip
"""Texts that steer the fold, or say which of a few things a fact is."""


WORDS = frozenset({"$defs", "$ref", "additionalProperties", "anyOf", "argument", "items", "prompt", "properties", "required", "type"})
"""Keys of free data that a tool's schema and a question to a person are read by."""


NAMES = frozenset(
    {
        "agent_name", "agent_path", "call_id", "correlation_id", "id", "matched_rules", "model", "models", "name", "node", "origin", "owner",
        "policy_id", "provider", "request_id", "required", "skills", "subagent", "subagent_name", "ticket_id", "tool_call_id",
        "tool_call_ids", "tool_name", "tool_names",
    }
)  # fmt: skip
"""Texts that say what something is called in somebody's code, or which one is meant: no place for a secret."""


class Hostile(NamedTuple):
    """A log of hostile runs.

    Attributes:
        log: the file. Shared by the tests of a session: nobody may write to it.
        run_ids: by the name of the demo's story.
        poison: what stands around each text.
    """

    log: Path
    run_ids: dict[str, str]
    poison: str


class Poisoner:
    """Puts poison around texts.

    Args:
        poison: it.
        ids: the ids of runs and threads. They get no NUL and no slash, for no command line could name them.
        kept: keys whose texts stay.
    """

    def __init__(self, poison: str, ids: frozenset[str], kept: frozenset[str]) -> None:
        self._poison = poison
        self._ids = ids
        self._kept = kept

    def text(self, text: str) -> str:
        """The hostile text that stands for this one, everywhere."""
        if text in self._ids:
            return text if self._poison == SECRET else f"{text}{self._poison.replace('/', '|')}"
        nul = "" if self._poison == SECRET else "\x00"
        return f"{self._poison}{nul}{text}{self._poison}" if text else text

    def event(self, event: AgentRunEvent) -> AgentRunEvent:
        """The event with hostile texts."""
        row = EVENT_TYPES.get(event.type)
        hints = get_type_hints(row.shape, include_extras=True) if row is not None else {}
        return replace(
            event,
            run_id=self.text(event.run_id),
            thread_id=self.text(event.thread_id),
            state=event.state if self._kept else self.text(event.state),
            message=self.text(event.message),
            data={key: self._field(key, value, hints.get(key, Any)) for key, value in event.data.items()},
        )

    def draft(self, draft: Draft) -> Draft:
        """A letter with hostile texts."""
        hints = get_type_hints(EVENT_TYPES[draft.type].shape, include_extras=True)
        data = {key: self._field(key, value, hints.get(key, Any)) for key, value in draft.data.items()}
        return Draft(draft.type, data, self.text(draft.message))

    def _field(self, key: str, value: Any, hint: Any) -> Any:
        if key in self._kept:
            return value
        return self._of(value, RunSpec if key == "agent" else hint)

    def _of(self, value: Any, hint: Any) -> Any:
        origin, inner = get_origin(hint), get_args(hint)
        if origin is NotRequired:
            return self._of(value, inner[0])
        if origin is Literal:
            return value
        if isinstance(value, str):
            literal = any(get_origin(each) is Literal and value in get_args(each) for each in inner)
            return value if literal else self.text(value)
        if origin in (Union, UnionType):
            return self._of(value, next((each for each in inner if _fits(value, each)), Any))
        if isinstance(value, dict):
            return self._object(value, hint, origin, inner)
        if isinstance(value, list):
            return [self._of(each, inner[0] if inner else Any) for each in value]
        return value

    def _object(self, value: dict[str, Any], hint: Any, origin: Any, inner: tuple[Any, ...]) -> dict[str, Any]:
        if is_typeddict(hint) or (isinstance(hint, type) and issubclass(hint, msgspec.Struct)):
            hints = get_type_hints(hint, include_extras=True)
            return {key: self._field(key, each, hints.get(key, Any)) for key, each in value.items()}
        # Keys of free data are texts of somebody as well, but for the words that a schema and a question are read by.
        found = {key if key in WORDS else self.text(key): each for key, each in value.items()}
        return {key: self._field(key, each, inner[1] if origin is dict else Any) for key, each in found.items()}


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if isinstance(value, dict):
        return origin is dict or is_typeddict(hint) or (isinstance(hint, type) and issubclass(hint, msgspec.Struct))
    if isinstance(value, list):
        return origin in (list, tuple)
    return False


async def poisoned(source: EventLog, target: EventLog, poison: str, kept: frozenset[str]) -> dict[str, str]:
    """Copy all runs of a log into another one, hostile; the new id of each old one."""
    runs = [record.run_id for record in reversed(await source.runs(limit=1_000))]
    threads = [record.thread_id for record in await source.runs(limit=1_000)]
    poisoner = Poisoner(poison, frozenset(runs + threads), kept)
    for run_id in runs:
        base = next((event.data["forked_from"]["seq"] for event in await source.read(run_id, limit=1) if "forked_from" in event.data), 0)
        events = [poisoner.event(event) for event in await source.read(run_id, after=base)]
        starts = [index for index, event in enumerate(events) if event.type == "run_started"] + [len(events)]
        for start, end in pairwise(starts):
            await target.append(events[start:end], epoch=events[start].data["epoch"])
    for letter in await source.letters():
        await target.post(poisoner.text(letter.run_id), poisoner.draft(letter.draft), at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    return {run_id: poisoner.text(run_id) for run_id in runs}


def hostile_copy(source: Path, target: Path, poison: str, kept: frozenset[str] = KEPT) -> Hostile:
    """A hostile copy of a log file. Where nothing is kept, its runs do not make sense to the end any more, and no state is one that there is."""

    async def copy() -> dict[str, str]:
        opened, written = open_log(source, read_only=True), open_log(target)
        await opened.open()
        await written.open()
        try:
            return await poisoned(opened, written, poison, kept)
        finally:
            await written.close()
            await opened.close()

    with ThreadPoolExecutor(1) as pool:
        ids = pool.submit(asyncio.run, copy()).result()
    return Hostile(target, {name.removeprefix("run_"): run_id for name, run_id in ids.items()}, poison)
