"""`GoldenStore`: a directory of goldens, what their files are called, and what is done to them when they are updated."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from afk_es.debugger.exchange.golden_facts import SUFFIX, GoldenError, header_of
from afk_es.errors import ConfigurationError, UsageError
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.updates import (
    Update,
    UpdatePolicy,
    check_may_update,
    in_ci,
    planned,
)
from afk_es.machine.events import SCHEMA_VERSION
from afk_es.machine.values import digest

LONGEST_NAME = 100
"""Characters of a file's name before its suffix; file systems stand 255 bytes, and a path has other parts."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"com{number}" for number in range(10)), *(f"lpt{number}" for number in range(10))})


class GoldenStore:
    """The goldens of a directory, one file each.

    Each thing there may be to update is in one of four categories:

    | category | when | what an update does | who has to run the agent |
    |---|---|---|---|
    | new | somebody asks for a golden, and there is none of that name | the run is recorded and written | the caller, for real |
    | behaviour | its check diverged in anything but `engine_version`, or could not be measured | it is recorded anew, and replaced | the \
caller, for real |
    | representation | the agent does the same, and only how it is written is another: the file's format or digest, the version of the \
events, event types, keys or names that an afk_es of that version did not know | it is rewritten from the run that the check replayed | \
nobody: it is offline and free |
    | unused | there is a file that nobody asked for, though everybody did who may | the file is deleted | nobody |

    Where a golden would be in two, the first row counts; a file that nobody asks for is unused whatever else is the matter with it.

    Nothing is updated in CI or by a parallel worker: `write`, `rewrite` and `delete` raise there. A golden that is missing is an error,
    there as elsewhere.

    Args:
        directory: made when the first golden is written.
        environ: of the process; default `os.environ`.

    Raises:
        ConfigurationError: there is something at the directory that is none.
    """

    def __init__(self, directory: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None) -> None:
        self.directory: Path = Path(directory).expanduser()
        self._environ: Mapping[str, str] = os.environ if environ is None else environ
        if self.directory.exists() and not self.directory.is_dir():
            raise ConfigurationError(f"{self.directory} is no directory; goldens lie in one, a file each")

    def path(self, name: str) -> Path:
        """Where the golden of that name lies, or would.

        Letters, digits, dots, hyphens and underscores of the name stay; a name with anything else, one that is too long, or one that file
        systems keep for themselves, is made safe and ends with a digest of the name.

        Raises:
            UsageError: the name is empty.
        """
        return self.directory / f"{file_stem(name)}{SUFFIX}"

    def names(self) -> tuple[str, ...]:
        """The names of the goldens there are, by the alphabet; those of files that cannot be read are their files' names.

        Subdirectories are stores of their own.
        """
        return tuple(sorted(self._there()))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(name) and self.path(name).is_file()

    def read(self, name: str) -> Golden:
        """The golden of that name.

        Raises:
            GoldenError: there is none, with what to do; or its file is none, or another golden's whose name is nearly the same.
        """
        path = self.path(name)
        if not path.is_file():
            way = (
                "record it on your own machine and commit it"
                if in_ci(self._environ)
                else "record it with `pytest --golden-update=new`, or `afk-es golden record`"
            )
            raise GoldenError(f"{path}: there is no golden {name!r}; {way}")
        golden = Golden.read(path)
        _check_name(path, golden, name)
        return golden

    def write(self, golden: Golden) -> Golden:
        """Write a golden under its name, over the one that is there.

        Raises:
            UpdateRefusedError: in CI, or in a parallel worker.
            UsageError: the file holds a golden of another name.
            OSError: it cannot be written.
        """
        check_may_update(self._environ)
        path = self.path(golden.name)
        if path.is_file():
            try:
                there = Golden.read(path)
            except UsageError:
                # Broken, and about to be replaced.
                there = None
            if there is not None:
                _check_name(path, there, golden.name)
        self.directory.mkdir(parents=True, exist_ok=True)
        return golden.write(path)

    async def rewrite(self, name: str) -> Golden:
        """Write a golden as today's afk_es does: in today's format and event schema, with the digest of what it holds.

        Raises:
            GoldenError: it cannot be read.
            UpdateRefusedError: in CI, or in a parallel worker.
        """
        check_may_update(self._environ)
        return self.write(await self.read(name).rewritten())

    def delete(self, name: str) -> None:
        """Delete a golden; one that is gone is left alone.

        Raises:
            UpdateRefusedError: in CI, or in a parallel worker.
        """
        check_may_update(self._environ)
        self._there().get(name, self.path(name)).unlink(missing_ok=True)

    def stale(self, name: str) -> str | None:
        """Why a golden would be written in another way today, though it says the same; None where it would not.

        Raises:
            GoldenError: it cannot be read.
        """
        return staleness(self.read(name), self.path(name))

    def plan(
        self, *, asked: Iterable[str], reports: Iterable[CheckReport] = (), complete: bool = False, policy: UpdatePolicy | None = None
    ) -> tuple[Update, ...]:
        """What there is to update, and which of it the policy accepts. Nothing is written.

        Args:
            asked: names of the goldens that somebody asked for.
            reports: of the checks that were made.
            complete: whether everybody who may ask for a golden has, as in a whole test run; otherwise none is unused.
            policy: default: accept nothing.
        """
        there = self._there()
        wanted = list(dict.fromkeys(asked))
        stale = {}
        for name in wanted:
            if name in there and (reason := self._stale_if_readable(name)) is not None:
                stale[name] = reason
        return planned(
            asked=[(name, str(self.path(name))) for name in wanted],
            there={name: str(path) for name, path in there.items()},
            reports=reports,
            stale=stale,
            complete=complete,
            policy=policy if policy is not None else UpdatePolicy(),
        )

    def _stale_if_readable(self, name: str) -> str | None:
        try:
            return self.stale(name)
        except GoldenError:
            # Its check says so.
            return None

    def _there(self) -> dict[str, Path]:
        if not self.directory.is_dir():
            return {}
        return {_name_in(path): path for path in sorted(self.directory.glob(f"*{SUFFIX}")) if path.is_file()}


