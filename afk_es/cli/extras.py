"""What the verbs of an extra say where that is not installed. It knows neither what they are nor what they need it for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from afk_es.errors import ConfigurationError


@contextmanager
def of_extra(extra: str) -> Iterator[None]:
    """While this lasts, what is imported is of an extra.

    Args:
        extra: its name: "mcp".

    Raises:
        ConfigurationError: it is not installed; the message says how to get it.
    """
    try:
        yield
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing == "afk_es":
            raise
        raise ConfigurationError(f'this verb needs {missing}, which is not installed: pip install "afk-es[{extra}]"') from error
