"""Benchmarks: each row is measured with its floor beside it, in one run, and printed as a table at the end. No time is asserted.

Run them alone on the machine: `python -m pytest tests/benchmarks --benchmark-enable -p no:xdist`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

ROUNDS = 3


@dataclass(frozen=True)
class Row:
    """A line of the table; times in seconds per unit of work, or a plain figure."""

    work: str
    unit: str
    ours: float
    floor: float | None
    aim: str
    floor_is: str


ROWS: list[Row] = []

_SCALE = {"us": 1e6, "ms": 1e3, "s": 1.0}


class Table:
    """Measures ours and the floor in turn, takes medians, and notes a row."""

    def __init__(self, benchmark: Any) -> None:
        self._benchmark = benchmark
        self._noted = False

    def compare(
        self,
        work: str,
        ours: Callable[[], float],
        floor: Callable[[], float] | None = None,
        *,
        unit: str = "us",
        aim: str = "",
        floor_is: str = "",
        rate: bool = False,
    ) -> None:
        """Note the medians of both.

        Args:
            ours: does the work and returns seconds per unit of it, measured inside so that preparation does not count.
            floor: the same for the least that the work could cost here.
            rate: show units per second instead of the time of one.
        """
        taken: list[float] = []
        floors: list[float] = []

        def one_round() -> None:
            if floor is not None:
                floors.append(floor())
            taken.append(ours())

        self._benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)
        mine = statistics.median(taken[1:])
        least = statistics.median(floors[1:]) if floors else None
        if rate:
            ROWS.append(Row(work, "/s", 1 / mine, 1 / least if least else None, aim, floor_is))
        else:
            scale = _SCALE[unit]
            ROWS.append(Row(work, unit, mine * scale, least * scale if least is not None else None, aim, floor_is))

    def note(self, work: str, value: float, floor: float | None, *, unit: str, aim: str, floor_is: str = "") -> None:
        """Note a figure that is not a time."""
        if not self._noted:  # pytest-benchmark wants to have been used, and only once.
            self._benchmark.pedantic(lambda: None, rounds=1)
            self._noted = True
        ROWS.append(Row(work, unit, value, floor, aim, floor_is))


@pytest.fixture
def table(benchmark: Any) -> Table:
    """The table that this benchmark adds a row to."""
    return Table(benchmark)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    if not ROWS:
        return
    terminalreporter.section("figures beside their floors")
    terminalreporter.write_line(f"{'work':<54}{'ours':>12}{'floor':>12} {'unit':<5}{'ratio':>7}  aim")
    for row in ROWS:
        floor = f"{row.floor:,.1f}" if row.floor is not None else "-"
        ratio = ""
        if row.floor:
            ratio = f"{(row.floor / row.ours if row.unit == '/s' else row.ours / row.floor):.2f}x"
        terminalreporter.write_line(f"{row.work:<54}{row.ours:>12,.1f}{floor:>12} {row.unit:<5}{ratio:>7}  {row.aim}")
        if row.floor_is:
            terminalreporter.write_line(f"{'':<6}floor: {row.floor_is}")
