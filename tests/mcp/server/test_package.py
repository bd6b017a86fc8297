"""Without the SDK the package says what to install, and whoever imports it loads nothing of the SDK's."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = "import sys\nsys.modules['mcp'] = None\n"


def _said(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def test_the_package_loads_no_sdk() -> None:
    code = "import sys, afk_es.mcp\nassert 'MCPServer' in dir(afk_es.mcp)\nprint({'mcp', 'mcp_types', 'starlette', 'uvicorn'} & sys.modules.keys())"
    assert _said(code) == "set()\n"


@pytest.mark.parametrize(
    "code",
    [
        "from afk_es.mcp import MCPServer",
        "from afk_es.cli import main\nmain(['mcp', 'serve', 'x:y'])",
        "from afk_es.cli import main\nmain(['mcp-config', 'x.json'])",
    ],
)
def test_where_the_sdk_is_missing_it_is_said_how_to_get_it(code: str) -> None:
    assert 'needs mcp, which is not installed: pip install "afk-es[mcp]"' in _said(WITHOUT + code)


def test_an_unknown_name_is_an_attribute_error() -> None:
    import afk_es.mcp

    with pytest.raises(AttributeError, match="has no attribute 'MCPSever'"):
        _ = afk_es.mcp.MCPSever
