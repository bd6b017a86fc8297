"""Texts in which a `pattern` is found, by the engine that will judge them: Rust's, which is Pydantic's. It knows no schema.

A pattern that Rust's engine cannot read (look-arounds, back-references) is left to Python's, as Pydantic's `regex_engine="python-re"` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import SearchStrategy

from afk_es.errors import ConfigurationError
from afk_es.testing.arguments.rust_patterns import SAMPLE, Characters, Choice, Edge, Piece, Repeat, UnreadError, read_pattern, rust_engine
from afk_es.testing.arguments.texts import ANY, PLAIN

MORE = 6
"""Repeats of a group, and characters around what is found, beyond those that there must be."""


def matching(pattern: str, shortest: int = 0, longest: int | None = None, *, unicode: bool = True) -> SearchStrategy[str] | None:
    """Texts in which the pattern is found, of the length asked for; None where none is that long.

    Args:
        pattern: as JSON Schema's `pattern`: found anywhere, unless it is anchored.
        shortest: characters at least.
        longest: characters at most; None for no limit.
        unicode: also beyond ASCII where the pattern leaves a choice.

    Raises:
        ConfigurationError: neither engine can read the pattern.
    """
    if longest is not None and longest < shortest:
        return None
    accepts = acceptance(pattern)
    try:
        tree = read_pattern(pattern)
    except UnreadError:
        found = _by_python(pattern)
    else:
        ways = (tree if unicode else _in_ascii(tree)).ways
        found = st.one_of([_found(way, shortest, longest) for way in ways])
    return found.filter(lambda text: shortest <= len(text) and (longest is None or len(text) <= longest) and accepts(text))


@lru_cache(maxsize=512)
def acceptance(pattern: str) -> Callable[[str], bool]:
    """Whether a pattern is found in a text.

    Raises:
        ConfigurationError: neither engine can read the pattern.
    """
    engine = rust_engine(pattern)
    if engine is not None:
        return engine
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigurationError(f"the pattern {pattern!r} cannot be read: {error}; override the field that has it") from error
    return lambda text: compiled.search(text) is not None


def _by_python(pattern: str) -> SearchStrategy[str]:
    # That Python's `$` lets a text end in a newline is not what anybody meant.
    ended = re.sub(r"(?<!\\)\$$", r"\\Z", pattern)
    few = st.from_regex(ended, alphabet=st.characters(categories=[], include_characters=SAMPLE + ended))
    try:
        few.validate()
    except InvalidArgument:
        # It has a class of which none of these is a member.
        return st.from_regex(ended, alphabet=ANY)
    return few


def _in_ascii(tree: Choice) -> Choice:
    """The same without the characters that are not ASCII, wherever others are left."""
    return Choice([[replace(each, piece=_ascii_piece(each.piece)) for each in way] for way in tree.ways])


def _ascii_piece(piece: Piece) -> Piece:
    match piece:
        case Characters(members):
            return Characters("".join(filter(str.isascii, members)) or members)
        case Choice():
            return _in_ascii(piece)
        case Edge():
            return piece


def _found(way: Sequence[Repeat], shortest: int, longest: int | None) -> SearchStrategy[str]:
    """One way to have the pattern, with something around it where nothing forbids that."""
    least = sum(map(_least, way))
    starts = any(isinstance(each.piece, Edge) and each.piece.starts for each in way)
    ends = any(isinstance(each.piece, Edge) and each.piece.ends for each in way)
    if starts and ends:
        return _texts(_fitted(way, least, shortest, longest))
    lacking = max(0, shortest - least)
    most = lacking + MORE if longest is None else max(lacking, min(lacking + MORE, longest - least))
    around = st.text(PLAIN, min_size=lacking, max_size=most)
    if starts or ends:
        order = [_texts(way), around] if starts else [around, _texts(way)]
        return st.tuples(*order).map("".join)
    return st.tuples(st.just("") | st.text(PLAIN, max_size=max(0, most - lacking) // 2), _texts(way), around).map("".join)


def _least(repeat: Repeat) -> int:
    match repeat.piece:
        case Characters():
            return repeat.low
        case Choice(ways):
            return repeat.low * min(sum(map(_least, way)) for way in ways)
        case Edge():
            return 0


def _fitted(way: Sequence[Repeat], least: int, shortest: int, longest: int | None) -> list[Repeat]:
    """The same with the repeats of characters narrowed to the length; exactly so, where only one of them varies."""
    fitted: list[Repeat] = []
    more = max(0, shortest - least)
    room = None if longest is None else max(0, longest - least)
    for each in way:
        if isinstance(each.piece, Characters) and each.low != each.high:
            high = each.high if room is None else each.low + room if each.high is None else min(each.high, each.low + room)
            added = more if high is None else min(more, high - each.low)
            more -= added
            each = replace(each, low=each.low + added, high=high)
        fitted.append(each)
    return fitted


def _texts(way: Sequence[Repeat]) -> SearchStrategy[str]:
    made: list[SearchStrategy[str]] = []
    literal = ""
    for each in way:
        if isinstance(each.piece, Edge):
            continue
        if isinstance(each.piece, Characters) and len(each.piece.members) == 1 and each.low == each.high:
            literal += each.piece.members * each.low
            continue
        if literal:
            made.append(st.just(literal))
            literal = ""
        made.append(_repeated(each))
    if literal or not made:
        made.append(st.just(literal))
    return made[0] if len(made) == 1 else st.tuples(*made).map("".join)


def _repeated(repeat: Repeat) -> SearchStrategy[str]:
    if isinstance(repeat.piece, Characters):
        return st.text(repeat.piece.members, min_size=repeat.low, max_size=repeat.high)
    assert isinstance(repeat.piece, Choice)
    inner = st.one_of([_texts(way) for way in repeat.piece.ways])
    if (repeat.low, repeat.high) == (1, 1):
        return inner
    high = repeat.low + MORE if repeat.high is None else repeat.high
    return st.lists(inner, min_size=repeat.low, max_size=high).map("".join)
