"""`EvalSuite`: cases with what they are run by, so that one name stands for all of it. It runs nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from afk_es.agents import Agent
from afk_es.errors import ConfigurationError
from afk_es.evals.attempts import RunnerFactory
from afk_es.evals.models import EvalCase, EvalSuiteConfig
from afk_es.evals.planning import listed


@dataclass(frozen=True)
class EvalSuite:
    """What `afk-es eval MODULE:SUITE` runs.

    Attributes:
        cases: the cases, or the path of a dataset of them (see `load_cases`); kept as a tuple.
        runner_factory: makes the Runner of an attempt; default None: a Runner on the log that the command line names.
        config: how they run; default `EvalSuiteConfig()`. Options of the command line go before it.
        agent: of the cases of a dataset; refused beside other cases, which have their own.

    Raises:
        ConfigurationError: no cases, or a dataset that cannot be read.
    """

    cases: Iterable[EvalCase] | str | os.PathLike[str]
    runner_factory: RunnerFactory | None = None
    config: EvalSuiteConfig = field(default_factory=EvalSuiteConfig)
    agent: Agent | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.config, EvalSuiteConfig):
            raise ConfigurationError(f"config is an EvalSuiteConfig, not {type(self.config).__name__}")
        object.__setattr__(self, "cases", _cases(self.cases, self.agent))
        object.__setattr__(self, "agent", None)

    @property
    def listed(self) -> tuple[EvalCase, ...]:
        """The cases."""
        assert isinstance(self.cases, tuple)
        return self.cases

    def only(self, *, names: Sequence[str] = (), tags: Sequence[str] = ()) -> EvalSuite:
        """The suite with those of its cases that are meant.

        Args:
            names: a part of the name, or a glob of the whole; one of them fits. None given: any name.
            tags: the case has one of them. None given: any case.
        """
        meant = [case for case in self.listed if _named(case.name, names) and (not tags or not set(tags).isdisjoint(case.tags))]
        return replace(self, cases=meant)


def _named(name: str, wanted: Sequence[str]) -> bool:
    return not wanted or any(each.casefold() in name.casefold() or fnmatchcase(name, each) for each in wanted)


def _cases(cases: object, agent: Agent | None) -> tuple[EvalCase, ...]:
    found = []
    given: list[object] = [*listed((cases,) if isinstance(cases, EvalCase) else cases, agent)]
    for each in given:
        if not isinstance(each, EvalCase):
            raise ConfigurationError(f"a suite is made of EvalCase objects, or the path of a dataset, not of {type(each).__name__}")
        found.append(each)
    return tuple(found)
