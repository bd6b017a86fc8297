"""What is asked of the tables of `postgres.sql`, and how a row of theirs becomes what the port speaks of.

Names of tables have no schema here: a session's search path is the log's schema and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from afk_es.errors import CorruptLogError
from afk_es.log.codec import Row, needle
from afk_es.log.port import RunHead, StoredLetter
from afk_es.machine.delegation import TRANSFER

_EVENT = "seq, epoch, at, type, state, step, message, schema_version, data, hash"

EVENTS = f"SELECT {_EVENT} FROM events WHERE run = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4"

_SCAN = "SELECT {columns} FROM events WHERE run = $1 AND seq > $2 AND seq < $3{filters} ORDER BY seq {order} LIMIT $4"


def scan(types: Collection[str], containing: Sequence[str], *, backwards: bool) -> tuple[str, list[Any]]:
    """The statement of `EventLog.scan` and those of its parameters that make the filter, from $5 on."""
    filters = ""
    parameters: list[Any] = []

    def place(value: Any) -> str:
        parameters.append(value)
        return f"${4 + len(parameters)}"

    if types:
        filters += f" AND type = ANY({place([kept(name) for name in sorted(types)])}::text[])"
    for sought in map(needle, containing):
        if sought is not None:
            # Of the collation C, `lower` knows ASCII only.
            filters += (
                f" AND (strpos(lower(data), {place(sought.in_data)}) > 0 OR strpos(lower(message), {place(kept(sought.in_message))}) > 0"
                f" OR type = ANY({place(list(sought.unseen))}::text[]))"
            )
    return _SCAN.format(columns=_EVENT, filters=filters, order="DESC" if backwards else "ASC"), parameters


PARTS = "SELECT digest, content FROM parts WHERE digest = ANY($1::text[])"

THREAD_OF_RUN = "SELECT thread_id FROM runs WHERE run_id = $1"

# Each run that contributes events, from the run itself to the one at the root, with the last seq that it contributes.
LINEAGE = """
WITH RECURSIVE line (run, upto, depth) AS (
  SELECT run, 2147483647, 0 FROM runs WHERE run_id = $1
  UNION ALL
  SELECT f.base_run, least(f.base_seq, line.upto), depth + 1 FROM line JOIN forks AS f ON f.run = line.run AND f.base_run < f.run
)
SELECT line.run, r.run_id, r.thread_id, line.upto FROM line JOIN runs AS r ON r.run = line.run ORDER BY line.depth"""

LAST_SEQ = 2147483647
"""The largest number that a column `seq` takes."""

# JSON can say NUL and PostgreSQL's functions for it cannot: what is taken out of JSON here has U+FFFD for it.
_FORKED_FROM = r"""
CASE WHEN strpos(first.data, '"forked_from"') > 0 THEN replace(first.data, '\u0000', '\ufffd')::json #>> '{forked_from,run_id}' END,
CASE WHEN strpos(first.data, '"forked_from"') > 0 THEN (replace(first.data, '\u0000', '\ufffd')::json #>> '{forked_from,seq}')::bigint END"""

_LAST = "(SELECT * FROM events WHERE run = r.run ORDER BY seq DESC LIMIT 1)"
_FIRST = "(SELECT * FROM events WHERE run = r.run ORDER BY seq LIMIT 1)"

_HEADS = f"""
SELECT r.run_id, r.thread_id, last.seq, last.epoch, last.type, first.position, last.position, {_FORKED_FROM}
FROM runs AS r CROSS JOIN LATERAL {_LAST} AS last CROSS JOIN LATERAL {_FIRST} AS first"""

HEAD = f"{_HEADS} WHERE r.run_id = $1"

THREAD = f"{_HEADS} WHERE r.thread_id = $1 ORDER BY last.position"

FORKS = f"{_HEADS} WHERE r.run IN (SELECT run FROM forks WHERE base_run = (SELECT run FROM runs WHERE run_id = $1)) ORDER BY last.position"

ALL_HEADS = f"{_HEADS} WHERE r.run > coalesce((SELECT run FROM runs WHERE run_id = $1), 0) ORDER BY r.run LIMIT $2"

ROWS = f"SELECT {_EVENT} FROM events WHERE run = (SELECT run FROM runs WHERE run_id = $1) AND seq > $2 ORDER BY seq LIMIT $3"

LINK = "SELECT hash FROM events WHERE run = $1 AND seq = $2"

FIND = "SELECT run_id FROM runs WHERE run_id >= $1 AND starts_with(run_id, $1) ORDER BY run DESC LIMIT 20"

_COUNTED = "('llm_completed', 'llm_failed', 'thread_compacted', 'compaction_failed', 'tool_completed', 'tool_failed')"
_PAID = "e.type IN ('llm_completed', 'thread_compacted', 'compaction_failed') AND e.d ->> 'reused' IS NULL"

RUNS = rf"""
WITH page AS MATERIALIZED (
  SELECT r.run, r.run_id, r.thread_id, last.seq, first.seq AS began, strpos(first.data, '"forked_from"') > 0 AS is_fork
  FROM (
    SELECT run, run_id, thread_id FROM runs
    WHERE ($1::text IS NULL OR thread_id = $1) AND ($2::text IS NULL OR run < (SELECT run FROM runs WHERE run_id = $2))
    ORDER BY run DESC LIMIT $3
  ) AS r CROSS JOIN LATERAL {_LAST} AS last CROSS JOIN LATERAL {_FIRST} AS first
), counted AS (
  SELECT e.run, e.seq, e.type,
    CASE WHEN e.type IN {_COUNTED} OR (page.is_fork AND e.type IN ('tool_deferred', 'subagent_completed'))
      THEN replace(e.data, '\u0000', '\ufffd')::json END AS d
  FROM page JOIN events AS e ON e.run = page.run
), totals AS (
  SELECT e.run,
    max(e.seq) FILTER (WHERE e.type = 'run_started') AS claimed,
    count(*) FILTER (WHERE e.type = 'llm_called') AS llm_calls,
    count(*) FILTER (WHERE e.type IN ('tool_started', 'subagent_started')) AS tool_calls,
    count(*) FILTER (WHERE e.type = 'llm_failed' OR (e.type = 'tool_completed' AND e.d ->> 'success' = 'false')) AS errors,
    (sum((e.d #>> '{{usage,input_tokens}}')::bigint) FILTER (WHERE {_PAID}))::bigint AS input_tokens,
    (sum((e.d #>> '{{usage,output_tokens}}')::bigint) FILTER (WHERE {_PAID}))::bigint AS output_tokens,
    sum((e.d ->> 'cost_usd')::float8 ORDER BY e.seq) FILTER (WHERE {_PAID}) AS cost_usd,
    -- A fork may answer what the other run has asked, and does not ask for all it answers: what came back from the world is counted.
    count(*) FILTER (WHERE e.type IN ('llm_completed', 'llm_failed') AND e.d ->> 'reused' IS NULL AND e.d ->> 'stubbed' IS NULL
      AND coalesce((e.d ->> 'attempt')::bigint, 1) > 0) AS answered_llm_calls,
    count(*) FILTER (WHERE e.d ->> 'reused' IS NULL AND e.d ->> 'stubbed' IS NULL AND CASE e.type
      WHEN 'tool_completed' THEN coalesce(e.d ->> 'outcome', 'returned') = 'returned'
        AND NOT starts_with(e.d ->> 'tool_name', '{TRANSFER}')
      WHEN 'tool_failed' THEN (e.d ->> 'attempt')::bigint > 0
      WHEN 'tool_deferred' THEN true
      WHEN 'subagent_completed' THEN true
      ELSE false
    END) AS answered_tool_calls
  FROM counted AS e GROUP BY e.run
)
SELECT page.run_id, page.thread_id, last.state, last.seq, last.epoch, first.at, last.at, last.type, last.step, last.message,
  CASE WHEN page.is_fork THEN totals.answered_llm_calls ELSE totals.llm_calls END,
  CASE WHEN page.is_fork THEN totals.answered_tool_calls ELSE totals.tool_calls END,
  totals.errors, totals.input_tokens, totals.output_tokens, totals.cost_usd, first.data, claim.data
FROM page
JOIN totals ON totals.run = page.run
JOIN events AS first ON first.run = page.run AND first.seq = page.began
JOIN events AS last ON last.run = page.run AND last.seq = page.seq
JOIN events AS claim ON claim.run = page.run AND claim.seq = totals.claimed
ORDER BY page.run DESC"""

POST = """
INSERT INTO letters (run, at, type, message, data) SELECT run, $1, $2, $3, $4 FROM runs WHERE run_id = $5 RETURNING position"""

_LETTERS = "SELECT l.position, r.run_id, l.at, l.type, l.message, l.data FROM letters AS l JOIN runs AS r ON r.run = l.run"

ALL_LETTERS = f"{_LETTERS} WHERE l.position > $1 ORDER BY l.position"

LETTERS_OF_RUNS = f"""
{_LETTERS} WHERE l.position > $1 AND l.run IN (SELECT run FROM runs WHERE run_id = ANY($2::text[])) ORDER BY l.position"""

POSTED = "SELECT coalesce(max(position), 0) FROM letters"

# Locks of other databases of the server look the same but for their database.
ALIVE = """
SELECT EXISTS (
  SELECT FROM pg_locks
  WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32 | objid::bigint) = $1
), pg_is_in_recovery()"""

NOTIFY = "SELECT pg_notify($1, word) FROM unnest($2::text[]) AS word"


def kept(text: str) -> str:
    """A text as PostgreSQL keeps it: it takes no NUL, which becomes U+0010 and 0; U+0010 is doubled."""
    if "\0" in text or "\x10" in text:
        return text.replace("\x10", "\x10\x10").replace("\0", "\x100")
    return text


def meant(text: str) -> str:
    """What a text that PostgreSQL keeps stands for; see `kept`."""
    if "\x10" not in text:
        return text
    return "\x10".join(piece.replace("\x100", "\0") for piece in text.split("\x10\x10"))


def columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Rows of events (the run's key, `Row`) as arrays for `unnest`, in the order of run, seq, epoch, at, type and so on."""
    arrays = [list(column) for column in zip(*rows, strict=True)]
    for index in (4, 5, 7):
        arrays[index] = [None if text is None else kept(text) for text in arrays[index]]
    return arrays


def row(record: Sequence[Any]) -> Row:
    """The row of a record of `EVENTS`."""
    seq, epoch, at, name, state, step, message, version, data, link = record
    if "\x10" in name:
        name = meant(name)
    if state is not None:
        state = meant(state)
    if message is not None:
        message = meant(message)
    return seq, epoch, at, name, state, step, message, version, data, link


def run_head(record: Sequence[Any]) -> RunHead:
    """The head of a record of `HEAD` or `THREAD`."""
    run_id, thread_id, seq, epoch, last_type, first_position, last_position, base, base_seq = record
    forked = None if base is None or base_seq is None else {"run_id": base, "seq": base_seq}
    return RunHead(run_id, thread_id, seq, epoch, meant(last_type), first_position, last_position, forked)  # type: ignore[arg-type]


def listed(record: Sequence[Any]) -> tuple[Any, ...]:
    """The columns of a record of `RUNS` in the order of those of SQLite's list of runs.

    Raises:
        CorruptLogError: the run's first event, or the one that claims it, is not JSON.
    """
    run_id, thread_id, state, seq, epoch, started, updated, last_type, step, message = record[:10]
    llm_calls, tool_calls, errors, input_tokens, output_tokens, cost_usd, first, claim = record[10:]
    try:
        begun = msgspec.json.decode(first, type=dict[str, Any])
        owner = msgspec.json.decode(claim, type=dict[str, Any]).get("owner")
        parent, base = begun.get("parent") or {}, begun.get("forked_from") or {}
        named = (parent.get("run_id"), base.get("run_id"), base.get("seq"))
    except (msgspec.DecodeError, AttributeError) as error:
        raise CorruptLogError(f"run {run_id!r} cannot be listed: {error}; `afk-es verify` says more") from error
    where = (
        run_id,
        thread_id,
        begun.get("agent_name"),
        state and meant(state),
        seq,
        epoch,
        owner,
        started,
        updated,
        meant(last_type),
        step,
    )
    sums = (llm_calls, tool_calls, errors, input_tokens, output_tokens, cost_usd)
    return *where, *sums, begun.get("user_message"), message and meant(message), *named


def letter(record: Sequence[Any]) -> StoredLetter:
    """The columns of a record of `ALL_LETTERS`, with the message as it was meant."""
    position, run_id, at, kind, message, data = record
    return position, run_id, at, kind, meant(message), data
