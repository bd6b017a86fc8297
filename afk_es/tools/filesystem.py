"""`filesystem_tools`: ready-made tools over one directory, which nothing that a model asks for can leave."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field
from pydantic_core import SchemaError, SchemaValidator, core_schema

from afk_es.errors import ConfigurationError, ToolError
from afk_es.machine.values import clean_text
from afk_es.tools.decorator import tool
from afk_es.tools.definition import Tool
from afk_es.tools.pages import read_page, text_of_bytes
from afk_es.tools.scoped import Entry, ScopedDirectory
from afk_es.tools.walk import Walk

MAX_SEARCHED_BYTES = 67_108_864
"""Bytes of files that one search looks through."""

_MAX_QUERY_CHARS = 500
_EXCERPT_CHARS = 240

Path = Annotated[str, Field(description="relative to the top, which is '.'")]
Line = Annotated[int, Field(ge=1)]


def filesystem_tools(
    root: str | os.PathLike[str],
    *,
    writable: bool = False,
    deletable: bool = False,
    max_bytes: int = 1_000_000,
    max_results: int = 200,
    prefix: str = "",
) -> tuple[Tool[..., Any], ...]:
    """Tools to look at the files of a directory, and on request to change them: `Agent(tools=[*filesystem_tools("docs")])`.

    Always `list_directory`, `read_file`, `find_files` and `search_text`, which are read-only. Paths are relative to the root; absolute
    ones, `..`, symbolic links (wherever they point), devices and pipes are refused, each with a sentence for the model. This is their
    own bound; a `SandboxProfile` is not asked. Hard links and mounts inside of the root count as its content. They need Linux or macOS.

    Args:
        root: an existing directory.
        writable: adds `write_file` (idempotent, and destructive as it replaces), `edit_file` (destructive, and not idempotent) and
            `make_directory` (idempotent); default False. Files are replaced as a whole, durably.
        deletable: adds `delete_file`, by a switch of its own because most agents that write need not delete; default False.
        max_bytes: of a file that is written, edited or searched; default 1 000 000. Larger ones are read in pages all the same.
        max_results: of a list, at most; the rest is left out, and that is said; default 200.
        prefix: goes before each tool's name, for agents with several directories; default none.

    Raises:
        ConfigurationError: the root is no directory, a bound is not positive, or the prefix makes no name of a tool.
    """
    for name, bound in (("max_bytes", max_bytes), ("max_results", max_results)):
        if bound < 1:
            raise ConfigurationError(f"filesystem_tools: {name} must be at least 1, not {bound!r}")
    files = _Files(ScopedDirectory(root), max_bytes, max_results)
    made = [
        _made(files.list_directory, prefix, read_only=True),
        _made(files.read_file, prefix, read_only=True),
        _made(files.find_files, prefix, read_only=True),
        _made(files.search_text, prefix, read_only=True),
    ]
    if writable:
        made += [
            _made(files.write_file, prefix, idempotent=True, destructive=True),
            _made(files.edit_file, prefix, destructive=True),
            _made(files.make_directory, prefix, idempotent=True, destructive=False),
        ]
    if deletable:
        made.append(_made(files.delete_file, prefix, destructive=True))
    return tuple(made)


def _made(function: Callable[..., Any], prefix: str, **hints: Any) -> Tool[..., Any]:
    made: Tool[..., Any] = tool(name=f"{prefix}{function.__name__}", open_world=False, **hints)(function)
    return made


class _Files:
    """The tools' functions. They block, so they run in threads, as sync tools do."""

    def __init__(self, scope: ScopedDirectory, max_bytes: int, max_results: int) -> None:
        self._scope = scope
        self._max_bytes = max_bytes
        self._max_results = max_results

    def list_directory(self, path: Path = ".") -> dict[str, Any]:
        """List what stands in a directory: files with their sizes in bytes, directories, and links, which are not followed."""
        entries, cut = self._scope.entries(path, self._max_results)
        return {"entries": [_shown(entry) for entry in entries], "more": cut}

    def read_file(self, path: Path, offset: Line = 1, limit: Line = 2_000) -> str:
        """Read lines of a text file. Where more follow, the last line says where to continue.

        Args:
            offset: the first line, counted from 1.
            limit: lines at most.
        """
        with self._scope.open(path) as file:
            return read_page(file, path, offset, limit)

    def find_files(self, pattern: str) -> dict[str, Any]:
        """Find files by a pattern of their path, such as `*.md` (at the top) or `src/**/*.py` (at any depth below src).

        Names that begin with a dot are found only by patterns that spell the dot.
        """
        walk = Walk(self._scope, pattern)
        paths: list[str] = []
        for path, entry in walk:
            if entry.kind == "file":
                if len(paths) == self._max_results:
                    return {"paths": paths, "more": True}
                paths.append(clean_text(path))
        return {"paths": paths, "more": walk.cut}

    def search_text(self, query: str, pattern: str = "**/*", regex: bool = False, ignore_case: bool = False) -> dict[str, Any]:
        """Find lines that contain a text, in the files whose path matches a pattern. Files that are not text, or too large, are skipped.

        Args:
            query: the text, as it is; or a regular expression, if `regex` is true. It is looked for within lines.
            pattern: of paths, such as `src/**/*.py`; by default all files but hidden ones.
            regex: Rust's syntax, without look-around and back references.
        """
        find = _finder(query, regex, ignore_case)
        matches: list[dict[str, Any]] = []
        walk = Walk(self._scope, pattern)
        left, skipped = MAX_SEARCHED_BYTES, 0
        for path, entry in walk:
            if entry.kind != "file":
                continue
            left -= min(entry.size, self._max_bytes)
            if left < 0:
                return {"matches": matches, "skipped_files": skipped, "more": True}
            try:
                lines = text_of_bytes(self._scope.read(path, self._max_bytes), path).split("\n")
            except ToolError:
                skipped += 1
                continue
            for number, line in enumerate(lines, 1):
                at = find(line)
                if at is not None:
                    if len(matches) == self._max_results:
                        return {"matches": matches, "skipped_files": skipped, "more": True}
                    matches.append({"path": path, "line": number, "text": _excerpt(line.rstrip("\r"), at)})
        return {"matches": matches, "skipped_files": skipped, "more": walk.cut}

    def write_file(self, path: Path, content: str) -> str:
        """Write a text file, new or in place of the one that is there. Its directory must exist."""
        new = self._scope.write(path, self._encoded(content))
        return f"{'wrote' if new else 'replaced'} {path}"

    def edit_file(self, path: Path, old: Annotated[str, Field(min_length=1)], new: str, replace_all: bool = False) -> str:
        """Replace a piece of a text file by another.

        Args:
            old: the piece, exactly as it stands there, and long enough to stand there only once.
            replace_all: replace it wherever it stands.
        """
        text = text_of_bytes(self._scope.read(path, self._max_bytes), path)
        if "\r\n" in text and "\r" not in old:
            # Models write, and are shown, line ends of one character.
            old, new = old.replace("\n", "\r\n"), new.replace("\r\n", "\n").replace("\n", "\r\n")
        count = text.count(old)
        if count == 0:
            raise ToolError(f"the text to replace does not stand in {path!r}; read the file, and give it exactly as it is there")
        if count > 1 and not replace_all:
            raise ToolError(f"the text to replace stands in {path!r} {count} times; give more of what is around it, or set replace_all")
        self._scope.write(path, self._encoded(text.replace(old, new)))
        return f"replaced {count} {'place' if count == 1 else 'places'} in {path}"

    def make_directory(self, path: Path) -> str:
        """Make a directory, and those above it. One that is there already stays as it is."""
        return f"{'made' if self._scope.make_directory(path) else 'it was there already:'} {path}"

    def delete_file(self, path: Path) -> str:
        """Delete a file, for good."""
        self._scope.delete(path)
        return f"deleted {path}"

    def _encoded(self, text: str) -> bytes:
        content = clean_text(text).encode()
        if len(content) > self._max_bytes:
            raise ToolError(f"the file would have {len(content)} bytes, which is more than the {self._max_bytes} allowed here")
        return content


