"""Patterns of paths (`src/**/*.py`), matched on the way down, so that a walk enters no directory in which nothing can match."""

from __future__ import annotations

import re
from fnmatch import translate

from afk_es.errors import ToolError
from afk_es.tools.relative_path import path_parts

MAX_PATTERN_CHARS = 512

Positions = frozenset[int]
"""How far into a pattern a path may have come: indexes of the components that are next."""


class PathPattern:
    """A pattern of relative paths, matched component by component.

    `*`, `?` and `[...]` stand within a component, `**` for any number of them, none included. A name that begins with a dot is matched
    only by a component that does, as in a shell. Matching takes time linear in the names: `fnmatch` never goes back behind a star.

    Raises:
        ToolError: the pattern is empty, too long, absolute or contains `..`.
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > MAX_PATTERN_CHARS:
            raise ToolError(f"the pattern has {len(pattern)} characters; at most {MAX_PATTERN_CHARS} are allowed")
        parts = path_parts(pattern)
        if not parts:
            raise ToolError("the pattern is empty; '**/*' names every file")
        self._parts = [None if part == "**" else (part.startswith("."), re.compile(translate(part)).match) for part in parts]
        self.start: Positions = self._closed({0})

    def after(self, positions: Positions, name: str) -> Positions:
        """Where the pattern stands after one more component; empty if it cannot match any more."""
        hidden = name.startswith(".")
        found = set()
        for position in positions:
            if position == len(self._parts):
                continue
            part = self._parts[position]
            if part is None:
                if not hidden:
                    found.add(position)
            elif (part[0] or not hidden) and part[1](name):
                found.add(position + 1)
        return self._closed(found)

    def complete(self, positions: Positions) -> bool:
        """Whether all of the pattern is matched."""
        return len(self._parts) in positions

    def _closed(self, positions: set[int]) -> Positions:
        for position in sorted(positions):
            while position < len(self._parts) and self._parts[position] is None:
                position += 1
                positions.add(position)
        return frozenset(positions)
