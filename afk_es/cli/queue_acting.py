"""`afk-es queue retry`, `discard`, `cancel` and `purge`: what an operator decides about tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import click

from afk_es.cli import output
from afk_es.cli.durations import seconds_of
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.outside import by_option
from afk_es.cli.tasks import records_of, task_named
from afk_es.errors import TaskNotFoundError, TaskStateError, UsageError
from afk_es.queues.queue import TaskQueue
from afk_es.queues.records import TaskRecords

_PAGE = 1_000


@click.command("retry", short_help="Let a dead task be tried again.")
@click.argument("tasks", metavar="[TASK]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that are dead.")
@click.option("--queue", "queue_name", metavar="NAME", help="With --all: only those of this queue.")
@common_options
@click.pass_obj
def retry(invocation: Invocation, tasks: tuple[str, ...], all_: bool, queue_name: str | None) -> None:
    """Let each TASK, which is dead, be tried again, as often as if it had never failed. Its run goes on where it failed."""

    async def act(queue: TaskQueue, task_id: str) -> None:
        await queue.retry(task_id)

    asyncio.run(_act(invocation, tasks, all_, queue_name, "queued again", act))


@click.command("discard", short_help="Forget a dead task; its run stays in the log.")
@click.argument("tasks", metavar="[TASK]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that are dead.")
@click.option("--queue", "queue_name", metavar="NAME", help="With --all: only those of this queue.")
@common_options
@click.pass_obj
def discard(invocation: Invocation, tasks: tuple[str, ...], all_: bool, queue_name: str | None) -> None:
    """Forget each TASK, which is dead. Its run stays in the log."""

    async def act(queue: TaskQueue, task_id: str) -> None:
        await queue.discard(task_id)

    asyncio.run(_act(invocation, tasks, all_, queue_name, "discarded", act))


@click.command("cancel", short_help="Call a task off.")
@click.argument("tasks", metavar="TASK...", nargs=-1, required=True)
@click.option("--reason", metavar="TEXT", help="Why, for the log.")
@by_option
@common_options
@click.pass_obj
def cancel(invocation: Invocation, tasks: tuple[str, ...], reason: str | None, by: str | None) -> None:
    """Call each TASK off. One that no worker has begun is cancelled at once; of another the run is told to end."""
    from afk_es.interaction.terminal import user_name

    async def act(queue: TaskQueue, task_id: str) -> str | None:
        item = await queue.cancel(task_id, reason=reason, by=by if by is not None else user_name())
        return None if item.state == "cancelled" else f"told to end ({item.state})"

    asyncio.run(_act(invocation, tasks, False, None, "cancelled", act))


@click.command("purge", short_help="Forget tasks that ended long ago; their runs stay in the log.")
@click.option("--older-than", metavar="TIME", required=True, help="Those that ended before so long, such as 7d.")
@common_options
@click.pass_obj
def purge(invocation: Invocation, older_than: str) -> None:
    """Forget tasks that were completed or cancelled, and workers that are gone, so long ago. Their runs stay in the log; the dead stay as well."""
    purged = asyncio.run(_purge(invocation, seconds_of(older_than, "--older-than")))
    match invocation.format:
        case "json":
            output.write_json({"schema": "afk_es.tasks_purged/1", "purged": purged})
        case "jsonl":
            output.write_json_line({"schema": "afk_es.tasks_purged/1", "purged": purged})
        case "text":
            output.echo(f"{purged} {'task' if purged == 1 else 'tasks'} purged")


async def _purge(invocation: Invocation, older_than_s: float) -> int:
    # Looked at first, and for reading: a log that is not there is not made.
    async with records_of(invocation.location) as (_log, records):
        if records is None:
            return 0
    async with TaskQueue(invocation.location) as queue:
        return await queue.purge(older_than_s=older_than_s)


async def _act(
    invocation: Invocation,
    names: tuple[str, ...],
    all_: bool,
    queue_name: str | None,
    done: str,
    act: Callable[[TaskQueue, str], Awaitable[str | None]],
) -> None:
    """Do it to each task, and tell what was done; `act` gives another word for that, or None."""
    if bool(names) == all_:
        raise UsageError("name the tasks that are meant, or say --all, and not both")
    if queue_name is not None and not all_:
        raise UsageError("--queue goes with --all")
    # Looked for first, and for reading: a log that is not there is not made.
    async with records_of(invocation.location) as (log, records):
        ids = [(await task_named(log, records, name)).id for name in names]
        if all_ and records is not None:
            ids = await _dead(records, queue_name)
    acted = []
    if ids:
        async with TaskQueue(invocation.location) as queue:
            for task_id in ids:
                try:
                    acted.append((task_id, await act(queue, task_id) or done))
                except (TaskNotFoundError, TaskStateError):
                    if not all_:
                        raise
                    # Somebody else has seen to it meanwhile.
    _tell(invocation, acted)


async def _dead(records: TaskRecords, queue_name: str | None) -> list[str]:
    """All that are dead now. What a worker has tried again and failed since is not among them: a retry of all would not end."""
    ids: list[str] = []
    while page := await records.list(queue_name, "dead", None, _PAGE, ids[-1] if ids else None):
        ids += [item.id for item in page]
    return ids


def _tell(invocation: Invocation, acted: list[tuple[str, str]]) -> None:
    rows = [{"task": task_id, "done": said} for task_id, said in acted]
    match invocation.format:
        case "json":
            output.write_json({"schema": "afk_es.tasks_changed/1", "changed": rows})
        case "jsonl":
            for row in rows:
                output.write_json_line({"schema": "afk_es.task_changed/1", **row})
        case "text":
            for task_id, said in acted:
                output.echo(f"{task_id} {said}")
            if not acted:
                output.note("no task is dead")
