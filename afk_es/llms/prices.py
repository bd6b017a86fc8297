"""Prices that the user gives, for models whose price nobody else knows or whose price is another one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from afk_es.errors import ConfigurationError
from afk_es.llms.response import LLMResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrices:
    """What a model costs, in US dollars per million tokens.

    Attributes:
        input_per_million_usd: for tokens of the request.
        output_per_million_usd: for tokens of the answer.
        cached_input_per_million_usd: for tokens of the request that the provider had in its prompt cache; None: like any others.

    Raises:
        ConfigurationError: a price that is negative or not finite.
    """

    input_per_million_usd: float
    output_per_million_usd: float
    cached_input_per_million_usd: float | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise ConfigurationError(f"{name} is a number of dollars, 0 or more; this is {value!r}")

    def cost_usd(self, response: LLMResponse) -> float | None:
        """What the answer cost; None where the provider did not say how many tokens it took."""
        usage = response.usage
        if usage is None:
            return None
        cached = min(response.cache_read_tokens or 0, usage.input_tokens) if self.cached_input_per_million_usd is not None else 0
        dollars = (usage.input_tokens - cached) * self.input_per_million_usd + usage.output_tokens * self.output_per_million_usd
        return (dollars + cached * (self.cached_input_per_million_usd or 0.0)) / 1_000_000
