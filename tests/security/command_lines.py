"""Every way to call the command line: each verb with what it requires, and each of its options once.

They are read off click's own table, so that a new verb or option is called like the others on the day it is there. What stands for a
`RUN` or an `EXPR` is said here; a word that nobody has given a value for fails the test that would have called it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import click

from afk_es.cli import main

LEFT_OUT: Mapping[str, str] = {
    "a2a serve": "serves until it is ended; what it tells is what its clients sent, as tests/a2a/server holds",
    "demo": "makes its own log of scripted runs, and kills itself",
    "explore": "reads no log; what it has found is told through `visible`, as test_telling.py and test_explore.py hold",
    "debug --web": "serves until it is ended; see test_loopback.py",
    "mcp serve": "serves until it is ended; see tests/mcp/server/test_stdio.py and test_loopback.py",
    "telemetry --to otel": "sends over a network; what it sends is protobuf",
    "worker": "works until it is ended; what it tells is held in tests/cli/test_worker.py",
    "queue push --module": "runs code that the user names; see tests/cli/test_queue.py",
    "log --follow": "waits for what a live run will do; its lines are those of log",
}
"""What is not called, and why."""

NUMBERS = frozenset({"N", "SECONDS", "SHARE", "USD", None})


class CommandLine(NamedTuple):
    """One way to call the command line: the words behind `afk-es`, and the verb for whoever asks why it fails."""

    verb: str
    words: tuple[str, ...]


@cache
def verbs() -> dict[str, click.Command]:
    """Every verb by its words: "show", "golden check"."""
    return dict(_verbs(main, ()))


def _verbs(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _verbs(found, (*path, name))


def command_lines(values: Mapping[str, str], verb: str) -> Iterator[CommandLine]:
    """A verb with what it requires, and then with each of its options, and with each of a choice.

    Args:
        values: per metavar what stands for it, several words on lines of their own; of one verb alone, "VERB METAVAR".
    """
    command = verbs()[verb]
    needed = {parameter: _said(verb, parameter, values)[0] for parameter in command.params if _is_needed(parameter)}
    yield CommandLine(verb, (*verb.split(), *_words(needed)))
    for parameter in command.params:
        if parameter.name in ("db", "format_") or f"{verb} {parameter.opts[-1]}" in LEFT_OUT:
            continue
        ways = _said(verb, parameter, values)
        for said in ways[1:] if parameter in needed else ways:
            yield CommandLine(verb, (*verb.split(), *_words({**needed, parameter: said})))


def _words(said: Mapping[click.Parameter, Sequence[str]]) -> list[str]:
    return [word for words in said.values() for word in words]


def _is_needed(parameter: click.Parameter) -> bool:
    """An argument that may be left out stands for the last run of the log; all are named, so that a verb looks at the run that is meant."""
    return parameter.required or parameter.param_type_name == "argument"


def _said(verb: str, parameter: click.Parameter, values: Mapping[str, str]) -> list[list[str]]:
    """The ways to give the parameter a value."""
    option = [parameter.opts[0]] if isinstance(parameter, click.Option) else []
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return [option]
    if isinstance(parameter.type, click.Choice):
        return [[*option, str(choice)] for choice in parameter.type.choices if f"{verb} {parameter.opts[0]} {choice}" not in LEFT_OUT]
    if isinstance(parameter.type, (click.types.IntParamType, click.types.FloatParamType)):
        return [[*option, "1"]]
    metavar = re.sub(r"[\[\].]", "", parameter.metavar or (parameter.name or "").upper())
    for name in (f"{verb} {metavar}", metavar):
        if name in values:
            return [[*option, *values[name].split("\n")]]
    raise LookupError(f"say in tests/security what stands for {metavar} in `afk-es {verb}`")
