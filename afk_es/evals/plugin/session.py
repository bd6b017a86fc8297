"""What a test session knows of goldens, in every process of it: what is accepted, what tests asked for, what is said at the end.

A worker only gathers; whoever has the terminal counts, tells, deletes and writes the report.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from afk_es.evals.plugin.section import write_section
from afk_es.evals.plugin.unused import Unused, delete, unused_goldens
from afk_es.evals.plugin.uses import GoldenUse, Tally, packed

_SENT = "afk_es_goldens"
"""What a test report, and what a worker sends at its end, have of goldens."""

USES: pytest.StashKey[list[GoldenUse]] = pytest.StashKey()
"""Of a test: what it asked for since its last report."""

_NOTHING_RUNS = ("setuponly", "setupplan", "collectonly")


class GoldenSession:
    """The goldens of a session.

    Attributes:
        update: the categories that are accepted.
        tally: what tests asked for, so far.
        unused: what is known of unused goldens, at the end.
        deleted: those of them that were deleted.
    """

    def __init__(self, config: pytest.Config, update: frozenset[str]) -> None:
        self.config: pytest.Config = config
        self.update: frozenset[str] = update
        self.tally: Tally = Tally()
        self.unused: Unused = Unused()
        self.deleted: bool = False
        self._tests: list[tuple[str, str, bool]] = []
        self._deselected = 0
        self._uncollected: list[str] = []
        self._complaint: str | None = None

    @property
    def mode(self) -> str:
        """How goldens are compared by the settings; "" for each as it was recorded."""
        return str(self.config.getini("golden_mode"))

    @property
    def directory(self) -> str:
        """What directories of goldens are called."""
        return str(self.config.getini("golden_dir"))

    def shown(self, path: Path | str) -> str:
        """A path as it can be given back to the shell: from the directory that pytest was called in, where it lies below that."""
        here = self.config.invocation_params.dir
        return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)

    # What is gathered, in every process.

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Tests that were left out by -k, -m, --last-failed and the like."""
        self._deselected += len(items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that could not be collected."""
        if report.failed:
            self._uncollected.append(report.nodeid)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """The tests beside which there may be goldens."""
        known: dict[Path, bool] = {}
        for item in session.items:
            asks = "golden" in getattr(item, "fixturenames", ())
            directory = item.path.parent
            if directory not in known:
                known[directory] = (directory / self.directory).is_dir()
            if asks or known[directory]:
                self._tests.append((item.nodeid, str(item.path), asks))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Sends what a test asked for along with its report."""
        report = yield
        if uses := item.stash.get(USES, None):
            setattr(report, _SENT, packed(uses))
            uses.clear()
        return report

    # What is made of it, where the terminal is.

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A report, of this process or of a worker."""
        self.tally.reported(report.nodeid, str(report.when), report.outcome, getattr(report, _SENT, None))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker of xdist has ended; all workers collect the same tests, so the first is enough."""
        sent = getattr(node, "workeroutput", {}).get(_SENT)
        if sent is not None and not self._tests:
            self._tests, self._deselected = [tuple(test) for test in sent["tests"]], sent["deselected"]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge what is unused, delete it where that was asked for, and write the report; a worker sends what it knows."""
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output[_SENT] = {"tests": self._tests, "deselected": self._deselected}
            return
        self.tally.collected(self._tests)
        covered = [self._given(argument.partition("::")[0]) for argument in self.config.args]
        self.unused = unused_goldens(self.tally.tests.values(), golden_dir=self.directory, covered=covered, doubts=self._doubts())
        if "unused" in self.update:
            delete(self.unused.files)
            self.deleted = bool(self.unused.files)
        if (target := self.config.getoption("golden_report")) is not None:
            self._write_report(session, target)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The section `goldens`."""
        write_section(terminalreporter, self)
        if self._complaint is not None:
            terminalreporter.write_line(self._complaint, red=True)

    def _write_report(self, session: pytest.Session, target: str) -> None:
        from afk_es.errors import UsageError
        from afk_es.evals.plugin.report_file import write_golden_report

        try:
            write_golden_report(self._given(target), self)
        except (OSError, UsageError) as error:
            # Whoever asked for a report must not take its lack for a pass.
            self._complaint = f"--golden-report could not be written: {error}"
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _given(self, argument: str) -> Path:
        return Path(os.path.abspath(self.config.invocation_params.dir / argument))

    def _doubts(self) -> list[str]:
        """Why nothing can be said of what is unused: a test that did not run may have asked for it."""
        doubts = []
        if any(self.config.getoption(name, False) for name in _NOTHING_RUNS):
            doubts.append("no test was run")
        if any("::" in argument for argument in self.config.args):
            doubts.append("single tests were asked for by their node ids")
        if self._deselected:
            doubts.append(f"{self._deselected} of the tests were deselected, as by -k, -m or --last-failed")
        if self._uncollected:
            doubts.append(f"{self._uncollected[0]} could not be collected")
        return doubts
