"""`afk-es pause`, `unpause`, `cancel` and `interrupt`: control of a run that lives in another process, or whose process is gone."""

from __future__ import annotations

import click

from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.outside import by_option, send


@click.command("pause", short_help="Let a live run start nothing more for now.")
@click.argument("run", metavar="RUN")
@click.option("--reason", metavar="TEXT", help="Why, for the log.")
@by_option
@common_options
@click.pass_obj
def pause(invocation: Invocation, run: str, reason: str | None, by: str | None) -> None:
    """Let RUN, which a process drives, start nothing more until `afk-es unpause`. What is under way comes to its end."""
    send(invocation, run, by, "paused", lambda attached, wait_s: attached.pause(reason, wait_s=wait_s))


@click.command("unpause", short_help="Let a paused live run go on.")
@click.argument("run", metavar="RUN")
@by_option
@common_options
@click.pass_obj
def unpause(invocation: Invocation, run: str, by: str | None) -> None:
    """Let RUN go on, which is paused and whose process lives.

    `afk-es resume RUN MODULE:AGENT` is another thing: it goes on, in this process and so with the agent, with a run that nobody drives.
    """
    send(invocation, run, by, "unpaused", lambda attached, wait_s: attached.resume(wait_s=wait_s))


@click.command("cancel", short_help="End a run for good.")
@click.argument("run", metavar="RUN")
@click.option("--reason", metavar="TEXT", help="Why, for the log.")
@by_option
@common_options
@click.pass_obj
def cancel(invocation: Invocation, run: str, reason: str | None, by: str | None) -> None:
    """End RUN for good: a live one, one that was laid down, or one whose process is gone. What is under way is cut."""
    send(invocation, run, by, "cancelled", lambda attached, wait_s: attached.cancel(reason, wait_s=wait_s))


@click.command("interrupt", short_help="Lay a run down, so that it can be resumed.")
@click.argument("run", metavar="RUN")
@click.option("--reason", metavar="TEXT", help="Why, for the log.")
@by_option
@common_options
@click.pass_obj
def interrupt(invocation: Invocation, run: str, reason: str | None, by: str | None) -> None:
    """Lay RUN down: a live one, or one whose process is gone. What is under way is cut; `afk-es resume` goes on with it."""
    send(invocation, run, by, "interrupted", lambda attached, wait_s: attached.interrupt(reason, wait_s=wait_s))
