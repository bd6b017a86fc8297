"""Runs one call of a tool: hooks, deadline, thread, cancellation. Validation, policy and sanitising stand before and after it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from afk_es.errors import ToolError, ToolTimeoutError
from afk_es.tools.context import ToolContext
from afk_es.tools.hooks import chained, run_posthooks, run_prehooks
from afk_es.tools.outcome import ToolDeferredHandle, failure_text, settled
from afk_es.tools.permission import require_permission
from afk_es.tools.threads import THREADS

if TYPE_CHECKING:
    from afk_es.tools.definition import Tool
    from afk_es.tools.sandbox import SandboxProfile


async def execute(tool: Tool[..., Any], args: BaseModel, ctx: ToolContext, timeout_s: float | None, sandbox: SandboxProfile | None) -> Any:
    """What `Tool.execute` does. Cancelling the task cancels the call, whatever the tool or its hooks catch."""
    task = asyncio.current_task()
    cancelling = 0 if task is None else task.cancelling()
    try:
        if timeout_s is None:
            output = await _run(tool, args, ctx, sandbox)
        else:
            output = await _run_in_time(tool, args, ctx, timeout_s, sandbox)
    except asyncio.CancelledError:
        if task is None or task.cancelling() > cancelling:
            raise
        # Nobody cancelled this call: the tool raised it by itself, or awaited something that had been cancelled.
        raise ToolError(f"{tool.name} was cancelled from within: something it waited for was cancelled") from None
    except SystemExit as error:
        raise ToolError(f"{tool.name} tried to end the process (SystemExit: {error.code})") from error
    except (Exception, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        # Such as pytest's own failures: they are no Exception, so that nobody catches them, and here they are a tool's.
        raise ToolError(f"{tool.name} raised {failure_text(error)}") from error
    if task is not None and task.cancelling() > cancelling:
        raise asyncio.CancelledError(f"{tool.name} was cancelled and went on regardless")
    return output


async def _run_in_time(tool: Tool[..., Any], args: BaseModel, ctx: ToolContext, timeout_s: float, sandbox: SandboxProfile | None) -> Any:
    deadline = asyncio.timeout(timeout_s)
    try:
        async with deadline:
            output = await _run(tool, args, ctx, sandbox)
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise ToolTimeoutError(f"{tool.name} did not finish within {timeout_s:g} s") from error
    if deadline.expired():
        raise ToolTimeoutError(f"{tool.name} did not finish within {timeout_s:g} s")
    return output


async def _run(tool: Tool[..., Any], args: BaseModel, ctx: ToolContext, sandbox: SandboxProfile | None) -> Any:
    if tool.prehooks:
        args = tool.validate_named(await run_prehooks(tool.prehooks, tool.named_arguments(args), ctx))
    check = sandbox if sandbox is not None and tool.declares_sandboxed_arguments else None
    if tool.middlewares:
        output = await chained(tool.middlewares, lambda inner, inner_ctx: _invoke(tool, inner, inner_ctx, check))(args, ctx)
    else:
        output = await _invoke(tool, args, ctx, check)
    output = settled(output, tool.name)
    if tool.posthooks and not isinstance(output, ToolDeferredHandle):
        output = settled(await run_posthooks(tool.posthooks, output, tool.name, ctx), tool.name)
    return output


async def _invoke(tool: Tool[..., Any], args: BaseModel | dict[str, Any], ctx: ToolContext, sandbox: SandboxProfile | None) -> Any:
    if isinstance(args, dict):
        args = tool.validate_named(args)
    if sandbox is not None:
        args = tool.validate_named(tool.named_arguments(args), sandbox)
    signature = tool.signature
    if signature.is_async:
        require_permission()
        return await signature.invoke(args, ctx)
    output = await _in_thread(signature.invoke, args, ctx)
    # A partial, a lambda or a callable object may hide a coroutine function.
    return await output if inspect.isawaitable(output) else output


async def _in_thread(invoke: Callable[[BaseModel, ToolContext], Any], args: BaseModel, ctx: ToolContext) -> Any:
    context = contextvars.copy_context()
    return await THREADS.run(lambda: context.run(_carried, invoke, args, ctx))


def _carried(invoke: Callable[[BaseModel, ToolContext], Any], args: BaseModel, ctx: ToolContext) -> Any:
    require_permission()
    try:
        return invoke(args, ctx)
    except StopIteration as error:
        # A future cannot carry it: the awaiting task would never wake.
        raise RuntimeError(f"StopIteration: {error.value}") from error
    except GeneratorExit as error:
        # In a coroutine it means that the coroutine is being closed; in a thread it can only be the tool's own.
        raise RuntimeError("GeneratorExit") from error
