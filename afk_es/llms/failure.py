"""What a failed model call means: can asking again help? The whole rule is here; it knows no vendor's classes.

A provider's status is the surest sign there is, since exception classes differ between vendors and between versions of one client.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Literal

import msgspec

from afk_es.errors import (
    LLMCancelledError,
    LLMCapabilityError,
    LLMCircuitOpenError,
    LLMConfigurationError,
    LLMError,
    LLMInvalidResponseError,
    LLMRetryableError,
    LLMTimeoutError,
    text_of,
)
from afk_es.redaction import redacted

Classification = Literal["retryable", "terminal", "non_fatal"]

_BY_CLASS: tuple[tuple[type[LLMError], Classification], ...] = (
    (LLMTimeoutError, "retryable"),
    (LLMRetryableError, "retryable"),
    (LLMInvalidResponseError, "retryable"),
    (LLMConfigurationError, "terminal"),
    (LLMCapabilityError, "terminal"),
    (LLMCircuitOpenError, "terminal"),
    (LLMCancelledError, "terminal"),
)

# The roots under which httpx, httpcore, aiohttp and the vendors' clients put lost connections, none of which is an OSError.
_TRANSPORT_ERRORS = frozenset({"TransportError", "NetworkError", "ClientConnectionError", "APIConnectionError"})

# An OSError of these is a wrong path or a missing right of an adapter's own files, and stays wrong.
_FILE_ERRORS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)

_CAUSES_FOLLOWED = 8


class Failure(msgspec.Struct, frozen=True):
    """A failed call, as the log takes it.

    Attributes:
        classification: "retryable", "terminal" or "non_fatal".
        error_type: the exception's class name.
        message: its text, without secrets.
        status_code: the HTTP status, where there was one.
        retry_after_s: seconds the provider asked to wait, where it did.
    """

    classification: Classification
    error_type: str
    message: str
    status_code: int | None = None
    retry_after_s: float | None = None


def classify(error: BaseException) -> Failure:
    """What the exception of a model adapter means.

    Our own classes say it themselves. Foreign ones go by their `status_code`: 408, 409, 425, 429 and 5xx are retryable, every other is
    terminal. Without a status, timeouts and lost connections are retryable, also where they are only the cause of what was raised;
    anything else is terminal.
    """
    status = _status(error)
    return Failure(
        _classification(error, status),
        type(error).__name__,
        redacted(text_of(error)) or type(error).__name__,
        status,
        _retry_after(error),
    )


def _classification(error: BaseException, status: int | None) -> Classification:
    for kind, classification in _BY_CLASS:
        if isinstance(error, kind):
            return classification
    if status is not None:
        return "retryable" if retryable_status(status) else "terminal"
    return "retryable" if any(_is_transport(cause) for cause in causes_of(error)) else "terminal"


def retryable_status(status: int) -> bool:
    """Whether a request that was answered with this HTTP status may fare better the next time."""
    return status in (408, 409, 425, 429) or 500 <= status <= 599


def retry_after_s(headers: Mapping[str, str] | None) -> float | None:
    """The wait that response headers ask for, in seconds: `retry-after-ms`, or `Retry-After` as seconds or as a date.

    A date counts from the response's own `Date`, so no clock is needed and a wrong one does no harm.
    """
    if not headers:
        return None
    found = {str(name).lower().removeprefix("llm_provider-"): str(value) for name, value in headers.items()}
    seconds = _number(found.get("retry-after-ms"), 1000) or _number(found.get("retry-after"), 1)
    if seconds is None and "retry-after" in found and "date" in found:
        try:
            seconds = (parsedate_to_datetime(found["retry-after"]) - parsedate_to_datetime(found["date"])).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(seconds, 0.0) if seconds is not None else None


def _number(text: str | None, unit: int) -> float | None:
    if text is None or not re.fullmatch(r"\s*\d+(\.\d+)?\s*", text):
        return None
    seconds = float(text) / unit
    return seconds if math.isfinite(seconds) else None


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) and not isinstance(status, bool) else None


def _retry_after(error: BaseException) -> float | None:
    if isinstance(error, LLMError):
        seconds: object = error.retry_after_s
        # A user's adapter may put anything here; only a finite number is read back from the log as it was.
        return float(seconds) if isinstance(seconds, (int, float)) and math.isfinite(seconds) else None
    headers = getattr(getattr(error, "response", None), "headers", None)
    return retry_after_s(headers) if isinstance(headers, Mapping) else None


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it was raised from, and so on, as far as anybody would follow that."""
    cause: BaseException | None = error
    for _ in range(_CAUSES_FOLLOWED):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__


def _is_transport(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return not isinstance(error, _FILE_ERRORS)
    return any(kind.__name__ in _TRANSPORT_ERRORS for kind in type(error).__mro__)
