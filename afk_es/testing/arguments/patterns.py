"""Texts in which a `pattern` is found, by the engine that will judge them: Rust's, which is Pydantic's. It knows no schema.

A pattern that Rust's engine cannot read (look-arounds, back-references) is left to Python's, as Pydantic's `regex_engine="python-re"` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import SearchStrategy

from afk_es.errors import ConfigurationError
from afk_es.testing.arguments.rust_patterns import SAMPLE, in_python, rust_engine


def matching(pattern: str, shortest: int = 0, longest: int | None = None) -> SearchStrategy[str] | None:
    """Texts in which the pattern is found, of the length asked for; None where none is that long.

    Args:
        pattern: as JSON Schema's `pattern`: found anywhere, unless it is anchored.
        shortest: characters at least.
        longest: characters at most; None for no limit.

    Raises:
        ConfigurationError: neither engine can read the pattern.
    """
    if longest is not None and longest < shortest:
        return None
    accepts = acceptance(pattern)
    in_both = in_python(pattern, shortest, longest) if rust_engine(pattern) is not None else None
    # What is left as it is, is Python's already; that its `$` lets a text end in a newline is not what anybody meant.
    python = re.sub(r"(?<!\\)\$$", r"\\Z", pattern) if in_both is None else in_both
    try:
        alphabet = st.characters(categories=[], include_characters=SAMPLE + python)
        found = st.from_regex(python, alphabet=alphabet)
        found.validate()
    except (re.error, InvalidArgument) as error:
        raise ConfigurationError(f"no text can be made for the pattern {pattern!r}: {error}; override the field that has it") from error
    return found.filter(lambda text: shortest <= len(text) and (longest is None or len(text) <= longest) and accepts(text))


@lru_cache(maxsize=512)
def acceptance(pattern: str) -> Callable[[str], bool]:
    """Whether a pattern is found in a text.

    Raises:
        ConfigurationError: neither engine can read the pattern.
    """
    engine = rust_engine(pattern)
    if engine is not None:
        return engine
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigurationError(f"the pattern {pattern!r} cannot be read: {error}; override the field that has it") from error
    return lambda text: compiled.search(text) is not None
