"""Which agents of a name the code below a directory defines. It reads the code and runs none of it."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

_SKIPPED = frozenset({"node_modules", "site-packages", "build", "dist", "venv", "env"})
_DEEPEST = 3
"""Directories below the one that is searched."""
_MOST_FILES = 2_000
_MOST_BYTES = 1_000_000
"""Of a file that is looked into: longer ones are written by programs."""


def agents_named(name: str, directory: Path) -> tuple[str, ...]:
    """The agents of that name, as `module:attribute`: assignments of an `Agent(name=...)` at the top of a module.

    Args:
        name: as runs of the agent have it; "agent" is also that of one without a name.
        directory: to import the modules from.
    """
    found: list[str] = []
    for number, file in enumerate(_modules(directory, 0)):
        if number >= _MOST_FILES:
            break
        module = ".".join(file.relative_to(directory).with_suffix("").parts).removesuffix(".__init__")
        found += [f"{module}:{attribute}" for attribute in _agents_in(file, name)]
    return tuple(found)


def _modules(directory: Path, depth: int) -> Iterator[Path]:
    """Files that can be imported, those of upper directories first. Tests are none that anybody would name."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        stem, extension = os.path.splitext(entry.name)
        if extension == ".py" and stem.isidentifier() and not stem.startswith("test_") and entry.is_file():
            yield Path(entry.path)
    if depth >= _DEEPEST:
        return
    for entry in entries:
        if entry.name.isidentifier() and entry.name not in _SKIPPED and entry.is_dir(follow_symlinks=False):
            yield from _modules(Path(entry.path), depth + 1)


def _agents_in(file: Path, name: str) -> Iterator[str]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            return
        text = file.read_bytes()
        tree = ast.parse(text) if b"Agent" in text else ast.Module([], [])
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        # Half-written code of somebody's; whoever wants an agent of it names it.
        return
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=attribute)], value=ast.Call() as call):
                pass
            case ast.AnnAssign(target=ast.Name(id=attribute), value=ast.Call() as call):
                pass
            case _:
                continue
        if _called(call) == "Agent" and _name_in(call) == name:
            yield attribute


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _name_in(call: ast.Call) -> str | None:
    """The name that is given; None for one that only running the code would tell."""
    for keyword in call.keywords:
        if keyword.arg == "name":
            value = keyword.value
            return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
    return "agent"
