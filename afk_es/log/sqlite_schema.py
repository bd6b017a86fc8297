"""Whether what stands in a log's file under the names of our tables is what we made: a file may be anybody's, and its schema is code.

A view in the place of a table is a query of whoever made the file, which runs when we read; a trigger is one that runs when we write, with
our rights; a column that is generated makes gigabytes of nothing; a table without its unique index holds a run twice. So our tables have
to be those of `schema.sql`, token by token, and no trigger on them may be another's. What else is in the file is nobody's business: nothing
of it is ever named by a statement of ours.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files


def objects_of(tables: Sequence[str]) -> str:
    """The query for what stands under the names of these tables, and for the triggers on them: what `foreign` is asked about."""
    names = ", ".join(f"'{table}'" for table in sorted(tables))
    return f"""
SELECT type, name, tbl_name, sql FROM sqlite_schema
WHERE (type IN ('table', 'view') AND lower(name) IN ({names})) OR (type = 'trigger' AND lower(tbl_name) IN ({names}))"""


OBJECTS = objects_of(("runs", "events", "parts", "letters", "forks"))
"""What `foreign` is asked about for a log."""

# SQLite's lexer as far as it matters: within a text a comment is none, and within a comment a text.
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)|\w+|\s+|.""", re.DOTALL)


def foreign(
    objects: Iterable[tuple[str, str, str, str | None]], *, writing: bool, ours: Mapping[tuple[str, str], str] | None = None
) -> str | None:
    """What is in the place of ours and is not ours, in words; None where all is well.

    Args:
        objects: rows of `OBJECTS`, or of another query by `objects_of`.
        writing: whether triggers matter; reading runs none.
        ours: what should be there, from `made_by`; by default the tables of a log.
    """
    ours = _schema() if ours is None else ours
    for kind, name, table, sql in objects:
        if kind == "trigger":
            if writing and not _is_ours(ours.get((kind, name)), sql):
                return f"a trigger on {table} that is not ours ({name})"
        elif not _is_ours(ours.get((kind, name)), sql):
            return f"a {kind} in the place of the table {name} that is not the one that we make"
    return None


def made_by(script: str, query: str) -> dict[tuple[str, str], str]:
    """Type and name of the tables and triggers that a script makes, as SQLite keeps them; the query is one by `objects_of`."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(script)
        return {(kind, name): sql for kind, name, _table, sql in connection.execute(query)}
    finally:
        connection.close()


def _is_ours(ours: str | None, sql: str | None) -> bool:
    return ours is not None and sql is not None and (sql == ours or _tokens(sql) == _tokens(ours))


@cache
def _schema() -> dict[tuple[str, str], str]:
    """A log's tables and triggers."""
    return made_by(files("afk_es.log").joinpath("schema.sql").read_text("utf-8"), OBJECTS)


def _tokens(sql: str) -> list[str]:
    return [token for token in _TOKEN.findall(sql) if not token.isspace() and not token.startswith(("--", "/*"))]
