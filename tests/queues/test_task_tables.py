"""Goal: the tables of tasks are made once, beside the log and without disturbing it; what another has made, or a newer version, is refused."""

from __future__ import annotations

import asyncio

import pytest

from afk_es.errors import CorruptLogError, ForeignLogError, LogReadOnlyError, NewerLogError
from afk_es.log import Statement, open_log
from afk_es.log.postgres_address import address_of
from afk_es.queues.presence import WorkerPresence
from afk_es.queues.records import TaskRecords
from afk_es.testing.log_contract import begin
from tests.queues.conftest import TasksLog, tasks_log
from tests.queues.test_records import NOW, a_task

HOSTILE = {
    "a view": ["DROP TABLE tasks", "CREATE VIEW tasks AS SELECT 1 AS id"],
    "another table": ["DROP TABLE workers", "CREATE TABLE workers (worker text PRIMARY KEY, host text)"],
    "a table that is gone": ["DROP TABLE awaited"],
    "no version": ["DROP TABLE afk_es_tasks"],
    "a view of the version": ["DROP TABLE afk_es_tasks", "CREATE VIEW afk_es_tasks AS SELECT 1 AS version"],
}
OF_SQLITE = {
    "a trigger": ["CREATE TRIGGER spy AFTER UPDATE ON tasks BEGIN DELETE FROM workers; END"],
    "a trigger under another case": ["CREATE TRIGGER spy AFTER UPDATE ON TASKS BEGIN DELETE FROM workers; END"],
    "a generated column": ["ALTER TABLE tasks ADD COLUMN fat BLOB GENERATED ALWAYS AS (zeroblob(1000000000)) VIRTUAL"],
    "a table that is not unique": ["DROP TABLE workers", "CREATE TABLE workers AS SELECT 'w' AS worker"],
}
OF_POSTGRESQL = {
    "a trigger": [
        "CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER spy BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION spy()",
    ],
    "a rule": ["CREATE RULE spy AS ON UPDATE TO tasks DO INSTEAD NOTHING"],
    "rows that are hidden": ["ALTER TABLE tasks ENABLE ROW LEVEL SECURITY"],
    "a generated column": ["ALTER TABLE tasks ADD COLUMN fat text GENERATED ALWAYS AS (repeat('x', 1000000)) STORED"],
    "a column of another type": ["ALTER TABLE tasks ALTER COLUMN attempts TYPE integer"],
}


async def test_many_that_open_a_new_list_at_once_make_it_once(database_url: str) -> None:
    logs = [tasks_log(database_url) for _ in range(6)]
    await asyncio.gather(*(log.open() for log in logs))
    lists = [TaskRecords(log) for log in logs]
    assert await asyncio.gather(*(each.open() for each in lists)) == [True] * 6
    await asyncio.gather(*(each.add([a_task(f"t{number}")]) for number, each in enumerate(lists)))
    assert len(await lists[0].list()) == 6
    assert await logs[0].query(Statement("SELECT version FROM afk_es_tasks")) == [(1,)]
    await asyncio.gather(*(log.close() for log in logs))


async def test_a_list_that_is_there_is_only_looked_at(records: TaskRecords, database_log: TasksLog, database_url: str) -> None:
    await records.add([a_task()])
    reading = open_log(database_url, read_only=True)
    await reading.open()
    read_only = TaskRecords(reading)  # type: ignore[arg-type]  # a log in a database, as the fixture says
    assert await read_only.open()
    assert [task.id for task in await read_only.list()] == ["a"]
    assert [queue.queued for queue in await read_only.stats()] == [1]
    with pytest.raises(LogReadOnlyError):
        await read_only.discard("a")
    await reading.close()


