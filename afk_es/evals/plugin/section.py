"""What the terminal says of goldens when a session ends: each divergence once, however many goldens it is in, and the way out."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from afk_es.evals.plugin.uses import GoldenUse

if TYPE_CHECKING:
    from afk_es.evals.plugin.session import GoldenSession

_MOST_DIVERGENCES = 10
"""Different divergences that are shown; the report file has all."""
_MOST_NAMES = 5
"""Further goldens that are named under a divergence they share."""

_MARKUP: dict[str, dict[str, bool]] = {"good": {"green": True}, "bad": {"red": True}, "mark": {"yellow": True}, "quiet": {"light": True}}


def write_section(terminal: pytest.TerminalReporter, session: GoldenSession) -> None:
    """Write the section; nothing where no golden was asked for and none lies about."""
    uses = session.tally.uses()
    if not uses and not session.unused.files and "unused" not in session.update:
        return
    terminal.section("goldens")
    _write_failed(terminal, session, [(nodeid, use) for nodeid, use in uses if use.failed])
    for _nodeid, use in uses:
        if use.category:
            what = "recorded" if use.outcome == "new" else f"updated ({use.category})"
            terminal.write_line(f"{what}  {session.shown(use.path)}{f', a run that {use.state}' if use.state else ''}", yellow=True)
    for file in session.unused.files:
        terminal.write_line(f"{'deleted' if session.deleted else 'unused'}  {session.shown(file)}", yellow=True)
    if "unused" in session.update:
        for doubt in session.unused.doubts:
            terminal.write_line(f"not looked for unused ones: {doubt}", yellow=True)
    elif session.unused.files:
        terminal.write_line("no test asks for the unused ones; --golden-update=unused deletes them")
    terminal.write_line(counted(session), bold=True)


def counted(session: GoldenSession) -> str:
    """The counts in one line."""
    counts = session.tally.counts()
    parts = [f"{number} {outcome.replace('_', ' ')}" for outcome, number in counts.items()]
    if session.unused.files:
        parts.append(f"{len(session.unused.files)} unused{', deleted' if session.deleted else ''}")
    return f"goldens: {', '.join(parts) or 'none'}"


def _write_failed(terminal: pytest.TerminalReporter, session: GoldenSession, failed: list[tuple[str, GoldenUse]]) -> None:
    alike: dict[str, list[tuple[str, GoldenUse]]] = defaultdict(list)
    for nodeid, use in failed:
        alike[_what(use)].append((nodeid, use))
    for group in list(alike.values())[:_MOST_DIVERGENCES]:
        nodeid, use = group[0]
        terminal.write_line(f"{use.outcome.replace('_', ' ')}  {session.shown(use.path)}", red=True, bold=True)
        terminal.write_line(f"  in {nodeid}")
        if others := [other.path for _nodeid, other in group[1:]]:
            named = ", ".join(session.shown(path) for path in others[:_MOST_NAMES])
            rest = f" and {len(others) - _MOST_NAMES} more" if len(others) > _MOST_NAMES else ""
            terminal.write_line(f"  the same in {named}{rest}")
        for text, tone in use.lines:
            terminal.write_line(f"  {text}".rstrip(), **_MARKUP.get(tone, {}))
        terminal.write_line("")
    if len(alike) > _MOST_DIVERGENCES:
        terminal.write_line(f"and {len(alike) - _MOST_DIVERGENCES} other divergences; --golden-report=PATH has them all")


def _what(use: GoldenUse) -> str:
    """What differs, without where: a changed prompt is the same change in every golden."""
    divergences = use.report.get("divergences") or ()
    if not divergences:
        return json.dumps([use.outcome, use.lines if use.outcome != "missing" else use.path])
    first = divergences[0]
    return json.dumps([first["kind"], first["field"], first["expected"], first["actual"]], sort_keys=True)
