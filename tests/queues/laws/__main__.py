"""`python -m tests.queues.laws --minutes N`: the laws for so long, in examples of ever new seeds; `--bugs`: every planted bug, and what finds it."""

from __future__ import annotations

import argparse
import sys
import time

from tests.queues.laws.corpus import BUGS, planted
from tests.queues.laws.hunting import hunt
from tests.queues.laws.machine import QueueMachine


def laws(minutes: float, first_seed: int) -> int:
    """Look for a difference for so long; 1 where one is found."""
    until = time.monotonic() + 60 * minutes
    number, examples = first_seed, 0
    while time.monotonic() < until:
        found = hunt(QueueMachine, number, examples=50)
        examples += 50
        if found is not None:
            print(f"seed {number}: {found.sentence}\n`python -m tests.queues.laws --seed {number} --shrink` makes it small")
            return 1
        number += 1
    print(f"{examples} examples of 40 steps from seed {first_seed}: the product and the model are the same")
    return 0


def bugs(names: list[str]) -> int:
    """Look for every bug; 1 where one is not found."""
    missed = 0
    print("| law | planted bug | found by | seconds |\n|---|---|---|---|")
    for bug in BUGS:
        if names and not any(name in bug.name for name in names):
            continue
        with planted(bug):
            found = hunt(QueueMachine, 0)
        missed += found is None
        said = ("not found", "") if found is None else (found.sentence, f"{found.seconds:.1f}")
        print(f"| {bug.law} | {bug.mistake} | {said[0][:90]} | {said[1]} |", flush=True)
    return 1 if missed else 0


def main(arguments: list[str]) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.queues.laws", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shrink", action="store_true", help="make what the 50 examples of --seed find small, and show it")
    parser.add_argument("--bugs", nargs="*", metavar="NAME", help="look for the planted bugs instead, or for those with these names")
    options = parser.parse_args(arguments)
    if options.bugs is not None:
        return bugs(options.bugs)
    if options.shrink:
        from hypothesis import HealthCheck, seed, settings
        from hypothesis.stateful import run_state_machine_as_test

        rules = settings(max_examples=50, stateful_step_count=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        run_state_machine_as_test(seed(options.seed)(QueueMachine), settings=rules)
        return 0
    return laws(options.minutes, options.seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
