"""What the processes of the kill tests load when they are first used, loaded before they are forked."""

import asyncpg
import procrastinate
import psycopg_pool

import afk_es.core.wiring
import afk_es.log.postgres
import afk_es.log.sqlite
import afk_es.queues.procrastinate
import afk_es.queues.queue
import afk_es.queues.tables
import afk_es.queues.worker

LOADED = (
    afk_es.core.wiring,
    afk_es.log.postgres,
    afk_es.log.sqlite,
    afk_es.queues.procrastinate,
    afk_es.queues.queue,
    afk_es.queues.tables,
    afk_es.queues.worker,
    asyncpg,
    procrastinate,
    psycopg_pool,
)
