"""Goal: the author of a store is told what is broken, what was declared and what is missing, with pytest or without it."""

from __future__ import annotations

import asyncio
import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest

from afk_es.errors import ConfigurationError, UsageError
from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.log.port import Letter
from afk_es.machine import Draft
from afk_es.testing.log_contract import DIMENSIONS, BrokenPromiseError, StoreSubject, check_event_log
from tests.testing.log_contract.corpus import MEMORY_LACKS, tamper_memory

ROOT = Path(__file__).parents[3]


class Hanging(MemoryEventLog):
    async def posted(self) -> int:
        await asyncio.Event().wait()
        return 0


def memory(directory: Path) -> EventLog:
    return MemoryEventLog()


def test_the_report_has_a_line_per_dimension_and_names_what_is_declared() -> None:
    report = check_event_log(memory, lacks=MEMORY_LACKS, tamper=tamper_memory)
    assert report.ok
    assert report.declared == MEMORY_LACKS
    lines = str(report).splitlines()
    assert [line.split("  ")[0] for line in lines] == [dimension.name for dimension in DIMENSIONS]
    assert "killing      not had: it is gone with the process" in lines
    assert any(line.startswith("forks ") and "10 of 10 kept" in line for line in lines)
    report.raise_for_broken()


def test_what_is_broken_says_what_was_expected_and_what_came() -> None:
    class Forgetful(MemoryEventLog):
        async def post(self, run_id: str, draft: Draft, *, at: dt.datetime) -> Letter:
            raise RuntimeError("no post office")

    report = check_event_log(lambda directory: Forgetful(), lacks=MEMORY_LACKS, tamper=tamper_memory, dimensions=["letters", "finding"])
    assert report.broken_dimensions == ("letters",)
    assert "RuntimeError: no post office" in str(report)
    first = check_event_log(lambda directory: Forgetful(), dimensions=["letters", "finding"], stop_at_first=True)
    assert [finding.verdict for finding in first.findings][-2:] == ["kept", "broken"]
    assert first.broken == report.broken[:1]
    with pytest.raises(BrokenPromiseError, match="promises of the EventLog contract are broken"):
        report.raise_for_broken()


def test_a_store_that_hangs_is_broken_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afk_es.testing.log_contract.checking.PATIENCE_S", 0.05)
    report = check_event_log(lambda directory: Hanging(), dimensions=["letters"])
    assert any("the store hangs" in finding.detail for finding in report.broken)


@pytest.mark.parametrize("dimension", ["tampering", "guards"])
def test_what_nobody_can_see_is_broken_until_it_is_declared(dimension: str) -> None:
    report = check_event_log(memory, dimensions=[dimension])
    assert report.broken_dimensions == (dimension,)
    assert f"lacks = {{{dimension!r}: <why>}}" in str(report)
    assert check_event_log(memory, lacks={dimension: "nobody gets at it"}, dimensions=[dimension]).ok


@pytest.mark.parametrize(
    ("lacks", "message"),
    [
        ({"forking": "no"}, "there is no dimension 'forking'.*did you mean 'forks'"),
        ({"forks": "too hard"}, "'forks' may not be lacked"),
        ({"killing": " "}, "no reason"),
        ({"tampering": "no"}, "take one of them away"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(lacks: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_event_log(memory, lacks=lacks, tamper=tamper_memory)


def test_a_store_that_another_process_cannot_make_is_told_so() -> None:
    report = check_event_log(lambda directory: MemoryEventLog(), dimensions=["killing"])
    assert all("give a function or class at the top of a module" in finding.detail for finding in report.broken)
    assert len(report.broken) == 3


def test_a_subject_without_stores_says_what_it_needs() -> None:
    report = check_event_log(StoreSubject(), dimensions=["finding"])
    assert "needs `new_log(self, directory)`" in str(report)


async def test_it_is_not_called_in_an_event_loop() -> None:
    with pytest.raises(UsageError, match="call `check_event_log` where none is running"):
        check_event_log(memory)


def test_without_pytest_and_with_asserts_off(tmp_path: Path) -> None:
    """A broken store is found by an optimised Python in which pytest cannot be imported."""
    program = """
import sys
sys.modules["pytest"] = None
from afk_es.log.memory import MemoryEventLog
from afk_es.testing.log_contract import check_event_log

class Broken(MemoryEventLog):
    async def find(self, prefix):
        return []

report = check_event_log(lambda directory: Broken(), dimensions=["finding", "letters"])
print(report.broken_dimensions)
"""
    command = [sys.executable, "-O", "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "('finding',)"


def test_with_pytest_each_promise_is_a_test_and_what_is_lacking_is_skipped_with_its_reason(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(
        """
        from afk_es.log.memory import MemoryEventLog
        from afk_es.testing.log_contract import EventLogContract

        class TestMine(EventLogContract):
            lacks = dict.fromkeys(("tampering", "guards", "reopening", "sharing", "killing"), "it is in memory")

            def new_log(self, directory):
                return MemoryEventLog()
        """
    )
    result = pytester.runpytest_subprocess("-rs", "-q", "-p", "no:asyncio", "-k", "finding or killing")
    result.assert_outcomes(passed=2, skipped=3)
    result.stdout.fnmatch_lines(["*TestMine has not the dimension 'killing': it is in memory*"])


def test_what_lacks_methods_altogether_is_refused_once() -> None:
    class Diary:
        async def open(self) -> None: ...

    with pytest.raises(ConfigurationError, match=r"Diary is no EventLog: it has no .*append.*; see `afk_es.log.EventLog`"):
        check_event_log(lambda directory: Diary())  # type: ignore[arg-type, return-value]
