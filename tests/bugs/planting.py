"""A planted bug: a few words of the product's source changed, as a person might have got them wrong, for as long as a test looks for it."""

from __future__ import annotations
import __future__

import importlib
import inspect
import textwrap
import types
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from afk_es.agents import Agent
from afk_es.core import RunnerConfig
from afk_es.testing.exploring.world_options import WorldOptions
from afk_es.testing.invariants import Invariant
from afk_es.testing.simulation.world import StuckError


@dataclass(frozen=True)
class Slip:
    """An edit of one function.

    Attributes:
        place: the function, as "afk_es.machine.limits:breached" or "afk_es.core.loop:Loop.deliver".
        right: text that its source has once.
        wrong: what stands there instead.
    """

    place: str
    right: str
    wrong: str


@dataclass(frozen=True, kw_only=True)
class Bug:
    """A mistake, the agent on which it can show, and the invariant that must see it.

    Attributes:
        mistake: what whoever made it got wrong, in a sentence.
        slips: the edits.
        agent: one or several versions.
        found_by: what may see it; StuckError for liveness.
        first_seed: where the gate begins to look; the table begins at 0.
    """

    name: str
    mistake: str
    slips: tuple[Slip, ...]
    agent: Agent | tuple[Agent, ...]
    found_by: tuple[type[Invariant] | type[StuckError], ...]
    config: RunnerConfig | None = None
    world: WorldOptions = field(default_factory=WorldOptions)
    first_seed: int = 0


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """The product with this bug in it."""
    with slipped(bug.slips):
        yield


@contextmanager
def slipped(slips: Sequence[Slip]) -> Iterator[None]:
    """The product with these edits."""
    with ExitStack() as stack:
        for place in dict.fromkeys(slip.place for slip in slips):
            stack.enter_context(_slipped(place, [slip for slip in slips if slip.place == place]))
        yield


@contextmanager
def _slipped(place: str, slips: Sequence[Slip]) -> Iterator[None]:
    function = _function(place)
    right = function.__code__
    # The function object stays, so that everybody who has it, under whatever name or in whatever table, has the bug.
    function.__code__ = _edited(function, slips)
    try:
        yield
    finally:
        function.__code__ = right


def _function(place: str) -> types.FunctionType:
    module, _, path = place.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    found = found.fget if isinstance(found, property) else found
    assert isinstance(found, types.FunctionType), f"{place} is no function"
    return found


def _edited(function: types.FunctionType, slips: Sequence[Slip]) -> types.CodeType:
    source = textwrap.dedent(inspect.getsource(function))
    for slip in slips:
        times = source.count(slip.right)
        if times != 1:
            raise ValueError(f"{slip.place} has {slip.right!r} {times} times, and not once: the product has changed, so must the bug")
        source = source.replace(slip.right, slip.wrong)
    # At its own lines, so that tracebacks show where it is.
    lines = "\n" * (function.__code__.co_firstlineno - 1)
    code = compile(lines + source, function.__code__.co_filename, "exec", __future__.annotations.compiler_flag, True)
    made: dict[str, Any] = {}
    exec(code, function.__globals__.copy(), made)  # the product's own source, with one edit
    edited: Any = made[function.__name__]
    result: types.CodeType = getattr(edited, "fget", edited).__code__
    return result
