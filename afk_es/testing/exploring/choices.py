"""Where an adversary's choices come from: a seed. Those that Hypothesis draws, and can shrink, are in `drawn`; this module does without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from afk_es.clock import SeededChance
from afk_es.errors import UsageError
from afk_es.machine.spec import ToolSpec
from afk_es.testing.exploring.sampling import sample
from afk_es.tools import Tool

T = TypeVar("T")


class Choices(Protocol):
    """Decides what is open. The lowest integer, the first option and False are the plain choice: whoever shrinks choices goes there."""

    def integer(self, lowest: int, highest: int) -> int:
        """One of the integers from `lowest` to `highest`, both included."""
        ...

    def pick(self, options: Sequence[T]) -> T:
        """One of these; not of none."""
        ...

    def chance(self, percent: int) -> bool:
        """True so many times in a hundred."""
        ...

    def arguments(self, spec: ToolSpec, tool: Tool[..., Any] | None, *, odd: bool = False) -> dict[str, Any]:
        """Arguments by the schema that the model sees, and such as the tool's own validator takes where there is the tool.

        Args:
            odd: with values that are seldom sent, such as empty, huge and hostile ones.
        """
        ...

    def wrong_arguments(self, spec: ToolSpec, tool: Tool[..., Any] | None) -> dict[str, Any] | str:
        """Arguments that the tool refuses or should; a text where they are no JSON object."""
        ...

    def value(self, schema: dict[str, Any]) -> Any:
        """A JSON value by a schema."""
        ...

    def drawn(self, strategy: Any) -> Any:
        """A value of a Hypothesis strategy.

        Raises:
            UsageError: these choices are not Hypothesis's.
        """
        ...


class SeededChoices:
    """Choices drawn from a seed: the same seed decides alike.

    Args:
        seed: any integer.
    """

    def __init__(self, seed: int) -> None:
        self.seed: int = seed
        self._chance = SeededChance(seed)

    def integer(self, lowest: int, highest: int) -> int:
        """One of the integers from `lowest` to `highest`, both included."""
        return self._chance.integer(lowest, highest)

    def pick(self, options: Sequence[T]) -> T:
        """One of these."""
        return options[self._chance.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        """True so many times in a hundred."""
        return self._chance.integer(1, 100) <= percent

    def arguments(self, spec: ToolSpec, tool: Tool[..., Any] | None, *, odd: bool = False) -> dict[str, Any]:
        """Sampled by the schema, odd ones always among them; a few times anew where the validator refuses them, and then let out as they are."""
        return sampled_arguments(self, spec, tool)

    def wrong_arguments(self, spec: ToolSpec, tool: Tool[..., Any] | None) -> dict[str, Any] | str:
        """Sampled ones, spoiled; a lenient tool may take them."""
        return spoiled(self, sampled_arguments(self, spec, tool))

    def value(self, schema: dict[str, Any]) -> Any:
        """A JSON value by a schema."""
        return sample(schema, self)

    def drawn(self, strategy: Any) -> Any:
        """Refused: a strategy has no seed."""
        raise UsageError("a seed cannot draw from a Hypothesis strategy: give a function of the arguments, or explore with `explore`")


ATTEMPTS = 5
"""How often arguments that the validator refuses are sampled anew."""


def sampled_arguments(choices: Choices, spec: ToolSpec, tool: Tool[..., Any] | None) -> dict[str, Any]:
    """Arguments sampled from a tool's schema."""
    arguments: dict[str, Any] = {}
    for _attempt in range(ATTEMPTS):
        value = sample(spec.parameters, choices)
        arguments = value if isinstance(value, dict) else {}
        if tool is None or accepted(tool, arguments):
            break
    return arguments


def accepted(tool: Tool[..., Any], arguments: Any) -> bool:
    """Whether the tool's own validator takes these."""
    try:
        tool.validate(arguments)
    except Exception:  # noqa: BLE001 - a validator is the user's code; whatever it raises, it did not take them
        return False
    return True


def spoiled(choices: Choices, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments with one too many, one missing, or one of another type."""
    names = sorted(arguments)
    way = choices.integer(0, 3)
    if way == 0 or not names:
        return {**arguments, "no_such_argument": 1}
    name = choices.pick(names)
    if way == 1:
        return {key: value for key, value in arguments.items() if key != name}
    if way == 2 and isinstance(arguments[name], (int, float)):
        # Texts that lenient validators take for numbers, and others.
        return {**arguments, name: choices.pick((str(arguments[name]), "NaN", f"{arguments[name]} USD", -1, 1e308))}
    return {**arguments, name: choices.pick((None, [], {}, "", "text", -1, True, [arguments[name]], "x" * 10_000))}
