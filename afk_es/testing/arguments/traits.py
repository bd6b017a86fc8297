"""What generated arguments may be like. A trait that is left out of a value is left out of all of it, which is what swarm testing lives on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal, get_args

from afk_es.errors import ConfigurationError

Trait = Literal["optional", "said", "unicode", "unlisted", "huge"]
"""`optional`: fields that need not be sent are sometimes sent. `said`: the schema's own defaults and examples. `unicode`: text beyond ASCII.
`unlisted`: keys that the schema does not name and does not forbid. `huge`: long texts and lists, numbers at the end of 64 bits."""

ALL_TRAITS: Final[frozenset[Trait]] = frozenset(get_args(Trait))

ORDINARY: Final[frozenset[Trait]] = frozenset[Trait]({"optional", "said", "unicode"})
"""What a model that does its work sends."""


def known_traits(traits: Collection[Trait]) -> frozenset[Trait]:
    """The same as a set.

    Raises:
        ConfigurationError: one is not a trait.
    """
    unknown = sorted(set(traits) - ALL_TRAITS)
    if unknown:
        raise ConfigurationError(f"{unknown[0]!r} is not a trait of arguments; the traits are {', '.join(sorted(ALL_TRAITS))}")
    return frozenset(traits)
