"""A table that every form can show: in a terminal, in a page, in Markdown. Its cells are text of anybody; the forms make it harmless."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from afk_es.debugger.exchange.fences import cell, code
from afk_es.debugger.exchange.markup import cut, inert
from afk_es.evals.reports.lines import StyledLine, Tone
from afk_es.views import clipped, columns, padded

_LONGEST_CELL = 2_000
"""Characters of one cell in a page or in Markdown."""


class Column(msgspec.Struct, frozen=True):
    """A column.

    Attributes:
        name: its heading.
        right: whether it holds numbers, which stand at the right.
        wide: whether it takes what room is left in a terminal; at least one column has to.
    """

    name: str
    right: bool = False
    wide: bool = False


class Row(msgspec.Struct, frozen=True):
    """A row.

    Attributes:
        cells: texts, as many as there are columns.
        tone: how the row is meant.
    """

    cells: tuple[str, ...]
    tone: Tone = "plain"


class Table(msgspec.Struct, frozen=True):
    """A table.

    Attributes:
        title: its heading.
        columns, rows: what it has; each row has as many cells as there are columns.
        about: a sentence on how to read it.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    about: str = ""


def table_lines(table: Table, width: int) -> list[StyledLine]:
    """The table for a terminal of that many columns, without its title: the heads, then the rows."""
    needed = [
        max([columns(column.name), *(columns(clipped(row.cells[index], width)) for row in table.rows)])
        for index, column in enumerate(table.columns)
    ]
    wide = [index for index, column in enumerate(table.columns) if column.wide] or [0]
    room = width - 2 * (len(needed) - 1) - sum(size for index, size in enumerate(needed) if index not in wide)
    for place, index in enumerate(wide):
        needed[index] = max(8, min(needed[index], room // (len(wide) - place)))
        room -= needed[index]
    lines: list[StyledLine] = [((_line([column.name for column in table.columns], needed, table.columns), "quiet"),)]
    lines += [((_line(row.cells, needed, table.columns), row.tone),) for row in table.rows]
    return lines


def _line(cells: Sequence[str], widths: Sequence[int], heads: Sequence[Column]) -> str:
    return "  ".join(padded(cell, size, right=head.right) for cell, size, head in zip(cells, widths, heads, strict=True)).rstrip()


def table_markup(table: Table) -> str:
    """The table for a page, without its title."""
    heads = "".join(f"<th{_side(column)}>{inert(column.name)}</th>" for column in table.columns)
    rows = "".join(
        f'<tr class="{row.tone}">'
        + "".join(f"<td{_side(head)}>{inert(cut(cell, _LONGEST_CELL))}</td>" for head, cell in zip(table.columns, row.cells, strict=True))
        + "</tr>"
        for row in table.rows
    )
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _side(column: Column) -> str:
    return ' class="r"' if column.right else ""


def table_markdown(table: Table) -> str:
    """The table in GitHub's Markdown, without its title."""
    heads = " | ".join(column.name for column in table.columns)
    sides = " | ".join("--:" if column.right else "---" for column in table.columns)
    rows = "".join(f"| {' | '.join(cell(plain_or_code(each)) for each in row.cells)} |\n" for row in table.rows)
    return f"| {heads} |\n| {sides} |\n{rows}"


_PLAIN = re.compile(r"[A-Za-z0-9 ,.%$()/·^-]*")


def plain_or_code(text: str) -> str:
    """Figures and plain words as they are; whatever could be a link, a mention or markup as code."""
    return text if _PLAIN.fullmatch(text) and "www." not in text.lower() else code(text, _LONGEST_CELL)
