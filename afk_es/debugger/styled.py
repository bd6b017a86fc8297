"""Lines whose pieces are meant differently, and how the states of runs and tickets are meant. What a colour is, the faces know."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from afk_es.views.timeline import Tone

Style = Tone | Literal["strong"]
"""A tone, or what stands out of a text: a title."""

Styled = tuple[tuple[str, Style], ...]
"""The pieces of one line."""

STATUS_TONES: dict[str, Style] = {
    "completed": "good",
    "degraded": "mark",
    "failed": "bad",
    "crashed": "bad",
    "cancelled": "mark",
    "interrupted": "mark",
    "running": "strong",
    "paused": "mark",
}

TICKET_TONES: dict[str, Style] = {"pending": "strong", "resolved": "good", "failed": "bad", "expired": "bad", "abandoned": "mark"}


def plain_lines(lines: Iterable[Styled]) -> list[str]:
    """The lines for whoever sees no colours."""
    return ["".join(text for text, _style in line) for line in lines]
