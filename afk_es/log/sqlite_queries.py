"""What is asked of the tables of `schema.sql`, and how a row of theirs becomes what the port speaks of."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from afk_es.errors import CorruptLogError
from afk_es.log.codec import Row, needle
from afk_es.log.port import RunHead
from afk_es.log.records import forked_from
from afk_es.machine.delegation import TRANSFER

EVENTS = """
SELECT seq, epoch, at, type, state, step, message, schema_version, data, hash FROM events
WHERE run = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"""

_SCAN = """
SELECT seq, epoch, at, type, state, step, message, schema_version, data, hash FROM events
WHERE run = :run AND seq > :after AND seq < :before{filters} ORDER BY seq {order} LIMIT :limit"""


def scan(types: Collection[str], containing: Sequence[str], *, backwards: bool) -> tuple[str, dict[str, Any]]:
    """The statement of `EventLog.scan` and those of its parameters that make the filter."""
    filters = ""
    parameters: dict[str, Any] = {}
    if types:
        filters += " AND type IN (SELECT value FROM json_each(:types))"
        parameters["types"] = json.dumps(sorted(types))
    for index, sought in enumerate(map(needle, containing)):
        if sought is not None:
            filters += (
                f" AND (instr(lower(data), :data{index}) OR instr(lower(message), :message{index})"
                f" OR type IN (SELECT value FROM json_each(:unseen{index})))"
            )
            parameters |= {
                f"data{index}": sought.in_data,
                f"message{index}": sought.in_message,
                f"unseen{index}": json.dumps(sought.unseen),
            }
    return _SCAN.format(filters=filters, order="DESC" if backwards else "ASC"), parameters


PARTS = "SELECT digest, content FROM parts WHERE digest IN (SELECT value FROM json_each(?))"

THREAD_OF_RUN = "SELECT thread_id FROM runs WHERE run_id = ?"

# Each run that contributes events, from the run itself to the one at the root, with the last seq that it contributes.
LINEAGE = """
WITH RECURSIVE line (run, upto) AS (
  SELECT run, 9223372036854775807 FROM runs WHERE run_id = ?
  UNION ALL
  SELECT f.base_run, min(f.base_seq, line.upto) FROM line JOIN forks AS f ON f.run = line.run AND f.base_run < f.run
)
SELECT line.run, r.run_id, r.thread_id, line.upto FROM line JOIN runs AS r ON r.run = line.run"""

LINE_OF_ONE = "SELECT run, run_id, thread_id, 9223372036854775807 FROM runs WHERE run_id = ?"

_FORKED_FROM = "json_extract(first.data, '$.forked_from.run_id'), json_extract(first.data, '$.forked_from.seq')"

_HEADS = f"""
SELECT r.run_id, r.thread_id, last.seq, last.epoch, last.type, first.position, last.position, {_FORKED_FROM}
FROM runs AS r
JOIN events AS last ON last.run = r.run AND last.seq = (SELECT max(seq) FROM events WHERE run = r.run)
JOIN events AS first ON first.run = r.run AND first.seq = (SELECT min(seq) FROM events WHERE run = r.run)"""

HEAD = f"{_HEADS} WHERE r.run_id = ?"

THREAD = f"{_HEADS} WHERE r.thread_id = ? ORDER BY last.position"

FORKS = f"""{_HEADS}
WHERE r.run IN (SELECT run FROM forks WHERE base_run = (SELECT run FROM runs WHERE run_id = ?)) ORDER BY last.position"""

ALL_HEADS = f"""{_HEADS}
WHERE r.run > CASE WHEN ?1 IS NULL THEN 0 ELSE (SELECT run FROM runs WHERE run_id = ?1) END ORDER BY r.run LIMIT ?2"""

ROWS = """
SELECT seq, epoch, at, type, state, step, message, schema_version, data, hash FROM events
WHERE run = (SELECT run FROM runs WHERE run_id = ?) AND seq > ? ORDER BY seq LIMIT ?"""

LINK = "SELECT hash FROM events WHERE run = ? AND seq = ?"

# U+10FFFF is the last character in SQLite's order of texts, so this is a range of the index.
FIND = "SELECT run_id FROM runs WHERE run_id >= ? AND run_id < ? || char(1114111) ORDER BY run DESC LIMIT 20"

_REUSED = "json_extract(e.data, '$.reused') IS NOT NULL"
_IS_FORK = "json_extract(first.data, '$.forked_from') IS NOT NULL"
_PAID = f"e.type IN ('llm_completed', 'thread_compacted', 'compaction_failed') AND NOT {_REUSED}"

RUNS = f"""
WITH page AS (
  SELECT run, run_id, thread_id FROM runs
  WHERE (:thread_id IS NULL OR thread_id = :thread_id)
    AND (:before IS NULL OR run < (SELECT run FROM runs WHERE run_id = :before))
  ORDER BY run DESC LIMIT :limit
), totals AS (
  SELECT e.run,
    max(e.seq) AS seq,
    min(e.seq) AS began,
    max(CASE WHEN e.type = 'run_started' THEN e.seq END) AS claimed,
    sum(e.type = 'llm_called') AS llm_calls,
    sum(e.type IN ('tool_started', 'subagent_started')) AS tool_calls,
    sum(e.type = 'llm_failed' OR (e.type = 'tool_completed' AND json_extract(e.data, '$.success') = 0)) AS errors,
    sum(CASE WHEN {_PAID} THEN json_extract(e.data, '$.usage.input_tokens') END) AS input_tokens,
    sum(CASE WHEN {_PAID} THEN json_extract(e.data, '$.usage.output_tokens') END) AS output_tokens,
    sum(CASE WHEN {_PAID} THEN json_extract(e.data, '$.cost_usd') END) AS cost_usd
  FROM page JOIN events AS e ON e.run = page.run GROUP BY e.run
), answered AS (
  -- A fork may answer what the other run has asked, and does not ask for all it answers, so what came back from the world is counted.
  SELECT e.run,
    sum(CASE WHEN e.type IN ('llm_completed', 'llm_failed') THEN coalesce(json_extract(e.data, '$.attempt'), 1) > 0 END) AS llm_calls,
    sum(CASE e.type
      WHEN 'tool_completed' THEN coalesce(json_extract(e.data, '$.outcome'), 'returned') = 'returned'
        AND substr(json_extract(e.data, '$.tool_name'), 1, {len(TRANSFER)}) != '{TRANSFER}'
      WHEN 'tool_failed' THEN json_extract(e.data, '$.attempt') > 0
      WHEN 'tool_deferred' THEN 1
      WHEN 'subagent_completed' THEN 1
    END) AS tool_calls
  FROM page JOIN totals ON totals.run = page.run
  JOIN events AS claim ON claim.run = page.run AND claim.seq = totals.began AND json_extract(claim.data, '$.forked_from') IS NOT NULL
  JOIN events AS e ON e.run = page.run
  WHERE NOT {_REUSED} AND json_extract(e.data, '$.stubbed') IS NULL
  GROUP BY e.run
)
SELECT page.run_id, page.thread_id, json_extract(first.data, '$.agent_name'), last.state, last.seq, last.epoch,
  json_extract(claim.data, '$.owner'), first.at, last.at, last.type, last.step,
  CASE WHEN {_IS_FORK} THEN coalesce(answered.llm_calls, 0) ELSE totals.llm_calls END,
  CASE WHEN {_IS_FORK} THEN coalesce(answered.tool_calls, 0) ELSE totals.tool_calls END,
  totals.errors, totals.input_tokens, totals.output_tokens, totals.cost_usd,
  json_extract(first.data, '$.user_message'), last.message, json_extract(first.data, '$.parent.run_id'), {_FORKED_FROM}
