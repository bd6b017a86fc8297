"""What is explained is still there: an explanation whose line is gone is gone with it, and the form can be read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.mutation.__main__ import _sample
from tests.mutation.survivors import EXPLANATIONS, Change, as_explanation, explained, tally
from tests.mutation.workspace import ROOT, modules, prepare

CHANGE = Change("machine.limits", "Kind.ending", ("- return 1", "+ return 2"))
OTHER = Change("machine.limits", "failed", ("- case _:", "- pass"))
WRITTEN = f"# Survivors\n\n## `machine.limits`\n\nWords.\n\n### The same: nobody asks.\n\n{as_explanation([CHANGE, OTHER])}\n"


def test_explanations_can_be_read_back() -> None:
    assert explained(WRITTEN) == {CHANGE: "The same: nobody asks.", OTHER: "The same: nobody asks."}


@pytest.mark.parametrize("change", explained(EXPLANATIONS.read_text()), ids=lambda change: f"{change.module}.{change.function}")
def test_every_explanation_is_about_a_line_that_is_there(change: Change) -> None:
    assert change.module in modules()
    source = (ROOT / "afk_es" / f"{change.module.replace('.', '/')}.py").read_text()
    assert f"def {change.function.rpartition('.')[2]}(" in source
    lines = {line.strip() for line in source.splitlines()}
    assert [line[2:] for line in change.lines if line.startswith("- ") and line[2:] not in lines] == []


def test_mutants_are_told_apart_by_what_became_of_them(tmp_path: Path) -> None:
    """Method: a file as mutmut writes it, with its results and its index."""
    source = tmp_path / "mutants" / "afk_es" / "machine" / "limits.py"
    source.parent.mkdir(parents=True)
    bodies = {"xǁKindǁending__mutmut_orig": "return 1"} | {f"xǁKindǁending__mutmut_{number}": f"return {number}" for number in range(2, 8)}
    source.write_text("".join(f"    def {name}(self):\n        {body}\n" for name, body in bodies.items()))
    spans = {name: [2 * place + 1, 2 * place + 2] for place, name in enumerate(bodies)}
    Path(f"{source}.spans").write_text(json.dumps({"version": 1, "spans": spans}))
    codes = dict(zip(list(bodies)[1:], (0, 0, 1, 3, 36, None), strict=True))
    names = {f"afk_es.machine.limits.{name}": code for name, code in codes.items()}
    Path(f"{source}.meta").write_text(json.dumps({"exit_code_by_key": names}))
    found = tally(tmp_path, "machine.limits", explained(WRITTEN))
    assert (found.mutants, found.killed, found.timeouts, len(found.untried), found.explained) == (6, 2, 1, 1, 1)
    assert [change for _, change in found.survivors] == [Change("machine.limits", "Kind.ending", ("- return 1", "+ return 3"))]
    assert (found.score, found.adjusted) == (60.0, 75.0)
    assert tally(tmp_path, "machine.turns", {}).mutants == 0


def test_the_copy_has_few_examples_a_configuration_and_nothing_that_is_not_in_the_tree(tmp_path: Path) -> None:
    gone = tmp_path / "tests" / "machine" / "test_gone.py"
    gone.parent.mkdir(parents=True)
    gone.write_text("")
    assert set(modules()) <= prepare(tmp_path)
    assert not gone.exists()
    assert "max_examples=30" in (tmp_path / "tests" / "machine" / "conftest.py").read_text()
    assert "[tool.mutmut]" in (tmp_path / "pyproject.toml").read_text()
    limits = tmp_path / "afk_es" / "machine" / "limits.py"
    assert limits.read_text() == (ROOT / "afk_es" / "machine" / "limits.py").read_text()
    limits.touch()
    before = limits.stat().st_mtime_ns
    assert prepare(tmp_path) == frozenset()
    assert limits.stat().st_mtime_ns == before, "what did not change is not written, so its results are kept"


def test_a_sample_is_spread_evenly() -> None:
    assert _sample([*map(str, range(10))], 4) == ["0", "2", "5", "7"]
    assert _sample(["a"], 4) == ["a"]
    assert _sample(["a", "b"], None) == ["a", "b"]
