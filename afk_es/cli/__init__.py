"""`afk-es`: the command line. This module knows the verbs by name only; the code of a verb is loaded when it is called.

stdout is data, stderr is notes. Exit codes: 0 ok, 1 a negative answer, 2 wrong usage, 3 not found or unreadable, 4 integrity,
130 interrupted.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar

import click

from afk_es.cli.failures import reported
from afk_es.cli.invocation import common_options

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("afk_es.cli.demo", "See an agent killed in the middle of a refund, and go on without paying twice."),
    "debug": ("afk_es.cli.debug", "Step through a run, both ways; find out why it failed."),
    "run": ("afk_es.cli.run", "Run an agent."),
    "eval": ("afk_es.cli.evaluating", "Run a suite of cases, and report what came of it."),
    "golden": ("afk_es.cli.golden", "Record, check and update goldens: recorded runs that today's agent has to keep to."),
    "explore": ("afk_es.cli.explore", "Look for a run that breaks a promise, whatever model, tools and people do."),
    "resume": ("afk_es.cli.resume", "Go on with a run that was interrupted or whose process died."),
    "compact": ("afk_es.cli.compact", "Sum up or drop older turns of a thread; the log keeps them."),
    "runs": ("afk_es.cli.runs", "List runs, the newest first."),
    "log": ("afk_es.cli.log", "Show the events of a run, a line each."),
    "show": ("afk_es.cli.show", "Show a run at a glance, or one event and the request behind it."),
    "triage": ("afk_es.cli.triage", "What went wrong with a run, on one screen, each line with its proof."),
    "why": ("afk_es.cli.why", "Why an event happened, and what came of it."),
    "state": ("afk_es.cli.state", "The state of a run at any place."),
    "context": ("afk_es.cli.context", "What the model was sent at a call, proved, and what was new."),
    "diff": ("afk_es.cli.diff", "What differs between two places of a run, or between two runs."),
    "check": ("afk_es.cli.check", "Check a run against rules, for CI."),
    "policy": ("afk_es.cli.policy", "What another policy would have decided in the runs that are recorded."),
    "find": ("afk_es.cli.find", "Find events by a text or an expression."),
    "trace": ("afk_es.cli.trace", "Print expressions wherever something holds."),
    "stats": ("afk_es.cli.stats", "Count a run: events, tools, models, gaps, steps."),
    "bisect": ("afk_es.cli.bisect", "Find the first event with which something holds."),
    "approvals": ("afk_es.cli.approvals", "List what runs wait for people with."),
    "approve": ("afk_es.cli.answering", "Let a call run that waits for approval."),
    "deny": ("afk_es.cli.answering", "Refuse a call that waits for approval or input."),
    "answer": ("afk_es.cli.answering", "Give the words that a call waits for."),
    "pause": ("afk_es.cli.controlling", "Let a live run start nothing more for now."),
    "unpause": ("afk_es.cli.controlling", "Let a paused live run go on."),
    "cancel": ("afk_es.cli.controlling", "End a run for good."),
    "interrupt": ("afk_es.cli.controlling", "Lay a run down, so that it can be resumed."),
    "tickets": ("afk_es.cli.tickets", "List what goes on in the background of a run."),
    "resolve": ("afk_es.cli.background", "Say what a background tool of a run came to."),
    "fail": ("afk_es.cli.background", "Say that a background tool of a run failed."),
    "telemetry": ("afk_es.cli.telemetry", "Tell a telemetry sink of a run that has happened."),
    "import": ("afk_es.cli.importing", "Read transcripts of other systems, an exported run or a golden into a log."),
    "export": ("afk_es.cli.exporting", "Write a run as a page, a report, a picture, a test, a golden, a log or a trajectory."),
    "archive": ("afk_es.cli.archive", "Copy runs that have ended to a log file of their own; say whether a log may go."),
    "fork": ("afk_es.cli.fork", "Try a change: a run that shares another's beginning."),
    "queue": ("afk_es.cli.queue", "Push tasks for workers, and see to those that failed."),
    "worker": ("afk_es.cli.worker", "Do what is queued, until it is told to stop."),
    "mcp": ("afk_es.cli.mcp", "Serve tools and agents by the Model Context Protocol."),
    "a2a": ("afk_es.cli.a2a", "Serve agents by the A2A protocol."),
    "mcp-config": ("afk_es.cli.mcp_config", "List the MCP servers of a config file, and their tools."),
    "doctor": ("afk_es.cli.doctor", "Check interpreter, libraries, log, terminal and clock."),
    "spec": ("afk_es.cli.spec", "Print this command line as JSON."),
    "verify": ("afk_es.cli.verify", "Check the hash chain and the story of one run, or of all."),
}
"""Per verb, the module that has it as a command of the same name, and its line of help: `--help` need not import them."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called.

    Attributes:
        table: its verbs, as in `VERBS`.
    """

    table: ClassVar[dict[str, tuple[str, str]]] = VERBS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order a newcomer wants them."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in self.table:
            return None
        command: click.Command = getattr(import_module(self.table[cmd_name][0]), cmd_name.replace("-", "_"))
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant, or wrong usage that says which may have been."""
        if args[0] not in self.table:
            import difflib

            if close := difflib.get_close_matches(args[0], self.table, n=1):
                ctx.fail(f"No such command {args[0]!r}. Did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs and their lines, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_module, line) in self.table.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Call the verb; what goes wrong becomes one line on stderr and an exit code."""
        with reported():
            return super().invoke(ctx)


def _show_version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("afk-es")
    except PackageNotFoundError:
        found = "(a source tree that is not installed)"
    click.echo(f"afk-es {found}")  # noqa: TID251 - `--version` loads nothing
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog="New here? Try `afk-es demo`.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version and exit.")
@common_options
def main() -> None:
    """Run agents whose every step is in an event log, and look into that log.

    RUN is a run's id or a unique beginning of it, @last, @last-failed, a log file (its last run), or FILE:RUN.
    """
