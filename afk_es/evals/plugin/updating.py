"""What the value of `--golden-update` says, and where it may not be used. The rules are those of all goldens, imported where it is used."""

from __future__ import annotations

from collections.abc import Mapping

MEANINGS: dict[str, str] = {
    "new": "record goldens that are not there yet; agents run live",
    "behaviour": "record goldens anew that an agent no longer keeps; agents run live",
    "representation": "write files anew that say the same in another way; nothing is run",
    "unused": "delete goldens that no test asks for, where that is certain",
}
"""The categories, for people."""


def accepted(value: str, environ: Mapping[str, str], *, parallel: bool) -> frozenset[str]:
    """The categories of updates that the option accepts.

    Args:
        value: of the option; "" where it was given without one.
        parallel: whether tests are distributed to several processes.

    Raises:
        ValueError: it names none, or one that does not exist; or goldens may not be updated here. The message has the way out.
    """
    from afk_es.errors import UsageError
    from afk_es.evals.goldens.updates import UpdatePolicy, refusal

    if not value.strip():
        raise ValueError("--golden-update names what it accepts, as in --golden-update=new,behaviour or =all:" + _table())
    try:
        policy = UpdatePolicy.parse(value)
    except UsageError as error:
        raise ValueError(f"--golden-update={value}: {error}{_table()}") from None
    if (reason := refusal(environ)) is not None:
        raise ValueError(f"--golden-update={value}: {reason}")
    if parallel:
        raise ValueError(
            f"--golden-update={value}: parallel workers would write the same files, and none knows what is unused; add -n 0, "
            "or -p no:xdist, to run in one process"
        )
    return frozenset(policy.accepted)


def _table() -> str:
    return "".join(f"\n  {name:<14}  {meaning}" for name, meaning in MEANINGS.items())
