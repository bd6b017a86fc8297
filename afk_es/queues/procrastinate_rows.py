"""What is asked of procrastinate's tables and functions, in SQL. Runs none of it.

Its own functions send, take, end and retry. Around them stands here what they leave to whoever calls: that only what is still held is ended
or given back, all in one statement; that a lease can be lost, and whoever lost it is told; that those who wait hear of what comes back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from afk_es.queues.dispatch import Parcel

TASK = "afk_es.task"
"""What its tables call a task of ours; nothing of that name can be run by a worker of its own."""

STALLED_AFTER_S = 30.0
"""Its own measure of a worker that is gone. Heartbeats are written ahead or behind, so that by it each is gone when its lease is over."""

# By lane alone, by who holds, by when it is due, by task of what is not, and by queue among what waits: it has none of these.
INDEXES = (
    """CREATE INDEX IF NOT EXISTS afk_es_queues ON procrastinate_jobs (queue_name, scheduled_at)
WHERE status = 'todo'::procrastinate_job_status""",
    """CREATE INDEX IF NOT EXISTS afk_es_lanes ON procrastinate_jobs (lock, id)
WHERE lock IS NOT NULL AND status = ANY (ARRAY['todo'::procrastinate_job_status, 'doing'::procrastinate_job_status])""",
    "CREATE INDEX IF NOT EXISTS afk_es_holders ON procrastinate_jobs (worker_id) WHERE worker_id IS NOT NULL",
    """CREATE INDEX IF NOT EXISTS afk_es_terms ON procrastinate_jobs (scheduled_at)
WHERE scheduled_at IS NOT NULL AND status = 'todo'::procrastinate_job_status""",
    """CREATE INDEX IF NOT EXISTS afk_es_later ON procrastinate_jobs ((args ->> 'task_id'))
WHERE scheduled_at IS NOT NULL AND status = 'todo'::procrastinate_job_status""",
)

_ROWS = f"""
SELECT procrastinate_defer_jobs_v1(ARRAY(
  SELECT ROW(p.queue, '{TASK}', p.priority, p.lane, NULL, jsonb_build_object('task_id', p.task_id), p.due)::procrastinate_job_to_defer_v1
  FROM unnest({{ids}}, {{queues}}, {{priorities}}, {{lanes}}, {{terms}}) WITH ORDINALITY AS p (task_id, queue, priority, lane, due, place)
  ORDER BY p.place))"""
SEND_BESIDE = _ROWS.format(ids="$1::text[]", queues="$2::text[]", priorities="$3::integer[]", lanes="$4::text[]", terms="$5::timestamptz[]")
"""For the log's own transaction, with the columns of `columns` in their order."""
SEND = _ROWS.format(
    ids="%(ids)s::text[]",
    queues="%(queues)s::text[]",
    priorities="%(priorities)s::integer[]",
    lanes="%(lanes)s::text[]",
    terms="%(terms)s::timestamptz[]",
)

_LIVES = f"w.id = %(worker)s AND w.last_heartbeat > now() - make_interval(secs => {STALLED_AFTER_S})"
_HELD = f"""
SELECT j.id, j.queue_name, j.lock FROM procrastinate_jobs AS j JOIN procrastinate_workers AS w ON w.id = j.worker_id
WHERE j.status = 'doing' AND j.worker_id = %(worker)s AND {_LIVES}"""
# Only what is put in for the first time is told by a trigger. What is for later is told of too: those who wait do so until the next term
# that they know of.
_TELL = "pg_notify('procrastinate_queue_v1#' || queue_name, json_build_object('type', 'job_inserted', 'job_id', id)::text)"

# Whoever recovers it waits for the transaction that this is asked in, or is seen by it.
BEARING = "SELECT 1 FROM procrastinate_jobs WHERE id = {job} AND worker_id = {worker} AND status = 'doing' FOR SHARE"
"""A row where the job bears the worker's name, in the log's own transaction."""

