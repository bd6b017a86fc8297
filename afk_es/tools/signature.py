"""Turns a function into what a model can call: an arguments model, its JSON Schema, and how to pass the arguments on."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from afk_es.errors import ConfigurationError
from afk_es.tools.context import ToolContext

CONTEXT_NAMES = frozenset({"ctx", "context"})

Invocation = Callable[[Any, ToolContext], Any]
"""Calls the function with validated arguments and the context."""


@dataclass(frozen=True, slots=True)
class Signature:
    """How a function is called by a model.

    Attributes:
        args_model: validates the arguments.
        parameters: their JSON Schema.
        invoke: calls the function.
        is_async: whether it is a coroutine function; otherwise it runs in a thread.
        renamed: field names of a generated model that differ from the parameter's, because Pydantic reserves the latter.
    """

    args_model: type[BaseModel]
    parameters: dict[str, Any]
    invoke: Invocation
    is_async: bool
    renamed: Mapping[str, str]

    def of_dict(self, parameters: dict[str, Any]) -> Signature:
        """The same for a function that takes the dict which `args_model`, a root model, holds.

        Args:
            parameters: the schema as the model is shown it.
        """
        invoke = self.invoke
        return replace(self, parameters=parameters, invoke=lambda args, ctx: invoke(args.model_dump(), ctx))


def read_signature(
    function: Callable[..., Any],
    name: str,
    args_model: type[BaseModel] | None,
    descriptions: Mapping[str, str],
    caller_locals: Mapping[str, Any],
) -> Signature:
    """Read a tool's function.

    Args:
        function: the tool's function.
        name: the tool's name, for error messages.
        args_model: the model of its single argument; None where the arguments are the function's parameters.
        descriptions: sentences on parameters, from the docstring.
        caller_locals: the names in scope where the tool is defined, for annotations that name a local class.

    Raises:
        ConfigurationError: the function cannot be called by a model, with what to change.
    """
    is_async = _is_async(function, name)
    parameters = _parameters(function, name)
    hints = _hints(function, name, caller_locals)
    context = _context_parameter(parameters, hints, by_name=args_model is not None)
    named = [parameter for parameter in parameters if parameter.name != context]
    if args_model is not None:
        if len(named) != 1:
            raise ConfigurationError(
                f"tool {name!r}: with args_model the function takes (args), (args, ctx) or (ctx, args), not ({_listed(parameters)})"
            )
        invoke = _model_invocation(function, named[0].name, context)
        return Signature(args_model, _json_schema(args_model, name, {}), invoke, is_async, {})
    model, renamed = _signature_model(named, hints, name)
    invoke = _signature_invocation(function, renamed, context)
    return Signature(model, _json_schema(model, name, descriptions), invoke, is_async, renamed)


def _is_async(function: Callable[..., Any], name: str) -> bool:
    called = function if inspect.isroutine(function) or isinstance(function, functools.partial) else type(function).__call__
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise ConfigurationError(f"tool {name!r} is a generator, and a tool answers once: return a list")
    return inspect.iscoroutinefunction(called)


def _parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"tool {name!r}: the signature of {function!r} cannot be read; wrap it in a typed function") from error
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigurationError(f"tool {name!r}: a model cannot fill {parameter}; name the parameters, or take one list or dict")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigurationError(f"tool {name!r}: parameter {parameter.name!r} is positional-only, but models pass arguments by name")
    return parameters


def _hints(function: Callable[..., Any], name: str, caller_locals: Mapping[str, Any]) -> dict[str, Any]:
    target = inspect.unwrap(getattr(function, "func", function))
    if not (inspect.isroutine(target) or inspect.isclass(target)):
        target = target.__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError:
        try:
            return typing.get_type_hints(target, localns=dict(caller_locals), include_extras=True)
        except NameError as error:
            raise ConfigurationError(
                f"tool {name!r}: an annotation names something that does not exist here: {error}; define it before the tool"
            ) from error
    except TypeError as error:
        raise ConfigurationError(f"tool {name!r}: its annotations cannot be read: {error}") from error


def _context_parameter(parameters: list[inspect.Parameter], hints: Mapping[str, Any], *, by_name: bool) -> str | None:
    for parameter in parameters:
        if _is_context(hints.get(parameter.name)):
            return parameter.name
    for parameter in parameters:
        # With plain parameters an annotated `context: str` is an argument like any other.
        if parameter.name in CONTEXT_NAMES and (by_name or parameter.name not in hints):
            return parameter.name
    return None


def _is_context(hint: Any) -> bool:
    if hint is ToolContext:
        return True
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return ToolContext in typing.get_args(hint)
    return typing.get_origin(hint) is typing.Annotated and _is_context(typing.get_args(hint)[0])


def _signature_model(parameters: list[inspect.Parameter], hints: Mapping[str, Any], name: str) -> tuple[type[BaseModel], dict[str, str]]:
    fields: dict[str, Any] = {}
    renamed: dict[str, str] = {}
    for parameter in parameters:
        if parameter.name not in hints:
            advice = "decorate the bound method instead: tool(instance.method)" if parameter.name in ("self", "cls") else "annotate it"
            raise ConfigurationError(f"tool {name!r}: parameter {parameter.name!r} has no type annotation; {advice}")
        default = ... if parameter.default is parameter.empty else parameter.default
        field = parameter.name
        if field.startswith("_") or hasattr(BaseModel, field):
            field = f"{field.lstrip('_')}_argument"
            renamed[field] = parameter.name
        fields[field] = (hints[parameter.name], default)
    # A misspelt argument must be an error, or the model never learns of it.
    config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        arbitrary_types_allowed=False,
        alias_generator=(lambda field: renamed.get(field, field)) if renamed else None,
    )
    try:
        return create_model(f"{name}_arguments", __config__=config, **fields), renamed
    except (PydanticUserError, TypeError, NameError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigurationError(f"tool {name!r}: its parameters ({_listed(parameters)}) cannot be validated: {reason}") from error


class _CompactSchema(GenerateJsonSchema):
    """Without the titles that repeat each name: every byte of a schema goes into every request."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - Pydantic declares it so

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _json_schema(model: type[BaseModel], name: str, descriptions: Mapping[str, str]) -> dict[str, Any]:
    try:
        schema = model.model_json_schema(schema_generator=_CompactSchema)
    except PydanticUserError as error:
        reason = str(error).split("\n")[0]
        raise ConfigurationError(f"tool {name!r}: its arguments cannot be described as JSON Schema: {reason}") from error
    schema.pop("title", None)
    schema.setdefault("properties", {})
    for argument, sentence in descriptions.items():
        if sentence and argument in schema["properties"]:
            schema["properties"][argument].setdefault("description", sentence)
    return schema


def _model_invocation(function: Callable[..., Any], args_name: str, context: str | None) -> Invocation:
    if context is None:
        return lambda args, ctx: function(**{args_name: args})
    return lambda args, ctx: function(**{args_name: args, context: ctx})


def _signature_invocation(function: Callable[..., Any], renamed: Mapping[str, str], context: str | None) -> Invocation:
    def invoke(args: BaseModel, ctx: ToolContext) -> Any:
        values = args.__dict__
        if renamed:
            values = {renamed.get(field, field): value for field, value in values.items()}
        if context is not None:
            return function(**values, **{context: ctx})
        return function(**values)

    return invoke


def _listed(parameters: list[inspect.Parameter]) -> str:
    return ", ".join(str(parameter) for parameter in parameters)
