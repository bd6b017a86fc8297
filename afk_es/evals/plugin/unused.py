"""Goldens that no test asks for. It claims that of a file only where it is certain, since what is unused may be deleted."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from afk_es.evals.plugin.uses import TestRun

_GOLDENS = "*.golden.jsonl"


@dataclass(frozen=True)
class Unused:
    """What is known of unused goldens.

    Attributes:
        files: that nobody asked for, for certain.
        doubts: why others could not be judged, a sentence each.
    """

    files: tuple[Path, ...] = ()
    doubts: tuple[str, ...] = ()


def unused_goldens(tests: Iterable[TestRun], *, golden_dir: str, covered: Sequence[Path], doubts: Sequence[str]) -> Unused:
    """The goldens beside the collected tests that none of them asked for.

    A directory is judged when all its tests that take the fixture have passed; the files of a module when all tests of it have. Files of
    a module that is gone are unused where the whole directory was collected.

    Args:
        golden_dir: name of the directory of goldens, beside each test file.
        covered: what pytest was told to collect.
        doubts: of the session as a whole; where there is one, nothing is judged.
    """
    if doubts:
        return Unused(doubts=tuple(doubts))
    asked: set[Path] = set()
    by_directory: dict[Path, list[TestRun]] = defaultdict(list)
    for test in tests:
        asked.update(Path(use.path).resolve() for use in test.uses)
        if test.file is not None:
            by_directory[test.file.parent].append(test)
    files: list[Path] = []
    found: list[str] = []
    for directory, here in sorted(by_directory.items()):
        goldens = directory / golden_dir
        if not goldens.is_dir():
            continue
        if failing := [test for test in here if test.asks and not test.passed]:
            found.append(f"{goldens}: {failing[0].nodeid} takes the fixture and has not passed, so what it asks for is not known")
            continue
        everything = any(directory.is_relative_to(given) for given in covered)
        for owned, doubt in _owned(goldens, directory, here, everything=everything):
            if doubt:
                found.append(doubt)
            else:
                files += [file for file in sorted(owned.glob(_GOLDENS)) if file.resolve() not in asked]
    return Unused(tuple(files), tuple(found))


def delete(files: Iterable[Path]) -> None:
    """Delete these goldens, and their directories where nothing else is in them."""
    for file in files:
        file.unlink(missing_ok=True)
        for directory in (file.parent, file.parent.parent):
            with suppress(OSError):
                os.rmdir(directory)


def _owned(goldens: Path, directory: Path, tests: Sequence[TestRun], *, everything: bool) -> Iterator[tuple[Path, str]]:
    """The directories of modules that were collected or are gone, each with why it cannot be judged, or ""."""
    passed: dict[str, bool] = defaultdict(lambda: True)
    for test in tests:
        if test.file is not None:
            passed[test.file.stem] &= test.passed is True
    for owned in sorted(goldens.iterdir()):
        if not owned.is_dir():
            continue
        if owned.name in passed:
            yield owned, "" if passed[owned.name] else f"{owned}: not every test of {owned.name}.py has passed"
        elif everything and not (directory / f"{owned.name}.py").exists():
            yield owned, ""
