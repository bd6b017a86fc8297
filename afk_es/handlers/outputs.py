"""Validates a final answer against the agent's output type."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from afk_es.handlers.binding import Binding
from afk_es.machine import Draft, RunState
from afk_es.machine.effects import ValidateOutput
from afk_es.machine.values import clean_text, plain

_FENCE = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```\s*\Z", re.DOTALL)


class OutputHandler:
    """Performs `ValidateOutput`."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    async def __call__(self, effect: ValidateOutput, state: RunState) -> Draft:
        """The validated answer as plain JSON, or Pydantic's words about what is wrong with it."""
        output_type = self._binding.agent.output_type
        if output_type is None:
            raise TypeError("the recorded agent has an output type and this one has none")
        try:
            value = parsed(output_type, effect.text, effect.structured)
            return Draft("output_validated", {"output": plain(value.model_dump(mode="json"))})
        except ValidationError as error:
            return _rejected(str(error))
        except Exception as error:  # noqa: BLE001 - validators and serialisers of the user's model run here; the model may do better
            return _rejected(f"{type(error).__name__}: {error}")


def parsed(output_type: type[BaseModel], text: str, structured: Any) -> BaseModel:
    """The answer as an instance of the output type: the provider's structured response, or the text, with or without a code fence.

    Raises:
        ValidationError: it is not one.
    """
    if structured is not None:
        return output_type.model_validate(structured)
    fenced = _FENCE.match(text)
    return output_type.model_validate_json(fenced[1] if fenced else text)


def _rejected(error: str) -> Draft:
    return Draft("output_rejected", {"error": clean_text(error)})
