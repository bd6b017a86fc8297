"""What is well and what is not around the command line: interpreter, libraries, terminal, clock. It looks, and changes nothing.

Libraries are asked for their version by their metadata and never imported: `import litellm` alone takes seconds.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from afk_es.errors import ConfigurationError

Standing = Literal["ok", "note", "wrong"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found in one place.

    Attributes:
        name: the place.
        standing: "ok"; "note" for what is good to know; "wrong" for what keeps something from working.
        said: what was found, in a sentence.
        way_out: what to do about it; empty where nothing is to be done.
        facts: the same as data.
    """

    name: str
    standing: Standing
    said: str
    way_out: str = ""
    facts: dict[str, Any] = {}


class Library(NamedTuple):
    """A library that is used.

    Attributes:
        least: the oldest version that is enough.
        extra: the extra of afk-es that brings it, or None where it always comes along.
        serves: what is not there without it.
    """

    name: str
    least: str
    extra: str | None
    serves: str


LIBRARIES: tuple[Library, ...] = (
    Library("pydantic", "2.12", None, "agents and their arguments"),
    Library("msgspec", "0.20", None, "events and state"),
    Library("aiosqlite", "0.22.1", None, "the log"),
    Library("click", "8.1", None, "this command line"),
    Library("filelock", "3.16", None, "knowing who drives a run"),
    Library("litellm", "1.106", None, "models that are named by a string"),
    Library("pyyaml", "6.0.2", None, "cases of evals in YAML"),
    Library("rich", "14.2", None, "reports of evals at a terminal"),
    Library("textual", "8.2", None, "the debugger's app; `afk-es debug --plain` does without"),
    Library("textual-serve", "1.1", None, "the app in a browser"),
    Library("asyncpg", "0.30", "postgres", "a log on PostgreSQL"),
    Library("procrastinate", "3.10", "queues", "tasks on PostgreSQL"),
    Library("psycopg", "3.2", "queues", "how procrastinate speaks to the server"),
    Library("hypothesis", "6.150", "testing", "property tests of agents"),
    Library("jsonschema", "4.21", "testing", "arguments by their schema"),
    Library("mcp", "2.2", "mcp", "MCP servers and clients"),
    Library("a2a-sdk", "1.1", "a2a", "A2A servers and clients"),
    Library("pyjwt", "2.10", "mcp", "signed tokens of callers"),
    Library("starlette", "0.50", "mcp", "MCP and A2A over HTTP"),
    Library("uvicorn", "0.38", "mcp", "MCP and A2A over HTTP"),
    Library("opentelemetry-sdk", "1.38", "otel", "telemetry to OpenTelemetry"),
    Library("opentelemetry-exporter-otlp-proto-http", "1.38", "otel", "telemetry over OTLP"),
)
"""In the order they are listed; `pyproject.toml` says the same, and a test holds them together."""

_POISONED = {"litellm": ("1.82.7", "1.82.8")}
"""Releases that stole credentials."""

_WAL_RESET = (3, 51, 3)
"""The first SQLite without the WAL-reset bug: two connections of a process that write or checkpoint at once could damage a file."""


def python() -> Finding:
    """The interpreter, and this package in it."""
    try:
        own = version("afk-es")
    except PackageNotFoundError:
        own = None
    found = ".".join(map(str, sys.version_info[:3]))
    facts = {"python": found, "executable": sys.executable, "afk_es": own, "tree": str(Path(__file__).resolve().parents[2])}
    told = f"afk_es {own}" if own is not None else f"afk_es from a source tree that is not installed ({facts['tree']})"
    return Finding("python", "ok", f"Python {found} at {sys.executable}, {told}", facts=facts)


def sqlite(found: tuple[int, ...] = sqlite3.sqlite_version_info) -> Finding:
    """The SQLite that Python was built with."""
    name = ".".join(map(str, found))
    facts = {"version": name, "wal_reset_bug": found < _WAL_RESET}
    if found >= _WAL_RESET:
        return Finding("sqlite", "ok", f"SQLite {name}", facts=facts)
    return Finding(
        "sqlite",
        "note",
        f"SQLite {name} has the WAL-reset bug, mended in 3.51.3; afk_es writes by one connection in a process, which avoids it",
        "open a log that is being written with `mode=ro` only, or use a Python with a newer SQLite",
        facts,
    )


