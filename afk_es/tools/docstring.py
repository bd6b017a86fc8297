"""Reads a tool's docstring: what it does, and what its parameters mean, in Google's or Sphinx' style."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Params):\s*$")
_OTHER_SECTION = re.compile(r"^(Returns?|Yields?|Raises|Examples?|Notes?|Attributes):\s*$")
_ENTRY = re.compile(r"^\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")
_SPHINX = re.compile(r"^:param\s+(?:[^:]*\s)?(\w+):\s*(.*)$")


class Docstring(NamedTuple):
    """A docstring taken apart."""

    description: str
    parameters: dict[str, str]


def read_docstring(text: str | None) -> Docstring:
    """The description without its parameter section, and the sentence on each parameter."""
    if not text:
        return Docstring("", {})
    kept: list[str] = []
    parameters: dict[str, str] = {}
    indent: int | None = None
    inside = False
    current: str | None = None
    for line in inspect.cleandoc(text).splitlines():
        stripped = line.strip()
        depth = len(line) - len(line.lstrip())
        if sphinx := _SPHINX.match(stripped):
            current = sphinx[1]
            parameters[current] = sphinx[2]
            indent, inside = depth, False
        elif _SECTION.match(line):
            inside, indent, current = True, None, None
        elif inside and (not stripped or depth > 0):
            if not stripped:
                continue
            if indent is None:
                indent = depth
            entry = _ENTRY.match(stripped) if depth == indent else None
            if entry:
                current = entry[1]
                parameters[current] = entry[2]
            elif current is not None:
                parameters[current] = f"{parameters[current]} {stripped}".strip()
        elif current is not None and indent is not None and stripped and depth > indent:
            parameters[current] = f"{parameters[current]} {stripped}".strip()
        else:
            inside, current = False, None
            kept.append(line)
    return Docstring("\n".join(kept).strip(), parameters)
