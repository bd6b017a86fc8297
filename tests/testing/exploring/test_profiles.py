"""Goal: the profile is the one that was asked for, by whatever means, and Hypothesis' own are left alone."""

from __future__ import annotations

import pytest
from hypothesis import settings

from afk_es.errors import ConfigurationError
from afk_es.testing import PROFILES, explore
from afk_es.testing.exploring.profiles import profile_of
from tests.testing.exploring.desks import desk


@pytest.mark.parametrize(
    ("name", "environment", "expected"),
    [
        (None, {}, "dev"),
        (None, {"CI": "true"}, "ci"),
        (None, {"CI": "1", "AFK_ES_PROFILE": "nightly"}, "nightly"),
        (None, {"CI": "false"}, "dev"),
        ("dev", {"CI": "true", "AFK_ES_PROFILE": "nightly"}, "dev"),
    ],
)
def test_an_argument_goes_before_the_environment_and_that_before_ci(name: str | None, environment: dict[str, str], expected: str) -> None:
    assert profile_of(name, environment) is PROFILES[expected]


def test_a_profile_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match="no profile 'weekly'; there are dev, ci, nightly"):
        profile_of(None, {"AFK_ES_PROFILE": "weekly"})


def test_in_ci_the_seed_follows_from_the_name_and_else_it_is_new() -> None:
    def seed(profile: str, name: str) -> int:
        return explore(desk, profile=profile, name=name, max_examples=1, directory=None).seed

    assert seed("ci", "one") == seed("ci", "one") != seed("ci", "two")
    assert seed("dev", "one") != seed("dev", "one")


def test_an_exploration_leaves_the_settings_of_hypothesis_alone() -> None:
    before = settings.default
    explore(desk, max_examples=2, seed=1, directory=None)
    assert settings.default is before