def staleness(golden: Golden, path: Path) -> str | None:
    """Why a golden that was read from this file would be written in another way today, though it says the same; None where it would not."""
    if golden.edited:
        return "it was edited by hand: its digest is of what it said before"
    if golden.header.recorded.event_schema < SCHEMA_VERSION:
        return f"its events have schema version {golden.header.recorded.event_schema}, and {SCHEMA_VERSION} is written today"
    if golden.text().encode() != path.read_bytes():
        return "its lines are written in another way today"
    return None


def file_stem(name: str) -> str:
    """What the file of a golden is called, without its suffix.

    Raises:
        UsageError: the name is empty.
    """
    if not name.strip():
        raise UsageError("a golden has a name")
    safe = _UNSAFE.sub("-", name).strip("-.")[:LONGEST_NAME].rstrip("-.")
    if safe == name and safe.split(".")[0].casefold() not in _RESERVED:
        return safe
    return f"{safe or 'golden'}-{digest(name.encode('utf-8', 'surrogatepass'))[:8]}"


def _name_in(path: Path) -> str:
    """The name of the golden in a file. Only the header is read: a store may be large."""
    stem = path.name.removesuffix(SUFFIX)
    try:
        return header_of(path).name
    except (OSError, UsageError):
        return stem


def _check_name(path: Path, golden: Golden, name: str) -> None:
    if golden.name == name:
        return
    raise GoldenError(
        f"{path}:1: this is the golden {golden.name!r}, and not {name!r}: two names that this file system does not tell apart, or a file "
        "that was renamed; give one of them another name"
    )


__all__ = ["file_stem", "GoldenStore", "staleness"]
