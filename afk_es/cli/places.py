"""From a position to its seq, and from facts to what stdout says: without secrets, as JSON with a schema, as lines in colours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from afk_es.cli import output
from afk_es.cli.invocation import Invocation
from afk_es.debugger.positions import resolve
from afk_es.debugger.recording import Recording
from afk_es.views import redacted_facts
from afk_es.views.timeline import Tone

redacted = redacted_facts
"""The same facts without secrets."""


async def place(rec: Recording, text: str) -> int:
    """The seq of a position, seen from the end of the run: `-3` is three events before it.

    Raises:
        PositionError: it is none, or the run does not have it.
    """
    return await resolve(rec, text, await rec.last_seq())


def write_facts(invocation: Invocation, schema: str, facts: Any) -> None:
    """Facts as JSON, with the name of their schema."""
    data = facts if isinstance(facts, dict) else msgspec.to_builtins(facts)
    value = {"schema": f"afk_es.{schema}/1", **data}
    (output.write_json if invocation.format == "json" else output.write_json_line)(value)


def write_lines(lines: Iterable[tuple[str, Tone]]) -> None:
    """Lines in the colours of their tones."""
    for text, tone in lines:
        output.echo(output.toned(text, tone))
