"""What a client is told of what went wrong: the protocol's own errors as they are, and of everything else that it happened, under a number to look it up by."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

from a2a.server.context import ServerCallContext
from a2a.utils.errors import A2AError, InternalError
from a2a.utils.proto_utils import validate_proto_required_fields
from google.protobuf.message import Message as ProtobufMessage

from afk_es.clock import RandomIds
from afk_es.errors import AgentMismatchError

S = TypeVar("S")
M = TypeVar("M", bound=ProtobufMessage)
T = TypeVar("T")

_LOGGER = logging.getLogger("afk_es.a2a")

_IDS = RandomIds()


def told(
    method: Callable[[S, M, ServerCallContext], Coroutine[Any, Any, T]],
) -> Callable[[S, M, ServerCallContext], Coroutine[Any, Any, T]]:
    """The method, asked only what has all required fields, and whose errors a client may see."""

    @functools.wraps(method)
    async def wrapped(self: S, params: M, context: ServerCallContext) -> T:
        validate_proto_required_fields(params)
        try:
            return await method(self, params, context)
        except A2AError:
            raise
        except Exception as error:
            raise _hidden(error) from error

    return wrapped


def told_in_stream(
    method: Callable[[S, M, ServerCallContext], AsyncGenerator[T, None]],
) -> Callable[[S, M, ServerCallContext], AsyncGenerator[T, None]]:
    """As `told`, for a generator."""

    @functools.wraps(method)
    async def wrapped(self: S, params: M, context: ServerCallContext) -> AsyncGenerator[T, None]:
        validate_proto_required_fields(params)
        inner = method(self, params, context)
        try:
            async for item in inner:
                yield item
        except A2AError:
            raise
        except Exception as error:
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
