"""What LiteLLM's exceptions mean, in classes of ours. It goes by status, headers and causes, since LiteLLM's own classes change.

LiteLLM turns whatever it cannot place into a status 500: a refused connection, a missing key, a body it could not read. A real 500 comes
with the response's headers, and the causes tell the others apart.
"""

from __future__ import annotations

from collections.abc import Iterator

from afk_es.errors import (
    LLMCapabilityError,
    LLMConfigurationError,
    LLMError,
    LLMInvalidResponseError,
    LLMRetryableError,
    LLMTimeoutError,
)
from afk_es.llms.failure import classify, retry_after_s, retryable_status
from afk_es.redaction import redacted

_CAUSES_FOLLOWED = 16
_SHORTEST_KEY = 8


def translated(error: Exception, *, api_key: str | None) -> LLMError:
    """The exception as an LLMError, with the provider's status and wait, and without the key."""
    failure = classify(error)
    headers = getattr(error, "litellm_response_headers", None)
    made_up = failure.status_code == 500 and headers is None and "HTTPStatusError" not in _names_of_causes(error)
    status = None if made_up else failure.status_code
    # A short key is a placeholder for a local server, and would be found in the middle of words.
    text = failure.message.replace(api_key, "[redacted]") if api_key and len(api_key) >= _SHORTEST_KEY else failure.message
    kind = _kind(error, status, made_up)
    if kind is LLMCapabilityError:
        text = f"{text} (drop_params=True among the model's settings leaves out what the model does not take)"
    return kind(redacted(text), status_code=status, retry_after_s=retry_after_s(headers))


def _kind(error: Exception, status: int | None, made_up: bool) -> type[LLMError]:
    names = {kind.__name__ for kind in type(error).__mro__}
    if "UnsupportedParamsError" in names:
        return LLMCapabilityError
    if made_up:
        return _kind_by_cause(error)
    if status is None:
        return LLMRetryableError if classify(error).classification == "retryable" else LLMConfigurationError
    if status == 408:
        return LLMTimeoutError
    return LLMRetryableError if retryable_status(status) else LLMConfigurationError


def _kind_by_cause(error: Exception) -> type[LLMError]:
    causes = list(_causes(error))
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return LLMTimeoutError
    if any(isinstance(cause, OSError) for cause in causes) or "TransportError" in _names_of_causes(error):
        return LLMRetryableError
    origin = causes[-1]
    # The OpenAI client raises a bare OpenAIError, with no request behind it, where it has no key to send.
    before_sending = type(origin).__name__ == "OpenAIError" and type(origin).__module__.split(".")[0] == "openai"
    if before_sending or isinstance(origin, ImportError) or "InvalidURL" in _names_of_causes(error):
        return LLMConfigurationError
    return LLMInvalidResponseError


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, also where LiteLLM did not say `from`."""
    cause: BaseException | None = error
    for _ in range(_CAUSES_FOLLOWED):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def _names_of_causes(error: BaseException) -> set[str]:
    return {kind.__name__ for cause in _causes(error) for kind in type(cause).__mro__}
