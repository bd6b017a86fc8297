"""What went wrong with a remote agent, in the classes of the model port: they say whether asking again can help. It knows no run.

The SDK raises one class for nearly everything and keeps the reason in its cause, so the cause is looked at first.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx
from a2a.client.errors import A2AClientTimeoutError
from a2a.utils.errors import (
    A2AError,
    ContentTypeNotSupportedError,
    ExtensionSupportRequiredError,
    InternalError,
    InvalidAgentResponseError,
    InvalidParamsError,
    InvalidRequestError,
    JSONParseError,
    MethodNotFoundError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
    VersionNotSupportedError,
)

from afk_es.a2a.client.tasks import RemoteState
from afk_es.errors import (
    LLMCapabilityError,
    LLMConfigurationError,
    LLMError,
    LLMInvalidResponseError,
    LLMRetryableError,
    LLMTimeoutError,
    text_of,
)
from afk_es.llms.failure import causes_of, retry_after_s, retryable_status
from afk_es.machine.values import clean_text

_LONGEST = 1000
"""Characters of what a remote agent says of its own failure that are told."""


class RemoteTaskError(LLMError):
    """The remote agent has ended its task without an answer, or knows no such task. Terminal: asking again would do the work again.

    Attributes:
        task_id: the agent's name for the task; None where there is none.
        state: how the task ended; None where it is not known.
    """

    def __init__(self, message: str, *, task_id: str | None = None, state: RemoteState | None = None) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.state = state


class UnsupportedByAgentError(LLMConfigurationError):
    """The agent does not do what was asked of it by the protocol: it has no such method, or not for this task."""


class TooLargeError(httpx.TransportError):
    """The agent sends more than it may. Raised below the SDK, where it is still only bytes."""


class RefusedError(httpx.TransportError):
    """A response that is not taken, or a request that is not sent. Raised below the SDK."""


_UNSUPPORTED = (MethodNotFoundError, UnsupportedOperationError, PushNotificationNotSupportedError, TaskNotCancelableError)
_WRONGLY_ASKED = (
    InvalidParamsError,
    InvalidRequestError,
    JSONParseError,
    ContentTypeNotSupportedError,
    ExtensionSupportRequiredError,
    VersionNotSupportedError,
)


def translated(error: Exception, agent: str, scrubbed: Callable[[str], str]) -> LLMError:
    """The failure as an LLMError.

    Args:
        agent: where the remote agent is, for the message.
        scrubbed: takes secrets out of a text.
    """
    if isinstance(error, LLMError):
        error.args = tuple(scrubbed(each) if isinstance(each, str) else each for each in error.args)
        return error
    for cause in causes_of(error):
        found = _by_transport(cause, agent)
        if found is not None:
            return found
    # Before it is cut: of a secret that the cut goes through, the beginning would be left.
    said = told(scrubbed(clean_text(text_of(error))))
    if isinstance(error, A2AClientTimeoutError):
        return LLMTimeoutError(f"{agent} did not answer in time")
    if isinstance(error, TaskNotFoundError):
        return RemoteTaskError(f"{agent} knows no such task: {said}")
    if isinstance(error, (*_UNSUPPORTED, NotImplementedError)):
        return UnsupportedByAgentError(f"{agent} does not support what was asked of it: {said}")
    if isinstance(error, _WRONGLY_ASKED):
        return LLMConfigurationError(f"{agent} refuses the request: {said}")
    if isinstance(error, InternalError):
        return LLMRetryableError(f"{agent} failed: {said}")
    if isinstance(error, (InvalidAgentResponseError, A2AError)):
        return LLMInvalidResponseError(f"{agent} answered what cannot be taken: {said}")
    # What the SDK raises over a body that is not what it should be: ParseError, KeyError, TypeError, RecursionError and others.
    return LLMInvalidResponseError(f"{agent} answered what is not A2A ({type(error).__name__}): {said}")


def told(text: str) -> str:
    """What a remote agent says of a failure, at a length that can be told."""
    text = clean_text(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [{len(text) - _LONGEST} characters cut]"


def _by_transport(error: BaseException, agent: str) -> LLMError | None:
    match error:
        case TooLargeError():
            return LLMCapabilityError(f"{agent}: {error}")
        case RefusedError():
            return LLMConfigurationError(f"{agent}: {error}")
        case httpx.HTTPStatusError():
            return _by_status(error.response, agent)
        case httpx.TimeoutException():
            return LLMTimeoutError(f"{agent} did not answer in time ({type(error).__name__})")
        case httpx.UnsupportedProtocol() | httpx.LocalProtocolError() | httpx.InvalidURL():
            return LLMConfigurationError(f"{agent} cannot be asked: {type(error).__name__}")
        case httpx.DecodingError():
            return LLMInvalidResponseError(f"{agent} answered what cannot be decoded")
        case httpx.RequestError():
            return LLMRetryableError(f"{agent} cannot be reached, or the connection broke off ({type(error).__name__})")
        case _:
            return None


def _by_status(response: httpx.Response, agent: str) -> LLMError:
    status = response.status_code
    if response.is_redirect:
        return LLMConfigurationError(f"{agent} redirects elsewhere (HTTP {status}), and redirects are not followed", status_code=status)
    if status in (401, 403):
        return LLMConfigurationError(f"{agent} does not let us in (HTTP {status}): check the token or API key", status_code=status)
    message = f"{agent} answered HTTP {status} at {response.request.url.path:.200}"
    if retryable_status(status) and status != 501:
        return LLMRetryableError(message, status_code=status, retry_after_s=retry_after_s(response.headers))
    if status in (404, 405, 501):
        return UnsupportedByAgentError(message, status_code=status)
    return LLMConfigurationError(message, status_code=status)
