"""Who drives runs, and whether they still live: a lock per open store that the operating system drops when its process dies.

The file lies beside the log, in `<log>-owners/`, and says pid and host for people. A process that forks without exec hands its lock to
the child; start workers with spawn, as asyncio and pools should anyway.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from afk_es.errors import ConfigurationError, LogError, LogFullError, LogReadOnlyError, LogUnavailableError

_ATTEMPTS = 3
"""Another owner may remove the directory as the last one leaves, between our making it and our making the file in it."""

_NAME = re.compile(r"[\w-]{1,128}", re.ASCII)
"""What an owner's name may be. A log is data, perhaps somebody else's: a name in it must not lead to files elsewhere."""

_NOT_WRITABLE: tuple[type[LogError], str] = (LogReadOnlyError, "make the log's directory writable")
_NO_ROOM: tuple[type[LogError], str] = (LogFullError, "the disk is full; make room and append again, nothing is half-written")
_FAILED: tuple[type[LogError], str] = (LogUnavailableError, "the device failed, or is full; check the disk, then open the log again")
_WAYS_OUT = {errno.ENOSPC: _NO_ROOM, errno.EDQUOT: _NO_ROOM, errno.EIO: _FAILED, errno.EFBIG: _FAILED}


class Owners:
    """The locks of the owners of one log; `hold` takes this store's own."""

    def __init__(self, log: Path, owner: str) -> None:
        self._log = log
        self._directory = log.with_name(log.name + "-owners")
        self._owner = owner
        self._lock: FileLock | None = None

    def hold(self) -> None:
        """Take this owner's lock.

        Raises:
            LogError: the directory cannot be written: it is not permitted, or there is no room, or the device fails.
            ConfigurationError: the owner's id cannot be the name of a file.
        """
        if not _NAME.fullmatch(self._owner):
            raise ConfigurationError(f"{self._owner!r} cannot be an owner: an id is 1 to 128 ASCII letters, digits, '_' and '-'")
        for attempt in range(_ATTEMPTS):
            lock = FileLock(self._file(self._owner), blocking=False, thread_local=False)
            try:
                self._directory.mkdir(exist_ok=True)
                lock.acquire()
                self._file(self._owner).write_text(f"pid {os.getpid()} on {socket.gethostname()}\n", "utf-8")
            except OSError as error:  # A `Timeout` is one.
                if lock.is_locked:
                    # Only then is the file ours to remove: without it whoever else holds this name would be taken for dead.
                    self._remove(self._owner)
                    lock.release()
                else:
                    self._remove_directory()
                if isinstance(error, FileNotFoundError) and attempt + 1 < _ATTEMPTS:
                    continue
                raise self._in_our_words(error) from error
            self._lock = lock
            return

    def _in_our_words(self, error: OSError) -> LogError:
        kind, way_out = _WAYS_OUT.get(error.errno or 0, _NOT_WRITABLE)
        return kind(f"the log {self._log}: the owner's lock cannot be taken in {self._directory}; {way_out} ({error})")

    def release(self) -> None:
        """Let go of this owner's lock and remove its file."""
        if self._lock is not None:
            self._remove(self._owner)
            self._lock.release()
            self._lock = None

    def alive(self, owner: str) -> bool:
        """Whether the process of that owner lives and has its store open. Cleans up behind a dead one."""
        if not _NAME.fullmatch(owner):
            return False  # No store of ours ever held a lock of that name.
        file = self._file(owner)
        if not file.exists():
            return False
        lock = FileLock(file, blocking=False, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return True
        except OSError:
            # It cannot be asked, as on a read-only mount. To take a living owner for dead would be the worse mistake.
            return True
        self._remove(owner)
        lock.release()
        return False

    def locks(self) -> tuple[list[Path], list[Path]]:
        """The lock files that are held, and those that processes left which are gone. Looks, and cleans up nothing."""
        held: list[Path] = []
        left: list[Path] = []
        for file in sorted(self._directory.glob("*.lock")):
            (held if _is_held(file) else left).append(file)
        return held, left

    def _remove(self, owner: str) -> None:
        with suppress(OSError):
            self._file(owner).unlink(missing_ok=True)
        self._remove_directory()

    def _remove_directory(self) -> None:
        with suppress(OSError):  # Others may have their locks in it.
            self._directory.rmdir()

    def _file(self, owner: str) -> Path:
        return self._directory / f"{owner}.lock"


def _is_held(file: Path) -> bool:
    """Whether somebody holds this lock; yes where that cannot be asked, as on Windows."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        return file.exists()
    try:
        # Shared, and let go of at once: FileLock would empty the file, which says whose it was.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)
