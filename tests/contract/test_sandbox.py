"""contract.md, "SandboxProfile": enforced for what the library runs itself, and for arguments that user tools declare."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import ValidationError

from afk_es import Runner
from afk_es.clock import SimulatedClock
from afk_es.core import AgentResult, RunnerConfig
from afk_es.errors import ToolError, ToolTimeoutError
from afk_es.tools import SandboxCommand, SandboxPath, SandboxProfile, SandboxUrl, ToolContext, run_command
from tests.core.scenario import agent, asks, says

FIELDS = [
    "allow_network",
    "allow_command_execution",
    "allowed_command_prefixes",
    "deny_shell_operators",
    "allowed_paths",
    "denied_paths",
    "command_timeout_s",
    "max_output_chars",
]

posix = pytest.mark.skipif(sys.platform == "win32", reason="these commands are POSIX ones")


def may_run(**fields: Any) -> SandboxProfile:
    return SandboxProfile(**{"allow_command_execution": True, **fields})


def test_it_has_its_fields_and_is_frozen() -> None:
    assert set(FIELDS) <= SandboxProfile.model_fields.keys()
    profile: Any = SandboxProfile()
    with pytest.raises(ValidationError, match="frozen"):
        profile.allow_network = True


# ---------------------------------------------------------------------------------------- "for what the library itself runs"


async def test_allow_command_execution() -> None:
    with pytest.raises(ToolError, match="does not allow commands"):
        await run_command(SandboxProfile(), "echo hello")


@posix
async def test_a_command_runs_in_a_subprocess() -> None:
    ended = await run_command(may_run(), "echo hello")
    assert (ended.exit_code, ended.output) == (0, "hello\n")


@posix
async def test_allowed_command_prefixes() -> None:
    profile = may_run(allowed_command_prefixes=["echo hello"])
    assert (await run_command(profile, "echo hello world")).output == "hello world\n"
    for command in ("echo goodbye", "ls", "echo"):
        with pytest.raises(ToolError, match="does not begin with"):
            await run_command(profile, command)


@posix
@pytest.mark.parametrize("command", ["echo a; ls", "echo a | cat", "echo a && ls", "echo $(ls)", "echo `ls`", "echo a > f", "echo a\nls"])
async def test_deny_shell_operators(command: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="shell operator"):
        await run_command(may_run(), command, cwd=tmp_path)
    assert os.listdir(tmp_path) == []


@posix
async def test_command_timeout_s_kills_it() -> None:
    with pytest.raises(ToolTimeoutError):
        await run_command(may_run(command_timeout_s=0.05), "sleep 60")


@posix
async def test_max_output_chars() -> None:
    ended = await run_command(may_run(max_output_chars=100), [sys.executable, "-c", "print('x' * 5000)"])
    assert len(ended.output) == 100


@posix
async def test_paths_hold_for_where_a_command_runs(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="outside"):
        await run_command(may_run(allowed_paths=[tmp_path / "in"]), "echo hello", cwd=tmp_path)


# ------------------------------------------------------------ "argument checks for user tools that declare which of their arguments"


async def read(path: Annotated[str, SandboxPath()]) -> str:
    return f"read {path}"


async def run(command: Annotated[str, SandboxCommand()]) -> str:
    return f"ran {command}"


async def fetch(url: Annotated[str, SandboxUrl()]) -> str:
    return f"fetched {url}"


async def undeclared(path: str) -> str:
    return f"read {path}"


async def called(function: Any, argument: str, value: str, **settings: Any) -> AgentResult:
    clock = SimulatedClock(autojump_threshold_s=0.02)
    async with Runner(log=":memory:", config=RunnerConfig(**settings), clock=clock) as runner:
        return await runner.run(agent([asks((function.__name__, {argument: value})), says("ok")], function), user_message="go")


async def succeeds(function: Any, argument: str, value: str, **settings: Any) -> bool:
    result = await called(function, argument, value, **settings)
    assert result.state == "completed"
    return result.tool_executions[0].success


@pytest.mark.parametrize(
    ("path", "fine"),
    [
        ("in/file", True),
        ("in/../out/file", False),
        ("out/file", False),
        ("in/secret/file", False),
        ("in/link/file", False),
        ("/etc/passwd", False),
    ],
)
async def test_allowed_paths_and_denied_paths(path: str, fine: bool, tmp_path: Path) -> None:
    (tmp_path / "in" / "secret").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    profile = SandboxProfile(allowed_paths=(tmp_path / "in",), denied_paths=(tmp_path / "in" / "secret",))
    assert await succeeds(read, "path", str(tmp_path / path), default_sandbox_profile=profile) is fine


@pytest.mark.parametrize(("profile", "fine"), [(SandboxProfile(), False), (may_run(allowed_command_prefixes=("git status",)), True)])
async def test_commands(profile: SandboxProfile, fine: bool) -> None:
    assert await succeeds(run, "command", "git status -s", default_sandbox_profile=profile) is fine
    assert not await succeeds(run, "command", "git push", default_sandbox_profile=profile)


@pytest.mark.parametrize("allowed", [True, False])
async def test_allow_network(allowed: bool) -> None:
    profile = SandboxProfile(allow_network=allowed)
    assert await succeeds(fetch, "url", "https://example.org", default_sandbox_profile=profile) is allowed


async def test_the_objection_is_told() -> None:
    result = await called(fetch, "url", "https://example.org", default_sandbox_profile=SandboxProfile())
    assert "network" in (result.tool_executions[0].error or "")


async def test_without_a_profile_and_without_a_declaration_nothing_is_checked(tmp_path: Path) -> None:
    assert await succeeds(read, "path", "/etc/passwd")
    assert await succeeds(undeclared, "path", "/etc/passwd", default_sandbox_profile=SandboxProfile(allowed_paths=(tmp_path,)))


async def test_sandbox_profile_provider_goes_before_the_default() -> None:
    def provide(ctx: ToolContext) -> SandboxProfile | None:
        return SandboxProfile(allow_network=True) if ctx.tool_call_id == "c1" else None

    assert await succeeds(fetch, "url", "https://example.org", sandbox_profile_provider=provide, default_sandbox_profile=SandboxProfile())
    assert not await succeeds(
        fetch, "url", "https://example.org", sandbox_profile_provider=lambda ctx: None, default_sandbox_profile=SandboxProfile()
    )


def test_documented_as_what_it_is() -> None:
    """What it does not do is said where a user reads it."""
    assert "not kept from the network" in " ".join((SandboxProfile.__doc__ or "").split())
    assert "What is not" in (sys.modules[run_command.__module__].__doc__ or "")


def test_prebuilt_filesystem_tools_stay_in_their_root(tmp_path: Path) -> None:
    from afk_es import tools

    make: Any = getattr(tools, "filesystem_tools")  # noqa: B009 - not there yet
    assert {each.name for each in make(tmp_path)} >= {"read_file"}
