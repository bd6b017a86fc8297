"""Without the libraries of an extra a package says what to install, and the command line says it in a line."""

from __future__ import annotations

import subprocess
import sys

import pytest

NEEDS = [
    ("mcp", "from afk_es.mcp import MCPServer", 'pip install "afk-es[mcp]"'),
    ("mcp_types", "from afk_es.mcp import MCPClient", 'pip install "afk-es[mcp]"'),
    ("a2a", "from afk_es.a2a import A2AServer", 'pip install "afk-es[a2a]"'),
    ("a2a", "from afk_es.a2a import A2AClient", 'pip install "afk-es[a2a]"'),
    ("uvicorn", "from afk_es.serving import HttpServer", 'pip install "afk-es[mcp]" or "afk-es[a2a]"'),
    ("jwt", "from afk_es.mcp import JWTs", 'pip install "afk-es[mcp]" or "afk-es[a2a]"'),
    ("hypothesis", "from afk_es.testing import explore", 'pip install "afk-es[testing]"'),
]
VERBS = [("mcp", ["mcp", "serve", "x:y"]), ("mcp", ["mcp-config", "x.json"]), ("a2a", ["a2a", "serve", f"{__file__}:NEEDS"])]


def said(code: str, without: str) -> str:
    """What a program says that cannot have that library."""
    program = f"import sys\nsys.modules[{without!r}] = None\n{code}"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.mark.parametrize(("library", "code", "install"), NEEDS)
def test_a_package_says_what_to_install(library: str, code: str, install: str) -> None:
    told = said(f"try:\n    {code}\nexcept ImportError as error:\n    raise SystemExit(f'{{type(error).__name__}}: {{error}}')", library)
    assert told.startswith("MissingExtraError: afk_es.")
    assert f"needs {library}, which is not installed: {install}" in told


@pytest.mark.parametrize(("library", "words"), VERBS)
def test_the_command_line_says_it_in_a_line(library: str, words: list[str]) -> None:
    (line,) = said(f"from afk_es.cli import main\nmain({words!r})", library).splitlines()
    assert f'needs {library}, which is not installed: pip install "afk-es[{library}]"' in line
