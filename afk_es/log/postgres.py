"""The log on PostgreSQL: for more than one machine, or more than one process that writes much. Extra `postgres`.

Two connections: one writes, holds the owner's lock and hears what others tell; the other, opened at the first read, only reads. Both are
made again when they are lost. An open store belongs to its event loop and its process: do not carry it across a fork.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NamedTuple

from afk_es.clock import Ids, RandomIds
from afk_es.errors import ConfigurationError, CorruptLogError, LogClosedError, LogReadOnlyError, RunNotFoundError
from afk_es.log import postgres_queries as queries
from afk_es.log.batch import encode_batch
from afk_es.log.codec import Codec, Row, microseconds
from afk_es.log.port import ChainFault, Letter, RunHead, RunRecord, Statement, StoredLetter
from afk_es.log.postgres_address import address_of
from afk_es.log.postgres_calls import Calls
from afk_es.log.postgres_connection import Line
from afk_es.log.postgres_facts import FACTS, SETTINGS, ServerFacts, server_facts
from afk_es.log.postgres_session import Durability, Sessions, owner_lock
from afk_es.log.postgres_writer import Writer
from afk_es.log.records import letter_of, listed_run
from afk_es.log.verification import Segment, chain_fault, part_fault
from afk_es.machine.events import AgentRunEvent, Draft, validate_letter
from afk_es.machine.values import canonical_json, plain

_GRACE_S = 5.0
"""For so long after this store lost its own connection nobody is taken for dead: a server that restarts cuts everybody off, and the others
may need a moment longer to come back."""


class _Share(NamedTuple):
    """What one run contributes to another, or to itself: its own rows up to a seq."""

    run: int
    run_id: str
    thread_id: str
    upto: int


class PostgresEventLog:
    """An `EventLog` in a schema of a PostgreSQL database.

    Args:
        url: `postgresql://user:password@host:port/database?option=value`, with the options of libpq; a password is better kept in
            PGPASSWORD or ~/.pgpass. It is never shown.
        schema: the schema of the log, made if it is not there; several logs may share a database. Default the URL's `schema`, else "afk_es".
        durability: "full": an append returns when the server has it on disk (`synchronous_commit=on`, or what is stricter in its
            configuration). "normal" (`off`): a crash of the server or a power cut may lose the last moments, never order or wholeness.
        reconnect_s: seconds for which whoever waits is kept waiting while the server cannot be reached; then a `LogUnavailableError`.
        timeout_s: seconds after which a statement without an answer counts as a lost connection.
        read_only: make no table and append nothing. A standby server can be read so.
        ids: where the owner's id comes from.
        codec: how events become rows; only tests of old versions need another.

    Raises:
        ConfigurationError: an option that cannot work.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str | None = None,
        durability: Durability = "full",
        reconnect_s: float = 30.0,
        timeout_s: float = 60.0,
        read_only: bool = False,
        ids: Ids | None = None,
        codec: Codec | None = None,
    ) -> None:
        if durability not in ("full", "normal"):
            raise ConfigurationError(f"durability is 'full' or 'normal', not {durability!r}")
        if reconnect_s < 0 or timeout_s <= 0:
            raise ConfigurationError(f"reconnect_s ({reconnect_s!r}) is at least 0, and timeout_s ({timeout_s!r}) more, both in seconds")
        self._address = address_of(url, schema)
        self._read_only = read_only
        self._owner = (ids or RandomIds()).new("owner")
        self._codec = codec or Codec()
        self._held: Counter[str] = Counter()
        self._writer: Writer | None = None
        self._writing_line: Line | None = None
        self._reader: Line | None = None
        self._calls = Calls(self._tell)
        self._sessions = Sessions(self._address, self._owner, durability, self._calls, reconnect_s, timeout_s)
        self._door = asyncio.Lock()
        self._opened = False

    @property
    def location(self) -> str:
        """The URL, without its password."""
        return self._address.shown

    @property
    def owner(self) -> str:
        """The identity under which this store claims runs."""
        return self._owner

    async def open(self) -> None:
        """Connect, and make the log's tables if there are none.

        Raises:
            LogError: the server cannot be reached or does not let us in; the schema is foreign, newer, damaged or (if read-only) missing.
        """
        async with self._door:
            if self._opened:
                return
            if self._read_only:
                self._reader = await self._sessions.only_reading()
            else:
                self._writing_line = await self._sessions.writing()
                self._writer = Writer(self._writing_line, self.location, self._calls.written)
            self._opened = True

    async def close(self) -> None:
        """Finish what is queued, let go of the owner's lock and both connections."""
        self._opened = False
        async with self._door:
            writer, self._writer = self._writer, None
            reader, self._reader = self._reader, None
            self._writing_line = None
            self._held.clear()
            try:
                await self._calls.close()
                if reader is not None:
                    await reader.close()
            finally:
                if writer is not None:
                    await writer.close()
        self._door = asyncio.Lock()  # A lock belongs to the event loop it was first waited for in; the next may be another.

    async def append(self, events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        """See `EventLog.append`. Where the connection is lost it waits until there is another, and appends what has not landed."""
        writer = self._writing()
        if events:
            await writer.append(encode_batch(self._codec, events, epoch))

    @property
    def dialect(self) -> Literal["postgresql"]:
        """See `DatabaseLog.dialect`."""
        return "postgresql"

    async def query(self, statement: Statement) -> list[tuple[Any, ...]]:
        """See `DatabaseLog.query`."""
        self._check_open()
        reader = self._reader or await self._open_reader()
        return [tuple(record) for record in await reader.query(statement)]

    async def transact(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        """See `DatabaseLog.transact`."""
        writer = self._writing()
        return await writer.transact(tuple(statements)) if statements else []

    async def append_with(self, events: Sequence[AgentRunEvent], *, epoch: int, statements: Sequence[Statement]) -> None:
        """See `DatabaseLog.append_with`."""
        if events:
            await self._writing().append(encode_batch(self._codec, events, epoch), tuple(statements))
        else:
            await self.transact(statements)

    def _writing(self) -> Writer:
        self._check_open()
        if self._writer is None:
            raise LogReadOnlyError(f"the log {self.location} was opened read-only; open it without read_only to write")
        return self._writer

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        """See `EventLog.read`."""
        lineage = await self._lineage(run_id)
        rows: list[Row] = []
        for share in reversed(lineage):
            if share.upto > after and (limit is None or len(rows) < limit):
                rows += await self._rows(queries.EVENTS, share.run, _bound(after), share.upto, _left(limit, rows))
        return await self._decoded(run_id, lineage[0].thread_id, rows) if rows else []

    async def scan(
        self,
        run_id: str,
        *,
        after: int = 0,
        before: int | None = None,
        types: Collection[str] = (),
        containing: Sequence[str] = (),
        backwards: bool = False,
        limit: int | None = None,
    ) -> list[AgentRunEvent]:
        """See `EventLog.scan`."""
        lineage = await self._lineage(run_id)
        statement, parameters = queries.scan(types, containing, backwards=backwards)
        rows: list[Row] = []
        for share in lineage if backwards else reversed(lineage):
            end = min(queries.LAST_SEQ if before is None else before, share.upto + 1)
            if after < end and (limit is None or len(rows) < limit):
                rows += await self._rows(statement, share.run, _bound(after), _bound(end), _left(limit, rows), *parameters)
        return await self._decoded(run_id, lineage[0].thread_id, rows) if rows else []

    async def _rows(self, sql: str, *arguments: Any) -> list[Row]:
        return [queries.row(record) for record in await self._fetch(sql, *arguments)]

    async def _decoded(self, run_id: str, thread_id: str, rows: Sequence[Row]) -> list[AgentRunEvent]:
        try:
            parts = await self._parts_of(rows)
        except CorruptLogError as error:
            raise CorruptLogError(f"the log {self.location}, run {run_id}: {error}") from error
        return self._codec.decode_all(rows, run_id=run_id, thread_id=thread_id, parts=parts)

    async def _parts_of(self, rows: Sequence[Row]) -> dict[str, Any]:
        wanted = self._codec.references(rows)
        parts = self._codec.known_parts(wanted)
        if missing := wanted - parts.keys():
            for key, content in await self._fetch(queries.PARTS, sorted(missing)):
                parts[key] = self._codec.load_part(key, content)
        return parts

    async def _lineage(self, run_id: str) -> list[_Share]:
        """The runs that the events of this one are rows of: itself, and those it was forked from; empty for an unknown run."""
        return [_Share(*record) for record in await self._about(queries.LINEAGE, run_id)]

    async def head(self, run_id: str) -> RunHead | None:
        """See `EventLog.head`."""
        found = await self._about(queries.HEAD, run_id)
        return queries.run_head(found[0]) if found else None

    async def thread(self, thread_id: str) -> list[RunHead]:
        """See `EventLog.thread`."""
        return [queries.run_head(record) for record in await self._about(queries.THREAD, thread_id)]

    async def forks(self, run_id: str) -> list[RunHead]:
        """See `EventLog.forks`."""
        return [queries.run_head(record) for record in await self._about(queries.FORKS, run_id)]

    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        """See `EventLog.runs`."""
        if before is not None and not await self._about(queries.THREAD_OF_RUN, before):
            raise RunNotFoundError(f"there is no run {before} in {self.location} to page on from")
        if thread_id is not None and not _storable(thread_id):
            self._check_open()
            return []
        return [listed_run(queries.listed(record)) for record in await self._fetch(queries.RUNS, thread_id, before, max(limit, 0))]

    async def find(self, prefix: str) -> list[str]:
        """See `EventLog.find`."""
        return [run_id for (run_id,) in await self._about(queries.FIND, prefix)]

    async def verify(self, run_id: str) -> ChainFault | None:
        """See `EventLog.verify`. Reads the whole run."""
        segments = []
        for place, share in reversed([*enumerate(await self._lineage(run_id))]):
            stored = await self._rows(queries.EVENTS, share.run, 0, share.upto, None)
            segments.append(Segment(share.run_id, share.thread_id, stored, share.upto if place else None))
        if not segments:
            raise RunNotFoundError(f"there is no run {run_id} in {self.location}")
        fault = chain_fault(segments)
        rows = [row for segment in segments for row in segment.rows]
        sound = rows if fault is None else rows[: fault.seq - 1]
        wanted = sorted(self._codec.references(sound))
        contents: dict[str, str] = dict(await self._fetch(queries.PARTS, wanted))
        return part_fault(run_id, sound, contents) or fault

    async def link(self, run_id: str, seq: int) -> str | None:
        """See `EventLog.link`."""
        for share in await self._lineage(run_id):
            if 0 < seq <= share.upto and (found := await self._fetch(queries.LINK, share.run, seq)):
                return str(found[0][0].hex())
        return None

    async def post(self, run_id: str, draft: Draft, *, at: dt.datetime) -> Letter:
        """See `EventLog.post`.

        Raises:
            LogUnavailableError: the connection was lost meanwhile, and whether the letter was stored is not known.
        """
        writer = self._writing()
        validate_letter(draft)
        kept = Draft(draft.type, plain(draft.data), draft.message)
        position = None
        if _storable(run_id):
            data = canonical_json(kept.data).decode()
            position = await writer.post((microseconds(at), kept.type, queries.kept(kept.message), data, run_id))
        if position is None:
            raise RunNotFoundError(f"there is no run {run_id} in {self.location}")
        return Letter(position, run_id, at, kept)

    async def letters(self, *, after: int = 0, run_ids: Sequence[str] | None = None) -> list[Letter]:
        """See `EventLog.letters`."""
        if run_ids is None:
            records = await self._fetch(queries.ALL_LETTERS, after)
        else:
            records = await self._fetch(queries.LETTERS_OF_RUNS, after, [run_id for run_id in run_ids if _storable(run_id)])
        return [letter_of(queries.letter(record)) for record in records]

    async def posted(self) -> int:
        """See `EventLog.posted`."""
        ((position,),) = await self._fetch(queries.POSTED)
        return int(position)

    async def heads(self, *, after: str | None = None, limit: int = 200) -> list[RunHead]:
        """See `StoredLog.heads`."""
        if after is not None and not await self._about(queries.THREAD_OF_RUN, after):
            raise RunNotFoundError(f"there is no run {after} in {self.location} to go on from")
        return [queries.run_head(record) for record in await self._fetch(queries.ALL_HEADS, after, limit)]

    async def rows(self, run_id: str, *, after: int = 0, limit: int = 100) -> list[Row]:
        """See `StoredLog.rows`."""
        return await self._rows(queries.ROWS, run_id, _bound(after), limit) if _storable(run_id) else []

    async def parts(self, digests: Collection[str]) -> dict[str, str]:
        """See `StoredLog.parts`."""
        return dict(await self._fetch(queries.PARTS, sorted(digests))) if digests else {}

    async def stored_letters(self, run_id: str) -> list[StoredLetter]:
        """See `StoredLog.stored_letters`."""
        records = await self._fetch(queries.LETTERS_OF_RUNS, 0, [run_id]) if _storable(run_id) else []
        return [queries.letter(record) for record in records]

    def hold(self, run_id: str) -> None:
        """See `EventLog.hold`."""
        self._held[run_id] += 1

    def release(self, run_id: str) -> None:
        """See `EventLog.release`."""
        self._held[run_id] -= 1
        if self._held[run_id] <= 0:
            del self._held[run_id]
        if self._writer is not None:
            self._writer.forget(run_id)

    async def alive(self, owner: str, run_id: str) -> bool:
        """See `EventLog.alive`. An owner lives while the server has its session; a process that is gone without a word, up to half a minute.

        Where it cannot be asked, as on a standby, or because all sessions were just cut, an owner counts as alive: to take a living one for
        dead would be the worse mistake.
        """
        if owner == self._owner:
            return run_id in self._held
        ((lives, standby),) = await self._fetch(queries.ALIVE, owner_lock(self._address, owner))
        return bool(lives or standby or self._cut_off_lately())

    def _cut_off_lately(self) -> bool:
        now = asyncio.get_running_loop().time()
        lines = (self._reader, self._writing_line)
        return any(line is not None and line.restored_at is not None and now - line.restored_at < _GRACE_S for line in lines)

    def on_letter(self, call: Callable[[str | None], None]) -> Callable[[], None]:
        """See `TellingLog.on_letter`."""
        self._check_open()
        return self._calls.on_letter(call)

    def on_growth(self, run_id: str, call: Callable[[], None]) -> Callable[[], None]:
        """See `TellingLog.on_growth`."""
        self._check_open()
        return self._calls.on_growth(run_id, call)

    async def server_facts(self) -> ServerFacts:
        """What the server says of itself and of this log, for whoever looks after it.

        Raises:
            LogError: it cannot be asked.
        """
        ((*record,),) = await self._fetch(FACTS, SETTINGS, self._address.schema)
        return server_facts(record)

    async def _tell(self, channel: str, words: list[str]) -> None:
        await self._fetch(queries.NOTIFY, channel, words)

    async def _about(self, sql: str, identity: str) -> list[Any]:
        """Read what there is of a run or thread; nothing, where no such text was ever stored."""
        self._check_open()
        return await self._fetch(sql, identity) if _storable(identity) else []

    async def _fetch(self, sql: str, *arguments: Any) -> list[Any]:
        self._check_open()
        reader = self._reader or await self._open_reader()
        return await reader.read(sql, *arguments)

    async def _open_reader(self) -> Line:
        async with self._door:
            self._check_open()
            if self._reader is None:
                self._reader = await self._sessions.reading()
            return self._reader

    def _check_open(self) -> None:
        if not self._opened:
            raise LogClosedError(f"the log {self.location} is not open: call `await log.open()` first")


def _storable(text: str) -> bool:
    """Whether PostgreSQL could have this text; a lone surrogate, as in an argument that was not UTF-8, and NUL it cannot."""
    return "\0" not in text and (text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text))


def _bound(seq: int) -> int:
    return min(max(seq, 0), queries.LAST_SEQ)


def _left(limit: int | None, rows: list[Row]) -> int | None:
    return None if limit is None else max(limit - len(rows), 0)
