"""The lines of a golden file, and back: a header, then one fact per line. Knows the format; what a golden is for, `afk_es.evals` knows.

A file `NAME.golden.jsonl` has, in this order:

| fact | what the line says |
|---|---|
| (the header) | schema, name, mode, which runs are checked, where they come from, how to update, a digest over all that follows |
| instructions, tool, limits, content | a part of an agent, or of an event, that is large or shared: said once, and referred to by its id |
| agent | the rest of a `RunSpec`, with the ids of its parts in their places |
| run | a run begins: its thread, what it is there for, when it began in seconds since the golden's own beginning |
| event | an event of the run begun last, its time in seconds since the run began |
| outcome | what that run came to. It ends the run, and is what a check holds today's run against, apart from the events it answers from |

Left out is what follows from the rest, and is put back by whoever reads the file (`golden_derived`), the state `running`, empty messages,
and values that are declared as defaults. So no line changes that need not.

`afk-es log FILE.golden.jsonl`, `show`, `triage`, `diff` and whatever else only reads take such a file as they take a log. For the debugger's
app, `afk-es import FILE.golden.jsonl --db FILE.db` makes it one: then `afk-es debug FILE.db`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_type_hints

import msgspec

from afk_es.debugger.exchange.sources import MAX_DEPTH, shown, too_deep
from afk_es.debugger.exchange.transcript import TranscriptError
from afk_es.machine.events import EVENT_TYPES, SCHEMA_VERSION
from afk_es.machine.values import DIGEST_BYTES, canonical_json
from afk_es.views import visible_json

SUFFIX = ".golden.jsonl"
"""What the names of golden files end with."""

GOLDEN_SCHEMA = "afk_es.golden/1"
_SCHEMA_STEM = "afk_es.golden/"

BEGINNING = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
"""When the first run of every golden begins."""

MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024 * 1024
_LONGEST_HEADER = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
MAX_LINES = 2_000_000

Role = Literal["checked", "context", "subagent"]
"""What a run is there for: to be checked, as an earlier run on the thread that others build on, or as a subagent's run of one of them."""


class GoldenError(TranscriptError):
    """A file is no golden that can be read. The message has the file, the line, what is wrong and the way out. Nothing was written."""


class Provenance(msgspec.Struct, frozen=True):
    """Where a golden comes from.

    Attributes:
        afk_es: the version that recorded it.
        event_schema: of its events; lines of another version say so themselves.
        at: when the first checked run began, in ISO 8601; None where that is not told.
        run: the id that the last checked run had there.
        log: the name of the log's file, without its directory.
    """

    afk_es: str
    event_schema: int = SCHEMA_VERSION
    at: str | None = None
    run: str = ""
    log: str = ""


class GoldenHeader(msgspec.Struct, frozen=True):
    """The first line of a golden.

    Attributes:
        schema: `afk_es.golden/1`.
        mode: how much has to be the same: strict, contract or trajectory.
        runs: the runs that are checked, in order.
        recorded: where they come from.
        agent: `MODULE:AGENT` of the code, where it was told.
        models: the models that were asked, by name.
        redacted: what was kept back before anything was written, in a sentence; None for an exact copy.
        secret_names: names whose values were kept back beside those that every redaction knows.
        secret_values: whether values were kept back that only whoever recorded it knew. They are never told, nor a hash of them.
        update: how to record it anew.
        digest: over all other lines; "" while it is not known.
    """

    schema: str
    name: str
    mode: Literal["strict", "contract", "trajectory"]
    runs: tuple[str, ...]
    recorded: Provenance
    agent: str | None = None
    models: tuple[str, ...] = ()
    redacted: str | None = None
    secret_names: tuple[str, ...] = ()
    secret_values: bool = False
    update: str = ""
    digest: str = ""


class Fact(msgspec.Struct, frozen=True):
    """A line after the header, and its number in the file; 0 where there is no file."""

    kind: str
    value: dict[str, Any]
    line: int = 0


