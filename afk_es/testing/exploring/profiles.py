"""How long and how freely explorations look: profiles, chosen by argument, by `AFK_ES_PROFILE`, or by being in CI. Hypothesis' own are left alone."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from afk_es.clock import fresh_seed
from afk_es.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How an exploration looks.

    Attributes:
        name: what it is chosen by.
        examples: how many runs of the agent are tried.
        derandomised: the same examples every time, so that no pull request fails by chance; else they are drawn from a new seed.
        shrink_seconds: real seconds that are spent on making a failing run small.
    """

    name: str
    examples: int
    derandomised: bool = False
    shrink_seconds: float = 30.0


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(name="dev", examples=100),
        Profile(name="ci", examples=100, derandomised=True),
        Profile(name="nightly", examples=5_000, shrink_seconds=120.0),
    )
}


def profile_of(name: str | Profile | None = None, environment: Mapping[str, str] | None = None) -> Profile:
    """The profile that is meant: the one that is named, else that of `AFK_ES_PROFILE`, else "ci" where `CI` is set, else "dev".

    Args:
        environment: default the process's.

    Raises:
        ConfigurationError: no profile has that name.
    """
    if isinstance(name, Profile):
        return name
    environment = os.environ if environment is None else environment
    wanted = name or environment.get("AFK_ES_PROFILE") or ("ci" if environment.get("CI", "").lower() not in ("", "0", "false") else "dev")
    if wanted not in PROFILES:
        raise ConfigurationError(f"there is no profile {wanted!r}; there are {', '.join(PROFILES)}")
    return PROFILES[wanted]


def seed_of(profile: Profile, name: str) -> int:
    """What the examples are drawn from where the caller does not say: the same for a name where the profile is derandomised, else a new one."""
    return zlib.crc32(name.encode()) if profile.derandomised else fresh_seed()
