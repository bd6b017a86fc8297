"""What arguments are made for: a tool, or a model of arguments alone; its schema as the model sees it, and its validator's word. Makes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from afk_es.errors import ConfigurationError, ToolArgumentsError
from afk_es.testing.arguments.documents import SchemaDocument
from afk_es.testing.arguments.hints import hinted_schema
from afk_es.tools import Tool
from afk_es.tools.arguments import validate_arguments

Target: TypeAlias = Tool[..., Any] | type[BaseModel]
"""A tool, or a Pydantic model of arguments."""


@dataclass(frozen=True)
class Refusal:
    """What the validator said of arguments that it does not take.

    Attributes:
        text: as the model is told it.
        fields: the arguments that are wrong, by the names they were sent under; empty where it is the whole.
    """

    text: str
    fields: frozenset[str]


def name_of(target: Target) -> str:
    """How messages call it."""
    return f"tool {target.name!r}" if isinstance(target, Tool) else f"model {target.__name__}"


def require_target(target: object) -> None:
    """Check that arguments can be made for this.

    Raises:
        ConfigurationError: neither a tool nor a model.
    """
    if not isinstance(target, Tool) and not (isinstance(target, type) and issubclass(target, BaseModel)):
        raise ConfigurationError(f"arguments are made for a tool or a Pydantic model, not for {target!r}; decorate a function with @tool")


# Kept, because whoever plays a model asks for each call.
@lru_cache(maxsize=512)
def document_of(target: Target) -> SchemaDocument:
    """The schema that the model sees, with hints."""
    if isinstance(target, Tool):
        return SchemaDocument(hinted_schema(target.args_model, target.parameters))
    return SchemaDocument(hinted_schema(target, target.model_json_schema()))


def refusal_of(target: Target, arguments: Any) -> Refusal | None:
    """Why the real validator refuses arguments; None if it takes them.

    Raises:
        Exception: what a validator of the user's raised other than `ValueError`; a run would meet it too.
    """
    try:
        if isinstance(target, Tool):
            target.validate(arguments)
        else:
            validate_arguments(target, arguments, target.__name__)
    except ToolArgumentsError as error:
        return Refusal(str(error), _fields(error.__cause__))
    except Exception as error:
        error.add_note(f"raised by the validator of {name_of(target)}, given {arguments!r}")
        raise
    return None


def _fields(cause: BaseException | None) -> frozenset[str]:
    if not isinstance(cause, ValidationError):
        return frozenset()
    places = [problem["loc"] for problem in cause.errors(include_url=False, include_context=False, include_input=False)]
    return frozenset(str(place[0]) for place in places) if all(places) else frozenset()