class GoldenOutcome(msgspec.Struct, frozen=True):
    """What a run came to, as its golden has it.

    Attributes:
        state: completed, degraded, failed, cancelled or interrupted.
        final_text, final_structured, error: as in `AgentResult`.
        calls: the tool calls that the model asked for, in order, each with `tool_name` and `arguments`; what the events say as well, so that an
            edit of either contradicts the other. None in files that have no such list.
        tokens: input, output and total of all answers that said so.
        cost_usd: None where no answer carried a price.
    """

    state: str
    final_text: str
    final_structured: Any = None
    error: str | None = None
    llm_calls: int = 0
    tool_calls: int = 0
    tokens: tuple[int, int, int] = (0, 0, 0)
    cost_usd: float | None = None
    calls: tuple[dict[str, Any], ...] | None = None


# ------------------------------------------------------------------------------------------------------------------------------- writing


def golden_text(header: GoldenHeader, facts: Iterable[Fact]) -> str:
    """The whole file. The same header and facts give the same bytes on every platform and Python."""
    facts = list(facts)
    lines = [_line({"fact": fact.kind, **_ordered(fact)}) for fact in facts]
    first = msgspec.to_builtins(msgspec.structs.replace(header, digest=facts_digest(facts)))
    for key in ("secret_names", "secret_values"):
        # Headers from before there were these stay as they are.
        if not first[key]:
            del first[key]
    return "".join([_line(first), *lines])


def facts_digest(facts: Iterable[Fact]) -> str:
    """The digest over all facts, whatever the order of their keys and the spaces between them."""
    found = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for fact in facts:
        found.update(canonical_json([fact.kind, fact.value]) + b"\n")
    return found.hexdigest()


_FIRST = (
    "id", "run", "seq", "at", "type", "step", "state", "message", "schema_version", "thread", "role", "starts",
    "agent_name", "models", "tool_name", "name", "description", "arguments", "parameters", "final_text", "final_structured", "error",
)  # fmt: skip
"""Keys in the order in which people look for them, beside those of the events' shapes; all others follow by the alphabet."""
_RANK = {key: index for index, key in enumerate(_FIRST)}


def _ordered(fact: Fact) -> dict[str, Any]:
    value = fact.value
    if fact.kind != "event":
        return _sorted(value) if fact.kind in ("run", "outcome") else {"id": value["id"], "value": _sorted(value["value"])}
    row = EVENT_TYPES.get(value["type"])
    data = value.get("data", {})
    shape = [key for key in (_keys_of(row.shape) if row is not None else ()) if key in data]
    ordered = {key: _plain(key, data[key]) for key in (*shape, *sorted(data.keys() - set(shape)))}
    return {**_sorted({key: item for key, item in value.items() if key != "data"}), "data": ordered}


@cache
def _keys_of(shape: type) -> tuple[str, ...]:
    # As declared, whatever it inherits from; asking anew for each of many events takes longer than writing them.
    return tuple(get_type_hints(shape))


def _plain(key: str, item: Any) -> Any:
    """A value of an event: what is of our own shape in our order, what is a user's by the alphabet."""
    if key == "tool_calls" and isinstance(item, list):
        return [_sorted(call) if isinstance(call, dict) else call for call in item]
    return _by_alphabet(item)


def _sorted(value: Any) -> Any:
    if not isinstance(value, dict):
        return _by_alphabet(value)
    keys = sorted(value, key=lambda key: (_RANK.get(key, len(_RANK)), key))
    return {key: _by_alphabet(value[key]) for key in keys}


def _by_alphabet(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _by_alphabet(value[key]) for key in sorted(value)}
    return [_by_alphabet(item) for item in value] if isinstance(value, (list, tuple)) else value


def _line(value: dict[str, Any]) -> str:
    return visible_json(value).decode() + "\n"


# ------------------------------------------------------------------------------------------------------------------------------- reading


