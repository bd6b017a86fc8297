"""`afk-es queue`: the verbs of queues, by name; each is loaded when it is called."""

from __future__ import annotations

from typing import ClassVar

import click

from afk_es.cli import LazyGroup
from afk_es.cli.invocation import common_options

QUEUE_VERBS: dict[str, tuple[str, str]] = {
    "push": ("afk_es.cli.queue_push", "Ask for something to be done by a worker."),
    "list": ("afk_es.cli.queue_list", "List tasks, the newest first."),
    "show": ("afk_es.cli.queue_show", "Show a task: what was asked, where it stands, what it came to."),
    "dead": ("afk_es.cli.queue_dead", "List the tasks that failed for good, and why."),
    "retry": ("afk_es.cli.queue_acting", "Let a dead task be tried again."),
    "discard": ("afk_es.cli.queue_acting", "Forget a dead task; its run stays in the log."),
    "cancel": ("afk_es.cli.queue_acting", "Call a task off."),
    "purge": ("afk_es.cli.queue_acting", "Forget tasks that ended long ago; their runs stay in the log."),
    "workers": ("afk_es.cli.queue_workers", "List the workers that are there."),
    "stats": ("afk_es.cli.queue_stats", "Count the tasks of each queue by their states."),
}


class QueueGroup(LazyGroup):
    """The group of these verbs."""

    table: ClassVar[dict[str, tuple[str, str]]] = QUEUE_VERBS


@click.group("queue", cls=QueueGroup, short_help="Push tasks for workers, and see to those that failed.")
@common_options
def queue() -> None:
    """Tasks for workers, in the log of --db. Each is a run of that log: `afk-es debug TASK` opens it.

    TASK is a task's id, a unique beginning of one, or @last.

    \b
    afk-es worker ./shop.py
    afk-es queue push --agent support --message "Where is order 7?"
    afk-es queue push --handler resize --payload '{"width": 640}' --delay 10m
    afk-es queue dead
    """
