"""What a tool says of its progress cannot make it fail."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from afk_es.tools import ToolContext


def reported(*report: Any) -> list[tuple[float, float | None, str]]:
    """What whoever watches is told."""
    told: list[tuple[float, float | None, str]] = []
    ToolContext(progress=lambda *each: told.append(each)).report_progress(*report)
    return told


@pytest.mark.parametrize("progress", [None, "1", float("nan"), float("inf"), -float("inf"), Decimal("sNaN"), 10**400, 1j, [1]])
def test_a_report_without_a_finite_number_is_let_go(progress: Any) -> None:
    assert reported(progress, 2, "half of it") == []


@pytest.mark.parametrize("total", [None, "2", float("nan"), float("inf"), 10**400, {}])
def test_a_total_that_is_no_finite_number_is_not_known(total: Any) -> None:
    assert reported(1, total, "half of it") == [(1.0, None, "half of it")]


@pytest.mark.parametrize("message", [None, 7, b"half"])
def test_a_message_that_is_no_text_is_left_out(message: Any) -> None:
    assert reported(1, 2, message) == [(1.0, 2.0, "")]


@pytest.mark.parametrize("number", [1, 1.0, True, Decimal(1), Fraction(1)])
def test_any_kind_of_number_is_told_as_a_float(number: Any) -> None:
    ((progress, total, _message),) = reported(number, number)
    assert (progress, total, type(progress), type(total)) == (1.0, 1.0, float, float)


def test_nobody_watches() -> None:
    ToolContext().report_progress(1)
