"""Validates a final answer against the agent's output type."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from afk_es.errors import text_of
from afk_es.handlers.binding import Binding
from afk_es.machine import Draft, RunState
from afk_es.machine.effects import ValidateOutput
from afk_es.machine.values import canonical_json, clean_text, plain

_FENCE = re.compile(r"```(?:json)?[ \t]*\n")


class OutputHandler:
    """Performs `ValidateOutput`."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    async def __call__(self, effect: ValidateOutput, state: RunState) -> Draft:
        """The answer as JSON that validates, or Pydantic's words about what is wrong with it."""
        output_type = self._binding.agent.output_type
        if output_type is None:
            raise TypeError("the recorded agent has an output type and this one has none")
        try:
            answer = plain(effect.structured if effect.structured is not None else answer_in(effect.text))
            validated(output_type, answer)
        except ValidationError as error:
            return _rejected(str(error))
        except Exception as error:  # noqa: BLE001 - validators of the user's model run here; the model may do better
            return _rejected(f"{type(error).__name__}: {text_of(error)}")
        # The answer as it was given, and not a dump of the instance, which aliases and computed fields may keep from validating again.
        return Draft("output_validated", {"output": answer})


def answer_in(text: str) -> Any:
    """The JSON value that a text is, with or without a code fence around it.

    Raises:
        ValueError: it is not JSON.
    """
    # No one pattern for all of it: models have been seen to end in endless blanks, which it would try again from each of them.
    stripped = text.strip()
    fence = _FENCE.match(stripped) if stripped.endswith("```") else None
    try:
        return from_json(stripped[fence.end() : -3] if fence else text)
    except ValueError as error:
        raise ValueError(f"the answer is not JSON: {error}") from error


def validated(output_type: type[BaseModel], answer: Any) -> BaseModel:
    """The answer as an instance of the output type; read as JSON, so that strict models take dates and tuples the way JSON spells them.

    Raises:
        ValidationError: it is not one.
    """
    return output_type.model_validate_json(canonical_json(answer))


def _rejected(error: str) -> Draft:
    return Draft("output_rejected", {"error": clean_text(error)})
