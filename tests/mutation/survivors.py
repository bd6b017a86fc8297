"""What became of the mutants, and which of those that survived are explained in `SURVIVORS.md`.

A mutant is known by its function and by the lines it changes, not by mutmut's number, so that an explanation outlives other changes of the
function and falls away with the line it is about.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

EXPLANATIONS = Path(__file__).with_name("SURVIVORS.md")

_TIMEOUTS = frozenset({36, -24, 24, 152, 255})
_KILLED = frozenset({1, 3})
_NUMBERED = re.compile(r"def \w+__mutmut_\w+\(")
_VERSION = 1


@dataclass(frozen=True)
class Change:
    """A mutant.

    Attributes:
        module: such as `machine.limits`.
        function: its name, `Class.method` for a method.
        lines: the lines it changes, each led by its sign, without their indentation.
    """

    module: str
    function: str
    lines: tuple[str, ...]


@dataclass
class Tally:
    """What became of the mutants of one module. `explained` are those that survived, and that `SURVIVORS.md` tells of."""

    module: str
    mutants: int = 0
    killed: int = 0
    timeouts: int = 0
    explained: int = 0
    untried: list[str] = field(default_factory=list)
    survivors: list[tuple[str, Change]] = field(default_factory=list)
    """With mutmut's name for each: those that nothing explains."""

    @property
    def score(self) -> float:
        """The share that was found, in percent, of those that were tried."""
        tried = self.mutants - len(self.untried)
        return 100 * (self.killed + self.timeouts) / tried if tried else 0.0

    @property
    def adjusted(self) -> float:
        """The same without those that are explained."""
        tried = self.mutants - len(self.untried) - self.explained
        return 100 * (self.killed + self.timeouts) / tried if tried else 100.0


def explained(text: str) -> dict[Change, str]:
    """The explanations: headings `## module`, `### reason`, and diffs whose hunks are headed `@@ function`."""
    found: dict[Change, str] = {}
    module = reason = function = ""
    lines: list[str] = []
    for line in [*text.splitlines(), "## "]:
        if lines and not line.startswith(("+ ", "- ")):
            found[Change(module, function, tuple(lines))] = reason
            lines = []
        if line.startswith("### "):
            reason = line.removeprefix("### ")
        elif line.startswith("## "):
            module = line.removeprefix("## ").strip("`")
        elif line.startswith("@@ "):
            function = line.removeprefix("@@ ")
        elif line.startswith(("+ ", "- ")):
            lines.append(line)
    return found


def tally(directory: Path, module: str, explanations: dict[Change, str]) -> Tally:
    """What is known of a module's mutants in that copy."""
    source = directory / "mutants" / "afk_es" / f"{module.replace('.', '/')}.py"
    found = Tally(module)
    meta = Path(f"{source}.meta")
    if not meta.exists():
        return found
    for name, code in json.loads(meta.read_text())["exit_code_by_key"].items():
        found.mutants += 1
        if code is None:
            found.untried.append(name)
        elif code in _KILLED:
            found.killed += 1
        elif code in _TIMEOUTS:
            found.timeouts += 1
        else:
            change = _change(source, module, name.rpartition(".")[2])
            if change in explanations:
                found.explained += 1
            else:
                found.survivors.append((name, change))
    return found


def _change(source: Path, module: str, mutant: str) -> Change:
    mangled = mutant.partition("__mutmut_")[0]
    function = mangled[2:].replace("ǁ", ".")
    # Each has its number in its name; a default that was changed stands in the same line.
    named = f"def {function.rpartition('.')[2]}("
    before, after = ([_NUMBERED.sub(named, line) for line in body] for body in _bodies(source, f"{mangled}__mutmut_orig", mutant))
    differing = [line for line in difflib.unified_diff(before, after, n=0, lineterm="") if not line.startswith(("---", "+++", "@@"))]
    return Change(module, function, tuple(f"{line[0]} {line[1:].strip()}" for line in differing))


def _bodies(source: Path, *names: str) -> Iterator[list[str]]:
    """The texts of functions in a mutated file, by the index that mutmut keeps beside it."""
    index = json.loads(Path(f"{source}.spans").read_text())
    if index["version"] != _VERSION:
        raise RuntimeError(f"mutmut's index has version {index['version']}, and this command knows version {_VERSION}")
    lines = source.read_text().splitlines()
    for name in names:
        start, end = index["spans"][name]
        yield lines[start - 1 : end]


def as_explanation(changes: list[Change]) -> str:
    """The mutants of one module in the form of `SURVIVORS.md`."""
    hunks = ["\n".join([f"@@ {change.function}", *change.lines]) for change in changes]
    return "\n".join(["```diff", *hunks, "```"])
