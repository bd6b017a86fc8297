"""Goal: whatever somebody has done to a golden file, a check ends with a report or says which line is wrong. Method: seeded edits of its JSON."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from afk_es.evals import Golden, GoldenError, check_golden, report_lines
from tests.evals.desk import agent, edited, recorded, rules

VALUES: tuple[Any, ...] = (None, True, -1, 0, 10**12, 1.5, "", "x", "\x1b[2J", [], {}, [1, "a"], {"a": {"b": []}})


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in some JSON."""
    found = [path] if path else []
    if isinstance(value, dict):
        return found + [each for key, item in value.items() for each in leaves(item, (*path, key))]
    if isinstance(value, list):
        return found + [each for index, item in enumerate(value) for each in leaves(item, (*path, index))]
    return found


def vandalised(lines: list[dict[str, Any]], die: random.Random) -> None:
    """One to three things of the file changed, taken out, or put in twice."""
    for _ in range(die.randint(1, 3)):
        kind = die.randrange(6)
        at = die.randrange(1, len(lines))
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, json.loads(json.dumps(lines[at])))
        else:
            *path, last = die.choice(leaves(lines[at]))
            inside: Any = lines[at]
            for key in path:
                inside = inside[key]
            if kind == 2:
                del inside[last]
            else:
                inside[last] = die.choice(VALUES)


@pytest.mark.parametrize("part", range(8))
async def test_a_check_of_anything_ends_well(part: int, tmp_path: Path) -> None:
    golden = await recorded()
    checked = 0
    refused: list[str] = []
    for seed in range(part * 40, part * 40 + 40):
        die = random.Random(seed)
        try:
            garbage = edited(golden, tmp_path, lambda lines, die=die: vandalised(lines, die))  # type: ignore[misc]
        except GoldenError as error:
            refused.append(str(error))
            continue
        checked += 1
        report = await check_golden(garbage, agent(), policy_engine=rules())
        assert report.outcome in ("passed", "diverged", "not_measurable")
        assert (report.outcome == "diverged") == bool(report.divergences)
        assert (report.outcome == "not_measurable") == bool(report.reason)
        assert all(text.isprintable() for text, _tone in report_lines(report, 80))
        if report.ok:
            assert garbage.edited
            assert any("edited by hand" in note for note in report.notes)
    assert checked
    assert refused
    assert all("lost-order.golden.jsonl:" in message for message in refused)


async def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.golden.jsonl"
    path.write_text("")
    with pytest.raises(GoldenError):
        Golden.read(path)
