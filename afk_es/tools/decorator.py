"""`@tool`: makes a tool of a function, and refuses at once what no model could call."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar, overload

from pydantic import BaseModel

from afk_es.errors import ConfigurationError
from afk_es.tools.definition import Tool
from afk_es.tools.docstring import read_docstring
from afk_es.tools.hooks import as_hook
from afk_es.tools.schema import arguments_of
from afk_es.tools.signature import Signature, read_signature

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class _Making:
    """The second half of `@tool(...)`: gets the function."""

    def __init__(self, args_model: type[BaseModel] | None, options: dict[str, Any], caller_locals: Mapping[str, Any]) -> None:
        self._args_model = args_model
        self._options = options
        self._caller_locals = caller_locals

    def __call__(self, function: Callable[P, R]) -> Tool[P, R]:
        return _make(function, self._args_model, self._caller_locals, **self._options)


@overload
def tool(  # type: ignore[overload-overlap]  # a class can be called as well, and is the first meaning
    args_model: type[BaseModel] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    prehooks: Iterable[Callable[..., Any]] = (),
    posthooks: Iterable[Callable[..., Any]] = (),
    middlewares: Iterable[Callable[..., Any]] = (),
    raise_on_error: bool = False,
    read_only: bool = False,
    idempotent: bool = False,
    destructive: bool | None = None,
    open_world: bool | None = None,
    args_schema: Mapping[str, Any] | None = None,
) -> _Making: ...
@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
def tool(args_model: Any = None, **options: Any) -> Any:
    """Make a tool of a function: `@tool`, `@tool(...)`, `@tool(ArgsModel)`, `tool(function)`.

    The function is async, or sync and then run in a daemon thread (at most 64 at once in this process; more wait) with the caller's
    context variables; such a thread cannot be stopped, so a timeout ends the waiting and not the work.

    Args:
        args_model: a Pydantic model of the arguments; the function then takes `(args)`, `(args, ctx)` or `(ctx, args)`. Without it the
            function's typed parameters are the arguments (unknown ones are refused), and a parameter annotated `ToolContext`, or an
            unannotated `ctx` or `context`, gets the context.
        name: what the model calls it by: letters, digits, `_` and `-`, at most 64; default the function's name.
        description: what the model is told of it; default the docstring.
        timeout: seconds, above 0, for hooks and function together; default None, no limit of its own.
        prehooks: get the arguments as a dict and return the dict to go on with, which is validated again.
        posthooks: get `{"output", "tool_name"}` and return the same shape.
        middlewares: stand around the function, the first outermost.
        raise_on_error: a failure raises (from `call`) or fails the run, instead of being told to the model; default False.
        read_only: it changes nothing; default False.
        idempotent: calling it twice with the same arguments does no more than once; default False.
        destructive: it may destroy something; default None, not said.
        open_world: it deals with the world outside of the program; default None, not said.
        args_schema: JSON Schema of the arguments, of type object, for a tool whose schema comes from elsewhere; the model is shown it as it
            is. The function takes `(args)`, `(args, ctx)` or `(ctx, args)` and gets a dict of the arguments that were sent. Checked are
            types, required and forbidden properties and listed values. Not together with args_model.

    Raises:
        ConfigurationError: at decoration, saying what to change.
    """
    caller_locals = sys._getframe(1).f_locals
    if args_model is None or (isinstance(args_model, type) and issubclass(args_model, BaseModel)):
        return _Making(args_model, options, caller_locals)
    if isinstance(args_model, (Tool, type)) or not callable(args_model):
        raise ConfigurationError(f"tool() takes a function or a subclass of pydantic.BaseModel, not {args_model!r}")
    return _make(args_model, None, caller_locals, **options)


def _make(
    function: Callable[P, R],
    args_model: type[BaseModel] | None,
    caller_locals: Mapping[str, Any],
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    prehooks: Iterable[Callable[..., Any]] = (),
    posthooks: Iterable[Callable[..., Any]] = (),
    middlewares: Iterable[Callable[..., Any]] = (),
    raise_on_error: bool = False,
    read_only: bool = False,
    idempotent: bool = False,
    destructive: bool | None = None,
    open_world: bool | None = None,
    args_schema: Mapping[str, Any] | None = None,
) -> Tool[P, R]:
    if not callable(function):
        raise ConfigurationError(f"@tool decorates a function, not {function!r}")
    if name is None:
        name = getattr(function, "__name__", type(function).__name__)
    require_name(name, "tool")
    if timeout is not None and not 0 < timeout < float("inf"):
        raise ConfigurationError(f"tool {name!r}: timeout must be a number of seconds above 0, not {timeout!r}")
    if read_only and destructive:
        raise ConfigurationError(f"tool {name!r} cannot be read_only and destructive at once")
    docstring = read_docstring(getattr(function, "__doc__", None))
    return Tool(
        function=function,
        name=name,
        description=docstring.description if description is None else description,
        signature=_signature(function, name, args_model, args_schema, docstring.parameters, caller_locals),
        timeout_s=None if timeout is None else float(timeout),
        prehooks=tuple(as_hook(hook, "prehook") for hook in prehooks),
        middlewares=tuple(as_hook(hook, "middleware") for hook in middlewares),
        posthooks=tuple(as_hook(hook, "posthook") for hook in posthooks),
        raise_on_error=raise_on_error,
        read_only=read_only,
        idempotent=idempotent,
        destructive=destructive,
        open_world=open_world,
    )


def _signature(
    function: Callable[..., Any],
    name: str,
    args_model: type[BaseModel] | None,
    args_schema: Mapping[str, Any] | None,
    descriptions: Mapping[str, str],
    caller_locals: Mapping[str, Any],
) -> Signature:
    if args_schema is None:
        return read_signature(function, name, args_model, descriptions, caller_locals)
    if args_model is not None:
        raise ConfigurationError(f"tool {name!r}: args_model has its own schema; give either args_model or args_schema")
    model, parameters = arguments_of(args_schema, name)
    return read_signature(function, name, model, {}, caller_locals).of_dict(parameters)


def require_name(name: object, owner: str) -> None:
    """Check that the chat APIs take this as the name of a function.

    Raises:
        ConfigurationError: they would not.
    """
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ConfigurationError(f"{owner} name {name!r} must be 1 to 64 letters, digits, '_' or '-', as the chat APIs require")
