"""pass@k, pass^k and the Wilson interval against published values, against counting, and at the ends of their ranges."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest

from afk_es.errors import ConfigurationError
from afk_es.evals.repeats import case_statistics, ks_up_to, pass_all_k, pass_at_k, suite_statistics, wilson_interval


@pytest.mark.parametrize("n", range(1, 8))
def test_both_are_the_share_of_all_draws_counted_one_by_one(n: int) -> None:
    """Of n attempts, c of which passed, every choice of k is as likely: at least one passed, or all did."""
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
        assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-15)
        assert pass_all_k(n, c, k) == pytest.approx(sum(map(all, draws)) / len(draws), abs=1e-15)


@pytest.mark.parametrize(
    ("n", "c", "k"), [(200, 1, 1), (200, 7, 10), (200, 100, 100), (10_000, 1, 5_000), (10_000, 9_999, 3), (10_000, 5, 1)]
)
def test_they_are_exact_to_the_last_digit_however_many_attempts_there_are(n: int, c: int, k: int) -> None:
    assert pass_at_k(n, c, k) == float(1 - Fraction(math.comb(n - c, k), math.comb(n, k)))
    assert pass_all_k(n, c, k) == float(Fraction(math.comb(c, k), math.comb(n, k)))


def test_pass_at_k_is_the_product_form_of_its_source() -> None:
    """Chen et al. 2021 compute 1 - prod(1 - k/i) for i from n-c+1 to n."""
    for n, c, k in [(10, 3, 2), (100, 40, 10), (200, 13, 100)]:
        product = math.prod(1 - k / i for i in range(n - c + 1, n + 1))
        assert pass_at_k(n, c, k) == pytest.approx(1 - product, rel=1e-12)


def test_one_draw_is_the_pass_rate_and_more_draws_part_ways() -> None:
    assert pass_at_k(10, 4, 1) == pass_all_k(10, 4, 1) == 0.4
    at, alls = [pass_at_k(10, 4, k) for k in range(1, 11)], [pass_all_k(10, 4, k) for k in range(1, 11)]
    assert at == sorted(at)
    assert alls == sorted(alls, reverse=True)
    assert (at[-1], alls[-1]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("passed", "n", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
    ],
)
def test_the_interval_is_that_of_the_published_examples(passed: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(passed, n) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_holds_the_chances_that_a_score_test_would_not_reject() -> None:
    """Its definition: both ends solve (p - c)^2 = z^2 c (1 - c) / n."""
    z = 1.959963984540054
    for passed, n in [(1, 2), (3, 10), (5_000, 10_000), (9_999, 10_000)]:
        p = passed / n
        for end in wilson_interval(passed, n):
            assert (p - end) ** 2 == pytest.approx(z * z * end * (1 - end) / n, rel=1e-6)


def test_the_interval_stays_within_nought_and_one_and_without_attempts_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    for n in (1, 3, 10_000):
        assert wilson_interval(0, n)[0] == 0.0
        assert wilson_interval(n, n)[1] == 1.0


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4), (0, 0, 1)])
def test_what_cannot_be_drawn_is_refused(n: int, c: int, k: int) -> None:
    for estimator in (pass_at_k, pass_all_k):
        with pytest.raises(ConfigurationError, match="0 <= c <= n"):
            estimator(n, c, k)


def test_an_interval_of_more_passes_than_attempts_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="passed=3, n=2"):
        wilson_interval(3, 2)


def test_a_table_shows_powers_of_two_and_all_attempts() -> None:
    assert ks_up_to(1) == (1,)
    assert ks_up_to(8) == (1, 2, 4, 8)
    assert ks_up_to(10) == (1, 2, 4, 8, 10)


def test_a_suite_has_the_mean_over_its_cases_at_each_k_that_all_have() -> None:
    suite = suite_statistics([case_statistics("steady", 4, 4), case_statistics("flaky", 8, 4)])
    assert (suite.attempts, suite.passed, suite.pass_rate) == (12, 8, 0.75)
    assert list(suite.pass_at) == [1, 2, 4]
    assert suite.pass_all[1] == 0.75
    assert suite.pass_all[2] == pytest.approx((1 + pass_all_k(8, 4, 2)) / 2)
    assert suite.interval == wilson_interval(8, 12)
