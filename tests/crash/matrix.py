"""Prints the crash matrix: `python -m tests.crash.matrix`."""

from __future__ import annotations

from collections import Counter

from afk_es.testing import crash_everywhere
from tests.crash.scenarios import SCENARIOS
from tests.crash.test_matrix import what_the_world_saw


def main() -> None:
    """Every scenario, killed at every point."""
    total: Counter[str] = Counter()
    for name, scenario in SCENARIOS.items():
        matrix = crash_everywhere(scenario, what_the_world_saw)
        total.update(matrix.summary())
        print(f"{name:32}", *(f"{count:>4} {column}" for column, count in matrix.summary().items()))
        for problem in matrix.problems:
            print(f"    {problem}")
    print(f"{'all':32}", *(f"{count:>4} {column}" for column, count in total.items()))


if __name__ == "__main__":
    main()
