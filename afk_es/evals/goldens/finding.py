"""What is found where two runs differ, before it is placed: a class, a field, both values, and what it is about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from afk_es.evals.goldens.divergence import DivergenceClass
from afk_es.machine.values import digest_json

Subject = Literal["call", "policy", "end", "limit", "answer", "request", "agent", "engine", "event"]
"""What a finding is about, by which the modes choose.

call: a tool call that the model asks for. policy: what the policy decides. end: the state that a run ends in. limit: a limit that was hit.
answer: the texts and values that models, tools and people gave. request: what a model is sent. agent: the description of the agent and its
config. engine: what another version of afk_es records in another way. event: anything else that is recorded, or is not.
"""


class Finding(msgspec.Struct, frozen=True):
    """A difference between two values. `expected` is the golden's."""

    subject: Subject
    kind: DivergenceClass
    field: str
    expected: Any
    actual: Any
    message: str = ""

    @property
    def identity(self) -> str:
        """Equal where the same thing differs in the same way, wherever it is met again."""
        return digest_json([self.field, self.expected, self.actual])


def plain_fields(value: Any) -> Any:
    """A Struct as JSON data with all of its fields, those that have their default among them, so that both sides name the same ones."""
    if isinstance(value, msgspec.Struct):
        return {name: plain_fields(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, (list, tuple)):
        return [plain_fields(item) for item in value]
    return value


def unknown_keys(raw: Any, whole: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Keys of some JSON that the Struct it was decoded into (as `plain_fields`) does not have."""
    if isinstance(raw, dict) and isinstance(whole, dict):
        for key, value in raw.items():
            if key not in whole:
                yield f"{path}.{key}", value
            else:
                yield from unknown_keys(value, whole[key], f"{path}.{key}")
    elif isinstance(raw, list) and isinstance(whole, list):
        for index, (one, other) in enumerate(zip(raw, whole, strict=False)):
            yield from unknown_keys(one, other, f"{path}[{index}]")
