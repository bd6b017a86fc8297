"""Assertions as data, as a dataset has them: one key that names the form, and what it takes. Forms are registered, and come from anywhere."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from afk_es.errors import ConfigurationError, text_of
from afk_es.evals.assertions.answers import (
    Contains,
    Equals,
    EqualsExpected,
    JsonPathEquals,
    Matches,
    MaxSteps,
    NotContains,
    NoTool,
    StateIs,
    ToolCalled,
)
from afk_es.evals.assertions.criteria import Assertion

Build = Callable[[Any], Assertion]
"""Makes an assertion of what stands under its key.

Raises:
    ConfigurationError: of data that it cannot be made of; the message says what it takes.
"""


def register_assertion(form: str, build: Build) -> None:
    """Let datasets use a form of assertion of your own: `{form: data}`.

    Raises:
        ConfigurationError: there is a form of that name.
    """
    if not form.strip():
        raise ConfigurationError("a form of assertion is named by a non-empty text")
    if form in _FORMS or form in _HOMES:
        raise ConfigurationError(f"there is a form of assertion named {form!r} already")
    _FORMS[form] = build


def assertion_from(data: Any) -> Assertion:
    """The assertion that this data means, such as `{"contains": "refunded"}`.

    Raises:
        ConfigurationError: there is no such form, or it does not take this.
    """
    if not isinstance(data, Mapping) or len(data) != 1:
        way = f": it is {{{data!r}: ...}}, with what it takes" if isinstance(data, str) and data in _FORMS else ""
        raise ConfigurationError(f"an assertion is an object with one key, as {{'contains': 'refunded'}}, not {data!r:.120}{way}")
    ((form, argument),) = data.items()
    build = _build(form)
    try:
        return build(argument)
    except ConfigurationError:
        raise
    except Exception as error:
        # A form may be of the caller's own; and of data of a wrong type, whatever fails first says so.
        raise ConfigurationError(f"{form} cannot be made of {argument!r:.80}: {type(error).__name__}: {text_of(error)}") from error


def assertions_from(data: Any) -> tuple[Assertion, ...]:
    """The assertions of a list of them; one may stand for a list of one.

    Raises:
        ConfigurationError: as `assertion_from`; the message names the position.
    """
    items = data if isinstance(data, list) else [data]
    found = []
    for position, item in enumerate(items):
        try:
            found.append(assertion_from(item))
        except ConfigurationError as error:
            raise ConfigurationError(f"[{position}]: {error}") from error
    return tuple(found)


def forms() -> tuple[str, ...]:
    """The names of all forms there are, sorted."""
    return tuple(sorted({*_FORMS, *_HOMES}))


def _build(form: Any) -> Build:
    if form in _FORMS:
        return _FORMS[form]
    home = _HOMES.get(form)
    if home is None:
        near = difflib.get_close_matches(str(form), forms(), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(forms())}"
        raise ConfigurationError(f"there is no form of assertion named {form!r}; {hint} (register_assertion adds others)")
    module, _colon, name = home.partition(":")
    build: Build = getattr(import_module(module), name)
    return build


def _options(form: str, data: Any, plain: str, known: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of a form that takes either one value or an object."""
    if not isinstance(data, Mapping):
        return {plain: data}
    if unknown := [key for key in data if key not in known]:
        raise ConfigurationError(f"{form} has no {unknown[0]!r}; it takes {', '.join(known)}")
    if plain not in data:
        raise ConfigurationError(f"{form} needs {plain!r}")
    return dict(data)


def _contains(data: Any) -> Assertion:
    return Contains(**_options("contains", data, "text", ("text", "ignore_case")))


def _not_contains(data: Any) -> Assertion:
    return NotContains(**_options("not_contains", data, "text", ("text", "ignore_case")))


def _tool_called(data: Any) -> Assertion:
    return ToolCalled(**_options("tool_called", data, "tool_name", ("tool_name", "times")))


def _no_tool(data: Any) -> Assertion:
    return NoTool(None if data is True else data)


def _state(data: Any) -> Assertion:
    return StateIs(*(data if isinstance(data, list) else [data]))


def _json_path(data: Any) -> Assertion:
    options = _options("json_path", data, "path", ("path", "equals"))
    if "equals" not in options:
        raise ConfigurationError("json_path takes an object: {'path': 'order.items[0].id', 'equals': 17}")
    return JsonPathEquals(options["path"], options["equals"])


def _equals_expected(data: Any) -> Assertion:
    if data is not True:
        raise ConfigurationError(f"equals_expected takes true, not {data!r:.80}: what is expected is the case's expected_output")
    return EqualsExpected()


_FORMS: dict[str, Build] = {
    "contains": _contains,
    "not_contains": _not_contains,
    "equals": Equals,
    "equals_expected": _equals_expected,
    "matches": Matches,
    "state": _state,
    "tool_called": _tool_called,
    "no_tool": _no_tool,
    "max_steps": MaxSteps,
    "json_path": _json_path,
}

_HOMES: dict[str, str] = {
    name: f"afk_es.evals.assertions.forms:{name}_form"
    for name in (
        "always",
        "at_most",
        "checks",
        "eventually",
        "json_like",
        "judge",
        "never",
        "precedes",
        "responds",
        "similarity",
        "trajectory",
        "within",
    )
}
"""Forms whose module is loaded when a dataset first has them: "module:function"."""
