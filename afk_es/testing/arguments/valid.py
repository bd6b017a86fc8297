"""Arguments that a tool takes: made from the schema that the model sees, and let out only if the tool's own validator takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import cache, lru_cache
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.errors import FailedHealthCheck
from hypothesis.strategies import DrawFn, SearchStrategy

from afk_es.errors import ConfigurationError
from afk_es.testing.arguments.json_schema import schema_strategy
from afk_es.testing.arguments.overrides import NO_OVERRIDES, Overrides
from afk_es.testing.arguments.targets import Refusal, Target, document_of, name_of, refusal_of, require_target
from afk_es.testing.arguments.traits import ALL_TRAITS, ORDINARY, Trait, known_traits

ATTEMPTS = 8
"""How often what is wrong with arguments is made anew before the example is given up."""

PATIENCE = 200
"""Arguments after which a validator that has taken hardly any is given up; fewer than Hypothesis takes before it complains of filtering, and does not say of what."""

LEAST_SHARE = 0.02


def valid_arguments(
    target: Target,
    *,
    overrides: Mapping[Any, SearchStrategy[Any]] | None = None,
    traits: Collection[Trait] = ORDINARY,
    swarm: bool = False,
) -> SearchStrategy[dict[str, Any]]:
    """Arguments as a model would send them, JSON and all of them accepted by the tool's validator.

    Args:
        target: a tool, or a Pydantic model of arguments.
        overrides: strategies of JSON values to use instead of the schema's: by the property's name at any depth (`"email"`), by its path
            from the root (`"customer.email"`; lists add nothing to it) or by type (`EmailStr`). What they make is validated like the rest.
        traits: what the arguments are like; default `ORDINARY`, what a model that does its work sends.
        swarm: each value has some of all the traits, drawn for it; `traits` is then passed over. Default False.

    Raises:
        ConfigurationError: the schema allows no value; or neither a tool nor a model.
        HardlyAnyArgumentsError: when drawn from: the validator takes hardly any of what its schema allows; with what it says, and the field
            to override.
    """
    require_target(target)
    given = Overrides.given(overrides or {})
    if swarm:
        of_traits = cache(lambda drawn: _arguments(target, given, drawn))
        return st.frozensets(st.sampled_from(sorted(ALL_TRAITS))).flatmap(of_traits)
    return _arguments(target, given, known_traits(traits))


def _arguments(target: Target, overrides: Overrides, traits: frozenset[Trait]) -> SearchStrategy[dict[str, Any]]:
    if overrides != NO_OVERRIDES:
        return _accepted(target, candidates(target, overrides, traits), _Tally(target))
    return _ordinary(target, traits)


# Kept, because whoever plays a model asks for each call.
@lru_cache(maxsize=1024)
def _ordinary(target: Target, traits: frozenset[Trait]) -> SearchStrategy[dict[str, Any]]:
    return _accepted(target, candidates(target, NO_OVERRIDES, traits), _Tally(target))


def candidates(target: Target, overrides: Overrides, traits: frozenset[Trait]) -> SearchStrategy[Any]:
    """What the schema allows, before the validator has been asked.

    Raises:
        ConfigurationError: it allows nothing.
    """
    document = document_of(target)
    built = schema_strategy(document, overrides, traits)
    if built is None:
        raise ConfigurationError(f"the schema of {name_of(target)} allows no arguments; {_WAY_OUT}")
    return built


class HardlyAnyArgumentsError(ConfigurationError, FailedHealthCheck):
    """A validator takes hardly any of the arguments that are made from its schema. A health check of Hypothesis, so that it stops at once
    and spends no time on shrinking."""


class _Tally:
    """How a validator has judged so far."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._made = 0
        self._taken = 0
        self._refusals: Counter[str] = Counter()

    def taken(self) -> None:
        self._made += 1
        self._taken += 1

    def refused(self, refusal: Refusal) -> None:
        self._made += 1
        self._refusals[", ".join(sorted(refusal.fields)) or "the whole"] += 1

    def check(self, last: Refusal) -> None:
        """Say what is the matter.

        Raises:
            HardlyAnyArgumentsError: hardly anything was taken.
        """
        if self._made >= PATIENCE and self._taken < self._made * LEAST_SHARE:
            blamed, _ = self._refusals.most_common(1)[0]
            raise HardlyAnyArgumentsError(
                f"the validator of {name_of(self._target)} took {self._taken} of {self._made} arguments made from its schema; most often wrong: "
                f"{blamed}. It last said: {last.text}\n{_WAY_OUT}"
            )


_WAY_OUT = 'say what the schema cannot: valid_arguments(..., overrides={"field": strategy}), by field, path ("a.b") or type'


@st.composite
def _accepted(draw: DrawFn, target: Target, made: SearchStrategy[Any], tally: _Tally) -> dict[str, Any]:
    value: dict[str, Any] = draw(made)
    for attempt in range(ATTEMPTS):
        refusal = refusal_of(target, value)
        if refusal is None:
            tally.taken()
            return value
        tally.refused(refusal)
        tally.check(refusal)
        if attempt < ATTEMPTS - 1:
            value = _repaired(value, refusal.fields, draw(made))
    return reject()


def _repaired(value: Any, wrong: Collection[str], other: Any) -> Any:
    """The value with what was wrong in it taken from another one. A tool with ten fields would else have to be lucky ten times at once."""
    if not (wrong and isinstance(value, dict) and isinstance(other, dict)):
        return other
    kept = {name: each for name, each in value.items() if name not in wrong}
    return {**kept, **{name: other[name] for name in wrong if name in other}}
