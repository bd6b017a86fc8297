"""`afk-es worker`: does what is queued, and tells what it does."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.tasks import about
from afk_es.cli.workplaces import Workplace, loaded
from afk_es.debugger.figures import span
from afk_es.debugger.styled import Style
from afk_es.errors import ConfigurationError
from afk_es.queues.news import TaskNews
from afk_es.queues.queue import TaskQueue
from afk_es.queues.worker import Worker
from afk_es.redaction import Redaction
from afk_es.serving.signals import on_signals
from afk_es.views import visible

_TONES: dict[str, Style] = {
    "begun": "quiet",
    "completed": "good",
    "cancelled": "mark",
    "retried": "mark",
    "given_back": "mark",
    "dead": "bad",
    "waiting": "mark",
}
_NAMED = 12
_LEAD = 10


@click.command("worker", short_help="Do what is queued, until it is told to stop.")
@click.argument("target", metavar="MODULE")
@click.option("--queue", "queues", metavar="NAME", multiple=True, help="A queue to take from; may be repeated; default default.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Tasks at once at most; default 10.")
@click.option(
    "--lease", "lease_s", type=float, metavar="SECONDS", help="How long its tasks stay its own without a sign of life; default 30."
)
@click.option(
    "--drain", "drain_s", type=float, metavar="SECONDS", help="How long to wait for what is under way when told to stop; default 30."
)
@click.option("--name", metavar="TEXT", help="The worker's name, for people; default made of host and process.")
@click.option(
    "--allow-agent-change", is_flag=True, help="Go on with runs whose agent is not the one they began with, as after a deployment."
)
@common_options
@click.pass_obj
def worker(
    invocation: Invocation,
    target: str,
    queues: tuple[str, ...],
    concurrency: int | None,
    lease_s: float | None,
    drain_s: float | None,
    name: str | None,
    allow_agent_change: bool,
) -> None:
    """Do the tasks that are queued in the log of --db, with the agents, tools and contracts of MODULE.

    MODULE is a module, found from the current directory too, or a .py file; MODULE:NAME one thing in it, a list of them, or a function that
    gives either. A TaskQueue in it says which log is meant, a Worker how to work. What is done is told on stderr, or with --format jsonl on
    stdout. SIGTERM or Ctrl-C: take nothing more, and stop when what is under way has ended; once more: lay that down now, for other workers.
    """
    options: dict[str, Any] = {
        "queues": queues or None,
        "max_concurrency": concurrency,
        "lease_s": lease_s,
        "drain_s": drain_s,
        "name": name,
        "allow_agent_change": allow_agent_change or None,
    }
    found = made(loaded(target), target, {name: value for name, value in options.items() if value is not None}, invocation.db)
    asyncio.run(_work(found, Telling(found, invocation.format != "text")))


def made(workplace: Workplace, target: str, options: dict[str, Any], db: str | None) -> Worker:
    """The worker of a module, or one that is made of what is in it.

    Raises:
        ConfigurationError: options for what has its own already.
    """
    if workplace.worker is not None:
        if options or db is not None:
            raise ConfigurationError(f"{target} has a Worker, with options and a log of its own: say them there")
        return workplace.worker
    if workplace.queue is not None and db is not None:
        raise ConfigurationError(f"{target} has a TaskQueue, with a log of its own; leave --db out")
    queue = workplace.queue if workplace.queue is not None else TaskQueue(db)
    return Worker(queue, agents=workplace.agents, handlers=workplace.handlers, contracts=workplace.contracts, **options)


async def _work(worker: Worker, telling: Telling) -> None:
    log = logging.getLogger("afk_es.worker")
    log.addHandler(telling)
    worker.on_news(telling.news)
    try:
        with on_signals(telling.stop):
            telling.begins()
            await worker.run()
    finally:
        log.removeHandler(telling)
    telling.ends()


class Telling(logging.Handler):
    """Tells people, or programs, what a worker does. What its tasks hold is redacted.

    Args:
        lines: as JSON, an object a line on stdout.
    """

    def __init__(self, worker: Worker, lines: bool) -> None:
        super().__init__(logging.WARNING)
        self._worker = worker
        self._lines = lines
        self._redaction = Redaction()

    def begins(self) -> None:
        """It begins."""
        worker, known = self._worker, self._worker.known
        names = {"agents": [*known.agents], "handlers": [*known.handlers], "contracts": [*known.contracts]}
        if self._lines:
            self._line("started", worker=worker.name, queues=list(worker.queues), log=worker.location, **names)
            return
        output.note(
            f"worker {worker.name} takes from {', '.join(worker.queues)} of {worker.location}; Ctrl-C lets it end what it has, twice stops it"
        )
        for what, each in names.items():
            if each:
                output.note(f"  {what}: {', '.join(each[:_NAMED])}{', ...' if len(each) > _NAMED else ''}")

    def news(self, news: TaskNews) -> None:
        """Something was done with a task."""
        task = news.task
        error = self._redaction.text(news.error) if news.error is not None else None
        if self._lines:
            told = {"task": task.id, "queue": task.queue, "contract": task.contract, "attempt": news.attempt}
            self._line(news.what, **told, error=error, after_s=news.after_s)
            return
        shown = msgspec.structs.replace(task, payload=self._redaction.value(task.payload))
        said = about(shown) if news.what == "begun" else error or ""
        again = f", again in {span(news.after_s)}" if news.after_s else ""
        lead = output.toned(news.what.replace("_", " ").ljust(_LEAD), _TONES[news.what])
        output.echo(f"{lead} {visible(task.id)} (attempt {news.attempt}{again}) {visible(said)}".rstrip(), err=True)

    def stop(self) -> None:
        """Somebody has said that it is to stop."""
        again = self._worker.metrics().draining
        self._worker.drain()
        busy = self._worker.metrics().busy
        if self._lines:
            self._line("stopping" if again else "draining", busy=busy)
        elif again:
            output.note(f"laying down {busy} of them, for other workers", "mark")
        else:
            output.note(f"draining: {busy} under way, and no more are taken; once more lays them down", "mark")

    def ends(self) -> None:
        """It has stopped."""
        counts = msgspec.to_builtins(self._worker.metrics())
        if self._lines:
            self._line("stopped", metrics=counts)
            return
        said = [
            f"{counts[name]} {name.replace('_', ' ')}" for name in ("completed", "retried", "dead", "waiting", "cancelled", "given_back")
        ]
        output.note(f"worker {self._worker.name} has stopped: {', '.join(said)}")

    def emit(self, record: logging.LogRecord) -> None:
        """What the worker warns of."""
        said = self._redaction.text(record.getMessage())
        if self._lines:
            self._line("warning", message=said)
        else:
            output.note(said, "mark")

    def _line(self, what: str, **told: Any) -> None:
        output.write_json_line({"schema": "afk_es.worker_news/1", "what": what, **told})
