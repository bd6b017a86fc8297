"""What `afk-es mcp serve` serves in the tests over stdio: a module that prints, and tools that leave marks in files."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from afk_es.mcp import MCPServer
from afk_es.tools import Tool, tool

print("a module that prints when it is imported")


@tool(read_only=True)
def add(a: int, b: int) -> int:
    """Add two numbers, loudly."""
    print("a tool that prints")
    os.write(1, b"a tool that writes to the descriptor\n")
    subprocess.run(["echo", "a tool whose process prints"], check=True, stdin=None)
    return a + b


@tool
def pay(order: str) -> str:
    """Pay an order: a mark in a file, and then a wait for another one."""
    return _worked("pay", order)


@tool(read_only=True)
def look_up(order: str) -> str:
    """Look an order up: as `pay`, without harm."""
    return _worked("look_up", order)


def _worked(what: str, order: str) -> str:
    with Path("marks").open("a", encoding="utf-8") as marks:
        marks.write(f"{what} {order}\n")
    while not Path("go").exists():
        time.sleep(0.01)
    return f"{what} {order} is done"


tools: list[Tool[..., Any]] = [add, pay, look_up]


def server() -> MCPServer:
    """Made when it is named."""
    return MCPServer(tools, log="own.db")
