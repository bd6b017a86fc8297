"""An adversary's choices as Hypothesis draws them, so that it can shrink them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

from hypothesis import strategies as st

from afk_es.machine.spec import ToolSpec
from afk_es.testing.arguments import BrokenArguments, invalid_arguments, valid_arguments
from afk_es.testing.exploring.choices import sampled_arguments, spoiled
from afk_es.testing.exploring.pools import Overrides
from afk_es.testing.exploring.sampling import sample
from afk_es.tools import Tool

T = TypeVar("T")


@lru_cache(maxsize=512)
def _integers(lowest: int, highest: int) -> st.SearchStrategy[int]:
    return st.integers(lowest, highest)


class DrawnChoices:
    """Choices that Hypothesis makes.

    Args:
        data: what `st.data()` gives a test or a rule of a state machine, or what `@st.composite` gives its function.
        overrides: per tool, what its arguments are made by instead of their schema; default nothing.
    """

    def __init__(self, data: st.DataObject | st.DrawFn, overrides: Overrides | None = None) -> None:
        # `DataObject.draw` would note every single draw beside the failure, which is told as a script instead.
        self._draw: Any = data.conjecture_data.draw if isinstance(data, st.DataObject) else data
        self._overrides = overrides or {}

    def integer(self, lowest: int, highest: int) -> int:
        """One of the integers from `lowest` to `highest`, both included; shrinks to the lowest."""
        drawn: int = self._draw(_integers(lowest, highest))
        return drawn

    def pick(self, options: Sequence[T]) -> T:
        """One of these; shrinks to the first."""
        return options[self.integer(0, len(options) - 1)] if len(options) > 1 else options[0]

    def chance(self, percent: int) -> bool:
        """True so many times in a hundred; shrinks to False."""
        return self.integer(0, 99) >= 100 - percent

    def arguments(self, spec: ToolSpec, tool: Tool[..., Any] | None, *, odd: bool = False) -> dict[str, Any]:
        """Arguments that the tool takes."""
        if tool is None:
            return sampled_arguments(self, spec, tool)
        strategy = valid_arguments(tool, overrides=self._overrides.get(spec.name), swarm=odd and spec.name not in self._overrides)
        drawn: dict[str, Any] = self._draw(strategy)
        return drawn

    def wrong_arguments(self, spec: ToolSpec, tool: Tool[..., Any] | None) -> dict[str, Any] | str:
        """Arguments that the tool refuses."""
        if tool is None:
            return spoiled(self, sampled_arguments(self, spec, tool))
        broken: BrokenArguments = self._draw(invalid_arguments(tool, overrides=self._overrides.get(spec.name)))
        return broken.arguments

    def value(self, schema: dict[str, Any]) -> Any:
        """A JSON value by a schema."""
        return sample(schema, self)

    def drawn(self, strategy: st.SearchStrategy[Any]) -> Any:
        """A value of the strategy."""
        return self._draw(strategy)
