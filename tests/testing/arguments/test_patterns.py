"""Patterns: what is made is what Rust's engine finds, where Python's would find something else."""

from __future__ import annotations

import re

import pytest
from hypothesis import find, settings

from afk_es.errors import ConfigurationError
from afk_es.testing.arguments.patterns import acceptance, matching
from tests.testing.arguments.table import drawn

RUST = [
    r"^[A-Z]{3}$",
    r"^\d+(\.\d{2})?$",
    r"\p{Greek}",
    r"^[a-z&&[^aeiou]]+$",
    r"^[[:alpha:]]{2,}$",
    r"(?i)^ab|cd$",
    r"(?x) a b  # with a comment",
    r"^\w+@\w+\.com$",
    r"^(?P<year>\d{4})-(?<month>0[1-9]|1[0-2])$",
    r"^\x{41}{2}$",
    r"^[]a]+$",
    r"^[^]a]$",
    r"^a++$",
    r"^(a?){2,3}?b*$",
    r"^[^\s]{1,5}$",
    r"(?m)^x$",
    r"^[가-힣]+$",
    r"^\p{Hangul}$",
    r"",
    r"^.*$",
    r"(?s)^.$",
    r"^(?:(?i:a)b)+$",
    r"^\{[a-z]}$",
    r"\bword\b",
    r"\b{start}w",
    r"\Aa\z",
    r"^\u00e9\U0001F600$",
    r"^(?-u:\d)$",
    r"a{2,}",
]
LENGTHS = [(0, None), (7, 9)]


def made(pattern: str, shortest: int = 0, longest: int | None = None) -> list[str]:
    found = matching(pattern, shortest, longest)
    assert found is not None
    return drawn(found, 15)


@pytest.mark.parametrize("pattern", RUST)
def test_rusts_engine_finds_the_pattern_in_each_text(pattern: str) -> None:
    texts = made(pattern)
    assert texts
    assert all(map(acceptance(pattern), texts))


@pytest.mark.parametrize("pattern", [r"^[A-Z]+$", r"^\d+-[a-z]{2,}$", r"[0-9]{2}", r"^ab", r"yz$", r"", r"^\w{1,5}[.]\w*$", r"^(ab)+$"])
def test_the_length_is_as_asked(pattern: str) -> None:
    texts = made(pattern, 7, 9)
    assert texts
    assert all(7 <= len(text) <= 9 and acceptance(pattern)(text) for text in texts)


def test_no_length_is_no_text() -> None:
    assert matching("a", 3, 2) is None


def test_a_text_never_ends_in_the_newline_that_pythons_dollar_allows() -> None:
    assert re.search("^a$", "a\n") is not None
    assert acceptance("^a$")("a\n") is False
    assert set(made("^a$")) == {"a"}
    # Python's engine judges this one, and would take the newline.
    assert acceptance(r"^(?!b)[ab]$")("a\n") is True
    assert set(made(r"^(?!b)[ab]$")) == {"a"}


def test_characters_on_which_the_engines_disagree_are_rusts() -> None:
    assert re.search(r"^\w$", "²") is not None
    assert acceptance(r"^\w$")("²") is False
    assert "²" not in "".join(made(r"^\w{20,}$"))
    assert "²" in "".join(made(r"^\W{20,}$"))


def test_a_class_of_rare_characters_is_met_by_either_engine() -> None:
    assert all("\uac00" <= text <= "\ud7a3" for text in [*made(r"^(?!x)[\uac00-\ud7a3]$"), *made(r"^[\uac00-\ud7a3]$")])


def test_what_stands_around_a_match_varies() -> None:
    texts = made(r"\d{3}")
    assert {re.sub(r"\d.*", "", text) == "" for text in texts} == {True, False}
    assert any(not text[-1].isdigit() for text in texts)


@pytest.mark.parametrize(
    ("pattern", "smallest"),
    [(r"^[A-Z]{2}-\d+$", "AA-0"), (r"^(?:x|y)z?$", "x"), (r"\d{3}", "000"), (r"^[^0]$", "1"), (r"^(?!0)\d$", "1"), (r"^(ab){2,}$", "abab")],
)
def test_texts_shrink_to_plain_ones(pattern: str, smallest: str) -> None:
    found = matching(pattern)
    assert found is not None
    assert find(found, lambda text: True, settings=settings(database=None, derandomize=True)) == smallest


@pytest.mark.parametrize("pattern", ["(", "[a", r"(?<=a"])
def test_a_pattern_that_nobody_can_read_is_an_error_with_the_way_out(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: .*; override the field that has it"):
        matching(pattern)
