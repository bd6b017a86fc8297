"""Paths as a model may write them: relative, downward and bounded. Whether there is anything at one is not known here."""

from __future__ import annotations

import os

from afk_es.errors import ToolError

MAX_PATH_CHARS = 4_096
MAX_DEPTH = 64
"""Components of a path at most."""


def path_parts(path: str) -> tuple[str, ...]:
    """The components of a relative path; none for the directory itself.

    Raises:
        ToolError: the path is absolute, goes up, is too long, or can name no file.
    """
    if len(path) > MAX_PATH_CHARS:
        raise ToolError(f"the path has {len(path)} characters; at most {MAX_PATH_CHARS} are allowed")
    if "\0" in path:
        raise ToolError("the path contains a NUL character")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise ToolError("the path contains a character that no file name can have") from None
    if path.startswith("/"):
        raise ToolError(f"{path!r} is an absolute path; paths here are relative, and '.' is the top")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        raise ToolError(f"{path!r} contains '..', which is not allowed here; name the path from the top")
    if len(parts) > MAX_DEPTH:
        raise ToolError(f"the path is {len(parts)} levels deep; at most {MAX_DEPTH} are allowed")
    return parts
