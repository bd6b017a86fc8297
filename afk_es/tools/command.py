"""Runs a command for a tool, in a process group of its own, within a `SandboxProfile`.

What is enforced: the profile's command rules, the time (the whole group is killed), the length of the output, a small environment, no
standard input, no core dump, and on POSIX a limit of processor time. What is not: the network and the file system; for those the program
must run in a container or a namespace that its operator makes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from afk_es.errors import ToolError, ToolTimeoutError
from afk_es.tools.sandbox import SandboxProfile, command_words

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
"""What a command sees of this process' environment, unless it is given another one: no credentials by accident."""

_CHUNK = 65_536


class CommandResult(BaseModel):
    """How a command ended.

    Attributes:
        exit_code: 0 for success; negative, the signal that ended it.
        output: what it wrote to its standard output and error, interleaved as it came, decoded as UTF-8.
        cut_bytes: how many bytes of output were left out at the end.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, defer_build=True)

    exit_code: int
    output: str
    cut_bytes: int = 0


async def run_command(
    profile: SandboxProfile,
    command: str | Sequence[str],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> CommandResult:
    """Run a command to its end. No shell is involved, unless the command is a text and the profile lets shell operators through.

    Args:
        profile: what is allowed, for how long, with how much output.
        command: an argv, or a text that is split as a shell would split it.
        cwd: where it runs; must be a path the profile allows. Default the current directory, which is checked as well.
        env: its whole environment; default what `PASSED_ON` names of this process' own.

    Raises:
        ToolError: the profile does not allow it, or it cannot be started.
        ToolTimeoutError: it did not end in time; it and its children have been killed.
    """
    given = command if isinstance(command, str) else list(command)
    directory = Path.cwd() if cwd is None else Path(cwd)
    objection = profile.command_objection(given) or profile.path_objection(directory)
    if objection is not None:
        raise ToolError(objection)
    process = await _started(_argv(profile, given), directory, env)
    try:
        async with asyncio.timeout(profile.command_timeout_s):
            kept, cut = await _drained(process, profile.max_output_chars)
            exit_code = await process.wait()
    except TimeoutError as error:
        raise ToolTimeoutError(f"the command did not end within {profile.command_timeout_s:g} s and was killed") from error
    finally:
        await _killed(process)
    # A character takes a byte at least, so the text is never longer than the bytes that were kept.
    return CommandResult(exit_code=exit_code, output=kept.decode("utf-8", "replace"), cut_bytes=cut)


def _argv(profile: SandboxProfile, command: str | list[str]) -> list[str]:
    argv = list(command)
    if isinstance(command, str):
        argv = command_words(command) if profile.deny_shell_operators else ["/bin/sh", "-c", command]
    if os.name != "posix":
        return argv
    # Limits are set by a shell that then becomes the command: code between fork and exec is not safe in a process with threads.
    limits = f"ulimit -c 0; ulimit -t {int(profile.command_timeout_s) + 1}; "
    return ["/bin/sh", "-c", limits + 'exec "$@"', "sh", *argv]


async def _started(argv: list[str], cwd: Path, env: Mapping[str, str] | None) -> asyncio.subprocess.Process:
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} if env is None else dict(env)
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise ToolError(f"the command cannot be started: {error}") from error


async def _drained(process: asyncio.subprocess.Process, limit: int) -> tuple[bytes, int]:
    """The first bytes of the output, and how many followed: a pipe that nobody reads would stop the command."""
    if process.stdout is None:
        return b"", 0
    kept = bytearray()
    cut = 0
    while chunk := await process.stdout.read(_CHUNK):
        room = limit - len(kept)
        kept += chunk[:room]
        cut += max(len(chunk) - room, 0)
    return bytes(kept), cut


async def _killed(process: asyncio.subprocess.Process) -> None:
    # The group outlives its leader as long as a child is left in it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    await process.wait()
