"""What `--golden-update` may accept, and where it may not be used at all. Knows the command line and the environment only."""

from __future__ import annotations

from collections.abc import Mapping

CATEGORIES: dict[str, str] = {
    "new": "record goldens that are not there yet, by running the agents live",
    "behaviour": "record goldens anew from which an agent now differs, by running the agents live",
    "representation": "write files anew that say the same in another way; nothing is run",
    "unused": "delete goldens that no test asks for, where that is certain",
}

_NO = frozenset({"", "0", "false", "no", "off"})


def accepted(value: str | None) -> frozenset[str]:
    """The categories that are named in the value of the option; None, where it was not given, accepts nothing.

    Raises:
        ValueError: with what to write instead.
    """
    if value is None:
        return frozenset()
    named = frozenset(filter(None, (each.strip() for each in value.split(","))))
    if named == {"all"}:
        return frozenset(CATEGORIES)
    if unknown := sorted(named - CATEGORIES.keys()):
        raise ValueError(f"--golden-update does not know {unknown[0]!r}; {_legal()}")
    if not named:
        raise ValueError(f"--golden-update has to name what is accepted; {_legal()}")
    return named


def refusal(environ: Mapping[str, str], *, parallel: bool) -> str | None:
    """Why goldens may not be updated in this session, with the way out; None where they may.

    Args:
        parallel: whether tests are distributed to several processes.
    """
    if in_ci(environ):
        return (
            "--golden-update is not for CI (the environment sets CI): what a golden says is decided where somebody looks at it. "
            "Update where you develop, and commit the files"
        )
    if parallel:
        return "--golden-update is not for parallel workers, which could write one golden twice; add `-n 0`"
    return None


def in_ci(environ: Mapping[str, str]) -> bool:
    """Whether the environment says that this is continuous integration: CI is set, and to something that means yes."""
    return environ.get("CI", "").strip().casefold() not in _NO


def _legal() -> str:
    lines = [f"  {name:<14}  {meaning}" for name, meaning in CATEGORIES.items()]
    return "\n".join(["write --golden-update= and one or more of these, with commas, or all:", *lines])
