"""What may stand around a tool's function: prehooks, middleware, posthooks, each with or without the context, sync or async.

Sync ones run on the event loop, unlike a tool's own function: one that waits for something should be async.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from afk_es.errors import ConfigurationError, ToolError
from afk_es.tools.context import ToolContext

HookKind = Literal["prehook", "posthook", "middleware", "registry_middleware"]
CallNext = Callable[..., Awaitable[Any]]
"""`await call_next(args, ctx)`; what is left out stays as it was."""

_ARITY: dict[HookKind, int] = {"prehook": 1, "posthook": 1, "middleware": 2, "registry_middleware": 2}
_FORMS: dict[HookKind, str] = {
    "prehook": "(args) or (args, ctx)",
    "posthook": "(result) or (result, ctx)",
    "middleware": "(call_next, args) or (call_next, args, ctx)",
    "registry_middleware": "(call_next, args) or (call_next, args, ctx)",
}


@dataclass(frozen=True, eq=False)
class Hook:
    """A function that stands around tools, and of which kind it is. Callable like the function."""

    function: Callable[..., Any]
    kind: HookKind
    takes_context: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "takes_context", _takes_context(self.function, self.kind))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    @property
    def name(self) -> str:
        """The function's name, for messages."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    async def run(self, ctx: ToolContext, *args: Any) -> Any:
        """Call it with these arguments, and with the context if it takes one."""
        answer = self.function(*args, ctx) if self.takes_context else self.function(*args)
        return await answer if inspect.isawaitable(answer) else answer


def prehook(function: Callable[..., Any]) -> Hook:
    """A function that gets the validated arguments as a dict and returns the dict to go on with, which is validated again."""
    return Hook(function, "prehook")


def posthook(function: Callable[..., Any]) -> Hook:
    """A function that gets `{"output", "tool_name"}`, the output as plain JSON, and returns a dict of the same shape."""
    return Hook(function, "posthook")


def middleware(function: Callable[..., Any]) -> Hook:
    """A function that stands around the call: `await call_next(args, ctx)` goes on inward, and what it returns is the output.

    `args` is the validated model. A sync middleware may return what `call_next` gave it, or answer by itself; to see the output it must
    be async.
    """
    return Hook(function, "middleware")


def registry_middleware(function: Callable[..., Any]) -> Hook:
    """A middleware that a `ToolRegistry` puts around every one of its tools, outside of their own."""
    return Hook(function, "registry_middleware")


def as_hook(value: Any, kind: HookKind) -> Hook:
    """The value as a hook of that kind; plain functions are wrapped.

    Raises:
        ConfigurationError: it is a hook of another kind, or nothing that can be called like one.
    """
    if isinstance(value, Hook):
        if value.kind != kind:
            raise ConfigurationError(f"{value.name} is a {value.kind}, and cannot be used as a {kind}")
        return value
    return Hook(value, kind)


def _takes_context(function: Callable[..., Any], kind: HookKind) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"a {kind} must be a function {_FORMS[kind]}, not {function!r}") from error
    for extra, takes_context in ((1, True), (0, False)):
        try:
            signature.bind(*range(_ARITY[kind] + extra))
        except TypeError:
            continue
        return takes_context
    raise ConfigurationError(f"a {kind} takes {_FORMS[kind]}; {getattr(function, '__name__', function)!s} takes {signature}")


async def run_prehooks(hooks: tuple[Hook, ...], values: dict[str, Any], ctx: ToolContext) -> dict[str, Any]:
    """The arguments as the prehooks leave them.

    Raises:
        ToolError: a prehook did not return a dict.
    """
    for hook in hooks:
        values = await hook.run(ctx, values)
        if not isinstance(values, dict):
            raise ToolError(f"prehook {hook.name} must return the arguments as a dict, not {type(values).__name__}")
    return values


async def run_posthooks(hooks: tuple[Hook, ...], output: Any, tool_name: str, ctx: ToolContext) -> Any:
    """The output as the posthooks leave it.

    Raises:
        ToolError: a posthook did not return a dict with an output.
    """
    for hook in hooks:
        result = await hook.run(ctx, {"output": output, "tool_name": tool_name})
        if not isinstance(result, dict) or "output" not in result:
            raise ToolError(f"posthook {hook.name} must return a dict with the key 'output'")
        output = result["output"]
    return output


def chained(hooks: tuple[Hook, ...], innermost: Callable[[BaseModel, ToolContext], Awaitable[Any]]) -> CallNext:
    """The call with the middlewares around it, the first outermost."""
    call: Callable[[Any, ToolContext], Awaitable[Any]] = innermost
    for hook in reversed(hooks):
        call = _around(hook, call)
    return call


def _around(hook: Hook, inner: Callable[[Any, ToolContext], Awaitable[Any]]) -> Callable[[Any, ToolContext], Awaitable[Any]]:
    def call(args: Any, ctx: ToolContext) -> Awaitable[Any]:
        def call_next(next_args: Any = args, next_ctx: ToolContext = ctx) -> Awaitable[Any]:
            return inner(next_args, next_ctx)

        return hook.run(ctx, call_next, args)

    return call
