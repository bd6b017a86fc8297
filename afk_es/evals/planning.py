"""What a suite runs: its cases, from wherever they come, and their attempts, checked before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from afk_es.agents import Agent
from afk_es.core import Runner
from afk_es.errors import ConfigurationError
from afk_es.evals.attempts import RunnerFactory
from afk_es.evals.datasets import load_cases
from afk_es.evals.models import EvalCase, EvalSuiteConfig


def listed(cases: Any, agent: Agent | None) -> list[EvalCase]:
    """The cases of an iterable, or of a dataset.

    Raises:
        ConfigurationError: it is neither; a dataset without an agent; an agent for cases that have their own.
    """
    if isinstance(cases, (str, os.PathLike)):
        if agent is None:
            raise ConfigurationError(f"cases is the dataset {os.fspath(cases)!r}, and a dataset has no agent: pass agent=")
        return list(load_cases(cases, agent=agent))
    if agent is not None:
        raise ConfigurationError("agent is for the cases of a dataset; these cases have their own")
    if isinstance(cases, EvalCase) or not isinstance(cases, Iterable):
        raise ConfigurationError(f"cases is a sequence of EvalCase, or the path of a dataset, not {type(cases).__name__}")
    return list(cases)


def planned(cases: list[EvalCase], config: EvalSuiteConfig) -> list[tuple[EvalCase, int]]:
    """The attempts, in order.

    Raises:
        ConfigurationError: one is no case, two have the same name, or an expected output that nothing could compare.
    """
    seen: set[str] = set()
    plan: list[tuple[EvalCase, int]] = []
    for position, case in enumerate(cases):
        if not isinstance(case, EvalCase):
            raise ConfigurationError(f"cases[{position}] is {type(case).__name__}, and no EvalCase")
        if case.name in seen:
            raise ConfigurationError(f"two cases are named {case.name!r}; names tell rows apart, so give each its own")
        seen.add(case.name)
        if case.expected_output is not None and not (case.assertions or config.assertions or case.scorers or config.scorers):
            raise ConfigurationError(
                f"case {case.name!r} has an expected_output, and no assertion or scorer that could compare with it: "
                "add one, such as `EqualsExpected()` of afk_es.evals"
            )
        repeats = case.repeats if case.repeats is not None else config.repeats
        plan += [(case, number) for number in range(1, repeats + 1)]
    return plan


def checked_config(config: Any) -> EvalSuiteConfig:
    """The config that a suite's `config` argument means.

    Raises:
        ConfigurationError: it is none.
    """
    if config is None:
        return EvalSuiteConfig()
    if not isinstance(config, EvalSuiteConfig):
        raise ConfigurationError(f"config is an EvalSuiteConfig or None, not {type(config).__name__}; write EvalSuiteConfig(...)")
    return config


def checked_factory(factory: Any) -> RunnerFactory:
    """The function that a suite's `runner_factory` argument means.

    Raises:
        ConfigurationError: it is none; a Runner, for instance.
    """
    if isinstance(factory, Runner) or not callable(factory):
        raise ConfigurationError(
            f"runner_factory is a function that makes a Runner for each attempt, not {type(factory).__name__}; "
            "write runner_factory=lambda: Runner(...)"
        )
    checked: RunnerFactory = factory
    return checked