def _shown(entry: Entry) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": clean_text(entry.name), "kind": entry.kind}
    return {**shown, "size": entry.size} if entry.kind == "file" else shown


def _finder(query: str, regex: bool, ignore_case: bool) -> Callable[[str], int | None]:
    """A function of a line that says about where in it the query stands. It takes time linear in the line, whatever the query."""
    if not 1 <= len(query) <= _MAX_QUERY_CHARS or "\n" in query:
        raise ToolError(f"the query must be 1 to {_MAX_QUERY_CHARS} characters, without line ends")
    if regex:
        return _expression(query, ignore_case)
    wanted = query.casefold() if ignore_case else query

    def find(line: str) -> int | None:
        at = (line.casefold() if ignore_case else line).find(wanted)
        return at if at >= 0 else None

    return find


def _expression(query: str, ignore_case: bool) -> Callable[[str], int | None]:
    try:
        # Pydantic's engine is Rust's: it has no backtracking, so no expression is catastrophic, and it bounds the size of what it compiles.
        schema = core_schema.str_schema(pattern=f"(?i){query}" if ignore_case else query, regex_engine="rust-regex", strict=True)
        matches = SchemaValidator(schema).isinstance_python
    except SchemaError as error:
        raise ToolError(f"{query!r} is not a regular expression here (Rust's syntax, without look-around): {error}") from error
    return lambda line: 0 if matches(line.rstrip("\r")) else None


def _excerpt(line: str, at: int) -> str:
    if len(line) <= _EXCERPT_CHARS:
        return line
    begin = max(0, min(at - _EXCERPT_CHARS // 4, len(line) - _EXCERPT_CHARS))
    return f"{'…' if begin else ''}{line[begin : begin + _EXCERPT_CHARS]}{'…' if begin + _EXCERPT_CHARS < len(line) else ''}"
