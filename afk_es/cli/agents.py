"""From MODULE:AGENT to the agent. The user's code runs here, so whatever it raises is told as what it is."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from afk_es.agents import Agent
from afk_es.errors import ConfigurationError, text_of
from afk_es.tools import Tool

_NAMED = 12
"""Names of a module that are told where the one that was meant is not among them."""

_RAISED = (Exception, SystemExit)
"""What users' code may raise: a module that exits, as a script does, must not choose the exit code of a check."""

AGENT_FORM = "name an agent as MODULE:AGENT, such as shop.support:agent or ./support.py:agent"


def load_agent(target: str) -> Agent:
    """The agent that `MODULE:AGENT` names. MODULE is a module or a .py file; AGENT an Agent, or a callable that gives one.

    Raises:
        ConfigurationError: there is none; the message says what is missing, or what the module raised and where.
    """
    value = load_value(target, "an agent", AGENT_FORM)
    if not isinstance(value, Agent) and callable(value):
        value = called(value, target)
    if not isinstance(value, Agent):
        if inspect.iscoroutine(value):
            value.close()
        raise ConfigurationError(f"{target} is of the type {type(value).__name__}, not an Agent or a function that gives one")
    return value


def load_own_agent(target: str) -> Agent:
    """The agent that a file names as `MODULE:AGENT`, and not the user: only of the code below the working directory.

    A golden may be anybody's. What it names must not be a way to import what lies elsewhere, nor to call what a module of ours has imported.

    Raises:
        ConfigurationError: as of `load_agent`; or it is elsewhere, or a function that is not the module's own.
    """
    module_name, _colon, attribute = target.rpartition(":")
    if not _is_below_here(module_name):
        raise ConfigurationError(
            f"{target!r} is not below {os.getcwd()}, and code from elsewhere is not run because a file names it; say --agent {target} yourself"
        )
    value = load_value(target, "an agent", AGENT_FORM)
    if isinstance(value, Agent):
        return value
    if not inspect.isfunction(value) or "." in attribute or value.__module__ not in (module_name, Path(module_name).stem):
        raise ConfigurationError(
            f"{target!r} is no agent and no function of that module, so it is not called; say --agent {target} yourself"
        )
    return load_agent(target)


def _is_below_here(module_name: str) -> bool:
    here = Path.cwd().resolve()
    found = [Path(place).expanduser().resolve() for place in _places(module_name)]
    # What is nowhere is imported from nowhere, and whoever tries it says so.
    return all(path.is_relative_to(here) and not {"site-packages", "dist-packages"} & set(path.parts) for path in found)


def _places(module_name: str) -> list[str]:
    """Where the module would be imported from; nothing where there is none, and the root where it is of the interpreter itself."""
    if module_name.endswith(".py"):
        return [module_name]
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    top = module_name.partition(".")[0]
    try:
        # Of a dotted name this would import what it stands in, so only the first is looked for.
        spec = importlib.util.find_spec(top) if top.isidentifier() else None
    except ValueError:
        return [os.sep]  # It is loaded and says of itself no origin, as the program that runs.
    if spec is None:
        return []
    # Of a built-in or a frozen module the origin is a word, and no path: taken for one it would lie here.
    return [*(spec.submodule_search_locations or [])] or [spec.origin if spec.has_location and spec.origin is not None else os.sep]


def load_value(target: str, kind: str, form: str) -> Any:
    """Whatever `MODULE:NAME` names. MODULE is a module or a .py file; NAME a name in it, or a path of attributes.

    Args:
        target: as the user wrote it.
        kind: what was wanted, for messages.
        form: how to write it, for messages.

    Raises:
        ConfigurationError: there is nothing of that name; the message says what is missing, or what the module raised and where.
    """
    module_name, colon, attribute = target.rpartition(":")
    if not colon or not module_name or not attribute:
        raise ConfigurationError(f"{target!r} does not name {kind}; {form}")
    module = load_module(module_name, form)
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise ConfigurationError(f"{module_name} has no {attribute!r}; {_instead(module, attribute, kind)}")
        value = getattr(value, part)
    return value


def load_module(name: str, form: str) -> ModuleType:
    """The module of that name, or the .py file.

    Args:
        form: how to write it, for messages.

    Raises:
        ConfigurationError: there is none, or it raised; the message says what and where.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return _file(Path(name).expanduser(), form) if name.endswith(".py") else _module(name, form)


def called(function: Callable[[], Any], target: str) -> Any:
    """What the user's function gives.

    Raises:
        ConfigurationError: it raised; the message says what and where. Or it is a tool: to look at one must not do its work.
    """
    if isinstance(function, Tool):
        raise ConfigurationError(f"{target} is a tool; name an agent that has it, or a function that gives one")
    try:
        return function()
    except _RAISED as error:
        raise ConfigurationError(f"{target} raised {what_and_where(error)}") from error


def _module(name: str, form: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"there is no module {error.name!r} here ({os.getcwd()}) or among the installed ones; {form}"
            ) from error
        raise ConfigurationError(f"importing {name} failed: {what_and_where(error)}") from error
    except _RAISED as error:
        raise ConfigurationError(f"importing {name} failed: {what_and_where(error)}") from error


def _file(path: Path, form: str) -> ModuleType:
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}; {form}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    directory = str(path.resolve().parent)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    # Postponed annotations are resolved in the module that `sys.modules` has.
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except _RAISED as error:
        del sys.modules[path.stem]
        raise ConfigurationError(f"importing {path} failed: {what_and_where(error)}") from error
    return module


def _instead(module: ModuleType, attribute: str, kind: str) -> str:
    own = _own_names(module)
    if close := difflib.get_close_matches(attribute, own, n=1):
        return f"did you mean {close[0]!r}?"
    if kind != "an agent":
        return f"it has: {', '.join(own[:_NAMED]) or 'nothing'}"
    agents = [name for name, value in vars(module).items() if isinstance(value, Agent)]
    return f"its agents are: {', '.join(agents)}" if agents else "there is no agent in it, but a function that gives one may be named"


def _own_names(module: ModuleType) -> list[str]:
    """What a module defines, without what it imports from others."""
    named = {name: value for name, value in vars(module).items() if not name.startswith("_") and not isinstance(value, ModuleType)}
    return sorted(name for name, value in named.items() if not hasattr(value, "__qualname__") or value.__module__ == module.__name__)


def what_and_where(error: BaseException) -> str:
    """The exception, and the innermost line of the user's own code: the import machinery's frames say nothing to anybody."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    last = frames[-1] if frames else None
    where = f" ({last.filename}, line {last.lineno})" if last is not None else ""
    return f"{type(error).__name__}: {text_of(error)}{where}"
