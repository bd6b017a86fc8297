"""The crash proof in numbers: `python -m tests.crash.matrix [--seeds N] [--minutes M] [--jobs J] [--sigkill K]`.

Every crash scenario, golden and generated run is killed at every event, before and after each effect, and resumed in a new process; real
processes are killed with SIGKILL, race for a run, and go on behind the back of who has taken theirs over. A promise that was broken is told
with its seed and point, and its run is written to a file.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

from tests.crash.goldens import RECORDED, STORIES, record_airline, record_stories
from tests.crash.proof import PARTS, PROMISES, Piece, Row, done

HEAD = (
    f"{'':24}{'runs':>7}{'points':>8}{'repeated':>10}{'silent':>8}{'changed':>9}{'unresumable':>13}{'wrong':>7}{'missed':>8}{'other':>7}"
    f"{'told unknown':>14}{'points/s':>10}"
)


class Table:
    """The rows so far."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.errors: list[str] = []

    @property
    def problems(self) -> list[str]:
        """Everything that went wrong."""
        return [*self.errors, *(problem for row in self.rows for problem in row.problems)]

    def __str__(self) -> str:
        lines = [HEAD]
        for part, title in PARTS.items():
            rows = [row for row in self.rows if row.piece.part == part]
            if rows:
                lines.append(_line(title, rows))
        return "\n".join([*lines, _line("all", self.rows)])


def _line(title: str, rows: list[Row]) -> str:
    broken = Counter(promise for row in rows for promise in row.broken)
    repeat, doubt, prefix, resume, result, point, *other = (broken[promise] for promise in PROMISES)
    points, seconds = sum(row.points for row in rows), sum(row.seconds for row in rows)
    return (
        f"{title:24}{sum(row.runs for row in rows):>7}{points:>8}{repeat:>10}{doubt:>8}{prefix:>9}{resume:>13}{result:>7}{point:>8}"
        f"{sum(other):>7}{sum(row.unknown for row in rows):>14}{points / seconds if seconds else 0:>10.1f}"
    )


def pieces(given: argparse.Namespace, directory: Path) -> Iterator[Piece]:
    """What there is to do: what is named first, what is drawn behind it, the kinds by turns."""
    if not given.only_generated:
        yield from (Piece("scenario", name, given.points) for name in RECORDED)
        yield from (Piece("golden", name, given.points) for name in RECORDED)
        stories = record_stories(directory)
        yield from (Piece("story", name, given.points, stories) for name in STORIES)
        yield from (Piece("conversation", key, given.points, path) for key, path in record_airline(directory).items())
    seeds = itertools.count(given.first) if given.seeds is None else iter(range(given.first, given.first + given.seeds))
    kills = iter(range(given.first, given.first + given.sigkill))
    while (seed := next(seeds, None)) is not None:
        yield Piece("generated", str(seed), given.deaths)
        kill = next(kills, None)
        if kill is not None:
            yield from _kills(kill)
    for kill in kills:
        yield from _kills(kill)


def _kills(number: int) -> Iterator[Piece]:
    """Runs whose real processes are killed, by turns of a seed and of a scenario; beside each second, a race or a stale owner."""
    names = list(RECORDED)
    source = names[number // 2 % len(names)] if number % 2 else str(number)
    yield Piece("killed", source)
    if number % 2 == 0:
        yield Piece("contended" if number % 4 else "usurped", source)


def prove(given: argparse.Namespace, directory: Path) -> Table:
    """Do them all, or as many as the time allows."""
    table = Table()
    over = time.monotonic() + given.minutes * 60 if given.minutes is not None else float("inf")
    work = pieces(given, directory)
    with ProcessPoolExecutor(given.jobs, mp_context=multiprocessing.get_context("forkserver")) as pool:
        under_way: dict[Future[Row], Piece] = {}
        while True:
            while len(under_way) < 2 * given.jobs and time.monotonic() < over and (piece := next(work, None)) is not None:
                under_way[pool.submit(done, piece, given.keep / f"{piece.part}-{piece.name.replace(' ', '-').replace(':', '')}")] = piece
            if not under_way:
                return table
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                _take(table, under_way.pop(future), future, given.verbose)


def _take(table: Table, piece: Piece, future: Future[Row], verbose: bool) -> None:
    error = future.exception()
    if error is not None:
        # The proof itself failed, which says nothing for the run.
        table.errors.append(f"{PARTS[piece.part]}: {piece.name}: {type(error).__name__}: {error}")
        print(table.errors[-1], flush=True)
        return
    row = future.result()
    table.rows.append(row)
    for problem in row.problems:
        print(f"{PARTS[piece.part]}: {problem}", flush=True)
    if row.left_out:
        print(f"left out: {row.left_out}", flush=True)
    elif verbose:
        print(f"{piece.part:12} {piece.name:36} {row.points:>6} points {len(row.problems):>3} problems {row.seconds:>6.1f} s", flush=True)


def main() -> int:
    """Prove it, or say where it fails. 0: every promise held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, help="generated runs; default 100, or as many as the time allows where --minutes is given")
    parser.add_argument("--first", type=int, default=0, help="the first seed; default 0. `--only-generated --first N --seeds 1` is seed N")
    parser.add_argument("--deaths", type=int, default=12, help="how often each generated run is killed, some of them twice; default 12")
    parser.add_argument("--points", type=int, help="points of each run of a scenario or golden at most; default all")
    parser.add_argument("--minutes", type=float, help="begin nothing more after that long")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once; default 2")
    parser.add_argument("--sigkill", type=int, default=20, help="runs whose real processes are killed; default 20")
    parser.add_argument("--only-generated", action="store_true", help="leave out scenarios and goldens")
    parser.add_argument("--keep", type=Path, help="where failing runs are written; default a new directory")
    parser.add_argument("--verbose", action="store_true", help="a line for each piece")
    given = parser.parse_args()
    if given.seeds is None and given.minutes is None:
        given.seeds = 100
    given.keep = given.keep or Path(tempfile.mkdtemp(prefix="afk_es-crash-failures-"))
    with tempfile.TemporaryDirectory() as directory:
        table = prove(given, Path(directory))
    print(table)
    print(f"{len(table.problems)} problems" + (f"; their runs are in {given.keep}" if table.problems else ""))
    return 1 if table.problems else 0


if __name__ == "__main__":
    sys.exit(main())
