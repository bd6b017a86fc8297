"""What a profile allows, that marked arguments are held to it however deep they stand, and that a command ends with all its children."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ValidationError

from afk_es.errors import ToolError, ToolTimeoutError
from afk_es.tools import SandboxCommand, SandboxPath, SandboxProfile, SandboxUrl, run_command, tool
from tests.support.processes import has_ended

COMMANDS = SandboxProfile(allow_command_execution=True)


def test_paths_are_compared_by_component_after_links_and_dots_are_followed(tmp_path: Path) -> None:
    allowed = tmp_path / "data"
    secret = allowed / "secret"
    secret.mkdir(parents=True)
    (tmp_path / "database").mkdir()
    (allowed / "link").symlink_to(tmp_path)
    profile = SandboxProfile(allowed_paths=(allowed,), denied_paths=(secret,))
    for path in (allowed, allowed / "file", allowed / "new" / "file", allowed / "secret" / ".." / "file"):
        assert profile.path_objection(path) is None
    for path in (tmp_path / "database", allowed / ".." / "x", allowed / "link" / "x", secret / "x", Path("/etc/passwd")):
        assert profile.path_objection(path) is not None
    assert profile.path_objection("a\0b") == "the path contains a NUL character"
    assert SandboxProfile(allowed_paths=()).path_objection("/tmp/x") is not None
    assert SandboxProfile().path_objection("/tmp/x") is None


@pytest.mark.parametrize(
    "command", ["ls; id", "ls & id", "ls | sh", "ls > f", "ls < f", "ls `id`", "ls $(id)", "ls\nid", "ls (id)", "ls ${X}"]
)
def test_shell_operators_are_denied(command: str) -> None:
    assert "shell operator" in str(COMMANDS.command_objection(command))


def test_commands_are_compared_word_by_word() -> None:
    profile = SandboxProfile(allow_command_execution=True, allowed_command_prefixes=("git status", "ls"))
    for command in ("git status -s", "ls", ["git", "status"], "'git' status"):
        assert profile.command_objection(command) is None
    for command in ("git push", "git", "git statusx", "lsof", ["ls -l"], "", "ls 'x", ["ls", "a\0"]):
        assert profile.command_objection(command) is not None
    assert SandboxProfile().command_objection("ls") == "the sandbox does not allow commands"
    with pytest.raises(ValidationError, match="a prefix says nothing"):
        SandboxProfile(allowed_command_prefixes=("ls",), deny_shell_operators=False)


def test_urls(tmp_path: Path) -> None:
    offline = SandboxProfile(allowed_paths=(tmp_path,))
    assert "network" in str(offline.url_objection("https://example.org/x"))
    assert offline.url_objection(f"file://{tmp_path}/x") is None
    assert offline.url_objection("FILE:///etc/passwd") is not None
    assert offline.url_objection(f"file://{tmp_path}/%2e%2e/x") is not None
    assert offline.url_objection("file://host/x") is not None
    assert offline.url_objection("https://[") is not None
    assert SandboxProfile(allow_network=True).url_objection("https://example.org/x") is None


class Part(BaseModel):
    path: Annotated[str, SandboxPath()]


@tool
def touch(
    path: Annotated[Path | None, SandboxPath()] = None,
    many: list[Annotated[str, SandboxPath()]] | None = None,
    part: Part | None = None,
    url: Annotated[str | None, SandboxUrl()] = None,
    line: Annotated[str | None, SandboxCommand()] = None,
    argv: Annotated[list[str] | None, SandboxCommand()] = None,
) -> str:
    return "touched"


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": "/etc/passwd"},
        {"many": ["/tmp/x", "/etc/passwd"]},
        {"part": {"path": "/etc/passwd"}},
        {"url": "http://x"},
        {"line": "ls"},
        {"argv": ["ls"]},
    ],
)
async def test_marked_arguments_are_held_to_the_profile_however_deep(arguments: dict[str, Any]) -> None:
    profile = SandboxProfile(allowed_paths=(Path("/tmp"),))
    result = await touch.call(arguments, sandbox=profile)
    assert "sandbox" in str(getattr(result, "error", None))
    assert getattr(await touch.call(arguments), "output", None) == "touched"
    assert getattr(await touch.call({"path": "/tmp/x"}, sandbox=profile), "output", None) == "touched"


async def test_what_a_prehook_or_middleware_makes_of_the_arguments_is_checked_too() -> None:
    async def elsewhere(call_next: Any, args: Any) -> Any:
        return await call_next({"path": "/etc/passwd"})

    for options in ({"prehooks": [lambda args: {"path": "/etc/passwd"}]}, {"middlewares": [elsewhere]}):

        @tool(**options)
        def read(path: Annotated[str, SandboxPath()]) -> str:
            return path

        result = await read.call({"path": "/tmp/x"}, sandbox=SandboxProfile(allowed_paths=(Path("/tmp"),)))
        assert "outside of what the sandbox allows" in str(getattr(result, "error", None))


def test_markers_do_not_show_in_the_schema() -> None:
    assert touch.parameters["properties"]["argv"]["anyOf"] == [{"items": {"type": "string"}, "type": "array"}, {"type": "null"}]
    assert touch.declares_sandboxed_arguments

    @tool
    def plain(path: str) -> None: ...

    assert not plain.declares_sandboxed_arguments


async def test_a_command_gets_a_small_environment_and_its_output_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "hunter2")
    assert "hunter2" not in (await run_command(COMMANDS, "env")).output
    short = COMMANDS.model_copy(update={"max_output_chars": 5})
    result = await run_command(short, ["sh", "-c", "echo 123456789; exit 3"])
    assert (result.exit_code, result.output, result.cut_bytes) == (3, "12345", 5)


async def test_a_text_goes_through_a_shell_only_where_operators_are_let_through() -> None:
    shell = SandboxProfile(allow_command_execution=True, deny_shell_operators=False)
    assert (await run_command(shell, "echo a | tr a b")).output == "b\n"
    assert (await run_command(COMMANDS, ["echo", "a | tr a b"])).output == "a | tr a b\n"
    with pytest.raises(ToolError, match="does not allow commands"):
        await run_command(SandboxProfile(), "ls")
    with pytest.raises(ToolError, match="cannot be started"):
        await run_command(COMMANDS, "ls", cwd="/nowhere")


async def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    profile = COMMANDS.model_copy(update={"command_timeout_s": 0.3})
    with pytest.raises(ToolTimeoutError):
        await run_command(profile, ["sh", "-c", "sleep 60 & echo $! > child; wait"], cwd=tmp_path)
    assert has_ended(int((tmp_path / "child").read_text()))
