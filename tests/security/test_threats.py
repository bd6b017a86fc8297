"""The page of threats says what there is: every test that it names exists, and every test of this directory is named there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = (HERE / "THREATS.md").read_text()
NAMED = re.findall(r"`((?:tests/[\w/]+\.py::)?(?:\w+::)*test_\w+)`", PAGE)


@cache
def named_in(path: Path) -> set[str]:
    """The names of the tests of a file, in classes as well."""
    tree = ast.parse(path.read_bytes())
    return {
        node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    }


def named_here() -> set[str]:
    """The tests of this directory."""
    return set().union(*(named_in(path) for path in HERE.glob("test_*.py")))


def test_every_test_that_the_page_names_is_there() -> None:
    missing = []
    for name in NAMED:
        file, separator, test = name.rpartition("::")
        path = ROOT / file
        there = (path.is_file() and test in named_in(path)) if separator else test in named_here()
        missing += [] if there else [name]
    assert missing == []
    assert len(NAMED) > 40


def test_the_page_names_every_test_of_this_directory() -> None:
    assert named_here() - set(NAMED) == set()


def test_the_readme_leads_to_the_page() -> None:
    """And every file of the source that the page names is there."""
    assert "(tests/security/THREATS.md)" in (ROOT / "README.md").read_text()
    for name in re.findall(r"`((?:\w+/)+\w+\.py|\w+\.py)`", PAGE):
        assert [path for path in (ROOT / "afk_es" / name, ROOT / name, HERE / name, *(ROOT / "afk_es").rglob(name)) if path.is_file()], name