FROM page
JOIN totals ON totals.run = page.run
LEFT JOIN answered ON answered.run = page.run
JOIN events AS first ON first.run = page.run AND first.seq = totals.began
JOIN events AS last ON last.run = page.run AND last.seq = totals.seq
JOIN events AS claim ON claim.run = page.run AND claim.seq = totals.claimed
ORDER BY page.run DESC"""

POST = """
INSERT INTO letters (run, at, type, message, data) SELECT run, ?, ?, ?, ? FROM runs WHERE run_id = ? RETURNING position"""

_LETTERS = "SELECT l.position, r.run_id, l.at, l.type, l.message, l.data FROM letters AS l JOIN runs AS r ON r.run = l.run"

ALL_LETTERS = f"{_LETTERS} WHERE l.position > ? ORDER BY l.position"

LETTERS_OF_RUNS = f"""
{_LETTERS} WHERE l.position > ? AND l.run IN (SELECT run FROM runs WHERE run_id IN (SELECT value FROM json_each(?))) ORDER BY l.position"""

# With the positions that they have: events name them. What is there is not written over.
KEEP_LETTERS = """
INSERT INTO letters (position, run, at, type, message, data)
SELECT json_extract(kept.value, '$[0]'), r.run, json_extract(kept.value, '$[2]'), json_extract(kept.value, '$[3]'),
  json_extract(kept.value, '$[4]'), json_extract(kept.value, '$[5]')
FROM json_each(?) AS kept JOIN runs AS r ON r.run_id = json_extract(kept.value, '$[1]')
WHERE true ON CONFLICT (position) DO NOTHING"""

POSTED = "SELECT coalesce(max(position), 0) FROM letters"

HAS_LETTERS = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'letters')"

HAS_FORKS = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'forks')"

# As blobs: a changed byte may have broken a text, and then only its bytes can be compared.
STORED_BYTES = """
SELECT seq, epoch, at, CAST(type AS BLOB), CAST(state AS BLOB), step, CAST(message AS BLOB), schema_version, CAST(data AS BLOB), hash
FROM events WHERE run = ? AND seq <= ? ORDER BY seq"""

STORED_PARTS = "SELECT digest, CAST(content AS BLOB) FROM parts WHERE digest IN (SELECT value FROM json_each(?))"


def stored_text(stored: bytes) -> str:
    """The text of stored bytes. Broken UTF-8 becomes U+FFFD, which no hash of the text that was appended follows from."""
    return stored.decode("utf-8", "replace")


def stored_row(raw: tuple[Any, ...]) -> Row:
    """The row of `STORED_BYTES`, with text where there should be text."""
    seq, epoch, at, name, state, step, message, version, data, link = raw
    optional = [None if stored is None else stored_text(stored) for stored in (state, message)]
    return seq, epoch, at, stored_text(name), optional[0], step, optional[1], version, stored_text(data), link


def run_head(row: tuple[Any, ...]) -> RunHead:
    """The head of a row of `HEAD` or `THREAD`."""
    run_id, thread_id, seq, epoch, last_type, first_position, last_position, *base = row
    found = RunHead(run_id, thread_id, seq, epoch, last_type, first_position, last_position, forked_from(*base))
    try:
        return msgspec.convert(msgspec.to_builtins(found), RunHead)
    except (msgspec.ValidationError, TypeError) as error:
        raise CorruptLogError(f"the head of run {run_id!r} cannot be: {error}; `afk-es verify` says more") from error
