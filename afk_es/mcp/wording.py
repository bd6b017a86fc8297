"""What a server says of its tools, as the model is shown it: words that nobody could take for more than words. It knows nothing of calls."""

from __future__ import annotations

from typing import Any

from afk_es.machine.rendering import neutralised
from afk_es.mcp.remote_results import cleaned
from afk_es.mcp.schemas import SchemaRefusedError

MAX_CHARS = 4_000
"""Of one description."""

_WORDS = ("description", "title", "$comment")
_VALUES = ("enum", "const")


def shown_words(text: str) -> str:
    """The text without unseen characters, with fake markers broken up as in a tool's output, and no longer than `MAX_CHARS`."""
    return cleaned(neutralised(cleaned(text, MAX_CHARS)), MAX_CHARS).strip()


def shown_schema(schema: Any) -> Any:
    """The schema with its words made harmless. Names and values are what a call is made of, so they stay as they are, and have to be seen.

    Raises:
        SchemaRefusedError: one of them has characters that nobody would see.
    """
    match schema:
        case dict():
            for key in schema:
                _require_seen(key)
            return {key: _shown_member(key, each) for key, each in schema.items()}
        case list():
            return [shown_schema(each) for each in schema]
        case str():
            _require_seen(schema)
            return schema
        case _:
            return schema


def _shown_member(key: str, each: Any) -> Any:
    if key in _WORDS and isinstance(each, str):
        return shown_words(each)
    if key in _VALUES:
        # Of these nothing is words, whatever it is called in there.
        for text in _texts(each):
            _require_seen(text)
        return each
    return shown_schema(each)


def _texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [*value, *(text for each in value.values() for text in _texts(each))]
        case list():
            return [text for each in value for text in _texts(each)]
        case _:
            return []


def _require_seen(text: str) -> None:
    if cleaned(text, len(text) + 1) != text:
        raise SchemaRefusedError("a name or a value in the schema of its arguments has characters that cannot be seen")
