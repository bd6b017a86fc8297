"""The one writer of a store on PostgreSQL: what a group commit needs of the tables, through one connection.

Every group is one statement, so one round trip and one transaction, save where others' statements are to be in it: then it is begun and
committed, and what a lost connection leaves open the server rolls back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from afk_es.errors import ClashError, InvalidEventError, LogUnavailableError
from afk_es.log import postgres_queries as queries
from afk_es.log.batch import Base, Batch, Head
from afk_es.log.group_commit import GroupCommit, Placed, Tail, UncertainError, UndoneError
from afk_es.log.port import Statement
from afk_es.log.postgres_connection import Line, LostError, NothingDoneError
from afk_es.log.postgres_driver import asyncpg

LONGEST_ID = 2_600
"""Bytes of an id: what is indexed has to fit into a third of a page."""

_COLUMNS = "run, seq, epoch, at, type, state, step, message, schema_version, data, hash"
_ARRAYS = (
    "{0}::bigint[], {1}::integer[], {2}::integer[], {3}::bigint[], {4}::text[], {5}::text[], {6}::integer[], {7}::text[], {8}::integer[], "
    "{9}::text[], {10}::bytea[]"
)


def _arrays(first: int) -> str:
    return _ARRAYS.format(*(f"${first + place}" for place in range(11)))


_INSERT = f"INSERT INTO events ({_COLUMNS}) SELECT * FROM unnest({_arrays(1)})"

# With new runs, parts and forks: still one statement. Parts are sorted, so that two writers that bring the same ones wait for each other in
# the same order.
_INSERT_ALL = f"""
WITH new_runs AS (
  INSERT INTO runs (run_id, thread_id) SELECT * FROM unnest($1::text[], $2::text[]) RETURNING run, run_id
), new_parts AS (
  INSERT INTO parts (digest, content) SELECT * FROM unnest($3::text[], $4::text[]) ON CONFLICT DO NOTHING
), new_forks AS (
  INSERT INTO forks (run, base_run, base_seq)
  SELECT n.run, f.base_run, f.base_seq
  FROM unnest($5::text[], $6::bigint[], $7::integer[]) AS f (run_id, base_run, base_seq) JOIN new_runs AS n USING (run_id)
), new_events AS (
  INSERT INTO events ({_COLUMNS})
  SELECT coalesce(e.run, n.run), e.seq, e.epoch, e.at, e.type, e.state, e.step, e.message, e.schema_version, e.data, e.hash
  FROM unnest({_arrays(8)}, $19::text[]) WITH ORDINALITY AS e ({_COLUMNS}, run_id, place)
  LEFT JOIN new_runs AS n ON n.run_id = e.run_id
  ORDER BY e.place
)
SELECT run_id, run FROM new_runs"""

_TAILS = """
SELECT r.run_id, r.run, r.thread_id, e.seq, e.epoch, e.hash
FROM runs AS r CROSS JOIN LATERAL (SELECT seq, epoch, hash FROM events WHERE run = r.run ORDER BY seq DESC LIMIT 1) AS e
WHERE r.run_id = ANY($1::text[])"""

# The row of an event of a run, which may be shared: then it is a row of a run that this one was forked from.
_BASE = """
WITH RECURSIVE line (run, upto) AS (
  SELECT run, $2::integer FROM runs WHERE run_id = $1
  UNION ALL
  SELECT f.base_run, least(f.base_seq, line.upto) FROM line JOIN forks AS f ON f.run = line.run AND f.base_run < f.run
)
SELECT e.run, e.seq, e.epoch, e.hash FROM line JOIN events AS e ON e.run = line.run AND e.seq = line.upto WHERE line.upto = $2::integer"""

_HAS = "SELECT epoch, at, type, data FROM events WHERE run = (SELECT run FROM runs WHERE run_id = $1) AND seq = $2"


class Writer(GroupCommit):
    """Appends batches, and letters between them, through one connection.

    Args:
        line: connected for writing; the writer closes it.
        shown: the log, for messages.
        after_write: see `GroupCommit`.
    """

    def __init__(self, line: Line, shown: str, after_write: Callable[[Iterable[str]], None]) -> None:
        super().__init__(_Tables(line), shown, after_write=after_write)
        self._line = line
        self._shown = shown

    async def append(self, batch: Batch, statements: Sequence[Statement] = ()) -> None:
        """See `GroupCommit.append`.

        Raises:
            InvalidEventError: an id is longer than PostgreSQL can index.
        """
        if batch.first_seq == 1 or batch.base is not None:
            for identity in (batch.run_id, batch.thread_id):
                if len(identity) * 4 > LONGEST_ID and len(identity.encode()) > LONGEST_ID:
                    raise InvalidEventError(f"{identity[:40]!r}... is no id for a log on PostgreSQL: an id has at most {LONGEST_ID} bytes")
        await super().append(batch, statements)

    async def post(self, row: tuple[Any, ...]) -> int | None:
        """Store a letter and return its position, durable; None if there is no such run. It lands even if the waiting is cancelled.

        Raises:
            LogUnavailableError: the connection was lost, and whether the letter was stored is not known: it is not posted twice by itself.
        """
        async with self.turn:
            self.check_open()
            await self._line.ready()
            try:
                found = await self._line.fetch(queries.POST, *row)
            except LostError as error:
                raise LogUnavailableError(
                    f"the log {self._shown}: the connection was lost while a letter was posted, and whether it was is not known; look at the "
                    "run before you post it again"
                ) from error
        return int(found[0][0]) if found else None


class _Tables:
    """The `Rows` of a schema."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def tails(self, run_ids: list[str]) -> dict[str, Tail]:
        """See `Rows.tails`."""
        rows = await self._fetch(_TAILS, run_ids)
        return {run_id: Tail(key, Head(thread_id, seq, epoch, link)) for run_id, key, thread_id, seq, epoch, link in rows}

    async def base(self, base: Base) -> tuple[int, int, int, bytes] | None:
        """See `Rows.base`."""
        found = await self._fetch(_BASE, base.run_id, base.seq) if base.seq <= queries.LAST_SEQ else []
        return tuple(found[0]) if found else None

    async def has(self, batch: Batch) -> bool:
        """See `Rows.has`."""
        first = batch.events[0].columns
        found = await self._fetch(_HAS, batch.run_id, batch.first_seq)
        return [tuple(record) for record in found] == [(first[1], first[2], queries.kept(first[3]), first[8])]

    async def write(self, placed: list[Placed], new_runs: dict[str, str], new_parts: dict[str, str]) -> dict[str, int]:
        """See `Rows.write`."""
        insert = _insert(placed, new_runs, new_parts)
        try:
            if placed[0].waiting.statements:
                found = (await self._transact([insert, *(each for item in placed for each in item.waiting.statements)]))[0]
            else:
                found = await self._fetch(insert.sql, *insert.parameters)
        except asyncpg.IntegrityConstraintViolationError as error:
            raise ClashError from error
        return dict(found)

    async def transact(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        """See `Rows.transact`."""
        return [[tuple(record) for record in records] for records in await self._transact(statements)]

    async def _transact(self, statements: Sequence[Statement]) -> list[list[Any]]:
        try:
            return await self._line.transact(statements)
        except NothingDoneError as error:
            raise UndoneError from error
        except LostError as error:
            raise UncertainError from error

    async def restore(self) -> None:
        """See `Rows.restore`."""
        await self._line.ready()

    async def close(self) -> None:
        """See `Rows.close`."""
        # By then others may look whether this owner lives, and the server ends a session when it comes to it.
        await self._line.close(last_words="SELECT pg_advisory_unlock_all()")

    async def _fetch(self, sql: str, *arguments: Any) -> list[Any]:
        try:
            return await self._line.fetch(sql, *arguments)
        except LostError as error:
            raise UncertainError from error


def _insert(placed: list[Placed], new_runs: dict[str, str], new_parts: dict[str, str]) -> Statement:
    """The one statement that writes a group; its rows are the keys of the new runs."""
    if not new_runs and not new_parts:
        return Statement(_INSERT, tuple(queries.columns(row for item in placed for row in item.rows({}))))
    forks = [(item.waiting.batch.run_id, item.fork.key, item.fork.head.seq) for item in placed if item.fork is not None]
    ids = [item.waiting.batch.run_id if item.key is None else None for item in placed for _ in item.hashes]
    unplaced: dict[str, Any] = dict.fromkeys(new_runs)  # The key of a new run is NULL until the statement has made it.
    events = queries.columns(row for item in placed for row in item.rows(unplaced))
    digests = sorted(new_parts)
    parameters = (
        list(new_runs),
        list(new_runs.values()),
        digests,
        [new_parts[key] for key in digests],
        *([fork[place] for fork in forks] for place in range(3)),
        *events,
        ids,
    )
    return Statement(_INSERT_ALL, parameters)
