"""What a client is told of what went wrong: the protocol's own errors as they are, and of everything else that it happened, under a number to look it up by."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from a2a.utils.errors import A2AError, InternalError

from afk_es.clock import SystemIds
from afk_es.errors import AgentMismatchError

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")

_LOGGER = logging.getLogger("afk_es.a2a")

_IDS = SystemIds()


def told(method: Callable[Concatenate[S, P], Awaitable[T]]) -> Callable[Concatenate[S, P], Awaitable[T]]:
    """The method, whose errors a client may see."""

    @functools.wraps(method)
    async def wrapped(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(self, *args, **kwargs)
        except A2AError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary to the client, who is not told what is inside
            raise _hidden(error) from error

    return wrapped


def told_in_stream(
    method: Callable[Concatenate[S, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[S, P], AsyncGenerator[T, None]]:
    """The generator, whose errors a client may see."""

    @functools.wraps(method)
    async def wrapped(self: S, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        inner = method(self, *args, **kwargs)
        try:
            async for item in inner:
                yield item
        except A2AError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            raise _hidden(error) from error
        finally:
            await inner.aclose()

    return wrapped


def _hidden(error: Exception) -> A2AError:
    if isinstance(error, AgentMismatchError):
        _LOGGER.warning("a task cannot go on: %s", error)
        return InternalError("the task was begun by another version of the agent, which this server does not have")
    number = _IDS.new("error")
    _LOGGER.error("a request failed (%s)", number, exc_info=error)
    return InternalError(f"internal error; whoever runs the server finds it as {number}")


