"""Goal: a call whose process dies anywhere comes to the same end in the next, and what may not be repeated is not.

Method: the run that a call is, killed before and after each of its events and effects, and resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.core import AgentResult
from afk_es.mcp.caller import call_text, calling
from afk_es.testing import CrashScenario, CrashTrial, crash_everywhere
from afk_es.tools import tool


def caller(**hints: Any) -> Callable[[Path], Agent]:
    """Makes the agent of a process, whose tool leaves a line in a file at each call."""

    def made(directory: Path) -> Agent:
        @tool(name="pay", **hints)
        def pay(order: str) -> str:
            """Pay an order."""
            with (directory / "paid").open("a", encoding="utf-8") as paid:
                paid.write(f"{order}\n")
            return f"{order} is paid"

        return calling(pay, 300.0)

    return made


def paid(directory: Path) -> list[str]:
    """The orders that were paid, each time that they were."""
    file = directory / "paid"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


@pytest.mark.parametrize("hints", [{}, {"idempotent": True}, {"read_only": True}])
def test_a_call_survives_a_crash_at_every_point(hints: dict[str, Any]) -> None:
    def check(trial: CrashTrial, result: AgentResult) -> Iterator[str]:
        (record,) = result.tool_executions
        if result.state != "completed":
            yield f"the run is {result.state}"
        if hints and not record.success:
            yield f"it may be repeated, and was not: {record.error}"
        if not hints and len(paid(trial.directory)) > 1:
            yield "it was repeated"
        if not record.success and "the outcome of this call is unknown" not in (record.error or ""):
            yield f"it failed otherwise: {record.error}"

    matrix = crash_everywhere(CrashScenario(agent=caller(**hints), user_message=call_text("pay", {"order": "A1"})), check)
    assert matrix.problems == []
    assert matrix.summary()["points"] > 20
    assert bool(matrix.summary()["reported_unknown"]) == (not hints)
