"""`afk-es approve`, `deny` and `answer`: what a run waits for is answered from another terminal, whether a process drives it or not."""

from __future__ import annotations

import click

from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.outside import by_option, send
from afk_es.views import visible


@click.command("approve", short_help="Let a call run that waits for approval.")
@click.argument("run", metavar="RUN")
@click.argument("request", metavar="[REQUEST]", required=False)
@click.option("--reason", metavar="TEXT", help="Why, for the log.")
@by_option
@common_options
@click.pass_obj
def approve(invocation: Invocation, run: str, request: str | None, reason: str | None, by: str | None) -> None:
    """Say yes to the call that RUN waits with.

    REQUEST says which, where there are several; `afk-es approvals` lists them. The grant holds for this very call with the arguments it has
    now. A live run takes it in by itself; one that is laid down, when it is resumed.
    """
    send(invocation, run, by, "approved", lambda attached, wait_s: attached.approve(request, reason=reason, wait_s=wait_s))


@click.command("deny", short_help="Refuse a call that waits for approval or input.")
@click.argument("run", metavar="RUN")
@click.argument("request", metavar="[REQUEST]", required=False)
@click.option("--reason", metavar="TEXT", help="Why; the model is told.")
@by_option
@common_options
@click.pass_obj
def deny(invocation: Invocation, run: str, request: str | None, reason: str | None, by: str | None) -> None:
    """Say no to the call that RUN waits with.

    REQUEST says which, where there are several; `afk-es approvals` lists them.
    """
    send(invocation, run, by, "denied", lambda attached, wait_s: attached.deny(request, reason=reason, wait_s=wait_s))


@click.command("answer", short_help="Give the words that a call waits for.")
@click.argument("run", metavar="RUN")
@click.argument("text", metavar="TEXT")
@click.option("--request", metavar="REQUEST", help="Which request, where there are several.")
@by_option
@common_options
@click.pass_obj
def answer(invocation: Invocation, run: str, text: str, request: str | None, by: str | None) -> None:
    """Answer TEXT to what RUN asks a person."""
    send(invocation, run, by, f"answered {visible(text)!r:.60}", lambda attached, wait_s: attached.answer(text, request, wait_s=wait_s))
