"""The classification of failures: the whole table, by class, by status, by cause; and no secret in a message."""

from __future__ import annotations

from typing import Any

import pytest

from afk_es.llms import (
    Failure,
    LLMCancelledError,
    LLMCapabilityError,
    LLMConfigurationError,
    LLMError,
    LLMInvalidResponseError,
    LLMRetryableError,
    LLMTimeoutError,
    classify,
)
from afk_es.llms.failure import retry_after_s
from afk_es.redaction import redacted


class _Foreign(Exception):
    def __init__(self, status_code: Any = None, response: Any = None) -> None:
        super().__init__("foreign")
        self.status_code = status_code
        self.response = response


class _Response:
    def __init__(self) -> None:
        self.status_code = 503
        self.headers = {"Retry-After": "3"}


class TransportError(Exception):
    """Named as httpx names the root of its connection errors."""


class _ConnectError(TransportError):
    pass


def _caused_by(cause: BaseException) -> Exception:
    error = RuntimeError("the client gave up")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        LLMTimeoutError("x"), LLMRetryableError("x"), LLMInvalidResponseError("x"), LLMError("x", status_code=503),
        *(_Foreign(status) for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)),
        TimeoutError(), ConnectionResetError(), OSError("network is unreachable"), _ConnectError(),
        _caused_by(ConnectionRefusedError()), _caused_by(_caused_by(TimeoutError())), _Foreign(response=_Response()),
    ],
    ids=repr,
)  # fmt: skip
def test_these_may_be_asked_again(error: Exception) -> None:
    assert classify(error).classification == "retryable"


@pytest.mark.parametrize(
    "error",
    [
        LLMConfigurationError("x"), LLMCapabilityError("x"), LLMCancelledError("x"), LLMError("x"), LLMError("x", status_code=400),
        *(_Foreign(status) for status in (400, 401, 403, 404, 422)), _Foreign("500"), _Foreign(True),
        ValueError("x"), KeyError("x"), FileNotFoundError("prices.json"), PermissionError("key.pem"), _caused_by(ValueError()),
    ],
    ids=repr,
)  # fmt: skip
def test_these_may_not(error: Exception) -> None:
    assert classify(error).classification == "terminal"


def test_our_own_class_goes_before_its_status() -> None:
    assert classify(LLMConfigurationError("x", status_code=500)).classification == "terminal"


def test_status_and_wait_are_kept() -> None:
    assert classify(LLMRetryableError("busy", status_code=429, retry_after_s=2.0)) == Failure(
        "retryable", "LLMRetryableError", "busy", 429, 2.0
    )
    assert classify(_Foreign(response=_Response())) == Failure("retryable", "_Foreign", "foreign", 503, 3.0)
    assert classify(TimeoutError()).message == "TimeoutError"


def test_a_ring_of_causes_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert classify(first).classification == "terminal"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (None, None), ({}, None), ({"Retry-After": "7"}, 7.0), ({"retry-after": "0.5"}, 0.5), ({"Retry-After": "0"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25), ({"llm_provider-retry-after": "4"}, 4.0),
        ({"Retry-After": "Sat, 21 Nov 2026 10:00:30 GMT", "Date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"Retry-After": "Sat, 21 Nov 2026 09:00:00 GMT", "Date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"Retry-After": "Sat, 21 Nov 2026 10:00:30 GMT"}, None), ({"Retry-After": "soon", "Date": "now"}, None),
    ],
)  # fmt: skip
def test_the_wait_a_provider_asks_for(headers: dict[str, str] | None, seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abc123DEF456", "Authorization: Bearer abc.def-123", "authorization: Basic dXNlcjpwYXNz", "x-api-key: 0123456789",
        "{'api_key': 'verysecret1'}", "?api_key=verysecret1&x=1", "AIzaSyA1234567890abcdef", "gsk_abcdefgh12345", "password=hunter2",
    ],
)  # fmt: skip
def test_secrets_are_blanked_out(secret: str) -> None:
    told = classify(ValueError(f"refused ({secret}) by the provider")).message
    assert "[redacted]" in told
    assert told.startswith("refused (")
    for part in ("abc123", "abc.def", "dXNl", "012345", "verysecret", "AIzaSy", "abcdefgh", "hunter2"):
        assert part not in told


def test_plain_words_are_left_alone() -> None:
    for text in (
        "the task-based risk-free answer",
        "a token of 12 tokens",
        "Bearer",
        "max_tokens: 99999",
        "set the OPENAI_API_KEY variable",
    ):
        assert redacted(text) == text


def test_a_message_is_searched_for_secrets_in_linear_time() -> None:
    """A provider's error may be a whole page. This took minutes, in the event loop."""
    text = "a-" * 200_000
    assert redacted(text) == text
    assert redacted("MY-OPEN-AI-API-KEY=abcdef123") == "MY-OPEN-AI-API-KEY=[redacted]"
