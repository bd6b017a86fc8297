"""Functions that a model may call, and what is checked before and after."""

from afk_es.tools.command import CommandResult, run_command
from afk_es.tools.context import Secrets, ToolContext
from afk_es.tools.decorator import tool
from afk_es.tools.definition import Tool
from afk_es.tools.filesystem import filesystem_tools
from afk_es.tools.hooks import middleware, posthook, prehook, registry_middleware
from afk_es.tools.outcome import ToolDeferredHandle, ToolResult, failure_text
from afk_es.tools.registry import ToolRegistry, unknown_tool
from afk_es.tools.sandbox import SandboxCommand, SandboxPath, SandboxProfile, SandboxUrl
from afk_es.tools.server import ToolServer
from afk_es.tools.skills import SkillPolicy

__all__ = [
    "tool",
    "Tool",
    "ToolContext",
    "Secrets",
    "ToolResult",
    "ToolDeferredHandle",
    "ToolRegistry",
    "ToolServer",
    "prehook",
    "posthook",
    "middleware",
    "registry_middleware",
    "failure_text",
    "unknown_tool",
    "SandboxProfile",
    "SandboxPath",
    "SandboxCommand",
    "SandboxUrl",
    "run_command",
    "CommandResult",
    "filesystem_tools",
    "SkillPolicy",
]
