"""`afk-es spec`: this command line as JSON, read from the parser itself, for completion, wrappers and agents that call it."""

from __future__ import annotations

from typing import Any

import click

from afk_es.cli import VERBS, main, output
from afk_es.cli.failures import BROKEN_PIPE, INTEGRITY, INTERRUPTED, NEGATIVE, NOT_FOUND, OK, WRONG_USAGE
from afk_es.cli.invocation import Invocation, common_options
from afk_es.debugger.positions import GRAMMAR
from afk_es.errors import UsageError

EXIT_CODES: dict[int, str] = {
    OK: "ok",
    NEGATIVE: "a negative answer",
    WRONG_USAGE: "wrong usage; nothing was done",
    NOT_FOUND: "not found or unreadable",
    INTEGRITY: "the log is not what was written",
    INTERRUPTED: "interrupted",
    BROKEN_PIPE: "whoever read stdout left",
}

RUN_NAMES: dict[str, str] = {
    "ID": "a run's id, or a unique beginning of it",
    "@last": "the run that was started last",
    "@last-failed": "the last run that failed or crashed",
    "FILE": "a log file: its last run",
    "FILE:RUN": "a run of a log file",
}

MEANINGS: dict[str, dict[int, str]] = {
    "archive": {
        NEGATIVE: "not all of the log is in the archive, or not all has ended",
        INTEGRITY: "a run is damaged, or another is in its place",
    },
    "bisect": {OK: "found", NEGATIVE: "it holds nowhere, or everywhere"},
    "check": {NEGATIVE: "a condition is violated"},
    "diff": {OK: "the same", NEGATIVE: "they differ"},
    "doctor": {NEGATIVE: "something is wrong"},
    "eval": {NEGATIVE: "the suite does not pass", NOT_FOUND: "nothing was measured, or no such run"},
    "explore": {OK: "nothing was found", NEGATIVE: "a promise is broken, or what is required was never reached"},
    "find": {NEGATIVE: "nothing found"},
    "fork": {NEGATIVE: "the fork was or would be laid down, failed or was cancelled"},
    "golden": {NEGATIVE: "a golden has diverged", NOT_FOUND: "nothing could be measured, or no such golden or run"},
    "policy": {OK: "nothing would be decided otherwise", NEGATIVE: "something would be", NOT_FOUND: "no such run, or no decision in them"},
    "run": {NEGATIVE: "the run failed or was cancelled"},
    "resume": {NEGATIVE: "the run failed or was cancelled"},
    "verify": {INTEGRITY: "a run is not sound"},
}
"""What an exit code says of one verb, where that is more than what it says of all."""

SCHEMAS: dict[str, tuple[str, ...]] = {
    "approvals": ("afk_es.approvals/1", "afk_es.approval/1"),
    "approve": ("afk_es.receipt/1",),
    "deny": ("afk_es.receipt/1",),
    "answer": ("afk_es.receipt/1",),
    "pause": ("afk_es.receipt/1",),
    "unpause": ("afk_es.receipt/1",),
    "cancel": ("afk_es.receipt/1",),
    "interrupt": ("afk_es.receipt/1",),
    "bisect": ("afk_es.bisect/1",),
    "check": ("afk_es.check/1",),
    "compact": ("afk_es.compaction/1",),
    "context": ("afk_es.context/1",),
    "debug": ("afk_es.triage/1",),
    "demo": ("afk_es.demo/1", "afk_es.demo_runs/1", "afk_es.demo_run/1"),
    "diff": ("afk_es.state_diff/1", "afk_es.comparison/1", "afk_es.first_divergence/1"),
    "doctor": ("afk_es.doctor/1", "afk_es.finding/1"),
    "eval": ("afk_es.evals/1",),
    "golden": (
        "afk_es.evals/1",
        "afk_es.golden/1",
        "afk_es.golden_recorded/1",
        "afk_es.golden_updates/1",
        "afk_es.golden_review/1",
        "afk_es.goldens/1",
    ),
    "explore": ("afk_es.explore/1",),
    "export": ("afk_es.export/1", "afk_es.golden/1"),
    "import": ("afk_es.import/1", "afk_es.imported_run/1"),
    "fail": ("afk_es.ticket_ended/1",),
    "resolve": ("afk_es.ticket_ended/1",),
    "find": ("afk_es.find/1", "afk_es.event/1"),
    "fork": ("afk_es.fork_plan/1", "afk_es.result/1", "afk_es.stream_event/1"),
    "policy": ("afk_es.policy_what_if/1", "afk_es.run_what_if/1"),
    "log": ("afk_es.log/1", "afk_es.event/1"),
    "queue": (
        "afk_es.task_pushed/1",
        "afk_es.tasks/1",
        "afk_es.task/1",
        "afk_es.tasks_changed/1",
        "afk_es.tasks_purged/1",
        "afk_es.task_changed/1",
        "afk_es.workers/1",
        "afk_es.worker/1",
        "afk_es.queues/1",
        "afk_es.queue/1",
    ),
    "worker": ("afk_es.worker_news/1",),
    "resume": ("afk_es.result/1", "afk_es.stream_event/1"),
    "run": ("afk_es.result/1", "afk_es.stream_event/1"),
    "runs": ("afk_es.runs/1", "afk_es.run/1"),
    "show": ("afk_es.show/1", "afk_es.event/1", "afk_es.metrics/1"),
    "spec": ("afk_es.spec/1", "afk_es.verb/1"),
    "stats": ("afk_es.stats/1",),
    "trace": ("afk_es.trace/1", "afk_es.sample/1"),
    "state": ("afk_es.state/1",),
    "triage": ("afk_es.triage/1",),
    "why": ("afk_es.why/1",),
    "telemetry": ("afk_es.exported/1",),
    "tickets": ("afk_es.tickets/1", "afk_es.ticket/1"),
    "mcp-config": ("afk_es.mcp_config/1", "afk_es.mcp_server/1"),
    "archive": ("afk_es.archive/1", "afk_es.archive_check/1", "afk_es.archived_run/1"),
    "verify": ("afk_es.verify/1", "afk_es.verified_run/1"),
}
"""The schemas that a verb's JSON can carry; a test holds this together with what the verbs write."""


