"""Sums up what was played: at the end of a session that was given this directory, and in the reports' properties of any."""

from __future__ import annotations

import pytest

from tests.tau.airline import Tally

# Its assertions are the tests' own, and are to say as much when they fail.
pytest.register_assert_rewrite("tests.tau.checks")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many conversations, runs and calls there were; seconds are those of all shards together."""
    reports = terminalreporter.getreports("passed")
    tallies = [value for report in reports for name, value in report.user_properties if name == "tally"]
    if tallies:
        terminalreporter.write_line(f"played: {Tally(*map(sum, zip(*tallies, strict=True)))}")
