"""`afk-es queue push`: asks for something to be done by a worker."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from typing import Any

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.durations import seconds_of
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.workplaces import Workplace, loaded
from afk_es.errors import ConfigurationError, UnregisteredError
from afk_es.queues.contracts import CHAT, JOB, chat_payload
from afk_es.queues.items import TaskItem
from afk_es.queues.queue import TaskQueue


@click.command("push", short_help="Ask for something to be done by a worker.")
@click.argument("contract", metavar="[CONTRACT]", required=False)
@click.option("--payload", metavar="JSON", help='The payload, one JSON object; of --handler its arguments. "-" reads it from stdin.')
@click.option("--agent", metavar="NAME", help=f"The agent of a chat ({CHAT}), by the name under which workers know it.")
@click.option("--message", metavar="TEXT", help='With --agent: what the user says. "-" reads it from stdin.')
@click.option("--thread", "thread_id", metavar="ID", help="With --agent: the thread to go on with.")
@click.option("--context", metavar="JSON", help="With --agent: the run's context, one JSON object.")
@click.option("--handler", metavar="NAME", help=f"The handler of a job ({JOB}), by the name under which workers know it.")
@click.option("--queue", "queue_name", metavar="NAME", default="default", show_default=True, help="The queue.")
@click.option("--priority", type=int, default=0, show_default=True, help="The higher is taken first.")
@click.option("--delay", metavar="TIME", help="Not before so long from now: 30s, 10m, 1h30m, 2d.")
@click.option("--at", metavar="WHEN", help="Not before then: ISO 8601 with a time zone, such as 2026-12-24T18:00+01:00.")
@click.option("--key", metavar="TEXT", help="Another push under the same key of the same queue gives the same task.")
@click.option("--lane", metavar="TEXT", help="Tasks of a lane are done one after the other; default a chat's thread.")
@click.option("--max-attempts", type=int, help="Failures after which it is dead; default 5.")
@click.option(
    "--module", "target", metavar="MODULE", help="Where contracts, agents and handlers of yours are, so that they are checked here."
)
@common_options
@click.pass_obj
def push(
    invocation: Invocation,
    contract: str | None,
    payload: str | None,
    agent: str | None,
    message: str | None,
    thread_id: str | None,
    context: str | None,
    handler: str | None,
    queue_name: str,
    delay: str | None,
    at: str | None,
    target: str | None,
    priority: int,
    key: str | None,
    lane: str | None,
    max_attempts: int | None,
) -> None:
    """Push a task, and print its id: of CONTRACT with a --payload, or a chat with an --agent, or a job with a --handler.

    \b
    afk-es queue push --agent support --message "Where is order 7?"
    afk-es queue push --handler resize --payload '{"width": 640}'
    afk-es queue push invoices.send.v1 --payload '{"invoice": 7}' --module ./shop.py
    """
    name, given = _asked(contract, payload, agent, message, thread_id, context, handler)
    workplace = loaded(target) if target is not None else Workplace()
    if workplace.worker is not None or workplace.queue is not None:
        raise ConfigurationError(
            f"--module is for contracts, agents and handlers; the log is that of --db, and {target} names a queue of its own"
        )
    queue = TaskQueue(invocation.location, agents=workplace.agents, handlers=workplace.handlers, contracts=workplace.contracts)

    async def pushing() -> TaskItem:
        if target is not None:
            # Whoever says where things are wants to hear of a slip now, and not of a worker in an hour.
            queue.known.contract(name).request(given, queue.known)
        return await queue.push(
            name,
            given,
            queue=queue_name,
            priority=priority,
            delay_s=seconds_of(delay, "--delay") if delay is not None else None,
            at=_moment(at) if at is not None else None,
            key=key,
            lane=lane,
            max_attempts=max_attempts,
        )

    try:
        _tell(invocation, asyncio.run(pushing()))
    except UnregisteredError as error:
        raise UnregisteredError(f"{error}; --module says where yours are") from error


def _asked(
    contract: str | None,
    payload: str | None,
    agent: str | None,
    message: str | None,
    thread_id: str | None,
    context: str | None,
    handler: str | None,
) -> tuple[str, dict[str, Any]]:
    """The contract and its payload."""
    if sum(each is not None for each in (contract, agent, handler)) != 1:
        raise ConfigurationError(
            "say what is to be done: a CONTRACT with --payload, a chat with --agent NAME, or a job with --handler NAME"
        )
    if agent is None and (message is not None or thread_id is not None or context is not None):
        raise ConfigurationError("--message, --thread and --context go with --agent")
    if agent is not None:
        if payload is not None:
            raise ConfigurationError("--payload goes with a CONTRACT or a --handler; of a chat say --message, --thread and --context")
        said = sys.stdin.read() if message == "-" else message
        return CHAT, chat_payload(agent, said, _object(context, "--context") if context is not None else None, thread_id)
    given = _object(sys.stdin.read() if payload == "-" else payload, "--payload") if payload is not None else {}
    return (contract, given) if contract is not None else (JOB, {"handler": handler, "payload": given})


def _object(text: str, option: str) -> dict[str, Any]:
    try:
        value: dict[str, Any] = msgspec.json.decode(text, type=dict)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise ConfigurationError(f"{option} is one JSON object, such as '{{\"order\": 7}}': {error}") from error
    return value


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"--at is a time by ISO 8601, such as 2026-12-24T18:00+01:00: {error}") from error
    if moment.utcoffset() is None:
        local = moment.isoformat(timespec="minutes")
        raise ConfigurationError(f"--at needs a time zone, such as {local}+01:00 or {local}Z")
    return moment


def _tell(invocation: Invocation, item: TaskItem) -> None:
    match invocation.format:
        case "json":
            output.write_json(_row(item))
        case "jsonl":
            output.write_json_line(_row(item))
        case "text":
            output.echo(item.id)
            when = f", not before {output.local(item.not_before)}" if item.not_before is not None and item.state == "queued" else ""
            output.note(f"{item.state} in {item.queue}{when}; {output.command('queue', 'show', item.id, db=invocation.db)}")


def _row(item: TaskItem) -> dict[str, Any]:
    """What whoever pushed does not know yet."""
    return {"schema": "afk_es.task_pushed/1", "id": item.id, "queue": item.queue, "state": item.state, "created_at": item.created_at}
