"""What would be updated is decided before anything is done, and nothing is where nobody reviews."""

from __future__ import annotations

import pytest

from afk_es.errors import UsageError
from afk_es.evals import CheckReport, Divergence, Update, UpdatePolicy
from afk_es.evals.goldens.divergence import DivergenceClass
from afk_es.evals.goldens.updates import CATEGORIES, of_report, planned, refusal


def differing(*kinds: DivergenceClass, name: str = "a", more: int = 0) -> CheckReport:
    """A check that found divergences of these classes."""
    found = tuple(Divergence(kind, "field", 1, 2, None, None, f"{kind} differs") for kind in kinds)
    return CheckReport(name, "a.golden.jsonl", "strict", "diverged" if found else "passed", found, more)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("", set()),
        ("none", set()),
        ("all", set(CATEGORIES)),
        ("new", {"new"}),
        ("New, Behaviour", {"new", "behaviour"}),
        ("behavior unused", {"behaviour", "unused"}),
        ("representation,,new", {"representation", "new"}),
    ],
)
def test_a_policy_is_written_in_words(text: str, accepted: set[str]) -> None:
    policy = UpdatePolicy.parse(text)
    assert policy.accepted == accepted
    assert UpdatePolicy.parse(str(policy)) == policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("newest", r"'newest' is no category of updates \(do you mean 'new'\?\); there are new, behaviour, representation, unused"),
        ("7", "'7' is no category of updates; there are"),
        ("all,new", "'all' stands alone"),
    ],
)
def test_a_word_that_is_none_is_refused_with_those_there_are(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        UpdatePolicy.parse(text)


@pytest.mark.parametrize(
    ("report", "category"),
    [
        (differing(), None),
        (differing("prompt"), "behaviour"),
        (differing("engine_version", "limit"), "behaviour"),
        (differing("engine_version"), "representation"),
        (differing("engine_version", more=3), "behaviour"),
        (CheckReport("a", "", "strict", "not_measurable", reason="nothing was served"), "behaviour"),
    ],
)
def test_the_category_follows_from_what_diverged(report: CheckReport, category: str | None) -> None:
    found = of_report(report)
    assert (found[0] if found is not None else None) == category
    if found is not None:
        assert found[1], "it says why"


def test_the_reason_is_of_the_first_divergence_that_counts() -> None:
    assert of_report(differing("engine_version", "limit", "prompt")) == ("behaviour", "limit differs")


def test_a_plan_puts_each_golden_into_one_category() -> None:
    found = planned(
        asked=[("born", "born.f"), ("same", "same.f"), ("other", "other.f"), ("old", "old.f"), ("odd", "odd.f")],
        there={"same": "same.f", "other": "other.f", "old": "old.f", "odd": "odd.f", "gone": "gone.f"},
        reports=[differing(name="same"), differing("prompt", name="other"), differing("engine_version", name="odd")],
        stale={"old": "its lines are written in another way today", "other": "its lines too", "gone": "its lines too"},
        complete=True,
        policy=UpdatePolicy.parse("new,unused"),
    )
    assert found == (
        Update("new", "born", "born.f", "there is no golden of that name yet", True),
        Update("behaviour", "other", "other.f", "prompt differs"),
        Update("representation", "odd", "odd.f", "engine_version differs"),
        Update("representation", "old", "old.f", "its lines are written in another way today"),
        Update("unused", "gone", "gone.f", "nobody asked for it", True),
    )


def test_nothing_is_unused_as_long_as_somebody_may_still_ask_for_it() -> None:
    assert planned(asked=[], there={"a": "a.f"}, reports=[], stale={}, complete=False, policy=UpdatePolicy()) == ()


@pytest.mark.parametrize("environ", [{}, {"CI": ""}, {"CI": "0"}, {"CI": "False"}, {"PYTEST_XDIST_WORKER": ""}])
def test_on_ones_own_machine_goldens_may_be_updated(environ: dict[str, str]) -> None:
    assert refusal(environ) is None


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"CI": "true"}, "variable CI is set"),
        ({"CI": "1"}, "on your own machine"),
        ({"PYTEST_XDIST_WORKER": "gw3"}, r"parallel worker \(gw3\).*pytest -n 0 --golden-update"),
    ],
)
def test_in_ci_and_in_a_worker_they_may_not_and_the_reason_says_what_to_do(environ: dict[str, str], words: str) -> None:
    import re

    reason = refusal(environ)
    assert reason is not None
    assert re.search(words, reason)
