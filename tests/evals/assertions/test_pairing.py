"""Pairings are as large as there can be: against all pairings there are, by brute force."""

from __future__ import annotations

from itertools import pairwise, permutations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from afk_es.evals.assertions.pairing import Pairs, most_in_groups, most_in_order, most_pairs

SIZE = st.integers(0, 5)


@st.composite
def relations(draw: st.DrawFn) -> tuple[int, int, set[tuple[int, int]]]:
    """How many are expected, how many came, and which fit which."""
    expected, come = draw(SIZE), draw(SIZE)
    places = list(product(range(expected), range(come)))
    return expected, come, draw(st.sets(st.sampled_from(places))) if places else set()


def legal(pairs: Pairs, fitting: set[tuple[int, int]]) -> bool:
    """Whether everything that is paired fits and is paired once."""
    return set(pairs) <= fitting and len({here for here, _ in pairs}) == len(pairs) == len({there for _, there in pairs})


def crossing(pairs: Pairs) -> bool:
    return any(later <= there for (_, there), (_, later) in pairwise(pairs))


def best_in_any_order(expected: int, come: int, fitting: set[tuple[int, int]]) -> int:
    if expected > come:
        return best_in_any_order(come, expected, {(there, here) for here, there in fitting})
    return max(sum((here, there) in fitting for here, there in enumerate(chosen)) for chosen in permutations(range(come), expected))


def best_in_order(expected: int, come: list[int], fitting: set[tuple[int, int]]) -> int:
    """The longest common subsequence by its definition."""
    if expected == 0 or not come:
        return 0
    without = max(best_in_order(expected - 1, come, fitting), best_in_order(expected, come[:-1], fitting))
    both = 1 + best_in_order(expected - 1, come[:-1], fitting) if (expected - 1, come[-1]) in fitting else 0
    return max(without, both)


@settings(deadline=None)
@given(relations())
def test_in_any_order_the_pairs_are_as_many_as_there_can_be(given_: tuple[int, int, set[tuple[int, int]]]) -> None:
    expected, come, fitting = given_
    pairs = most_pairs(expected, come, lambda here, there: (here, there) in fitting)
    assert legal(pairs, fitting)
    assert len(pairs) == best_in_any_order(expected, come, fitting)


@settings(deadline=None)
@given(relations())
def test_in_order_they_are_as_many_as_there_can_be_without_crossing(given_: tuple[int, int, set[tuple[int, int]]]) -> None:
    expected, come, fitting = given_
    pairs = most_in_order(expected, come, lambda here, there: (here, there) in fitting)
    assert legal(pairs, fitting)
    assert not crossing(pairs)
    assert len(pairs) == best_in_order(expected, list(range(come)), fitting)


@settings(deadline=None)
@given(relations(), st.data())
def test_in_groups_the_best_listing_of_each_group_is_found(given_: tuple[int, int, set[tuple[int, int]]], data: st.DataObject) -> None:
    expected, come, fitting = given_
    cuts = sorted(data.draw(st.sets(st.integers(1, come - 1)))) if come > 1 else []
    bounds = [0, *cuts, come]
    groups = [list(range(begin, end)) for begin, end in pairwise(bounds)]
    pairs = most_in_groups(expected, groups, lambda here, there: (here, there) in fitting)
    assert legal(pairs, fitting)
    number = {there: place for place, group in enumerate(groups) for there in group}
    assert [number[there] for _, there in pairs] == sorted(number[there] for _, there in pairs)
    listings = product(*(permutations(group) for group in groups))
    assert len(pairs) == max(best_in_order(expected, [there for group in listing for there in group], fitting) for listing in listings)


def test_what_fits_anything_leaves_the_only_call_to_what_fits_nothing_else() -> None:
    """The first pattern fits both calls, the second only the first: taking what comes first would leave one over."""
    fitting = {(0, 0), (0, 1), (1, 0)}
    assert most_pairs(2, 2, lambda here, there: (here, there) in fitting) == [(0, 1), (1, 0)]


def test_equal_things_are_paired_in_their_order() -> None:
    assert most_pairs(3, 3, lambda here, there: True) == [(0, 0), (1, 1), (2, 2)]
