"""How much of what is made from each shape's schema its validator takes, and what a value costs.

    python -m tests.testing.arguments.table [--values 500] [--json]

The cost is the processor's time of a whole Hypothesis test that does nothing with its values, per value; next to it that of `st.integers()` in the same
process, which is Hypothesis' own. `share` is the share of values that are valid as they come from the schema, before the validator filters.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from afk_es.testing.arguments import ORDINARY, invalid_arguments, valid_arguments
from afk_es.testing.arguments.overrides import NO_OVERRIDES
from afk_es.testing.arguments.targets import Target, refusal_of
from afk_es.testing.arguments.valid import candidates
from tests.testing.arguments.shapes import SHAPES

# How long a value takes is not asserted where other processes may have the processor; that few are thrown away is.
GATE = settings(max_examples=10, derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Row:
    """One shape's figures. Times are microseconds per value, Hypothesis' own part included."""

    shape: str
    share: float
    refused: int
    us: float
    us_invalid: float
    example: str


def drawn(strategy: SearchStrategy[Any], values: int, *, random: int = 1) -> list[Any]:
    """So many values, as a test with this seed gets them."""
    found: list[Any] = []
    _run(strategy, found.append, values, random)
    return found


def share_valid(target: Target, values: int) -> float:
    """The share of values from the schema that the validator takes, before any is filtered."""
    made = drawn(candidates(target, NO_OVERRIDES, ORDINARY), values)
    return sum(refusal_of(target, value) is None for value in made) / len(made)


def seconds(strategy: SearchStrategy[Any], values: int) -> float:
    """Seconds of the processor per value; the median of three runs."""
    times = []
    for random in range(3):
        count: list[Any] = []
        start = time.process_time()
        _run(strategy, count.append, values, random)
        times.append((time.process_time() - start) / len(count))
    return statistics.median(times)


def row(shape: str, target: Target, values: int) -> Row:
    """Measure one shape."""
    valid, invalid = valid_arguments(target), invalid_arguments(target)
    shown = drawn(valid, 30)
    return Row(
        shape=shape,
        share=share_valid(target, values),
        refused=sum(refusal_of(target, value) is not None for value in drawn(valid, values)),
        us=seconds(valid, values) * 1e6,
        us_invalid=seconds(invalid, values) * 1e6,
        example=json.dumps(shown[len(shown) // 2], ensure_ascii=False),
    )


def _run(strategy: SearchStrategy[Any], receive: Callable[[Any], None], values: int, random: int) -> None:
    @seed(random)
    @settings(max_examples=values, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def test(value: Any) -> None:
        receive(value)

    test()


def main(arguments_given: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--values", type=int, default=500, help="values per shape and figure (default 500)")
    parser.add_argument("--json", action="store_true", help="a JSON object a line instead")
    chosen = parser.parse_args(arguments_given)
    own = seconds(st.integers(), chosen.values) * 1e6
    print(f"st.integers(): {own:.0f} us per value" if not chosen.json else json.dumps({"st.integers_us": own}))
    for shape, target in SHAPES.items():
        found = row(shape, target, chosen.values)
        if chosen.json:
            print(json.dumps(asdict(found), ensure_ascii=False))
        else:
            print(
                f"{shape:34} {found.share:6.1%} {found.refused:3} {found.us:6.0f} {found.us_invalid:6.0f}  {found.example[:90]!r}",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
