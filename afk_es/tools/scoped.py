"""A directory that nothing done through it can leave: files named by relative paths, opened one component at a time.

Every component is opened relative to the directory before it and without following a symbolic link (openat and O_NOFOLLOW), so there is no
moment between a check and a use in which somebody could put a link in its place. What it does not know: hard links and mounts inside of the
directory, which are part of it to every program, and a directory that is moved out of it while it is open.
"""

from __future__ import annotations

import copy
import errno
import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from afk_es.errors import ConfigurationError, ToolError
from afk_es.tools.relative_path import path_parts

Kind = Literal["file", "directory", "link", "other"]

# Missing on Windows, where nothing of this can be promised and `ScopedDirectory` refuses to be made.
_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)

_UNFINISHED = itertools.count(1)


class Entry(NamedTuple):
    """What stands in a directory. The size is in bytes, and 0 for what is no file."""

    name: str
    kind: Kind
    size: int


class ScopedDirectory:
    """A directory of the file system, and no more than that.

    Symbolic links inside of it are listed and never followed, wherever they point. Its methods block: call them in a thread.

    Args:
        root: an existing directory. Links on the way to it are followed once, now.

    Raises:
        ConfigurationError: it is no directory, or this system cannot open files relative to a directory (Windows).
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        if not {os.open, os.stat, os.mkdir, os.unlink, os.rename} <= os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
            raise ConfigurationError(
                "this system cannot open files relative to a directory, so no directory can be kept to; use Linux or macOS"
            )
        try:
            self._top: Path = Path(root).expanduser().resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigurationError(f"the directory {os.fspath(root)!r} cannot be used: {error}") from error
        if not self._top.is_dir():
            raise ConfigurationError(f"{os.fspath(root)!r} is not a directory")
        self._below: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ScopedDirectory({str(self.root)!r})"

    @property
    def root(self) -> Path:
        """Where it is. Who opens this path does so without any of the checks."""
        return self._top.joinpath(*self._below)

    def within(self, path: str) -> ScopedDirectory:
        """One of its directories as one to be kept to. It need not exist: every use finds it anew, and follows no link on the way to it.

        Raises:
            ToolError: the path is not one of this directory.
        """
        inner = copy.copy(self)
        inner._below = self._below + path_parts(path)
        return inner

    def kind(self, path: str) -> Kind | None:
        """What the path names; None if there is nothing.

        Raises:
            ToolError: the path is not one of this directory.
        """
        parts = path_parts(path)
        if not parts:
            return "directory"
        try:
            with self._parent(parts) as parent:
                return _kind(os.stat(parts[-1], dir_fd=parent, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _refusal(error, path) from error

    def entries(self, path: str, limit: int) -> tuple[list[Entry], bool]:
        """What stands in a directory, by name, and whether there is more than `limit`.

        Raises:
            ToolError: there is no such directory here, or it cannot be read.
        """
        found: list[Entry] = []
        try:
            with self._directory(path_parts(path)) as directory, os.scandir(directory) as listing:
                for item in listing:
                    if len(found) == limit:
                        return sorted(found), True
                    # One may be gone by now.
                    with suppress(FileNotFoundError):
                        status = item.stat(follow_symlinks=False)
                        kind = _kind(status.st_mode)
                        found.append(Entry(item.name, kind, status.st_size if kind == "file" else 0))
        except OSError as error:
            raise _refusal(error, path) from error
        return sorted(found), False

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """A regular file, to read from.

        Raises:
            ToolError: there is none, or it is a link, a directory, a device, a pipe; or reading fails.
        """
        parts = path_parts(path)
        if not parts:
            raise ToolError(f"{path!r} is a directory, not a file")
        try:
            with self._parent(parts) as parent:
                # Looked at before it is opened, because to open a device can do something; and again after it.
                _require_file(os.stat(parts[-1], dir_fd=parent, follow_symlinks=False).st_mode, path)
                descriptor = os.open(parts[-1], _READ, dir_fd=parent)
            with os.fdopen(descriptor, "rb") as file:
                _require_file(os.fstat(file.fileno()).st_mode, path)
                yield file
        except OSError as error:
            raise _refusal(error, path) from error

    def read(self, path: str, max_bytes: int) -> bytes:
        """The whole of a regular file.

        Raises:
            ToolError: as for `open`, or it is larger than `max_bytes`.
        """
        with self.open(path) as file:
            content = file.read(max_bytes + 1)
            if len(content) > max_bytes:
                size = max(os.fstat(file.fileno()).st_size, len(content))
                raise ToolError(f"{path!r} has {size} bytes, which is more than the {max_bytes} allowed here")
        return content

    def write(self, path: str, content: bytes) -> bool:
        """Put a file in its place, whole or not at all, and durably; True if it is new. A file that is there keeps its permissions.

        Raises:
            ToolError: its directory does not exist, something else than a file has its name, or writing fails.
        """
        parts = path_parts(path)
        if not parts:
            raise ToolError(f"{path!r} is a directory, not a file")
        try:
            with self._parent(parts) as parent:
                mode = _present_mode(parent, parts[-1], path)
                unfinished = _written(parent, content, mode)
                try:
                    # Takes the place of the name, whatever it is by now; nothing is written through a link, soft or hard.
                    os.rename(unfinished, parts[-1], src_dir_fd=parent, dst_dir_fd=parent)
                except OSError:
                    os.unlink(unfinished, dir_fd=parent)
                    raise
                os.fsync(parent)
        except FileNotFoundError as error:
            raise ToolError(f"the directory of {path!r} does not exist; make it first") from error
        except OSError as error:
            raise _refusal(error, path) from error
        return mode is None

    def make_directory(self, path: str) -> bool:
        """Make a directory, and those above it; True if it is new.

        Raises:
            ToolError: something else has the name of one of them, or it cannot be made.
        """
        parts = path_parts(path)
        made = False
        try:
            for depth, name in enumerate(parts):
                with self._directory(parts[:depth]) as parent:
                    try:
                        os.mkdir(name, dir_fd=parent)
                        made = True
                    except FileExistsError:
                        made = False
            with self._directory(parts):
                return made
        except OSError as error:
            raise _refusal(error, path) from error

    def delete(self, path: str) -> None:
        """Delete a regular file.

        Raises:
            ToolError: there is none, or it is something else.
        """
        parts = path_parts(path)
        try:
            with self._parent(parts) as parent:
                _require_file(os.stat(parts[-1], dir_fd=parent, follow_symlinks=False).st_mode if parts else stat.S_IFDIR, path)
                # Between the two it may have become a link: then the link goes, and not what it points to.
                os.unlink(parts[-1], dir_fd=parent)
        except OSError as error:
            raise _refusal(error, path) from error

    def _parent(self, parts: tuple[str, ...]) -> _Directory:
        return self._directory(parts[:-1])

    def _directory(self, parts: tuple[str, ...]) -> _Directory:
        return _Directory(self._top, self._below + parts)


class _Directory:
    """A directory opened component by component; the descriptor lives as long as the `with` block."""

    def __init__(self, root: Path, parts: tuple[str, ...]) -> None:
        self._root = root
        self._parts = parts
        self._descriptor = -1

    def __enter__(self) -> int:
        descriptor = os.open(self._root, _DIRECTORY)
        for part in self._parts:
            try:
                inner = os.open(part, _DIRECTORY, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = inner
        self._descriptor = descriptor
        return descriptor

    def __exit__(self, *error: object) -> None:
        os.close(self._descriptor)


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "link" if stat.S_ISLNK(mode) else "other"


_NO_FILE = {
    "directory": "is a directory, not a file",
    "link": "is a symbolic link, and links are not followed here",
    "other": "is a device, a pipe or a socket, not a file",
}


def _require_file(mode: int, path: str) -> None:
    kind = _kind(mode)
    if kind != "file":
        raise ToolError(f"{path!r} {_NO_FILE[kind]}")


def _present_mode(parent: int, name: str, path: str) -> int | None:
    try:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
    _require_file(mode, path)
    return mode & 0o777


def _written(parent: int, content: bytes, mode: int | None) -> str:
    """The name of a new file beside the one to be written. Only a kill can leave it behind."""
    while True:
        name = f".afk_es-unfinished-{os.getpid()}-{next(_UNFINISHED)}"
        # One that is there was left by a process of the same number.
        with suppress(FileExistsError):
            descriptor = os.open(name, _CREATE, 0o666 if mode is None else mode, dir_fd=parent)
            break
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        os.unlink(name, dir_fd=parent)
        raise
    return name


def _refusal(error: OSError, path: str) -> ToolError:
    match error.errno:
        case errno.ENOENT:
            return ToolError(f"there is no {path!r} here")
        case errno.ELOOP | errno.EMLINK:
            return ToolError(f"{path!r} is, or goes through, a symbolic link, and links are not followed here")
        case errno.ENOTDIR:
            # Linux says this, and not ELOOP, of a link where a directory is wanted.
            return ToolError(f"{path!r} goes through something that is no directory; links are not followed here")
        case _:
            return ToolError(f"{path!r} cannot be used: {error.strerror or type(error).__name__}")
