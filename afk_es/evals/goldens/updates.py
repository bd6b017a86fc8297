"""What would be updated of goldens, and whether it may be: decisions alone. `golden_store` has the table of what each category means, and does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Literal, get_args

import msgspec

from afk_es.errors import UsageError
from afk_es.evals.goldens.check_report import CheckReport

UpdateCategory = Literal["new", "behaviour", "representation", "unused"]
"""What there may be to update; see `GoldenStore`."""

CATEGORIES: tuple[UpdateCategory, ...] = get_args(UpdateCategory)

_NO = frozenset({"", "0", "false", "no", "off"})
_SPELLED: dict[str, UpdateCategory] = {"behavior": "behaviour"}


class UpdateRefusedError(UsageError):
    """Goldens are not updated here. Nothing was written."""


class UpdatePolicy(msgspec.Struct, frozen=True):
    """Which categories of updates are accepted; default: none."""

    accepted: frozenset[UpdateCategory] = frozenset()

    @classmethod
    def parse(cls, text: str) -> UpdatePolicy:
        """The policy that people write: categories with commas between them, or "all"; "" and "none" accept nothing.

        Raises:
            UsageError: a word is no category; the message names those there are.
        """
        words = text.replace(",", " ").casefold().split()
        if words == ["all"]:
            return cls(frozenset(CATEGORIES))
        if words in ([], ["none"]):
            return cls()
        return cls(frozenset([_category(word) for word in words]))

    def accepts(self, category: UpdateCategory) -> bool:
        """Whether updates of this category are to be done."""
        return category in self.accepted

    def __str__(self) -> str:
        return ",".join(category for category in CATEGORIES if category in self.accepted) or "none"


def _category(word: str) -> UpdateCategory:
    for category in CATEGORIES:
        if word == category:
            return category
    if word in _SPELLED:
        return _SPELLED[word]
    if word in ("all", "none"):
        raise UsageError(f"{word!r} stands alone: leave the other categories out, or leave {word!r} out")
    close = get_close_matches(word, CATEGORIES, 1)
    hint = f" (do you mean {close[0]!r}?)" if close else ""
    raise UsageError(f"{word!r} is no category of updates{hint}; there are {', '.join(CATEGORIES)}, with commas between them, or all")


class Update(msgspec.Struct, frozen=True):
    """Something to update, and whether the policy accepts it.

    Attributes:
        name: of the golden.
        path: of its file, as it is or would be.
        reason: in a sentence.
    """

    category: UpdateCategory
    name: str
    path: str
    reason: str
    accepted: bool = False


def of_report(report: CheckReport) -> tuple[UpdateCategory, str] | None:
    """What a check says is to be updated, and why; None where nothing is.

    A difference that a mode ignores, such as a key that the golden does not know, is one of representation.
    """
    if report.outcome == "not_measurable":
        return "behaviour", f"it could not be measured: {report.reason or 'nothing was compared'}"
    others = [each for each in report.divergences if each.kind != "engine_version"]
    if others:
        return "behaviour", others[0].message
    if report.divergences and not report.more:
        return "representation", report.divergences[0].message
    if report.divergences or report.outcome == "diverged":
        # What is beyond the divergences that a report holds is not known to be harmless.
        return "behaviour", report.divergences[0].message if report.divergences else "it diverged"
    return None


def refusal(environ: Mapping[str, str]) -> str | None:
    """Why goldens are not updated in this process, with the way out; None where they may be.

    Args:
        environ: of the process. CI counts as set unless it is empty, 0, false, no or off.
    """
    if in_ci(environ):
        return (
            "goldens are not updated in CI (the environment variable CI is set), where nobody would review them: update them on your own "
            "machine, look at the difference, and commit it"
        )
    worker = environ.get("PYTEST_XDIST_WORKER")
    if worker:
        return (
            f"goldens are not updated by a parallel worker ({worker}), since workers would write the same files and none knows what is "
            "unused: run once without -n, as in `pytest -n 0 --golden-update=...`"
        )
    return None


def in_ci(environ: Mapping[str, str]) -> bool:
    """Whether this is a run of continuous integration."""
    return environ.get("CI", "").strip().casefold() not in _NO


def check_may_update(environ: Mapping[str, str]) -> None:
    """Raise where goldens may not be updated.

    Raises:
        UpdateRefusedError: in CI, and in a parallel worker.
    """
    reason = refusal(environ)
    if reason is not None:
        raise UpdateRefusedError(reason)


def planned(
    *,
    asked: Iterable[tuple[str, str]],
    there: Mapping[str, str],
    reports: Iterable[CheckReport],
    stale: Mapping[str, str],
    complete: bool,
    policy: UpdatePolicy,
) -> tuple[Update, ...]:
    """What is to be updated, in the order of the categories and then by name. A golden stands in one category.

    Args:
        asked: names and paths of the goldens that somebody asked for.
        there: paths of those that there are, by name.
        reports: of their checks.
        stale: why a file would be written in another way today, by name.
        complete: whether everybody who may ask for a golden has; otherwise none counts as unused.
    """
    wanted = dict(asked)
    found: dict[str, Update] = {}

    def add(category: UpdateCategory, name: str, reason: str) -> None:
        path = there.get(name, wanted.get(name, ""))
        found.setdefault(name, Update(category, name, path, reason, policy.accepts(category)))

    for name in wanted:
        if name not in there:
            add("new", name, "there is no golden of that name yet")
    by_reports = [(report.name, of_report(report)) for report in reports]
    for wanted_category in ("behaviour", "representation"):
        for name, verdict in by_reports:
            if verdict is not None and verdict[0] == wanted_category:
                add(verdict[0], name, verdict[1])
    for name, reason in stale.items():
        add("representation", name, reason)
    if complete:
        for name in there:
            if name not in wanted:
                # A file that nobody asks for is unused, whatever else could be said of it.
                found.pop(name, None)
                add("unused", name, "nobody asked for it")
    return tuple(sorted(found.values(), key=lambda each: (CATEGORIES.index(each.category), each.name)))