async def test_a_role_that_may_make_no_tables_uses_those_that_are_there(postgres_log: str) -> None:
    schema = address_of(postgres_log).schema
    owner = tasks_log(postgres_log)
    await owner.open()
    role = f"role_{schema}"
    grants = [
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {schema} TO {role}",
    ]
    await owner.transact([Statement(sql) for sql in grants])
    log = tasks_log(postgres_log.replace("postgres@", f"{role}@"))
    await log.open()
    tasks = TaskRecords(log)
    try:
        with pytest.raises(LogReadOnlyError, match="CREATE on the schema where a table is to be made"):
            await tasks.open()
        await TaskRecords(owner).open()
        await owner.transact([Statement(f"GRANT SELECT, INSERT ON tasks, afk_es_tasks, awaited, workers TO {role}")])
        assert await tasks.open()
        await tasks.add([a_task()])
        with pytest.raises(LogReadOnlyError, match="GRANT it SELECT, INSERT, UPDATE and DELETE"):
            await tasks.cancel("a")
        await owner.transact([Statement(f"GRANT UPDATE, DELETE ON tasks, awaited, workers TO {role}")])
        assert await tasks.cancel("a") is not None
    finally:
        await log.close()
        await owner.transact([Statement(f"DROP OWNED BY {role}"), Statement(f"DROP ROLE {role}")])
        await owner.close()


async def test_where_there_is_none_it_can_be_left_at_that(database_log: TasksLog) -> None:
    tasks = TaskRecords(database_log)
    assert not await tasks.open(make=False)
    assert not await tasks.open(make=False)
    assert await tasks.open()
    assert await tasks.open(make=False)


async def test_the_log_is_as_it_was(records: TaskRecords, database_log: TasksLog, database_url: str) -> None:
    await records.add([a_task()])
    await begin(database_log, "run_a")
    other = open_log(database_url)
    await other.open()
    assert [run.run_id for run in await other.runs()] == ["run_a"]
    assert await other.verify("run_a") is None
    await other.close()


async def test_a_newer_list_is_refused(records: TaskRecords, database_log: TasksLog) -> None:
    newer = [Statement("INSERT INTO afk_es_tasks (version) VALUES (2)"), Statement("ALTER TABLE tasks ADD COLUMN more text")]
    await database_log.transact(newer)
    with pytest.raises(NewerLogError, match="tasks of version 2, this afk_es understands up to 1"):
        await TaskRecords(database_log).open()


@pytest.mark.parametrize("what", sorted({*HOSTILE, *OF_SQLITE, *OF_POSTGRESQL}))
async def test_what_others_put_in_its_place_is_refused(records: TaskRecords, database_log: TasksLog, what: str) -> None:
    own = OF_SQLITE if database_log.dialect == "sqlite" else OF_POSTGRESQL
    if what not in HOSTILE | own:
        pytest.skip("the other store's")
    for sql in (HOSTILE | own)[what]:
        await database_log.transact([Statement(sql)])
    with pytest.raises(ForeignLogError, match="its tasks are not touched"):
        await TaskRecords(database_log).open()


@pytest.mark.parametrize(
    "damage",
    ["payload = '[]'", "payload = '{'", "state = 'lost'", "result = 'x'", "progress = '[1]'", "created_at = 9223372036854775807"],
)
async def test_a_row_that_is_damaged_is_named(records: TaskRecords, database_log: TasksLog, damage: str) -> None:
    await records.add([a_task()])
    await database_log.transact([Statement(f"UPDATE tasks SET {damage}")])
    with pytest.raises(CorruptLogError, match="task a in the list of tasks is damaged"):
        await records.get("a")


@pytest.mark.parametrize("damage", ["queues = '{}'", "seen_at = 9223372036854775807"])
async def test_a_worker_that_is_damaged_is_named(records: TaskRecords, database_log: TasksLog, damage: str) -> None:
    await records.here(
        WorkerPresence(worker="w", host="h", pid=1, queues=("q",), slots=1, busy=0, started_at=NOW, seen_at=NOW, alive_until=NOW)
    )
    await database_log.transact([Statement(f"UPDATE workers SET {damage}")])
    with pytest.raises(CorruptLogError, match="worker w in the list of workers is damaged"):
        await records.workers()
