"""Marks that code leaves where it was: `reachable` and `sometimes`, counted by an exploration and free of charge without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Marks = dict[str, int]
"""Per mark, how often it held; 0 for one that was passed and never held."""

_MARKS: ContextVar[Marks | None] = ContextVar("afk_es_marks", default=None)


def reachable(name: str) -> None:
    """Say that this place was reached. In an invariant, a tool, a hook, a policy's condition, or a test.

    Args:
        name: names the place: `explore(..., require=["reachable:" + name])` fails if no example comes here.
    """
    marks = _MARKS.get()
    if marks is not None:
        key = f"reachable:{name}"
        marks[key] = marks.get(key, 0) + 1


def sometimes(name: str, condition: object) -> None:
    """Say that a condition is expected to hold here at times; an exploration reports one that never does.

    Args:
        name: names it: `explore(..., require=["sometimes:" + name])` fails if it never holds.
        condition: whatever is true or not.
    """
    marks = _MARKS.get()
    if marks is not None:
        key = f"sometimes:{name}"
        marks[key] = marks.get(key, 0) + bool(condition)


@contextmanager
def counting() -> Iterator[Marks]:
    """Count the marks that are passed meanwhile, by this task and those that it starts."""
    marks: Marks = {}
    token = _MARKS.set(marks)
    try:
        yield marks
    finally:
        _MARKS.reset(token)
