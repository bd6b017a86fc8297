"""What others have written, from the npm registry, in a directory that is no part of the repository. No script of a package runs at its installation."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = {
    "@modelcontextprotocol/conformance": "0.2.0-alpha.12",
    "@modelcontextprotocol/inspector": "2.12.0",
    "@modelcontextprotocol/server": "2.3.1",
    "@modelcontextprotocol/server-everything": "2026.8.31",
    "@modelcontextprotocol/server-filesystem": "2026.8.31",
}
"""The first conformance suite that knows 2026-07-28 is a preview."""

NODE = "22.23.3"
"""What the suite needs at least is 22. An older Node is left as it is, and this one is put beside the packages."""

KEPT = "AFK_ES_INTEROP_DIR"
"""Names a directory that is kept, so that nothing is fetched twice."""

INSTALL_S = 180
ROOT = Path(__file__).resolve().parents[2]


class MissingError(Exception):
    """What others have written cannot be had here."""


class Workshop:
    """The installed packages.

    Args:
        directory: where they are.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.node = directory / "node_modules" / _node_package() / "bin"

    @property
    def environment(self) -> dict[str, str]:
        """Of what is run here: the right Node first, and a home of its own."""
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        path = os.pathsep.join([str(self.node), os.environ.get("PATH", "")])
        return {**os.environ, "PATH": path, "HOME": str(home), "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "AFK_ES_CACHE": os.devnull}

    def program(self, name: str) -> str:
        """The path of a package's command."""
        return str(self.directory / "node_modules" / ".bin" / name)

    def run(self, *words: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, from the repository."""
        return subprocess.run(
            words, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL
        )

    def script(self, name: str) -> list[str]:
        """The command that runs a script of ours, where it finds the packages."""
        target = self.directory / name
        shutil.copy(Path(__file__).with_name(name), target)
        return [str(self.node / "node"), str(target)]

    def package(self, name: str) -> list[str]:
        """The command that runs a server's package."""
        return [str(self.node / "node"), str(self.directory / "node_modules" / "@modelcontextprotocol" / name / "dist" / "index.js")]


@contextmanager
def workshop() -> Iterator[Workshop]:
    """The packages, installed; in a directory that is gone afterwards, unless one is named by AFK_ES_INTEROP_DIR.

    Raises:
        MissingError: there is no npm, or the registry cannot be reached.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise MissingError("npm is not installed")
    with tempfile.TemporaryDirectory(prefix="afk-es-interop-") as temporary:
        directory = Path(os.environ.get(KEPT) or temporary)
        directory.mkdir(parents=True, exist_ok=True)
        found = Workshop(directory)
        if not (found.node / "node").exists():
            _install(npm, directory)
        yield found


def _install(npm: str, directory: Path) -> None:
    wanted = [f"{name}@{version}" for name, version in {**PACKAGES, _node_package(): NODE}.items()]
    words = [npm, "install", "--prefix", str(directory), "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *wanted]
    try:
        done = subprocess.run(words, cwd=directory, capture_output=True, text=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise MissingError(f"npm install took longer than {INSTALL_S} s") from None
    if done.returncode:
        raise MissingError(f"npm install failed: {' '.join(done.stderr.split())[:300]}")


def _node_package() -> str:
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower(), "x64")
    return f"node-bin-darwin-{machine}" if sys.platform == "darwin" else f"node-linux-{machine}"
