"""Texts of given lengths, plain ones first. It knows nothing of patterns and formats."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

PLAIN = st.characters(min_codepoint=32, max_codepoint=126)
"""What a keyboard has. The first of it is the simplest, and that is `0` for Hypothesis."""

# Half of a surrogate pair is not JSON: no model could send one.
ANY = st.characters(exclude_categories=["Cs"])

LONGEST = 10**5
"""Characters of the longest text that `huge` makes."""


def texts(shortest: int = 0, longest: int | None = None, *, unicode: bool = True, huge: bool = False) -> SearchStrategy[str] | None:
    """Texts; None if none is that long.

    Args:
        shortest: characters at least.
        longest: characters at most; None for no limit.
        unicode: also beyond ASCII, control characters too.
        huge: also very long ones.
    """
    if longest is not None and longest < shortest:
        return None
    # Of all characters, Hypothesis prefers those of Latin-1 by itself; a choice between two alphabets would only make shrinking harder.
    values: SearchStrategy[str] = st.text(ANY if unicode else PLAIN, min_size=shortest, max_size=longest)
    if huge:
        most = max(shortest, min(LONGEST, LONGEST if longest is None else longest))
        values |= st.sampled_from(["x", "é", "😀"] if unicode else ["x"]).map(lambda character: character * most)
    return values


def words(shortest: int = 1, longest: int = 12) -> SearchStrategy[str]:
    """Lower-case letters and digits, a letter first."""
    rest = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=shortest - 1, max_size=longest - 1)
    return st.builds(str.__add__, st.sampled_from("abcdefghijklmnopqrstuvwxyz"), rest)
