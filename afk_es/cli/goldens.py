"""What the verbs of goldens have in common: which files are meant, whose agent they are of, and their checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from afk_es.agents import Agent, PolicyEngine
from afk_es.cli.agents import load_agent, load_own_agent
from afk_es.cli.policies import load_engine
from afk_es.debugger.exchange.golden_facts import SUFFIX
from afk_es.errors import RunNotFoundError, UsageError
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.checking import check_golden
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.store import GoldenStore

F = TypeVar("F", bound=Callable[..., Any])

DIRECTORY = "goldens"
"""Where goldens lie if nobody says otherwise."""


class NoGoldenError(RunNotFoundError):
    """There is no golden of that name, or none at all."""


def golden_options(command: F) -> F:
    """Adds --dir, --agent, --policy and --mode."""
    command = click.option(
        "--mode", type=click.Choice(get_args(MatchMode)), help="How much has to be the same; default, as each golden says."
    )(command)
    command = policy_option(command)
    command = click.option(
        "--agent",
        metavar="MODULE:AGENT",
        help="Today's agent; default, the one that each golden names in its first line, if it is below this directory.",
    )(command)
    return click.option(
        "--dir", "directory", default=DIRECTORY, show_default=True, metavar="DIRECTORY", help="Where goldens lie that are named."
    )(command)


def policy_option(command: F) -> F:
    """Adds --policy."""
    return click.option(
        "--policy", metavar="MODULE:POLICY", help="The Runner's PolicyEngine, beside the agents' own, if the runs had one."
    )(command)


def golden_files(names: Sequence[str], directory: str) -> tuple[Path, ...]:
    """The files that are meant, each once: files, all below directories, names; nothing named: all below `directory`.

    Raises:
        NoGoldenError: there is none.
    """
    found: dict[Path, None] = {}
    for name in names or (directory,):
        found |= dict.fromkeys(_files(name, directory))
    return tuple(found)


def _files(name: str, directory: str) -> list[Path]:
    path = Path(name).expanduser()
    if path.is_dir():
        below = sorted(each for each in path.rglob(f"*{SUFFIX}") if each.is_file())
        if not below:
            raise NoGoldenError(f"there is no golden in {name}; record one with `afk-es golden record RUN --name NAME --dir {name}`")
        return below
    if path.is_file():
        return [path]
    if name.endswith(SUFFIX) or name == directory:
        raise NoGoldenError(f"there is no file or directory {name} here; record a golden with `afk-es golden record RUN --name NAME`")
    named = GoldenStore(directory).path(name)
    if not named.is_file():
        raise NoGoldenError(f"{named}: there is no golden {name!r}; `afk-es golden list` tells those there are")
    return [named]


class Agents:
    """Today's agents, each loaded once, and the policy that a Runner adds to theirs.

    Args:
        given: `MODULE:AGENT` that holds for all; None: what each golden says.
        policy: `MODULE:POLICY` of the Runner; None for none.

    Attributes:
        policy_engine: that policy.

    Raises:
        ConfigurationError: one of them names none.
    """

    def __init__(self, given: str | None, policy: str | None) -> None:
        self.policy_engine: PolicyEngine | None = load_engine(policy) if policy is not None else None
        self._given = load_agent(given) if given is not None else None
        self._reference = given
        self._loaded: dict[str, Agent] = {}

    def of(self, golden: Golden) -> Agent:
        """The agent of a golden.

        Raises:
            UsageError: nobody says which it is.
            ConfigurationError: the golden names one that is none.
        """
        if self._given is not None:
            return self._given
        reference = golden.header.agent
        if reference is None:
            raise UsageError("its first line names no agent; say which it is with --agent MODULE:AGENT")
        if reference not in self._loaded:
            self._loaded[reference] = load_own_agent(reference)
        return self._loaded[reference]

    def reference(self, golden: Golden) -> str | None:
        """`MODULE:AGENT` of that agent, as it was given or as the golden has it."""
        return self._reference if self._reference is not None else golden.header.agent


async def checked(path: Path, agents: Agents, mode: MatchMode | None) -> CheckReport:
    """The check of the golden in a file. One that cannot be read, or has no agent, is not measurable, and says why."""
    try:
        golden = Golden.read(path)
    except (UsageError, OSError) as error:
        return CheckReport(path.name.removesuffix(SUFFIX), str(path), mode or "strict", "not_measurable", reason=str(error))
    return await check_golden(golden, lambda: agents.of(golden), mode=mode, policy_engine=agents.policy_engine)
