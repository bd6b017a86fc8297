"""Whether what stands in a log's file under the names of our tables is what we made: a file may be anybody's, and its schema is code.

A view in the place of a table is a query of whoever made the file, which runs when we read; a trigger is one that runs when we write, with
our rights; a column that is generated makes gigabytes of nothing; a table without its unique index holds a run twice. So our tables have
to be those of `schema.sql`, token by token, and no trigger on them may be another's. What else is in the file is nobody's business: nothing
of it is ever named by a statement of ours.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

OBJECTS = """
SELECT type, name, tbl_name, sql FROM sqlite_schema
WHERE (type IN ('table', 'view') AND lower(name) IN ('runs', 'events', 'parts', 'letters', 'forks'))
  OR (type = 'trigger' AND lower(tbl_name) IN ('runs', 'events', 'parts', 'letters', 'forks'))"""
"""What `foreign` is asked about."""

# SQLite's lexer as far as it matters: within a text a comment is none, and within a comment a text.
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)|\w+|\s+|.""", re.DOTALL)


def foreign(objects: Iterable[tuple[str, str, str, str | None]], *, writing: bool) -> str | None:
    """What is in the place of ours and is not ours, in words; None where all is well.

    Args:
        objects: rows of `OBJECTS`.
        writing: whether triggers matter; reading runs none.
    """
    for kind, name, table, sql in objects:
        if kind == "trigger":
            if writing and not _is_ours(kind, name, sql):
                return f"a trigger on {table} that is not ours ({name})"
        elif not _is_ours(kind, name, sql):
            return f"a {kind} in the place of the table {name} that is not the one that we make"
    return None


def _is_ours(kind: str, name: str, sql: str | None) -> bool:
    ours = _schema().get((kind, name))
    return ours is not None and sql is not None and (sql == ours or _tokens(sql) == _tokens(ours))


@cache
def _schema() -> dict[tuple[str, str], str]:
    """Our tables and triggers as SQLite keeps them."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(files("afk_es.log").joinpath("schema.sql").read_text("utf-8"))
        return {(kind, name): sql for kind, name, _table, sql in connection.execute(OBJECTS)}
    finally:
        connection.close()


def _tokens(sql: str) -> list[str]:
    return [token for token in _TOKEN.findall(sql) if not token.isspace() and not token.startswith(("--", "/*"))]
