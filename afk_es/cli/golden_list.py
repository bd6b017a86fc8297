"""`afk-es golden list`: which goldens there are, from their first lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.goldens import DIRECTORY, golden_files
from afk_es.cli.invocation import Invocation, common_options
from afk_es.debugger.exchange.golden_facts import SUFFIX, header_of
from afk_es.errors import UsageError

_HEADER = ("golden", "mode", "runs", "recorded", "agent", "file")


@click.command("list", short_help="List goldens.")
@click.argument("names", metavar="[GOLDEN]...", nargs=-1)
@click.option("--dir", "directory", default=DIRECTORY, show_default=True, metavar="DIRECTORY", help="Where goldens lie that are named.")
@common_options
@click.pass_obj
def list_(invocation: Invocation, names: tuple[str, ...], directory: str) -> None:
    """List goldens: files, directories or names; default all below --dir. Only their first lines are read."""
    rows = [_row(path) for path in golden_files(names, directory)]
    if invocation.format == "json":
        output.write_json({"schema": "afk_es.goldens/1", "goldens": rows})
        return
    if invocation.format == "jsonl":
        for row in rows:
            output.write_json_line({"schema": "afk_es.goldens/1", **row})
        return
    header, *lines = output.table(_HEADER, [_cells(row) for row in rows], right=(2,), total=output.width())
    output.echo(output.toned(header, "quiet"))
    for line, row in zip(lines, rows, strict=True):
        output.echo(output.toned(line, "plain" if row["problem"] is None else "bad"))


globals()["list"] = list_


def _row(path: Path) -> dict[str, Any]:
    try:
        header = header_of(path)
    except (UsageError, OSError) as error:
        return {"name": path.name.removesuffix(SUFFIX), "path": str(path), "header": None, "problem": str(error)}
    return {"name": header.name, "path": str(path), "header": msgspec.to_builtins(header), "problem": None}


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    header = row["header"]
    if header is None:
        return (row["name"], "-", "-", "-", "-", row["problem"])
    at = (header["recorded"]["at"] or "-")[:10]
    return (row["name"], header["mode"], str(len(header["runs"])), at, header["agent"] or "-", row["path"])