BEAT = f"""
UPDATE procrastinate_workers AS w SET last_heartbeat = now() + make_interval(secs => %(lease)s - {STALLED_AFTER_S})
WHERE {_LIVES} RETURNING w.id"""

# To find nothing costs most, since then every job of every queue was looked at. So nobody is asked for more than there can be.
_DUE = """
    (SELECT count(*) FROM (
      SELECT FROM procrastinate_jobs AS t
      WHERE t.queue_name = ANY (%(queues)s::varchar[]) AND t.status = 'todo' AND t.scheduled_at {which} LIMIT %(limit)s) AS t)"""
TAKE = f"""
WITH RECURSIVE due AS (SELECT {_DUE.format(which="IS NULL")} + {_DUE.format(which="<= now()")} AS number),
taken (place, job) AS (
  SELECT 1, procrastinate_fetch_job_v2(%(queues)s::varchar[], w.id) FROM procrastinate_workers AS w, due WHERE {_LIVES} AND due.number > 0
  UNION ALL
  SELECT place + 1, procrastinate_fetch_job_v2(%(queues)s::varchar[], %(worker)s) FROM taken, due
  WHERE (job).id IS NOT NULL AND place < due.number)
SELECT (job).id, (job).queue_name, (job).args ->> 'task_id' AS task_id FROM taken WHERE (job).id IS NOT NULL ORDER BY place"""

DONE = f"""
SELECT procrastinate_finish_job_v1(id, 'succeeded', true), CASE WHEN lock IS NOT NULL THEN {_TELL} END
FROM ({_HELD} AND j.id = %(job)s FOR UPDATE OF j) AS held"""
AGAIN = f"""
SELECT procrastinate_retry_job_v2(id, %(at)s, NULL, NULL, NULL), {_TELL}
FROM ({_HELD} AND j.id = %(job)s FOR UPDATE OF j) AS held"""
AGAIN_WHAT_NOBODY_GOT = f"""
SELECT procrastinate_retry_job_v2(id, NULL, NULL, NULL, NULL), {_TELL}
FROM ({_HELD} AND j.id <> ALL (%(known)s::bigint[]) FOR UPDATE OF j) AS held"""
LEAVE = f"""
SELECT procrastinate_retry_job_v2(id, NULL, NULL, NULL, NULL), {_TELL}
FROM (SELECT id, queue_name FROM procrastinate_jobs WHERE worker_id = %(worker)s AND status = 'doing' FOR UPDATE) AS held"""

HASTEN = f"""
WITH hastened AS (
  UPDATE procrastinate_jobs SET scheduled_at = NULL
  WHERE scheduled_at IS NOT NULL AND status = 'todo' AND args ->> 'task_id' = ANY (%(ids)s::text[]) RETURNING id, queue_name)
SELECT {_TELL} FROM hastened"""

# To prune a worker is to take its name off what it held. Only what bears no name is given back, so whoever takes it meanwhile keeps it.
RECOVER = f"""
SELECT procrastinate_retry_job_v2(id, NULL, NULL, NULL, NULL), {_TELL}
FROM (SELECT id, queue_name FROM procrastinate_jobs WHERE worker_id IS NULL AND status = 'doing' FOR UPDATE SKIP LOCKED) AS held"""

NEXT_TERM = """
SELECT extract(epoch FROM min(scheduled_at) - clock_timestamp())::float8 AS left_s
FROM procrastinate_jobs WHERE status = 'todo' AND scheduled_at > now()"""


def columns(parcels: Sequence[Parcel]) -> tuple[list[str], list[str], list[int], list[str | None], list[dt.datetime | None]]:
    """Ids, queues, priorities, lanes and terms."""
    return (
        [each.task_id for each in parcels],
        [each.queue for each in parcels],
        [each.priority for each in parcels],
        [each.lane for each in parcels],
        [each.not_before for each in parcels],
    )


def named(parcels: Sequence[Parcel]) -> dict[str, Any]:
    """The same, by name."""
    return dict(zip(("ids", "queues", "priorities", "lanes", "terms"), columns(parcels), strict=True))
