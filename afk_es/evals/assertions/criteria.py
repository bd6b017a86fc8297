"""What a case is judged by: assertions, which pass or fail, and scorers, which give a number from 0 to 1. How they run is not said here."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from afk_es.core.result import AgentResult
from afk_es.errors import ConfigurationError

if TYPE_CHECKING:
    from afk_es.evals.evidence import Evidence
    from afk_es.evals.verdict import Verdict


class Assertion(Protocol):
    """An object that judges a run, from its result, its events and its case."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def check(self, evidence: Evidence) -> Verdict | Awaitable[Verdict]:
        """What it says of the run. One that raises fails the case; the exception is the reason."""
        ...


class Scorer(Protocol):
    """An object that scores a run."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def score(self, evidence: Evidence) -> Verdict | Awaitable[Verdict]:
        """A verdict with a `score` from 0 to 1; one that did not pass fails the case. One that raises fails the case."""
        ...


AssertionLike: TypeAlias = Assertion | Callable[[AgentResult], bool | Awaitable[bool]]
"""An assertion, or a function of the result, sync or async."""

ScorerLike: TypeAlias = Scorer | Callable[[AgentResult], float | Awaitable[float]]
"""A scorer, or a function of the result that answers a number from 0 to 1, sync or async."""


def name_of(criterion: object) -> str:
    """What reports call an assertion or a scorer: its `name`, the function's, or its type's."""
    name = getattr(criterion, "name", None)
    if isinstance(name, str) and name:
        return name
    name = getattr(criterion, "__name__", None)
    return name if isinstance(name, str) else type(criterion).__name__


def require_assertion(value: object) -> None:
    """Refuse what cannot be asked.

    Raises:
        ConfigurationError: it is neither an assertion nor a function of one argument.
    """
    _require(value, "an assertion", "check", "bool")


def require_scorer(value: object) -> None:
    """Refuse what cannot be asked.

    Raises:
        ConfigurationError: it is neither a scorer nor a function of one argument.
    """
    _require(value, "a scorer", "score", "float")


def _require(value: object, kind: str, method: str, answer: str) -> None:
    form = f"a function (result) -> {answer}, or an object with `name` and `{method}(evidence) -> Verdict`"
    if inspect.isclass(value):
        raise ConfigurationError(f"{value.__name__} is a class, and {kind} is {form}; write {value.__name__}(...)")
    asked: Any = getattr(value, method, None)
    argument = "evidence"
    if callable(asked):
        if not isinstance(getattr(value, "name", None), str):
            raise ConfigurationError(f"{type(value).__name__} has `{method}` and no `name`; {kind} is {form}")
    elif callable(value):
        asked, argument = value, "result"
    else:
        raise ConfigurationError(f"{value!r} is not {kind}; {kind} is {form}")
    try:
        signature = inspect.signature(asked)
    except (TypeError, ValueError):
        return  # Of some builtins it is not known; they are asked, and may fail then.
    try:
        signature.bind(object())
    except TypeError as error:
        raise ConfigurationError(f"{name_of(value)!r} cannot be called with the {argument} alone ({error}); {kind} is {form}") from error
