"""Arguments that a tool takes: made from the schema that the model sees, and let out only if the tool's own validator takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from afk_es.errors import ConfigurationError
from afk_es.testing.arguments.json_schema import schema_strategy
from afk_es.testing.arguments.overrides import Overrides
from afk_es.testing.arguments.targets import Target, document_of, name_of, refusal_of
from afk_es.testing.arguments.traits import ALL_TRAITS, ORDINARY, Trait, known_traits

ATTEMPTS = 8
"""How often what is wrong with arguments is made anew before the example is given up."""

PATIENCE = 200
"""Arguments after which a validator that has taken hardly any is given up."""

LEAST_SHARE = 0.02


def arguments(
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
        ConfigurationError: at once, if the schema allows no value; when drawn from, if the validator takes hardly any of what its schema
            allows, with what it says and the fields to override.
    """
    if swarm:
        some = st.sets(st.sampled_from(sorted(ALL_TRAITS)))
        return some.flatmap(lambda drawn: arguments(target, overrides=overrides, traits=drawn))
    if overrides:
        return _accepted(target, candidates(target, Overrides.given(overrides), known_traits(traits)), _Tally(target))
    return _plain_arguments(target, known_traits(traits))


# Kept, because whoever plays a model asks for each call.
@lru_cache(maxsize=1024)
def _plain_arguments(target: Target, traits: frozenset[Trait]) -> SearchStrategy[dict[str, Any]]:
    return _accepted(target, candidates(target, Overrides.given({}), traits), _Tally(target))


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

    def refused(self, text: str, fields: Collection[str]) -> None:
        """Count a refusal.

        Raises:
            ConfigurationError: hardly anything is taken.
        """
        self._made += 1
        self._refusals[text if not fields else ", ".join(sorted(fields))] += 1
        if self._made >= PATIENCE and self._taken < self._made * LEAST_SHARE:
            blamed, _ = self._refusals.most_common(1)[0]
            raise ConfigurationError(
                f"the validator of {name_of(self._target)} took {self._taken} of {self._made} arguments made from its schema; most often wrong: "
                f"{blamed}. It last said: {text}\n{_WAY_OUT}"
            )


_WAY_OUT = 'say what the schema cannot: arguments(..., overrides={"field": strategy}), by field, path ("a.b") or type'


@st.composite
def _accepted(draw: DrawFn, target: Target, made: SearchStrategy[Any], tally: _Tally) -> dict[str, Any]:
    value: dict[str, Any] = draw(made)
    for _ in range(ATTEMPTS):
        refusal = refusal_of(target, value)
        if refusal is None:
            tally.taken()
            return value
        tally.refused(refusal.text, refusal.fields)
        value = _repaired(value, refusal.fields, draw(made))
    return reject()


def _repaired(value: Any, wrong: Collection[str], other: Any) -> Any:
    """The value with what was wrong in it taken from another one. A tool with ten fields would else have to be lucky ten times at once."""
    if not (wrong and isinstance(value, dict) and isinstance(other, dict)):
        return other
    kept = {name: each for name, each in value.items() if name not in wrong}
    return {**kept, **{name: other[name] for name in wrong if name in other}}
