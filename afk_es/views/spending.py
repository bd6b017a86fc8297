"""What each model of a run was asked for and used up: tokens and dollars by model, as a fold of the run's events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from afk_es.machine.events import AgentRunEvent
from afk_es.machine.values import Usage

_NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class ModelUse:
    """What one model of a run was asked for and used up.

    Attributes:
        requests: how often it was asked, retries included.
        answers: how often it answered.
        cached: of the answers, those that a cache had.
        usage: tokens of the answers whose provider said how many.
        cache_read_tokens: of the input tokens, those that the provider had in its prompt cache.
        cost_usd: known costs added up; None where no answer carried a price.
    """

    requests: int = 0
    answers: int = 0
    cached: int = 0
    usage: Usage = _NOTHING
    cache_read_tokens: int = 0
    cost_usd: float | None = None


def usage_by_model(events: Iterable[AgentRunEvent]) -> dict[str, ModelUse]:
    """What each model used up, by the name it was asked under, in the order in which they were first asked.

    Args:
        events: of one run; other types than `llm_called` and `llm_completed` may be left out.
    """
    uses: dict[str, ModelUse] = {}
    dollars: dict[str, Decimal] = {}
    asked = ""
    for event in events:
        data = event.data
        if event.type == "llm_called":
            asked = data["model"]
            use = uses.get(asked, ModelUse())
            uses[asked] = replace(use, requests=use.requests + 1)
        elif event.type == "llm_completed" and asked in uses:
            use, said = uses[asked], data["usage"]
            if data["cost_usd"] is not None:
                dollars[asked] = dollars.get(asked, Decimal(0)) + Decimal(repr(data["cost_usd"]))
            uses[asked] = ModelUse(
                use.requests,
                use.answers + 1,
                use.cached + bool(data.get("cached")),
                use.usage if said is None else use.usage + Usage(said["input_tokens"], said["output_tokens"], said["total_tokens"]),
                use.cache_read_tokens + (0 if said is None else said.get("cache_read_tokens", 0)),
                float(dollars[asked]) if asked in dollars else None,
            )
    return uses
