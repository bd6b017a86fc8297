"""Lets Hypothesis draw examples for an exploration, quietly, and without touching the profiles that its user has."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st


def draw_examples(example: Callable[[st.DataObject], None], *, examples: int, seed: int, targeted: bool) -> None:
    """Call `example` with data to draw from, until it raises or there were enough.

    Hypothesis neither keeps nor shrinks what fails: an exploration keeps scripts, which outlive changes of what is drawn, and shrinks those.

    Args:
        examples: how many.
        seed: what they are drawn from.
        targeted: climb towards what `hypothesis.target` is told.

    Raises:
        Exception: what the example raised, or Hypothesis of it.
    """
    configured = settings(
        max_examples=examples,
        phases=[Phase.generate, *([Phase.target] if targeted else [])],
        database=None,
        derandomize=False,
        deadline=None,
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    hypothesis.seed(seed)(configured(given(st.data())(example)))()
