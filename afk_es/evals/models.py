"""Cases, budgets and what suites come to, as data at the edge."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class EvalCase(BaseModel):
    """One run of an agent, and what it has to come to."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True)

    name: str
