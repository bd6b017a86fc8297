"""A run as a test: short, closed to what a log says, and when it is run, true of the agent that was recorded and of no other."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from afk_es.errors import RunNotFoundError, UsageError
from afk_es.evals import AgentReference, Golden, write_golden, write_pinned
from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from tests.debugger.exchange.family import HOSTILE, SECRET, recorded
from tests.evals.plugin.conftest import entry_point_in

ROOT = Path(__file__).parents[3]
DESK = AgentReference.of("tests.debugger.exchange.family:desk", called=True)


@pytest.fixture
async def log() -> AsyncIterator[EventLog]:
    log = MemoryEventLog()
    await log.open()
    yield log
    await log.close()


@pytest.fixture
async def run_id(log: EventLog) -> str:
    return await recorded(log)


def _way(here: Path, there: Path) -> str:
    return os.path.relpath(there, here)


async def test_the_test_is_short_and_nothing_of_the_log_is_in_it(log: EventLog, run_id: str, tmp_path: Path) -> None:
    test, golden = await write_pinned(log, run_id, tmp_path / "test_it.py", agent=DESK)
    assert (test.name, golden.name) == ("test_it.py", "test_it.golden.jsonl")
    source = test.read_text()
    assert len(source.splitlines()) < 25
    assert not any(said in source for said in (run_id, "alert", "Be kind", "Done", "thread_one", "helper"))
    strings = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert strings[1:] == [_way(tmp_path, ROOT), "test_it.golden.jsonl"]
    checked = Golden.read(golden)
    assert (checked.name, checked.header.agent) == ("test_it", "tests.debugger.exchange.family:desk")
    assert HOSTILE.split("\u202e")[0] in checked.outcomes[checked.runs[0]].final_text
    assert SECRET not in golden.read_text()


async def test_what_is_kept_back_and_how_much_has_to_be_the_same_can_be_said(log: EventLog, run_id: str, tmp_path: Path) -> None:
    _test, golden = await write_pinned(log, run_id, tmp_path / "test_it.py", agent=DESK, mode="trajectory", redaction=None)
    assert SECRET in golden.read_text()
    assert Golden.read(golden).mode == "trajectory"


async def test_a_golden_alone(log: EventLog, run_id: str, tmp_path: Path) -> None:
    written = await write_golden(log, run_id, tmp_path / "lost order.golden.jsonl", mode="contract")
    assert (Golden.read(written).name, Golden.read(written).mode) == ("lost order", "contract")
    for name in ("x.jsonl", ".golden.jsonl", "x.golden.jsonl.txt"):
        with pytest.raises(UsageError, match="ends with"):
            await write_golden(log, run_id, tmp_path / name)
    with pytest.raises(UsageError, match="is there already"):
        await write_golden(log, run_id, written)
    await write_golden(log, run_id, written, force=True)
    with pytest.raises(RunNotFoundError):
        await write_golden(log, "run_nothing", tmp_path / "y.golden.jsonl")
    assert os.listdir(tmp_path) == ["lost order.golden.jsonl"]


@pytest.mark.parametrize(
    "reference", ["desk", "desk:agent()", "a b:c", "desk:class", "desk:import os", ":agent", "desk:", "if:agent", "a-b.py:c"]
)
def test_what_does_not_name_an_agent_is_refused(reference: str) -> None:
    with pytest.raises(UsageError, match="does not name an agent"):
        AgentReference.of(reference)


async def test_a_test_that_pytest_would_not_find_is_refused(log: EventLog, run_id: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pytest finds files named"):
        await write_pinned(log, run_id, tmp_path / "it.py", agent=DESK)
    assert os.listdir(tmp_path) == []


async def test_neither_the_test_nor_its_golden_is_overwritten(log: EventLog, run_id: str, tmp_path: Path) -> None:
    for name in ("test_it.golden.jsonl", "test_it.py"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(UsageError, match="is there already"):
            await write_pinned(log, run_id, tmp_path / "test_it.py", agent=DESK)
        assert os.listdir(tmp_path) == [name]
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


AGENTS = """
from tests.debugger.exchange.family import desk

class shop:
    desk = desk()

golden = desk()
changed = desk().model_copy(update={"instructions": "Be rude."})
"""


@pytest.mark.parametrize(
    ("reference", "called", "outcome"),
    [
        ("tests.debugger.exchange.family:desk", True, "1 passed"),
        ("{agents}:shop.desk", False, "1 passed"),
        ("{agents}:golden", False, "1 passed"),
        ("{agents}:changed", False, "1 failed"),
    ],
)
@pytest.mark.parametrize("place", ["", "checks/deep"])
async def test_it_passes_for_the_agent_of_the_run_and_for_no_other(
    log: EventLog,
    run_id: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    reference: str,
    called: bool,
    outcome: str,
    place: str,
) -> None:
    """In a process of its own, from any directory, offline; what fails says what was changed, and the golden stays as it is."""
    (tmp_path / "agents.py").write_text(AGENTS)
    agent = AgentReference.of(reference.format(agents=tmp_path / "agents.py"), called=called)
    test, golden = await write_pinned(log, run_id, tmp_path / place / "test_it.py", agent=agent)
    before = golden.read_bytes()
    site = entry_point_in(tmp_path_factory.mktemp("site"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:xdist", "-c", os.devnull]
    done = subprocess.run(  # noqa: ASYNC221 - nothing else is in the event loop of this test
        [*command, "--import-mode=importlib", "--rootdir", str(tmp_path), str(test)],
        cwd=site,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome in done.stdout, done.stdout + done.stderr
    if "failed" in outcome:
        assert "diverged: prompt instructions" in done.stdout
        assert "Be rude." in done.stdout
    assert golden.read_bytes() == before
