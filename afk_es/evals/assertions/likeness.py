"""How like an answer is to what is expected: a structured answer by its parts, a text by how much of it is the same."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel

from afk_es.errors import UsageError
from afk_es.evals.assertions.expectations import MATCHES, ArgumentMatch, Mismatch, describe, shown, unlike
from afk_es.evals.evidence import Evidence
from afk_es.evals.verdict import Verdict
from afk_es.machine.values import plain

BY_CHARACTER = 2_000
"""Characters up to which two texts are compared by characters; longer ones are by words, whose comparison takes as long."""

MOST_WORDS = 2_000
"""Words of each text that are compared, the first ones."""

TOLD = 5

_OF_CASE: Any = object()

_FIRST = re.compile(r"[.\[]")


class JsonLike:
    """An assertion and a scorer: the structured answer is as expected, part by part. Made by `json_like`."""

    def __init__(self, expected: Any, match: ArgumentMatch) -> None:
        self.name: str = f"json {match}"
        self._expected = expected
        self._match: ArgumentMatch = match

    def check(self, evidence: Evidence) -> Verdict:
        """Its verdict, with what differs."""
        return msgspec.structs.replace(self.score(evidence), score=None)

    def score(self, evidence: Evidence) -> Verdict:
        """The share of the expected top-level parts that are as expected; all of them pass."""
        expected = _wanted(self._expected, evidence)
        if expected is None:
            return _nothing_expected(self.name)
        expected = _data(expected)
        try:
            actual = _answer(evidence)
        except msgspec.DecodeError:
            return Verdict(self.name, False, f"the answer is no JSON: {shown(evidence.result.final_text)}", score=0.0)
        found = unlike("answer", expected, actual, self._match)
        told = "; ".join(map(str, found[:TOLD])) + (f"; and {len(found) - TOLD} more" if len(found) > TOLD else "")
        details = {"mismatches": [msgspec.to_builtins(each) for each in found]}
        return Verdict(self.name, not found, told or "it is as expected", score=_share(expected, found), details=details)


def json_like(expected: Any = _OF_CASE, *, match: ArgumentMatch = "exact") -> JsonLike:
    """An assertion and a scorer: the answer, as JSON data, is as expected.

    The answer is the structured one of an agent with an output type, else the final text read as JSON.

    Args:
        expected: values, types, `re.compile(...)` and functions at any depth, as for the arguments of a `CallPattern`; default, the case's
            `expected_output`, without which it is not exercised.
        match: what of an object's own names has to be the same: "exact", "superset" (the answer may have more), "subset" or "ignore".

    Raises:
        UsageError: a `match` that there is not.
    """
    if match not in MATCHES:
        raise UsageError(f"match={match!r} is none of: {', '.join(MATCHES)}")
    return JsonLike(expected, match)


class Similarity:
    """An assertion and a scorer: how much of the final text is that of the expected one. Made by `similarity`."""

    name: str = "similarity"

    def __init__(self, expected: Any, threshold: float, ignore_case: bool) -> None:
        self._expected = expected
        self._threshold = threshold
        self._ignore_case = ignore_case

    def check(self, evidence: Evidence) -> Verdict:
        """Whether it is similar enough."""
        return msgspec.structs.replace(self.score(evidence), score=None)

    def score(self, evidence: Evidence) -> Verdict:
        """From 0, nothing is the same, to 1; enough from the threshold on."""
        expected = _wanted(self._expected, evidence)
        if expected is None:
            return _nothing_expected(self.name)
        if not isinstance(expected, str):
            return Verdict(
                self.name, False, f"what is expected is no text: {shown(describe(expected))}; json_like compares data", score=0.0
            )
        one, other = (text.casefold() if self._ignore_case else text for text in (expected, evidence.result.final_text))
        ratio = _ratio(one, other)
        return Verdict(self.name, ratio >= self._threshold, f"{ratio:.2f} of at least {self._threshold:g}", score=ratio)


def similarity(expected: str = _OF_CASE, *, threshold: float = 0.8, ignore_case: bool = False) -> Similarity:
    """An assertion and a scorer: the final text is similar to the expected one.

    The share is that of `difflib.SequenceMatcher.ratio`: twice what is the same, over the length of both; by characters up to
    `BY_CHARACTER`, by words of longer texts. It knows nothing of meaning; for that there is `LLMJudge`.

    Args:
        expected: default, the case's `expected_output`, without which it is not exercised.
        threshold: from which share on it passes, from 0 to 1; default 0.8.

    Raises:
        UsageError: a threshold outside 0 to 1.
    """
    if not 0 <= threshold <= 1:
        raise UsageError(f"threshold is a number from 0 to 1, not {threshold!r}")
    return Similarity(expected, threshold, ignore_case)


def _wanted(expected: Any, evidence: Evidence) -> Any:
    if expected is not _OF_CASE:
        return expected
    return evidence.case.expected_output if evidence.case is not None else None


def _nothing_expected(name: str) -> Verdict:
    return Verdict(name, True, "the case has no expected_output", exercised=False)


def _data(expected: Any) -> Any:
    return expected.model_dump(mode="json") if isinstance(expected, BaseModel) else expected


def _answer(evidence: Evidence) -> Any:
    structured = evidence.result.final_structured
    if structured is None:
        return msgspec.json.decode(evidence.result.final_text)
    return plain(_data(structured))


def _share(expected: Any, found: Sequence[Mismatch]) -> float:
    """The share of the top-level parts, expected or there, in which nothing differs."""
    wrong = {_FIRST.split(each.field.removeprefix("answer."), maxsplit=1)[0] for each in found if each.field != "answer"}
    if not isinstance(expected, Mapping) or (found and not wrong):
        return 0.0 if found else 1.0
    parts = {*map(str, expected), *wrong}
    return (len(parts) - len(wrong)) / len(parts) if parts else 1.0


def _ratio(one: str, other: str) -> float:
    parts: tuple[Sequence[str], Sequence[str]] = (one, other)
    if max(len(one), len(other)) > BY_CHARACTER:
        parts = (one.split()[:MOST_WORDS], other.split()[:MOST_WORDS])
    return difflib.SequenceMatcher(None, *parts, autojunk=False).ratio()
