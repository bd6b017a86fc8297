"""Arguments that a tool refuses: valid ones with one thing broken, which is named, and let out only if the tool's own validator refuses them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.errors import FailedHealthCheck
from hypothesis.strategies import DrawFn, SearchStrategy

from afk_es.errors import ConfigurationError
from afk_es.testing.arguments.breaking import Break, Breakage, breaks
from afk_es.testing.arguments.documents import SchemaDocument
from afk_es.testing.arguments.targets import Target, document_of, name_of, refusal_of
from afk_es.testing.arguments.valid import valid_arguments

BREAKAGES: tuple[Breakage, ...] = get_args(Breakage)

ATTEMPTS = 20
"""How many breaks are tried on arguments before the example is given up; a lenient validator takes some."""

PATIENCE = 40
"""Arguments in a row that could not be broken, after which that is an error; fewer than Hypothesis takes before it complains of filtering."""


@dataclass(frozen=True)
class BrokenArguments:
    """Arguments that a tool refuses.

    Attributes:
        arguments: what the model sends: a dict, or the text where it is not a JSON object.
        breakage: what is wrong with them.
        path: where, such as `passengers.0.name`; empty for the whole.
        refusal: what the validator says of them.
    """

    arguments: dict[str, Any] | str
    breakage: Breakage
    path: str
    refusal: str


def invalid_arguments(
    target: Target,
    *,
    breakages: Collection[Breakage] = BREAKAGES,
    overrides: Mapping[Any, SearchStrategy[Any]] | None = None,
) -> SearchStrategy[BrokenArguments]:
    """Arguments that the tool's validator refuses, each valid but for one thing.

    Args:
        target: a tool, or a Pydantic model of arguments.
        breakages: what may be wrong with them; default everything. One that the schema gives no occasion for does not come up.
        overrides: for the arguments that are then broken; see `valid_arguments`.

    Raises:
        ConfigurationError: a breakage that does not exist, or none; or as `valid_arguments`.
        NothingToBreakError: when drawn from: the validator refuses nothing that these breakages make.
    """
    unknown = sorted(set(breakages) - set(BREAKAGES))
    if unknown:
        raise ConfigurationError(f"breakages {unknown} do not exist; they are {', '.join(BREAKAGES)}")
    if not breakages:
        raise ConfigurationError(f"name at least one breakage; they are {', '.join(BREAKAGES)}")
    return _broken(target, valid_arguments(target, overrides=overrides), document_of(target), _Occasions(target, frozenset(breakages)))


class NothingToBreakError(ConfigurationError, FailedHealthCheck):
    """No arguments can be broken in the ways that were asked for. A health check of Hypothesis, so that it stops at once."""


class _Occasions:
    """Which breakages are wanted, and whether any ever had an effect."""

    def __init__(self, target: Target, wanted: frozenset[Breakage]) -> None:
        self.wanted = wanted
        self._target = target
        self._left = PATIENCE

    def found(self) -> None:
        self._left = PATIENCE

    def missed(self) -> None:
        """Count arguments that could not be broken.

        Raises:
            NothingToBreakError: it goes on like this.
        """
        self._left -= 1
        if not self._left:
            raise NothingToBreakError(
                f"the validator of {name_of(self._target)} refuses none of the arguments with the breakages: {', '.join(sorted(self.wanted))}; "
                "ask for others"
            )


_CHOICE = st.integers(0, 10**6)


@st.composite
def _broken(
    draw: DrawFn, target: Target, valid: SearchStrategy[dict[str, Any]], document: SchemaDocument, occasions: _Occasions
) -> BrokenArguments:
    # Drawn before the arguments, which would else decide how much chance is left for these.
    which, where = draw(_CHOICE), draw(_CHOICE)
    by_how: dict[Breakage, list[Break]] = {}
    for each in breaks(draw(valid), document):
        if each.how in occasions.wanted:
            by_how.setdefault(each.how, []).append(each)
    for _ in range(ATTEMPTS):
        if not by_how:
            break
        # First how, then where: a tool of many fields would else hardly ever get broken JSON.
        how = list(by_how)[which % len(by_how)]
        chosen = by_how[how].pop(where % len(by_how[how]))
        refusal = refusal_of(target, chosen.sent)
        if refusal is not None:
            occasions.found()
            return BrokenArguments(chosen.sent, how, ".".join(map(str, chosen.path)), refusal.text)
        if not by_how[how]:
            del by_how[how]
    occasions.missed()
    return reject()
