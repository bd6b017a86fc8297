"""An adversary's choices as Hypothesis draws them, so that it can shrink them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

from hypothesis import strategies as st

from afk_es.machine.spec import ToolSpec
from afk_es.testing.exploring.choices import sampled_arguments
from afk_es.testing.exploring.sampling import sample
from afk_es.tools import Tool

T = TypeVar("T")


@lru_cache(maxsize=512)
def _integers(lowest: int, highest: int) -> st.SearchStrategy[int]:
    return st.integers(lowest, highest)


class DrawnChoices:
    """Choices that Hypothesis makes.

    Args:
        data: what `st.data()` gives a test or a rule of a state machine.
    """

    def __init__(self, data: st.DataObject) -> None:
        # `data.draw` would note every single draw beside the failure, which is told as a script instead.
        self._draw = data.conjecture_data.draw

    def integer(self, lowest: int, highest: int) -> int:
        """One of the integers from `lowest` to `highest`, both included; shrinks to the lowest."""
        return self._draw(_integers(lowest, highest))

    def pick(self, options: Sequence[T]) -> T:
        """One of these; shrinks to the first."""
        return options[self._draw(_integers(0, len(options) - 1))] if len(options) > 1 else options[0]

    def chance(self, percent: int) -> bool:
        """True so many times in a hundred; shrinks to False."""
        return self._draw(_integers(0, 99)) >= 100 - percent

    def arguments(self, spec: ToolSpec, tool: Tool[..., Any] | None) -> dict[str, Any]:
        """Arguments that the tool takes."""
        return sampled_arguments(self, spec, tool)

    def value(self, schema: dict[str, Any]) -> Any:
        """A JSON value by a schema."""
        return sample(schema, self)

    def drawn(self, strategy: st.SearchStrategy[Any]) -> Any:
        """A value of the strategy."""
        return self._draw(strategy)
