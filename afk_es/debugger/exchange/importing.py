"""`import`: files into a log. Everything is read and told as events before the first of them is written."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import re
from collections.abc import Iterator, Sequence

import msgspec

from afk_es.clock import Clock, Ids, RandomIds, SystemClock
from afk_es.debugger.exchange.chat import chat_conversations
from afk_es.debugger.exchange.retelling import Provenance, retold
from afk_es.debugger.exchange.schemas import tool_specs
from afk_es.debugger.exchange.sources import Format, Source, guessed, read_source
from afk_es.debugger.exchange.transcript import Conversation, Place, TranscriptError
from afk_es.errors import InvalidEventError, UsageError
from afk_es.log import EventLog
from afk_es.log.batch import encode_batch
from afk_es.log.codec import Codec
from afk_es.machine import AgentRunEvent
from afk_es.machine.spec import ToolSpec

_AT_ONCE = 64
"""Runs that are handed to the store together: they share its transactions, and stay in their order."""

_FIELD = re.compile(r"\{(\w+)\}")


class Imported(msgspec.Struct, frozen=True):
    """One run that was imported.

    Attributes:
        source: where it stood: the file, the line, the conversation.
        state: how it ended; "interrupted" where the transcript has no end.
        notes: what could not be taken over as it was.
    """

    run_id: str
    thread_id: str
    source: str
    state: str
    events: int
    notes: tuple[str, ...] = ()


class ImportReport(msgspec.Struct, frozen=True):
    """What an import did."""

    log: str
    format: str
    conversations: int
    runs: tuple[Imported, ...]
    events: int


class _Ready(msgspec.Struct, frozen=True):
    """A run that can be appended, stretch by stretch."""

    stretches: list[list[AgentRunEvent]]
    report: Imported


async def import_files(
    log: EventLog,
    paths: Sequence[str | os.PathLike[str]],
    *,
    format: Format | None = None,
    thread: str | None = None,
    instructions: str | None = None,
    tools: str | os.PathLike[str] | None = None,
    clock: Clock | None = None,
    ids: Ids | None = None,
) -> ImportReport:
    """Read transcripts of other systems, our own exports or goldens into a log.

    Args:
        log: open for writing, and left open.
        paths: the files; one conversation each, or several.
        format: what they are in; None to see it by what is in them.
        thread: the thread's id; `{n}` stands for the number of the conversation from 1, and `{name}` for what its file says under that
            name, as in "tau-{task_id}-{trial}". None: a new id for each conversation. Our own exports and goldens keep theirs.
        instructions: the system text, for chat transcripts that leave it out.
        tools: a JSON file with the tools' schemas, for chat transcripts that leave them out.
        clock: where unknown times begin; default the system's.
        ids: where the ids of runs and threads come from; default random ones.

    Raises:
        TranscriptError: a file is not what it should be; the message says where. Nothing was written.
        UsageError: options that do not go together, or a thread or run that the log has already. Nothing was written.
        LogError: the log could not be written; runs before it may have been.
    """
    if not paths:
        raise UsageError("name at least one file to import")
    given = tool_specs(read_source(tools).values[0][1], Place(os.fspath(tools))) if tools is not None else ()
    sources = [await asyncio.to_thread(read_source, path) for path in paths]
    formats = [format or guessed(source) for source in sources]
    if len(set(formats)) > 1:
        raise UsageError(f"the files are in several formats ({', '.join(sorted(set(formats)))}); import them one format at a time")
    kind = formats[0]
    if kind != "chat" and (instructions is not None or given):
        raise UsageError(f"--instructions and --tools are for chat transcripts; a file in the format {kind} says both itself")
    if kind == "jsonl":
        if thread is not None:
            raise UsageError("an exported run keeps its thread; leave --thread out")
        from afk_es.debugger.exchange.event_lines import exported_runs

        ready = [_Ready(stretches, report) for source in sources for stretches, report in await exported_runs(log, source)]
        count = len(sources)
    elif kind == "golden":
        if thread is not None:
            raise UsageError("a golden keeps its thread; leave --thread out")
        if len(sources) > 1:
            raise UsageError("goldens give their runs the same ids: import them one at a time, each into a log of its own with --db")
        ready = await _of_golden(log, sources[0].name)
        count = len(sources)
    else:
        conversations = [each for source in sources for each in _conversations(source, kind, instructions, given)]
        threads = await _threads(log, conversations, thread, ids or RandomIds())
        ready = list(_told(conversations, threads, clock or SystemClock(), ids or RandomIds()))
        count = len(conversations)
    await _append(log, ready)
    runs = tuple(each.report for each in ready)
    return ImportReport(log.location, kind, count, runs, sum(run.events for run in runs))


async def _of_golden(log: EventLog, name: str) -> list[_Ready]:
    from afk_es.debugger.exchange.golden_runs import golden_stretches

    ready = []
    for stretches, place in await golden_stretches(log, name):
        last = stretches[-1][-1]
        ready.append(_Ready(stretches, Imported(last.run_id, last.thread_id, place, last.state, last.seq)))
    return ready


def _conversations(source: Source, kind: Format, instructions: str | None, tools: tuple[ToolSpec, ...]) -> Iterator[Conversation]:
    if kind == "chat":
        return chat_conversations(source, instructions=instructions, tools=tools)
    from afk_es.debugger.exchange.atif import atif_conversations

    return atif_conversations(source)


async def _threads(log: EventLog, conversations: list[Conversation], pattern: str | None, ids: Ids) -> list[str]:
    if pattern is None:
        return [ids.new("thread") for _conversation in conversations]
    if len(conversations) > 1 and not _FIELD.search(pattern):
        raise UsageError(
            f"--thread {pattern!r} is one thread, and there are {len(conversations)} conversations: write {{n}} in it, or a name that "
            "each of them has, such as {task_id}"
        )
    named = [_filled(pattern, number, conversation) for number, conversation in enumerate(conversations, start=1)]
    for number, name in enumerate(named):
        if name in named[:number]:
            raise UsageError(f"two conversations would be in the thread {name!r}; write {{n}} in --thread, which numbers them")
        if await log.thread(name):
            raise UsageError(f"{log.location} has a thread {name!r} already; name another one with --thread")
    return named


def _filled(pattern: str, number: int, conversation: Conversation) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1]
        given = number if name == "n" else conversation.metadata.get(name)
        if not isinstance(given, (str, int, float)):
            raise conversation.place.wrong(f"it says nothing under {name!r}, which --thread {pattern!r} asks for")
        return str(given)

    return _FIELD.sub(value, pattern)


def _told(conversations: list[Conversation], threads: list[str], clock: Clock, ids: Ids) -> Iterator[_Ready]:
    codec = Codec()
    origin = Provenance("afk-es import", clock.now().astimezone(dt.UTC))
    for conversation, thread_id in zip(conversations, threads, strict=True):
        run_ids = (ids.new("run") for _run in conversation.runs)
        for told in retold(conversation, thread_id, run_ids, origin):
            try:
                # As the store will, so that it refuses nothing once it has begun.
                encode_batch(codec, told.events, 1)
            except InvalidEventError as error:
                raise conversation.place.wrong(f"it cannot be stored: {error}") from error
            first, last = told.events[0], told.events[-1]
            where = str(conversation.place)
            report = Imported(first.run_id, thread_id, where, last.state, len(told.events), tuple(conversation.notes))
            yield _Ready([told.events], report)


async def _append(log: EventLog, ready: list[_Ready]) -> None:
    for start in range(0, len(ready), _AT_ONCE):
        await asyncio.gather(*(_append_run(log, each) for each in ready[start : start + _AT_ONCE]))


async def _append_run(log: EventLog, ready: _Ready) -> None:
    for stretch in ready.stretches:
        await log.append(stretch, epoch=stretch[0].data["epoch"])


__all__ = ["import_files", "Imported", "ImportReport", "TranscriptError"]
