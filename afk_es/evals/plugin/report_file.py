"""`--golden-report`: what came of the goldens of a session, in a file whose form is what its name ends with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from afk_es.debugger.exchange.writing import replacing
from afk_es.errors import UsageError
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.plugin.section import counted
from afk_es.evals.reports import write_report
from afk_es.evals.reports.writing import form_of

if TYPE_CHECKING:
    from afk_es.evals.plugin.session import GoldenSession


def write_golden_report(path: Path, session: GoldenSession) -> None:
    """Write the report: as `afk_es.evals.reports` does where the name says a form of theirs, otherwise as text.

    Raises:
        OSError: it cannot be written.
        UsageError: there is a directory of that name.
    """
    try:
        form_of(path)
    except UsageError:
        with replacing(path, force=True) as beside:
            beside.write_text("".join(f"{line}\n" for line in _lines(session)), encoding="utf-8", errors="replace")
        return
    write_report(list(_reports(session)), path, title="Goldens of a test session")


def _reports(session: GoldenSession) -> Iterator[CheckReport]:
    for _nodeid, use in session.tally.uses():
        yield msgspec.structs.replace(msgspec.convert(use.report, CheckReport), path=session.shown(use.path))


def _lines(session: GoldenSession) -> Iterator[str]:
    yield counted(session)
    for nodeid, use in session.tally.uses():
        yield f"{use.outcome.replace('_', ' ')}  {session.shown(use.path)}  {nodeid}"
        yield from (f"  {text}" for text, _tone in use.lines)
    for file in session.unused.files:
        yield f"{'deleted' if session.deleted else 'unused'}  {session.shown(file)}"
    yield from (f"not looked for unused ones: {doubt}" for doubt in session.unused.doubts)