@click.command("spec", short_help="Print this command line as JSON.")
@click.argument("verb", required=False)
@common_options
@click.pass_obj
def spec(invocation: Invocation, verb: str | None) -> None:
    """Print verbs, options, types, defaults, exit codes, positions and JSON schemas, as the parser has them; of one VERB, or of all.

    It is JSON in any format; with `--format jsonl` a line for each verb.
    """
    if verb is not None and verb not in VERBS:
        raise UsageError(f"there is no verb {verb!r}; there are: {', '.join(VERBS)}")
    if invocation.format == "jsonl" or verb is not None:
        write = output.write_json_line if invocation.format == "jsonl" else output.write_json
        for name in [verb] if verb is not None else VERBS:
            write({"schema": "afk_es.verb/1", **verb_spec(name)})
        return
    output.write_json(program_spec())


def program_spec() -> dict[str, Any]:
    """The whole command line."""
    context = click.Context(main, info_name="afk-es")
    return {
        "schema": "afk_es.spec/1",
        "program": "afk-es",
        "help": (main.help or "").strip(),
        "options": [_option(each, context) for each in main.params if isinstance(each, click.Option)],
        "exit_codes": {str(code): meaning for code, meaning in EXIT_CODES.items()},
        "run_names": RUN_NAMES,
        "positions": GRAMMAR,
        "verbs": [verb_spec(name) for name in VERBS],
    }


def verb_spec(name: str) -> dict[str, Any]:
    """One verb: what it takes, how it exits, what its JSON is called; of a group, what each of its commands takes."""
    context = click.Context(main, info_name="afk-es")
    command = main.get_command(context, name)
    assert command is not None
    own = click.Context(command, parent=context, info_name=name)
    spec: dict[str, Any] = {
        "name": name,
        "summary": VERBS[name][1],
        **_taken(command, own, f"afk-es {name}"),
        "exit_codes": {str(code): meaning for code, meaning in {**EXIT_CODES, **MEANINGS.get(name, {})}.items()},
        "schemas": list(SCHEMAS.get(name, ())),
    }
    if isinstance(command, click.Group):
        spec["commands"] = [_subverb(command, own, name, each) for each in command.list_commands(own)]
    return spec


def _subverb(group: click.Group, context: click.Context, verb: str, name: str) -> dict[str, Any]:
    command = group.get_command(context, name)
    assert command is not None
    own = click.Context(command, parent=context, info_name=name)
    return {"name": name, "summary": command.short_help or "", **_taken(command, own, f"afk-es {verb} {name}")}


def _taken(command: click.Command, context: click.Context, called: str) -> dict[str, Any]:
    """What a command takes."""
    return {
        "help": (command.help or "").strip(),
        "usage": " ".join([called, *command.collect_usage_pieces(context)]),
        "arguments": [_argument(each, context) for each in command.params if isinstance(each, click.Argument)],
        "options": [_option(each, context) for each in command.params if isinstance(each, click.Option)],
    }


def _argument(argument: click.Argument, context: click.Context) -> dict[str, Any]:
    return {
        "name": argument.name,
        "metavar": argument.metavar or argument.human_readable_name,
        "required": argument.required,
        "nargs": argument.nargs,
        "type": _type(argument.type),
        "default": _default(argument, context),
    }


def _option(option: click.Option, context: click.Context) -> dict[str, Any]:
    return {
        "name": option.name,
        "flags": list(option.opts),
        "off_flags": list(option.secondary_opts),
        "metavar": None if option.is_flag else option.metavar or option.type.name.upper(),
        "type": _type(option.type),
        "value": _flag_value(option),
        "nargs": 0 if option.is_flag or option.count else option.nargs,
        "required": option.required,
        "repeatable": option.multiple,
        "default": _default(option, context),
        "help": option.help or "",
    }


def _flag_value(option: click.Option) -> object:
    """What the option means where it takes no value of its own."""
    return option.flag_value if option.is_flag and isinstance(option.flag_value, (bool, str, int)) else None


def _default(parameter: click.Parameter, context: click.Context) -> object:
    value = parameter.get_default(context)
    if isinstance(value, tuple):
        value = list(value)
    return value if isinstance(value, (bool, str, int, float, list)) else None


def _type(kind: click.ParamType[Any]) -> dict[str, Any]:
    """A type by its name, and what narrows it."""
    match kind:
        case click.Choice():
            return {"name": "choice", "choices": [str(each) for each in kind.choices]}
        case click.IntRange() | click.FloatRange():
            name = "integer" if isinstance(kind, click.IntRange) else "float"
            return {"name": name, "minimum": kind.min, "maximum": kind.max}
        case _:
            return {"name": kind.name}
