"""Who may call a server of the command line, and how often: from its options to what knows callers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from afk_es.errors import ConfigurationError

if TYPE_CHECKING:
    from afk_es.serving import ApiKeys, Limited


def api_keys(named: tuple[str, ...], option: str = "--token-env") -> ApiKeys:
    """The callers of `[NAME=]VARIABLE`s, whose keys are in the environment: on the command line anybody on this machine could read them.

    Raises:
        ConfigurationError: a variable that is not set, or a key that is another caller's as well.
    """
    from afk_es.serving import ApiKeys

    keys: dict[str, str] = {}
    for each in named:
        name, equals, variable = each.rpartition("=")
        key = os.environ.get(variable, "")
        if not key:
            raise ConfigurationError(f"the environment variable {variable!r} of {option} is not set")
        if key in keys:
            raise ConfigurationError(f"the key in {variable!r} is another caller's as well; give each a key of its own")
        keys[key] = name if equals else variable
    return ApiKeys(keys)


def rate_limit(text: str) -> Limited:
    """The limit that `CALLS/SECONDS` says; without seconds, of a minute.

    Raises:
        ConfigurationError: it says none.
    """
    from afk_es.serving import Limited

    calls, slash, seconds = text.partition("/")
    try:
        return Limited(int(calls), float(seconds) if slash else 60.0)
    except ValueError as error:
        raise ConfigurationError(f"--rate is CALLS/SECONDS, such as 100/60, not {text!r}") from error
