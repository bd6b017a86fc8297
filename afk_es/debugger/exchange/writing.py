"""How an export gets into a file: beside it first, then in one move, and never over what is there unless that is asked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from afk_es.errors import UsageError
from afk_es.log import EventLog
from afk_es.log.location import name_of


def provenance(log: EventLog) -> dict[str, str]:
    """What wrote an export, and from which log. The log's directory is nobody's business where the file goes."""
    try:
        found = version("afk-es")
    except PackageNotFoundError:
        found = "unknown"
    return {"afk_es": found, "log": name_of(log.location)}


@contextmanager
def replacing(target: Path, *, force: bool) -> Iterator[Path]:
    """A path beside the target to write to, which becomes the target when all went well and is gone otherwise.

    Args:
        force: replace what is there.

    Raises:
        UsageError: there is something at the target already, or it is a directory.
        OSError: it cannot be written; it names the target.
    """
    if target.is_dir():
        raise UsageError(f"{target} is a directory; name a file in it")
    if target.exists() and not force:
        raise UsageError(f"{target} is there already; name another file with -o, or replace it with --force")
    target.parent.mkdir(parents=True, exist_ok=True)
    # Private, as a log is: it holds what a log holds.
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise _of_target(error, target) from error
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        if force:
            beside.replace(target)
        else:
            # A file that appeared meanwhile is not overwritten either.
            try:
                os.link(beside, target)
            except FileExistsError:
                raise UsageError(f"{target} is there already; name another file with -o, or replace it with --force") from None
            except OSError:
                beside.replace(target)
    except OSError as error:
        # A full disk names no file at all.
        if error.errno is None or error.filename not in (None, name, beside):
            raise
        raise _of_target(error, target) from error
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()


def _of_target(error: OSError, target: Path) -> OSError:
    """The error as one of the file that was asked for, and not of the one beside it, whose name nobody knows."""
    return OSError(error.errno, error.strerror, str(target))


async def write_text(target: Path, pieces: AsyncIterator[str], *, force: bool) -> None:
    """Write these pieces to the target, all or nothing.

    Raises:
        UsageError: see `replacing`.
        OSError: it cannot be written.
    """
    with replacing(target, force=force) as beside, beside.open("w", encoding="utf-8", errors="replace", newline="") as opened:
        async for piece in pieces:
            opened.write(piece)
        opened.flush()
        os.fsync(opened.fileno())
