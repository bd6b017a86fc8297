"""The copy that is mutated: the tree as it stands, with few examples per property, and mutmut's configuration."""

from __future__ import annotations

import filecmp
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PURE = ("afk_es/machine", "afk_es/views", "afk_es/redaction.py")
"""What is mutated: the packages of the import contract "pure-machine"."""

TESTS = ("tests/machine", "tests/views", "tests/test_redaction.py")
"""What has to notice: the tests near them."""

LAW_EXAMPLES = 30
"""Examples per property. Some thousand mutants are run against some ten properties each; what only the hundredth example finds, an example
of its own should say."""

_COPIED = ("afk_es", "debugger", "fixtures", "tests", "README.md", "pyproject.toml")
_EXAMPLES = re.compile(r"max_examples=\d+")

# A fork server, since a process in which the tests have run once has filled the caches behind which mutants would hide.
_CONFIGURATION = f"""
[tool.mutmut]
source_paths = ["afk_es"]
only_mutate = ["afk_es/machine/*.py", "afk_es/views/*.py", "afk_es/redaction.py"]
also_copy = ["debugger", "fixtures", "README.md"]
pytest_add_cli_args = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"]
pytest_add_cli_args_test_selection = {list(TESTS)!r}
timeout_multiplier = 5.0
timeout_constant = 3.0
process_isolation = "forkserver"
use_git_change_detection = false
track_dependencies = false
"""


def prepare(directory: Path) -> frozenset[str]:
    """Bring the copy up to date, and say which modules of it changed.

    Only files that differ are written, so that results of functions that did not change are kept.
    """
    directory.mkdir(parents=True, exist_ok=True)
    present, changed = set(), set()
    for source in _files():
        relative = source.relative_to(ROOT)
        present.add(relative)
        if _write(directory / relative, _text(source, relative), source) and relative.parts[0] == "afk_es":
            changed.add(".".join(relative.with_suffix("").parts[1:]))
    for top in ("afk_es", "tests"):
        for old in [path for path in (directory / top).rglob("*.py") if path.relative_to(directory) not in present]:
            old.unlink()
    return frozenset(changed)


def modules() -> list[str]:
    """The mutated modules by their path in the package, such as `machine.limits`."""
    paths = [path for each in PURE for path in ([ROOT / each] if each.endswith(".py") else sorted((ROOT / each).glob("*.py")))]
    names = [".".join(path.relative_to(ROOT / "afk_es").with_suffix("").parts) for path in paths]
    return [name for name in names if not name.endswith("__init__")]


def _files() -> Iterator[Path]:
    for name in _COPIED:
        top = ROOT / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def _text(source: Path, relative: Path) -> str | None:
    """What stands in the copy instead of the file, or None where it is the same."""
    if relative == Path("pyproject.toml"):
        return source.read_text() + _CONFIGURATION
    if relative.suffix == ".py" and relative.as_posix().startswith(TESTS):
        return _EXAMPLES.sub(f"max_examples={LAW_EXAMPLES}", source.read_text())
    return None


def _write(target: Path, text: str | None, source: Path) -> bool:
    """Whether there was something to write."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and (target.read_text() == text if text is not None else filecmp.cmp(source, target, shallow=False)):
        return False
    if text is not None:
        target.write_text(text)
    else:
        shutil.copy(source, target)
    return True
