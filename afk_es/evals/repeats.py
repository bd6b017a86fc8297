"""What repeated attempts say of the chance to pass: pass@k, pass^k, and how sure that is. Pure arithmetic.

Binomial coefficients are whole numbers up to the one division, which Python rounds correctly whatever their size, so nothing overflows or
cancels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from afk_es.errors import ConfigurationError
from afk_es.evals.outcomes import CaseStatistics, RepeatStatistics

Z_95 = 1.959963984540054
"""The standard normal's 97.5th percentile: 95 % lie between its two sides."""


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that at least one of k attempts passes, where c of n did: 1 - C(n-c, k) / C(n, k).

    The unbiased estimator of Chen et al., "Evaluating Large Language Models Trained on Code" (2021), section 2.1.

    Raises:
        ConfigurationError: not 0 <= c <= n or not 1 <= k <= n.
    """
    _check(n, c, k)
    draws = math.comb(n, k)
    # The difference is taken of whole numbers: of 1.0 and a share near to it little would be left.
    return (draws - math.comb(n - c, k)) / draws


def pass_all_k(n: int, c: int, k: int) -> float:
    """The chance that all of k attempts pass (pass^k), where c of n did: C(c, k) / C(n, k).

    The estimator of Yao et al., "tau-bench: A Benchmark for Tool-Agent-User Interaction in Real-World Domains" (2024), section 3.

    Raises:
        ConfigurationError: not 0 <= c <= n or not 1 <= k <= n.
    """
    _check(n, c, k)
    return math.comb(c, k) / math.comb(n, k)


def wilson_interval(passed: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Where the chance to pass lies, by default with 95 %, where `passed` of n did; (0.0, 1.0) where n is 0.

    The score interval of Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927). Unlike p +- z*sigma it
    stays within 0 and 1 and says something where all or none passed.

    Raises:
        ConfigurationError: not 0 <= passed <= n, or z is not above 0.
    """
    if not 0 <= passed <= n or not z > 0:
        raise ConfigurationError(f"an interval is of 0 <= passed <= n and z > 0; these are passed={passed}, n={n}, z={z}")
    if n == 0:
        return 0.0, 1.0
    p, zz = passed / n, z * z
    middle = (p + zz / (2 * n)) / (1 + zz / n)
    half = z / (1 + zz / n) * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
    # At the ends the two parts are equal, and only rounding tells them apart.
    return (0.0 if passed == 0 else max(0.0, middle - half)), (1.0 if passed == n else min(1.0, middle + half))


def case_statistics(name: str, n: int, c: int) -> CaseStatistics:
    """Of one case that passed c of n attempts, n at least 1; by k for 1, 2, 4, 8, ... and n."""
    ks = ks_up_to(n)
    return CaseStatistics(
        name=name,
        attempts=n,
        passed=c,
        pass_rate=c / n,
        interval=wilson_interval(c, n),
        pass_at={k: pass_at_k(n, c, k) for k in ks},
        pass_all={k: pass_all_k(n, c, k) for k in ks},
    )


def suite_statistics(cases: Sequence[CaseStatistics]) -> RepeatStatistics:
    """Of all these cases, at least one: each counts the same. A k is one that all of them have attempts for, so that columns compare."""
    attempts, passed = sum(case.attempts for case in cases), sum(case.passed for case in cases)
    ks = ks_up_to(min(case.attempts for case in cases))
    return RepeatStatistics(
        attempts=attempts,
        passed=passed,
        pass_rate=math.fsum(case.pass_rate for case in cases) / len(cases),
        interval=wilson_interval(passed, attempts),
        pass_at={k: math.fsum(pass_at_k(case.attempts, case.passed, k) for case in cases) / len(cases) for k in ks},
        pass_all={k: math.fsum(pass_all_k(case.attempts, case.passed, k) for case in cases) / len(cases) for k in ks},
    )


def ks_up_to(n: int) -> tuple[int, ...]:
    """The powers of two up to n, and n: what a table shows."""
    powers = [1 << exponent for exponent in range(n.bit_length())]
    return tuple(powers if powers[-1] == n else [*powers, n])


def _check(n: int, c: int, k: int) -> None:
    if not (0 <= c <= n and 1 <= k <= n):
        raise ConfigurationError(f"of n attempts c passed, and k are drawn: 0 <= c <= n and 1 <= k <= n; these are n={n}, c={c}, k={k}")