def read_golden(path: str) -> tuple[GoldenHeader, list[Fact]]:
    """The header and the facts of a file, as `read_lines` has them.

    Raises:
        GoldenError: there is no such file, or it is none that can be read.
        OSError: it cannot be read.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise GoldenError(f"{path}: there is no such file; record it first, for example with `afk-es golden record`")
    with file.open("rb") as opened:
        return read_lines(path, opened.read(MAX_FILE_BYTES + 1))


def read_lines(name: str, content: bytes) -> tuple[GoldenHeader, list[Fact]]:
    """The header and the facts of a file, each fact with its line.

    Raises:
        GoldenError: it is none, or a newer one; see there.
    """
    if len(content) > MAX_FILE_BYTES:
        raise GoldenError(f"{name}: it is larger than {MAX_FILE_BYTES // 2**20} MiB; record fewer runs in one golden")
    lines = _values(name, content.removeprefix(_BOM))
    first = next(lines, None)
    if first is None:
        raise GoldenError(f"{name}:1: the file is empty; record the golden anew, or restore it from version control")
    header = _header(name, *first)
    return header, [_fact(name, number, value) for number, value in lines]


def header_of(path: Path) -> GoldenHeader:
    """The header of a golden file, of which no more than its first line is read.

    Raises:
        GoldenError: it is none, or a newer one.
        OSError: it cannot be read.
    """
    with path.open("rb") as opened:
        first = opened.readline(_LONGEST_HEADER)
    for number, value in _values(str(path), first.removeprefix(_BOM)):
        return _header(str(path), number, value)
    raise wrong(str(path), 1, "the file is empty")


def wrong(name: str, line: int, message: str) -> GoldenError:
    """The error that says so of a line of a file; of a golden without a file, only what it says."""
    return GoldenError(f"{name}:{line}: {message}" if line else f"{name}: {message}")


def _values(name: str, content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    decoder = msgspec.json.Decoder()
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not (stripped := line.strip(b" \t\r")):
            continue
        if number > MAX_LINES:
            raise wrong(name, number, f"a golden has at most {MAX_LINES:,} lines; record fewer runs in one")
        if len(stripped) > MAX_LINE_BYTES:
            raise wrong(name, number, f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB; record the golden anew")
        if stripped.startswith((b"<<<<<<<", b"=======", b">>>>>>>", b"|||||||")):
            raise wrong(name, number, "a merge conflict; take one side whole, or record the golden anew")
        if too_deep(stripped):
            raise wrong(name, number, f"it is nested deeper than {MAX_DEPTH} levels; record the golden anew")
        try:
            value = decoder.decode(stripped)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise wrong(
                name, number, f"it is not JSON ({error}); restore the line from version control, or record the golden anew"
            ) from error
        if not isinstance(value, dict):
            raise wrong(name, number, f"a line is an object, and not {shown(value)}; restore it, or record the golden anew")
        yield number, value


def _header(name: str, number: int, value: dict[str, Any]) -> GoldenHeader:
    schema = value.get("schema")
    if schema != GOLDEN_SCHEMA:
        if isinstance(schema, str) and schema.startswith(_SCHEMA_STEM):
            way = "record the golden anew" if schema == f"{_SCHEMA_STEM}0" else "upgrade afk_es to read it"
            raise wrong(name, number, f"it has the schema {shown(schema)}, this afk_es reads {GOLDEN_SCHEMA}; {way}")
        raise wrong(name, number, f"the first line of a golden has the schema {GOLDEN_SCHEMA}, and not {shown(schema)}; it is no golden")
    try:
        header = msgspec.convert(value, GoldenHeader)
    except msgspec.ValidationError as error:
        raise wrong(name, number, f"the header makes no sense: {error}; restore it, or record the golden anew") from error
    if not header.runs or len(set(header.runs)) != len(header.runs):
        raise wrong(name, number, "`runs` names the runs that are checked, each once; restore it, or record the golden anew")
    if header.recorded.event_schema > SCHEMA_VERSION:
        raise wrong(
            name,
            number,
            f"its events have schema version {header.recorded.event_schema}, this afk_es understands up to {SCHEMA_VERSION}; upgrade afk_es",
        )
    return header


def _fact(name: str, number: int, value: dict[str, Any]) -> Fact:
    kind = value.pop("fact", None)
    if not isinstance(kind, str):
        raise wrong(name, number, "a line says under `fact` what it is; restore it, or record the golden anew")
    return Fact(kind, value, number)
