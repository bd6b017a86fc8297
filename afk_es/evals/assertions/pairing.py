"""Pairing what was expected with what came: as many pairs as there can be, in any order or in order. It knows nothing of calls.

Taking the first thing that fits leaves too few pairs where something fits more than one: `search(anything)` may take the only call that
`search("Rome")` could have had. Here a pair that was made is undone where that makes room for one more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

Fits = Callable[[int, int], bool]
"""Whether what is expected, by its index, is fitted by what came, by its."""

Pairs = list[tuple[int, int]]
"""Expected and come, by index, in the order of the first."""


def most_pairs(expected: int, come: int, fits: Fits) -> Pairs:
    """A largest pairing in any order (Kuhn's augmenting paths; at worst expected² x come, and in practice the pairs that were looked at)."""
    taken = _Taken([[there for there in range(come) if fits(here, there)] for here in range(expected)])
    # First what fits at once, so that equal things are paired in their order.
    left = [here for here in range(expected) if not taken.take_free(here)]
    for here in left:
        taken.augment(here)
    return taken.pairs()


class _Taken:
    """A pairing that grows. `choices` has for each expected thing what fits it."""

    def __init__(self, choices: list[list[int]]) -> None:
        self.choices = choices
        self._of: dict[int, int] = {}
        """What came, and what it is paired with."""

    def pairs(self) -> Pairs:
        return sorted((here, there) for there, here in self._of.items())

    def take_free(self, here: int) -> bool:
        free = next((there for there in self.choices[here] if there not in self._of), None)
        if free is not None:
            self._of[free] = here
        return free is not None

    def augment(self, start: int) -> bool:
        """Pair one more, if that can be, by letting others go over to something else that fits them."""
        came_from: dict[int, int] = {}
        queue = deque([start])
        while queue:
            here = queue.popleft()
            for there in self.choices[here]:
                if there in came_from:
                    continue
                came_from[there] = here
                if there not in self._of:
                    self._switch(there, came_from, start)
                    return True
                queue.append(self._of[there])
        return False

    def _switch(self, free: int, came_from: dict[int, int], start: int) -> None:
        held = {here: there for there, here in self._of.items()}
        there = free
        while True:
            here = came_from[there]
            self._of[there] = here
            if here == start:
                return
            there = held[here]


def most_in_order(expected: int, come: int, fits: Fits) -> Pairs:
    """A largest pairing in which no two pairs cross: a longest common subsequence, for things that fit instead of being equal."""
    begin = 0
    while begin < min(expected, come) and fits(begin, begin):
        begin += 1  # If the first two fit, there is a largest pairing that has them.
    pairs = [(place, place) for place in range(begin)]
    rows, columns = expected - begin, come - begin
    # lengths[i][j]: how many pairs there can be from i and j on.
    lengths = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        row, below = lengths[i], lengths[i + 1]
        for j in range(columns - 1, -1, -1):
            row[j] = below[j + 1] + 1 if fits(begin + i, begin + j) else max(below[j], row[j + 1])
    i = j = 0
    while i < rows and j < columns:
        if fits(begin + i, begin + j):
            pairs.append((begin + i, begin + j))
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def most_in_groups(expected: int, groups: Sequence[Sequence[int]], fits: Fits) -> Pairs:
    """As `most_in_order`, where what came is in groups, and within one it may stand in any order.

    Args:
        groups: what came, by index, group after group.
    """
    best: list[tuple[int, _Chain | None]] = [(0, None)] * (expected + 1)
    for group in groups:
        grown = list(best)
        if len(group) == 1:
            _grow_by_one(grown, best, group[0], fits)
        for begin in range(expected + 1 if len(group) > 1 else 0):
            # From further on with no more pairs there is less to have.
            if begin == 0 or best[begin][0] > best[begin - 1][0]:
                _grow(grown, best[begin], begin, group, fits)
        for end in range(1, expected + 1):
            if grown[end - 1][0] > grown[end][0]:
                grown[end] = grown[end - 1]
        best = grown
    pairs: Pairs = []
    chain = best[expected][1]
    while chain is not None:
        pairs += chain.pairs
        chain = chain.before
    return sorted(pairs)


class _Chain:
    """The pairs of one group, and those of the groups before it."""

    def __init__(self, pairs: Pairs, before: _Chain | None) -> None:
        self.pairs = pairs
        self.before = before


def _grow_by_one(grown: list[tuple[int, _Chain | None]], best: list[tuple[int, _Chain | None]], there: int, fits: Fits) -> None:
    """As `_grow` for all beginnings, for a group of one: the last expected thing before each end is the only one worth trying."""
    for place in range(len(grown) - 1):
        length, chain = best[place]
        if length + 1 > grown[place + 1][0] and fits(place, there):
            grown[place + 1] = (length + 1, _Chain([(place, there)], chain))


def _grow(grown: list[tuple[int, _Chain | None]], so_far: tuple[int, _Chain | None], begin: int, group: Sequence[int], fits: Fits) -> None:
    """Note what comes of pairing a group with the expected things from `begin` on, up to each end."""
    taken = _Taken([])
    number = 0
    for place in range(begin, len(grown) - 1):
        taken.choices.append([there for there in group if fits(place, there)])
        if not taken.augment(len(taken.choices) - 1):
            continue
        number += 1
        if so_far[0] + number > grown[place + 1][0]:
            pairs = [(begin + here, there) for here, there in taken.pairs()]
            grown[place + 1] = (so_far[0] + number, _Chain(pairs, so_far[1]))
        if number == len(group):
            return
