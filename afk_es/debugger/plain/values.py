"""Values as lines: what an expression comes to, what a state holds. A value under a secret's name is not shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from afk_es.debugger.breakpoints import parse_breakpoint
from afk_es.debugger.expression import Expression, ExpressionError, parse
from afk_es.debugger.matching import Condition
from afk_es.debugger.plain.console import Console
from afk_es.debugger.scope import STATE_FIELDS
from afk_es.debugger.watching import evaluate
from afk_es.views import compact_json, redacted_at


def value_text(console: Console, name: str, value: Any) -> str:
    """A value as JSON in a line, redacted by the names it stands under."""
    if console.redaction is not None:
        value = redacted_at(name, value, console.redaction)
    return compact_json(value)


def expression_of(text: str) -> Expression:
    """The expression that a text means; a path of the state may stand without `state.`, as in a watch.

    Raises:
        ExpressionError: it is none.
    """
    try:
        return parse(text)
    except ExpressionError:
        if re.split(r"[.\[]", text, maxsplit=1)[0] not in STATE_FIELDS:
            raise
        return parse(f"state.{text}")


async def print_line(console: Console, expression: Expression) -> str:
    """What an expression comes to at the cursor."""
    value = await evaluate(console.recording, expression, console.session.seq, search=console.search)
    return f"{expression.text} = {value_text(console, expression.text, value)}"


async def display_lines(console: Console) -> list[str]:
    """What is printed wherever the cursor arrives."""
    return [f"{display.number}: {await print_line(console, display.expression)}" for display in console.displays]


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The facts of JSON data, each with its path: what is no object, or an empty one; lists as a whole."""
    if isinstance(tree, dict) and tree:
        for name, value in tree.items():
            yield from leaves(value, f"{path}.{name}" if path else str(name))
    else:
        yield path, tree


def facts_text(console: Console, facts: dict[str, Any]) -> str:
    """Facts that belong together, in a line."""
    return ", ".join(f"{name} {value_text(console, name, value)}" for name, value in facts.items())


def condition_of(console: Console, where: str) -> Condition:
    """Where a breakpoint of the console stops (`b3`), or one that is written out.

    Raises:
        BreakpointError, ExpressionError: it is none.
    """
    if where[:1] == "b" and where[1:].isdecimal():
        return console.breakpoints[int(where[1:])].condition
    return parse_breakpoint(where).condition
