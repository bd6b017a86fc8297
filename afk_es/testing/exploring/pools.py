"""Choices from a seed, with arguments and outputs that Hypothesis has made: its strategies know schemas, and a seed is fast and never repeats itself.

Hypothesis itself is no good at drawing whole runs: five of six examples it makes by copying parts of one it has, and a run that is the same up
to its last act shows nothing new.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from afk_es.machine.spec import ToolSpec
from afk_es.testing.arguments import invalid_arguments, valid_arguments
from afk_es.testing.exploring.choices import SeededChoices
from afk_es.tools import Tool

Overrides = Mapping[str, Mapping[Any, st.SearchStrategy[Any]]]
"""Per tool, what its arguments are made by instead of their schema; see `afk_es.testing.arguments`."""

SIZE = 24
"""Values of a pool."""


class Pools:
    """Arguments of tools, right and wrong ones, and values of strategies. Made when first asked for.

    Args:
        overrides: see `Overrides`.
        seed: what they are drawn from.
    """

    def __init__(self, overrides: Overrides, seed: int) -> None:
        self._overrides = overrides
        self._seed = seed
        self._pools: dict[tuple[str, int], Sequence[Any]] = {}
        # Pools are found by the identity of what they are of, which has to stay alive for that.
        self._owners: list[object] = []

    def right(self, spec: ToolSpec, tool: Tool[..., Any], *, odd: bool) -> Sequence[dict[str, Any]]:
        """Arguments that a tool takes."""
        overrides = self._overrides.get(spec.name)
        swarm = odd and overrides is None
        return self._pool("odd" if swarm else "right", tool, lambda: valid_arguments(tool, overrides=overrides, swarm=swarm))

    def wrong(self, spec: ToolSpec, tool: Tool[..., Any]) -> Sequence[dict[str, Any] | str]:
        """Arguments that it refuses; none for a tool that takes everything."""
        overrides = self._overrides.get(spec.name)
        return self._pool("wrong", tool, lambda: invalid_arguments(tool, overrides=overrides).map(lambda broken: broken.arguments))

    def values(self, strategy: st.SearchStrategy[Any]) -> Sequence[Any]:
        """Values of a strategy."""
        return self._pool("values", strategy, lambda: strategy)

    def _pool(self, kind: str, owner: object, strategy: Any) -> Sequence[Any]:
        key = (kind, id(owner))
        if key not in self._pools:
            self._owners.append(owner)
            self._pools[key] = values_of(strategy(), SIZE, self._seed)
        return self._pools[key]


def values_of(strategy: st.SearchStrategy[Any], size: int, seed: int) -> list[Any]:
    """So many values of a strategy, drawn from a seed; fewer where it has no more, or gives most of its examples up."""
    values: list[Any] = []

    def keep(value: Any) -> None:
        values.append(value)

    configured = settings(
        max_examples=size,
        phases=[Phase.generate],
        database=None,
        derandomize=False,
        deadline=None,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    with contextlib.suppress(Unsatisfiable):
        hypothesis.seed(seed)(configured(given(strategy)(keep)))()
    return values


class PooledChoices(SeededChoices):
    """Choices drawn from a seed, arguments and outputs from pools.

    Args:
        seed: any integer.
        pools: where they are from.
    """

    def __init__(self, seed: int, pools: Pools) -> None:
        super().__init__(seed)
        self._pools = pools

    def arguments(self, spec: ToolSpec, tool: Tool[..., Any] | None, *, odd: bool = False) -> dict[str, Any]:
        """Arguments that the tool takes; sampled from the schema where there is no tool to ask."""
        pool = self._pools.right(spec, tool, odd=odd) if tool is not None else ()
        return self.pick(pool) if pool else super().arguments(spec, tool)

    def wrong_arguments(self, spec: ToolSpec, tool: Tool[..., Any] | None) -> dict[str, Any] | str:
        """Arguments that the tool refuses."""
        pool = self._pools.wrong(spec, tool) if tool is not None else ()
        return self.pick(pool) if pool else super().wrong_arguments(spec, tool)

    def drawn(self, strategy: Any) -> Any:
        """A value of the strategy."""
        return self.pick(self._pools.values(strategy))
