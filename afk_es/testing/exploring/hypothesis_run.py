"""Lets Hypothesis draw examples for an exploration, quietly, and without touching the profiles that its user has."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from hypothesis.database import ExampleDatabase


class KeyedDatabase(ExampleDatabase):
    """Part of a database that is for one test only: Hypothesis would give one key to all explorations, since they are one function.

    Args:
        whole: the database.
        key: names the part.
    """

    def __init__(self, whole: ExampleDatabase, key: str) -> None:
        super().__init__()
        self._whole = whole
        self._key = key.encode() + b"\x00"

    def save(self, key: bytes, value: bytes) -> None:
        """Keep an example."""
        self._whole.save(self._key + key, value)

    def fetch(self, key: bytes) -> Iterable[bytes]:
        """The examples under a key."""
        yield from self._whole.fetch(self._key + key)

    def delete(self, key: bytes, value: bytes) -> None:
        """Forget an example."""
        self._whole.delete(self._key + key, value)


def draw_examples(
    example: Callable[[st.DataObject], None], *, examples: int, seed: int, key: str | None, targeted: bool, shrink: bool
) -> None:
    """Call `example` with data to draw from, until it raises or there were enough.

    Args:
        examples: how many.
        seed: what they are drawn from.
        key: under which failing examples are kept and tried first; None for neither.
        targeted: climb towards what `hypothesis.target` is told.
        shrink: go on with a failing one, to make it smaller.

    Raises:
        Exception: what the example raised, or Hypothesis of it.
    """
    phases = [Phase.reuse, Phase.generate, *([Phase.target] if targeted else []), *([Phase.shrink] if shrink else [])]
    whole = settings.default.database if key is not None and settings.default is not None else None
    configured = settings(
        max_examples=examples,
        phases=phases,
        database=KeyedDatabase(whole, key) if whole is not None and key is not None else None,
        derandomize=False,
        deadline=None,
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    hypothesis.seed(seed)(configured(given(st.data())(example)))()
