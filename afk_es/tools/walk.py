"""A bounded walk through a `ScopedDirectory`, entering only directories in which a pattern can still match."""

from __future__ import annotations

from collections.abc import Iterator

from afk_es.errors import ToolError
from afk_es.tools.path_pattern import PathPattern, Positions
from afk_es.tools.relative_path import MAX_DEPTH
from afk_es.tools.scoped import Entry, ScopedDirectory

MAX_VISITED = 20_000
"""Entries looked at in one walk."""


class Walk:
    """What matches a pattern, as (path, entry), in the order of the names; a directory before what is in it.

    Iterate it once. Links are not followed, so it comes to an end whatever they point to.

    Args:
        pattern: see `PathPattern`.
        max_visited: entries that may be looked at.

    Attributes:
        cut: whether something was left out: too many entries, too deep, or a directory that could not be read.
    """

    def __init__(self, scope: ScopedDirectory, pattern: str, max_visited: int = MAX_VISITED) -> None:
        self.cut: bool = False
        self._scope = scope
        self._pattern = PathPattern(pattern)
        self._left = max_visited

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        # Paths to be looked at, the next one last; of a directory that is reached, its entries take its place.
        ahead: list[tuple[str, Entry, Positions]] = self._within("", self._pattern.start)
        while ahead:
            path, entry, positions = ahead.pop()
            if self._pattern.complete(positions):
                yield path, entry
            if entry.kind == "directory":
                ahead += self._within(path, positions)

    def _within(self, path: str, positions: Positions) -> list[tuple[str, Entry, Positions]]:
        if path.count("/") >= MAX_DEPTH - 2:
            self.cut = True
            return []
        try:
            entries, more = self._scope.entries(path, self._left)
        except ToolError:
            # Gone, become something else, or not to be read: that is no reason to tell nothing of all the others.
            self.cut = True
            return []
        self.cut |= more
        self._left -= len(entries)
        found = []
        for entry in reversed(entries):
            onward = self._pattern.after(positions, entry.name)
            if onward:
                found.append((f"{path}/{entry.name}" if path else entry.name, entry, onward))
        return found
