"""The long simulation: `python -m tests.simulation --seeds 100000` (or `--minutes 30`), with `--first` and `--jobs`.

Prints the rate and what the runs met; of each seed that fails, what it violates, and writes its runs as a log with the command to open it.
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

from afk_es.testing.exploring.artefact import write_counterexample
from afk_es.testing.exploring.shrinking import shrink
from tests.simulation.seeds import Simulated, simulate

_CHUNK = 50


def main() -> int:
    """Simulate, and say what was found: 0 for nothing, 1 for something."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many; default without --minutes: 10,000")
    parser.add_argument("--minutes", type=float, help="stop after so long")
    parser.add_argument("--first", type=int, default=0, help="the first seed; default 0")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; default one per core")
    parser.add_argument("--directory", type=Path, default=Path(".afk_es/counterexamples"), help="where to put the logs of failures")
    asked = parser.parse_args()
    many = asked.seeds if asked.seeds is not None else None if asked.minutes else 10_000
    seeds = itertools.count(asked.first) if many is None else range(asked.first, asked.first + many)
    until = None if asked.minutes is None else time.monotonic() + asked.minutes * 60
    return _told(_simulated(seeds, asked.jobs, until), asked.directory)


def _simulated(seeds: Iterable[int], jobs: int, until: float | None) -> Iterator[Simulated]:
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for found in pool.imap_unordered(simulate, seeds, chunksize=_CHUNK):
            yield found
            if until is not None and time.monotonic() > until:
                pool.terminate()
                return


def _told(all_found: Iterable[Simulated], directory: Path) -> int:
    began = time.monotonic()
    runs = events = processes = actions = 0
    types: Counter[str] = Counter()
    states: Counter[str] = Counter()
    failed: list[Simulated] = []
    for found in all_found:
        runs += 1
        events += found.events
        processes += found.processes
        actions += len(found.script)
        types.update(found.types)
        states.update(found.states)
        if found.problem is not None:
            failed.append(found)
            print(f"seed {found.seed}: {type(found.problem).__name__}: {found.problem}", flush=True)
        if runs % 10_000 == 0:
            print(f"{runs:,} runs, {runs / (time.monotonic() - began):,.0f} a second", flush=True)
    seconds = time.monotonic() - began
    print(f"{runs:,} simulated runs in {seconds:.1f} s, {runs / seconds:,.0f} a second: {events:,} events, {actions:,} actions,")
    print(f"{processes:,} processes; {len(failed)} failed")
    print("results:", ", ".join(f"{state} {count:,}" for state, count in states.most_common()))
    print("events:", ", ".join(f"{kind} {count:,}" for kind, count in types.most_common()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
