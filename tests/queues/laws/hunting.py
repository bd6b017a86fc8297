"""Looks for a difference between the model and the product, from a seed, for so many examples or so long."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

STEPS = 40
ENOUGH = 1_000
"""Examples that a bug is looked for in."""


class Find(NamedTuple):
    """A difference. `sentence`: the first line of what was told; `seconds`: until then."""

    sentence: str
    seconds: float


def hunt(
    machine: type[RuleBasedStateMachine], first_seed: int, *, examples: int = ENOUGH, steps: int = STEPS, shrink: bool = False
) -> Find | None:
    """What is found, or None."""
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    rules = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    began = time.perf_counter()
    try:
        with quiet():
            run_state_machine_as_test(seed(first_seed)(machine), settings=rules)
    except Exception as error:  # noqa: BLE001 - whatever the product raises where the model does not is a difference
        return Find(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200], time.perf_counter() - began)
    return None


@contextmanager
def quiet() -> Iterator[None]:
    """Workers that lose their leases say so, and there are thousands of them."""
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
