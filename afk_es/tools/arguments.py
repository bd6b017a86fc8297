"""Validates what a model sent as arguments, and says what is wrong so that the model can put it right."""

from __future__ import annotations

import difflib
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from afk_es.errors import ToolArgumentsError
from afk_es.machine.values import clean_text

MAX_PROBLEMS = 20
MAX_SHOWN_INPUT = 80

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()


def validate_arguments(model: type[BaseModel], arguments: dict[str, Any] | str, tool_name: str) -> BaseModel:
    """The validated arguments.

    They are read as JSON, so that strict models take dates, enums and tuples the way JSON spells them. An empty string counts as no
    arguments: some models send that for tools without parameters.

    Raises:
        ToolArgumentsError: with every problem, one a line.
    """
    if isinstance(arguments, str):
        arguments = _decoded(arguments, tool_name)
    try:
        # By name as well: that is how a policy sees the arguments, and how it gives back those it changes.
        return model.model_validate_json(_ENCODER.encode(arguments), by_alias=True, by_name=True)
    except ValidationError as error:
        raise ToolArgumentsError(_explained(error, model, tool_name)) from error
    except (TypeError, ValueError, OverflowError, RecursionError):
        # Not JSON: arguments given by a program, or numbers and texts that only Python can hold.
        return validate_values(model, arguments, tool_name)


def validate_values(model: type[BaseModel], values: dict[str, Any], tool_name: str, context: dict[str, Any] | None = None) -> BaseModel:
    """The validated arguments, from Python values by field name or alias.

    Raises:
        ToolArgumentsError: with every problem, one a line.
    """
    try:
        return model.model_validate(values, by_alias=True, by_name=True, context=context)
    except ValidationError as error:
        raise ToolArgumentsError(_explained(error, model, tool_name)) from error


def _decoded(text: str, tool_name: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        value = _DECODER.decode(clean_text(text))
    except (msgspec.DecodeError, RecursionError) as error:
        raise ToolArgumentsError(f"the arguments for {tool_name} are not valid JSON ({error}); send one complete JSON object") from error
    if not isinstance(value, dict):
        raise ToolArgumentsError(f"the arguments for {tool_name} must be one JSON object, not {_shown(value)}")
    return value


def _explained(error: ValidationError, model: type[BaseModel], tool_name: str) -> str:
    problems = error.errors(include_url=False, include_context=False)
    lines = [_line(problem, model) for problem in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        lines.append(f"- and {len(problems) - MAX_PROBLEMS} more")
    return f"invalid arguments for {tool_name}:\n" + "\n".join(lines)


def _line(problem: ErrorDetails, model: type[BaseModel]) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    line = f"- {path}: {problem['msg']}" if path else f"- {problem['msg']}"
    if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
        names = list(model.model_json_schema().get("properties", ()))
        close = difflib.get_close_matches(path, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the arguments are: {', '.join(names) or 'none'}"
        return f"{line}; {hint}"
    return line if problem["type"] == "missing" else f"{line} (got {_shown(problem['input'])})"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_INPUT else text[: MAX_SHOWN_INPUT - 3] + "..."