def library(wanted: Library) -> Finding:
    """Whether a library is there, and new enough."""
    install = f"{sys.executable} -m pip install '{wanted.name}>={wanted.least}'"
    if wanted.extra is not None:
        install = f"{sys.executable} -m pip install 'afk-es[{wanted.extra}]'"
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        facts: dict[str, Any] = {"version": None, "extra": wanted.extra}
        missing: Standing = "note" if wanted.extra is not None else "wrong"
        return Finding(wanted.name, missing, f"not installed; it serves {wanted.serves}", install, facts)
    facts = {"version": found, "extra": wanted.extra}
    if found in _POISONED.get(wanted.name, ()):
        way_out = f"uninstall it, change every key this machine had, then {install}"
        return Finding(wanted.name, "wrong", f"{found} is a poisoned release that stole credentials", way_out, facts)
    if _numbers(found) < _numbers(wanted.least):
        return Finding(wanted.name, "wrong", f"{found} is older than {wanted.least}; it serves {wanted.serves}", install, facts)
    return Finding(wanted.name, "ok", found, facts=facts)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def terminal() -> Finding:
    """What stdout can show. Whether there is a mouse, no terminal says unasked."""
    tty = sys.stdout.isatty()
    columns, lines = shutil.get_terminal_size((80, 24))
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    unicode = encoding.replace("-", "").startswith("utf")
    facts = {
        "tty": tty,
        "stdin_tty": sys.stdin is not None and sys.stdin.isatty(),
        "columns": columns,
        "lines": lines,
        "term": os.environ.get("TERM"),
        "colours": colours(tty=tty),
        "encoding": encoding,
        "unicode": unicode,
        "mouse": None,
    }
    if not tty:
        return Finding("terminal", "ok", f"none; stdout is a file or a pipe, in {encoding}", facts=facts)
    said = (
        f"{os.environ.get('TERM') or 'a terminal without TERM'}, {columns}x{lines}, {facts['colours']} colours, {encoding}, mouse unknown"
    )
    if columns < 80 or lines < 24:
        return Finding("terminal", "note", said, "make it at least 80x24 for the debugger's app, or use `afk-es debug --plain`", facts)
    if not unicode:
        return Finding("terminal", "note", said, "choose a UTF-8 locale, such as LC_ALL=C.UTF-8; other letters are escaped", facts)
    return Finding("terminal", "ok", said, facts=facts)


def colours(*, tty: bool) -> str:
    """How many colours are used there: none, 16, 256 or 16 million."""
    term = os.environ.get("TERM", "")
    if not tty or os.environ.get("NO_COLOR") or term == "dumb":
        return "no"
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "16 million"
    return "256" if "256" in term else "16"


def keys() -> Finding:
    """The user's own keys for the app; the app itself is not loaded."""
    from debugger.keys import keys_file, read_keymap

    path = keys_file()
    facts = {"path": str(path), "exists": path.is_file()}
    try:
        read_keymap()
    except ConfigurationError as error:
        return Finding("keys", "wrong", str(error), f"mend {path}, or remove it for the default keys", facts)
    return Finding("keys", "ok", f"those of {path}" if path.is_file() else f"the default ones; {path} would change them", facts=facts)


def environment() -> list[Finding]:
    """Everything that can be found without a log."""
    return [python(), sqlite(), *(library(each) for each in LIBRARIES), terminal(), keys()]


def megabytes(size: int) -> str:
    """A size for people: 0 B, 12 KB, 3.4 MB, 1.2 GB."""
    for unit, divisor in (("GB", 1024**3), ("MB", 1024**2), ("KB", 1024)):
        if size >= divisor:
            return f"{size / divisor:.1f} {unit}"
    return f"{size} B"
