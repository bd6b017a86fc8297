"""The long simulation: `python -m tests.simulation --seeds 100000`, or `--minutes 30`; further `--first`, `--jobs`, `--directory`.

Prints the rate and what the runs met. Of a seed that fails it prints what is violated and the smallest script that does it, and writes the
runs as a log, with the command that opens it; `--first SEED --seeds 1` simulates that seed again.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from afk_es.errors import UsageError
from afk_es.testing.exploring.artefact import debug_command, write_counterexample
from afk_es.testing.exploring.shrinking import shrink
from afk_es.testing.exploring.telling import told as told_script
from tests.simulation.seeds import Simulated, simulate_all, stage_of

T = TypeVar("T")

_CHUNK = 50
_SHRUNK = 5
"""Failures that are made smaller; the others are only named."""


def main() -> int:
    """Simulate, and say what was found: 0 for nothing, 1 for something."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many; default 10,000, or without end where --minutes is given")
    parser.add_argument("--minutes", type=float, help="stop after so long")
    parser.add_argument("--first", type=int, default=0, help="the first seed; default 0")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; default one for each core")
    parser.add_argument("--directory", type=Path, default=Path(".afk_es/simulation"), help="where to put the logs of failures")
    asked = parser.parse_args()
    many = asked.seeds if asked.seeds is not None else None if asked.minutes else 10_000
    seeds = itertools.count(asked.first) if many is None else range(asked.first, asked.first + many)
    until = None if asked.minutes is None else time.monotonic() + asked.minutes * 60
    return told(_simulated(seeds, asked.jobs, until), asked.directory)


def _simulated(seeds: Iterable[int], jobs: int, until: float | None) -> Iterator[Simulated]:
    chunks = _batched(iter(seeds), _CHUNK)
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        # Few at a time: the pool would else read seeds without end.
        for some in _batched(chunks, jobs * 2):
            for found in pool.imap_unordered(simulate_all, some):
                yield from found
            if until is not None and time.monotonic() > until:
                return


def _batched(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while some := list(itertools.islice(items, size)):
        yield some


def told(all_found: Iterable[Simulated], directory: Path) -> int:
    """Print what was found and how much was looked at: 0 for nothing, 1 for something."""
    began = time.monotonic()
    runs = actions = processes = failed = 0
    types: Counter[str] = Counter()
    states: Counter[str] = Counter()
    for found in all_found:
        runs += 1
        actions += len(found.script)
        processes += found.processes
        types.update(found.types)
        states.update(found.states)
        if found.problem is not None:
            failed += 1
            print(f"seed {found.seed}: {found.problem}", flush=True)
            if failed <= _SHRUNK:
                _show(found, directory)
        if runs % 10_000 == 0:
            print(f"{runs:,} runs, {runs / (time.monotonic() - began):,.0f} a second", flush=True)
    seconds = time.monotonic() - began
    rate = f"{runs / seconds:,.0f} a second"
    print(f"{runs:,} simulated runs in {seconds:,.1f} s, {rate}: {types.total():,} events, {actions:,} actions, {processes:,} processes")
    print(f"{failed:,} of them violate what is promised")
    print("results:", ", ".join(f"{state} {count:,}" for state, count in states.most_common()))
    print("events:", ", ".join(f"{kind} {count:,}" for kind, count in types.most_common()))
    return 1 if failed else 0


def _show(found: Simulated, directory: Path) -> None:
    """The smallest script that violates the same, and its log."""
    assert found.problem is not None
    try:
        shrunk = shrink(found.script, stage_of(found.seed), violation=found.invariant)
    except UsageError as error:
        print(f"    {error}", flush=True)
        return
    path = write_counterexample(shrunk.trial.simulation, shrunk.violation, directory, f"seed-{found.seed}", script=shrunk.script)
    for line in told_script(shrunk.script):
        print(f"    {line}")
    print(f"    {shrunk.violation}")
    print(f"    {debug_command(path, shrunk.violation)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
