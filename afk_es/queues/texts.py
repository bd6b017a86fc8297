"""What texts and values the list of tasks takes, and how much of them: what names a task is refused where it cannot be kept, what is only told
to people is cut to fit."""

from __future__ import annotations

from typing import Any

import msgspec

from afk_es.errors import ConfigurationError
from afk_es.machine.values import clean_text, plain
from afk_es.queues.items import Progress, TaskItem

LONGEST_NAME = 500
"""Characters of an id, a queue, a contract, a key, a lane or a worker: what is indexed has to fit into a third of PostgreSQL's page."""
LARGEST_PAYLOAD = 1_000_000
"""Bytes of a task's payload, as JSON."""
LARGEST_RESULT = 1_000_000
"""Bytes of a result, as JSON. A larger one is in the run's log alone."""
LONGEST_ERROR = 4_000
"""Characters of an error's text."""
LONGEST_DOING = 300
"""Characters of what a task is doing."""

_PRIORITIES = range(-(2**31), 2**31)


def check(item: TaskItem) -> None:
    """Refuse a task that cannot be kept.

    Raises:
        ConfigurationError: a name is empty, too long, or has characters that a database cannot keep; the payload is no JSON, or too large; a
            number is out of range.
    """
    for what, name in (("id", item.id), ("queue", item.queue), ("contract", item.contract)):
        check_name(what, name)
    for what, given in (("key", item.key), ("lane", item.lane)):
        if given is not None:
            check_name(what, given)
    if item.priority not in _PRIORITIES:
        raise ConfigurationError(f"a task's priority is a number of 32 bits, not {item.priority}")
    if item.max_attempts < 1:
        raise ConfigurationError(f"a task's max_attempts is at least 1, not {item.max_attempts}")
    try:
        size = len(msgspec.json.encode(item.payload))
    except (TypeError, ValueError, OverflowError) as error:  # A lone surrogate is a ValueError as well.
        raise ConfigurationError(f"the payload of task {item.id} cannot be kept as JSON: {error}") from None
    if size > LARGEST_PAYLOAD:
        raise ConfigurationError(
            f"the payload of task {item.id} has {size:,} bytes, of at most {LARGEST_PAYLOAD:,}; keep what is large elsewhere and name it"
        )


def check_name(what: str, name: str) -> None:
    """Refuse a name that cannot be kept.

    Raises:
        ConfigurationError: it is empty or too long, or has a NUL or half a character.
    """
    if not name or len(name) > LONGEST_NAME:
        raise ConfigurationError(f"the {what} of a task has 1 to {LONGEST_NAME} characters, not {len(name)}")
    if "\0" in name or clean_text(name) != name:
        raise ConfigurationError(f"the {what} {name[:40]!r} of a task has a NUL or half a character in it, which no database keeps")


def told(text: str, limit: int = LONGEST_ERROR) -> str:
    """A text for people, as it is kept: without what no database keeps, and not longer than this."""
    clean = clean_text(text).replace("\0", "\N{REPLACEMENT CHARACTER}")
    if len(clean) <= limit:
        return clean
    note = f"... ({len(clean):,} characters in all)"
    return clean[: limit - len(note)] + note


def kept_result(result: Any) -> str | None:
    """The JSON of a result; None where it is too large to be kept twice."""
    encoded = msgspec.json.encode(plain(result))
    return encoded.decode() if len(encoded) <= LARGEST_RESULT else None


def kept_progress(progress: Progress) -> str:
    """The JSON of a progress. What is no number in JSON is left out."""
    return msgspec.json.encode(msgspec.structs.replace(progress, doing=told(progress.doing, LONGEST_DOING))).decode()
