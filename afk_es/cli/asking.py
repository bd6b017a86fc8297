"""How a run that the command line drives asks people: at this terminal, from outside, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click

from afk_es.agents import PolicyEngine
from afk_es.core import Runner, RunnerConfig
from afk_es.machine.spec import Interaction

F = TypeVar("F", bound=Callable[..., Any])
Mode = Literal["interactive", "external"]


def asking_options(command: F) -> F:
    """Adds --interactive and --external, as the parameter `asking`."""
    external = click.option(
        "--external",
        "asking",
        flag_value="external",
        help="Lay the run down where a person has to answer: `afk-es approvals` has the rest.",
    )
    interactive = click.option(
        "--interactive", "asking", flag_value="interactive", help="Ask at this terminal where a person has to answer."
    )
    return interactive(external(command))


def runner_for(
    location: str, asking: Mode | None, recorded: Interaction | None = None, policy_engine: PolicyEngine | None = None
) -> Runner:
    """A Runner that asks as is wished, or as the run's record has it.

    Args:
        recorded: how the run that is resumed asked so far. Where that was at a terminal, nobody is asked at this one unbidden: the run is
            laid down with what is open.
        policy_engine: of the Runner; default None.

    Raises:
        ConfigurationError: interactive, and stdin is not a terminal.
    """
    settings: dict[str, Any] = {}
    if recorded is not None:
        settings = {name: getattr(recorded, name) for name in recorded.__struct_fields__ if name != "mode"}
        settings["interaction_mode"] = "external" if recorded.mode == "interactive" else recorded.mode
    if asking is not None:
        settings["interaction_mode"] = asking
    provider = None
    if asking == "interactive":
        from afk_es.interaction import TerminalInteraction

        provider = TerminalInteraction()
    return Runner(log=location, interaction_provider=provider, policy_engine=policy_engine, config=RunnerConfig(**settings))
