"""A run as a test: a golden of it, and beside it a few lines of Python that check today's agent on it.

Nothing of a log gets into the Python, neither as code nor in a comment: what was recorded stands in the golden, which is data.
"""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from afk_es.debugger.exchange.golden_facts import SUFFIX
from afk_es.debugger.exchange.writing import replacing
from afk_es.errors import UsageError
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.evals.goldens.golden import Golden
from afk_es.log import EventLog
from afk_es.redaction import Redaction

_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_REDACTION = Redaction()


@dataclass(frozen=True)
class AgentReference:
    """Where a test finds its agent.

    Attributes:
        module, attribute: of an Agent, or of a function that gives one.
        called: whether it is a function.
        directory: that has to be on the path for the module to be found; None for one that is installed.
    """

    module: str
    attribute: str
    called: bool = False
    directory: Path | None = None

    @classmethod
    def of(cls, reference: str, *, called: bool = False) -> AgentReference:
        """The source that `module:attribute` or `path.py:attribute` names. No code of it is run, but that of packages around it.

        Raises:
            UsageError: it names none.
        """
        module, _colon, attribute = reference.rpartition(":")
        directory: Path | None = None
        if module.endswith(".py"):
            file = Path(module).expanduser().resolve()
            module, directory = file.stem, file.parent
        names = f"{module}.{attribute}"
        if not _DOTTED.fullmatch(names) or any(keyword.iskeyword(name) for name in names.split(".")):
            raise UsageError(f"{reference!r} does not name an agent; write module:attribute or path.py:attribute")
        return cls(module, attribute, called, directory if directory is not None else _home(module))


async def write_pinned(
    log: EventLog,
    run_id: str,
    target: Path,
    *,
    agent: AgentReference,
    mode: MatchMode = "strict",
    redaction: Redaction | None = _REDACTION,
    force: bool = False,
) -> tuple[Path, Path]:
    """Write the test and, beside it under the same name, the golden that it reads: both, or none of them.

    Args:
        target: the test file, `test_....py`.
        mode: how the agent is compared.
        redaction: what is kept back in the golden; None for nothing.
        force: replace what is there.

    Returns:
        The two files.

    Raises:
        UsageError: a name that pytest would not find, a file that is there already, a run that cannot be replayed.
        RunNotFoundError: there is no such run.
    """
    if not re.fullmatch(r"test_.*\.py|.*_test\.py", target.name):
        raise UsageError(f"pytest finds files named test_*.py or *_test.py, and {target.name} is none")
    file = target.with_name(target.stem + SUFFIX)
    reference = f"{agent.module}:{agent.attribute}"
    golden = await Golden.of(log, run_id, name=target.stem, mode=mode, redaction=redaction, agent_ref=reference)
    with replacing(target, force=force) as test, replacing(file, force=force) as facts:
        facts.write_bytes(golden.text().encode())
        test.write_text(_source(agent, target, file.name), encoding="utf-8")
        for each in (facts, test):
            # Source files, to be reviewed and committed.
            each.chmod(0o644)
    return target, file


async def write_golden(
    log: EventLog, run_id: str, target: Path, *, mode: MatchMode = "strict", redaction: Redaction | None = _REDACTION, force: bool = False
) -> Path:
    """Write a golden of a run.

    Args:
        target: a file whose name ends with `.golden.jsonl`.

    Raises:
        UsageError: see `write_pinned`; or the file's name ends with something else.
        RunNotFoundError: there is no such run.
    """
    name = target.name.removesuffix(SUFFIX)
    if not target.name.endswith(SUFFIX) or not name:
        raise UsageError(f"{target.name}: the name of a golden's file ends with {SUFFIX}")
    golden = await Golden.of(log, run_id, name=name, mode=mode, redaction=redaction)
    with replacing(target, force=force) as beside:
        beside.write_bytes(golden.text().encode())
        beside.chmod(0o644)
    return target


def _source(agent: AgentReference, target: Path, golden: str) -> str:
    first, _dot, rest = agent.attribute.partition(".")
    # Names of the test itself.
    own = first in ("golden", "GoldenFixture", "Path", "sys")
    imported = f"{first} as the_{first}" if own else first
    expression = ".".join(filter(None, (imported.rpartition(" ")[2], rest)))
    path = _path_line(agent.directory, target)
    return _TEMPLATE.format(
        standard="import sys\nfrom pathlib import Path\n\n" if path else "",
        path=f"{path}\n\n" if path else "",
        agent=f"from {agent.module} import {imported}{'  # noqa: E402' if path else ''}\n",
        expression=f"{expression}()" if agent.called else expression,
        golden=_literal(golden),
    )


def _literal(text: str) -> str:
    """The text as a Python literal, in the quotes that formatters like."""
    literal = repr(text)
    return f'"{literal[1:-1]}"' if literal[0] == "'" and '"' not in literal else literal


def _path_line(directory: Path | None, target: Path) -> str:
    if directory is None:
        return ""
    relative = os.path.relpath(directory, target.expanduser().resolve().parent)
    inner = "" if relative == os.curdir else f" / {_literal(Path(relative).as_posix())}"
    return f"sys.path.insert(0, str(Path(__file__).parent{inner}))  # where the agent's module is"


def _home(module: str) -> Path | None:
    """The directory that a module is imported from, if it is not one of the interpreter's."""
    top = module.partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).resolve()
    home = file.parent.parent if file.name == "__init__.py" else file.parent
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return None if home in installed else home


_TEMPLATE = '''"""A recorded run, pinned: on its recorded answers, offline, today's agent has to do what it did.

Written by `afk-es export --to pytest`. What was recorded stands beside this file. Where a change is meant,
`pytest --golden-update=behaviour` runs the agent live and records it anew.
"""

{standard}from afk_es.evals import GoldenFixture

{path}{agent}

def test_the_agent_does_what_is_recorded(golden: GoldenFixture) -> None:
    golden.open({golden}).check({expression})
'''
