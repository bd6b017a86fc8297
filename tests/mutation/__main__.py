"""The command: `python -m tests.mutation --help`."""

from __future__ import annotations

import argparse
import importlib.util
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutation.survivors import EXPLANATIONS, Tally, as_explanation, explained, tally
from tests.mutation.workspace import modules, prepare

_MEMORY = 6 * 2**30
"""Bytes of address space: a mutant that grows without end dies of it, and so does not take the machine with it."""


def main() -> int:
    asked = _arguments()
    known = modules()
    unknown = sorted(set(asked.modules) - set(known))
    if unknown:
        print(f"no such modules: {', '.join(unknown)}; there are: {', '.join(known)}")
        return 2
    directory = asked.dir or Path(tempfile.mkdtemp(prefix="afk_es-mutants-"))
    chosen = asked.modules or known
    explanations = explained(EXPLANATIONS.read_text())
    if not asked.report:
        if importlib.util.find_spec("mutmut") is None:
            print("mutmut is not installed: pip install 'mutmut>=3.8,<4'")
            return 2
        print(f"working in {directory}")
        changed = prepare(directory)
        if changed:
            # What mutmut remembers is which tests go through which function, and a function that is new is in none of it.
            (directory / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
        names = [
            name
            for module in chosen
            for name in _sample(_to_try(directory, module, again=asked.again, changed=module in changed), asked.sample)
        ]
        if names and (code := _run(directory, names, asked.processes)):
            return code
    return _report([tally(directory, module, explanations) for module in chosen])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Mutation testing of the pure packages.")
    parser.add_argument("modules", nargs="*", help="such as machine.limits; default: all")
    parser.add_argument("--dir", type=Path, help="where to work, and to go on another time; default: a new temporary directory")
    parser.add_argument("--processes", type=int, default=2, help="default: 2")
    parser.add_argument("--again", action="store_true", help="only those that survived before and are not explained")
    parser.add_argument("--sample", type=int, help="so many of a module's that are left, evenly spread; once its mutants are made")
    parser.add_argument("--report", action="store_true", help="run nothing, say what is known")
    return parser.parse_args()


def _to_try(directory: Path, module: str, *, again: bool, changed: bool) -> list[str]:
    """The mutants of a module that are to be tried: all where it is new or has changed, else those that were not, or that survived."""
    known = tally(directory, module, explained(EXPLANATIONS.read_text()))
    if changed or not known.mutants:
        return [f"afk_es.{module}.x*"]
    return [name for name, _ in known.survivors] if again else known.untried


def _sample(names: list[str], size: int | None) -> list[str]:
    """So many of these, evenly spread over the module, so that what becomes of them speaks for all of it."""
    if size is None or size >= len(names):
        return names
    return [names[index * len(names) // size] for index in range(size)]


def _run(directory: Path, names: list[str], processes: int) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    # Not `python -m mutmut`: run as a module it would import itself twice.
    program = Path(sys.executable).with_name("mutmut")
    return subprocess.run(["nice", "-n", "15", str(program), "run", "--max-children", str(processes), *names], cwd=directory).returncode


def _report(tallies: list[Tally]) -> int:
    print(
        f"\n{'module':28}{'mutants':>9}{'killed':>8}{'timeout':>9}{'explained':>11}{'survive':>9}{'untried':>9}{'score':>8}{'without':>9}"
    )
    total = Tally("all")
    for each in tallies:
        _row(each)
        total.mutants += each.mutants
        total.killed += each.killed
        total.timeouts += each.timeouts
        total.untried += each.untried
        total.explained += each.explained
        total.survivors += each.survivors
    _row(total)
    print("score: found of those that were tried, in percent; without: the same without those that SURVIVORS.md explains\n")
    for each in tallies:
        if each.survivors:
            print(f"## {each.module}\n{as_explanation([change for _, change in each.survivors])}")
    return 0


def _row(of: Tally) -> None:
    counts = f"{of.mutants:9}{of.killed:8}{of.timeouts:9}{of.explained:11}{len(of.survivors):9}{len(of.untried):9}"
    print(f"{of.module:28}{counts}{of.score:8.1f}{of.adjusted:9.1f}")


if __name__ == "__main__":
    sys.exit(main())
