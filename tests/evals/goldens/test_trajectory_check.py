"""A golden in trajectory mode by another measure than exact: each reason of the comparison is a divergence in its class."""

from __future__ import annotations

from typing import Any

import pytest

from afk_es.errors import UsageError
from afk_es.evals import CheckReport, check_golden, compare_with_golden
from tests.evals.desk import ANSWER, LOOK, NOTIFY, REFUND, agent, asks, ran, recorded, rules, says

MORE = (asks(LOOK, LOOK), asks(REFUND, NOTIFY), says(ANSWER))
LESS = (asks(LOOK), asks(REFUND), says(ANSWER))
SWAPPED = (asks(LOOK), asks(NOTIFY, REFUND), says(ANSWER))
OTHER = (asks(LOOK), asks(("refund", {"order": 7, "amount": 19}), NOTIFY), says(ANSWER))


async def compared(*script: Any, **trajectory: Any) -> CheckReport:
    log, result = await ran(agent(*script))
    return await compare_with_golden(await recorded(), log, result.run_id, mode="trajectory", trajectory=trajectory)


def found(report: CheckReport) -> list[tuple[str, str]]:
    return [(each.kind, each.field) for each in report.divergences]


@pytest.mark.parametrize(
    ("script", "passing"),
    [
        (MORE, {"superset", "in_order"}),
        (LESS, {"subset"}),
        (SWAPPED, {"unordered", "subset", "superset"}),
        (OTHER, set()),
    ],
)
async def test_each_measure_allows_what_its_table_says(script: tuple[Any, ...], passing: set[str]) -> None:
    allowed = {mode for mode in ("exact", "in_order", "unordered", "subset", "superset") if (await compared(*script, mode=mode)).ok}
    assert allowed == passing


async def test_a_call_with_other_arguments_is_of_the_class_params() -> None:
    report = await compared(*OTHER, mode="unordered")
    assert found(report) == [("params", "arguments.amount")]
    assert (report.divergences[0].expected, report.divergences[0].actual) == (20, 19)
    assert report.divergences[0].today is not None
    assert report.divergences[0].today.tool_name == "refund"


async def test_arguments_may_be_ignored() -> None:
    assert (await compared(*OTHER, mode="exact", arguments="ignore")).ok


async def test_missing_extra_and_order() -> None:
    assert found(await compared(*LESS, mode="superset")) == [("missing", "tool_name")]
    assert found(await compared(*MORE, mode="unordered")) == [("extra", "tool_name")]
    assert [kind for kind, _field in found(await compared(*SWAPPED, mode="exact"))] == ["order"]


async def test_a_vacuous_pass_is_noted() -> None:
    golden = await recorded(agent(says(ANSWER)))
    log, result = await ran(agent(*MORE))
    report = await compare_with_golden(golden, log, result.run_id, mode="trajectory", trajectory={"mode": "superset"})
    assert report.ok
    assert "not exercised" in report.notes[0]


async def test_a_replay_is_compared_so_too() -> None:
    report = await check_golden(
        await recorded(), agent(instructions="x"), mode="trajectory", trajectory={"mode": "in_order"}, policy_engine=rules()
    )
    assert report.ok


async def test_measures_are_for_trajectory_mode() -> None:
    with pytest.raises(UsageError, match="trajectory mode"):
        await check_golden(await recorded(), agent(), trajectory={"mode": "superset"})


async def test_a_measure_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="fuzzy"):
        await compared(*MORE, mode="fuzzy")
