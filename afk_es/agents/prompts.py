"""Instructions from files, and from several texts. What is in them is the author's affair: nothing is filled in or interpreted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_PROMPT_BYTES = 1_000_000


def read_prompt(path: Path, field: str, directory: Path | None) -> str:
    """The text of a file; a byte order mark at its beginning is dropped.

    Args:
        path: the file; relative to `directory`, where there is one.
        field: the field that names it, for messages.
        directory: what the file must be in. Links are followed first, as deployments make prompts of them.

    Raises:
        ValueError: it cannot be read, is no UTF-8, too large, no regular file, or not in the directory.
    """
    found = path if directory is None else directory / path
    try:
        # "Escapes" are an author's slip here rather than an attack: what is in the directory may be a link, and may change meanwhile.
        if directory is not None and not found.resolve(strict=True).is_relative_to(directory.resolve(strict=True)):
            raise ValueError(f"{field}: {found} is not in prompts_dir ({directory})")
        content = _content(found)
        if len(content) > MAX_PROMPT_BYTES:
            raise ValueError(f"{field}: {found} has more than {MAX_PROMPT_BYTES} bytes, which no model should be told at each step")
        return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise ValueError(f"{field}: {found} cannot be read: {error}") from error


def joined(*texts: str | None) -> str | None:
    """The texts one after the other, a blank line between them; None where there is none. Empty ones are left out."""
    said = [text for text in texts if text]
    if not said:
        return "" if any(text is not None for text in texts) else None
    return "\n\n".join(said)


def _content(path: Path) -> bytes:
    # To open a pipe would wait for somebody to write to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is not a regular file")
        return file.read(MAX_PROMPT_BYTES + 1)
