"""The pytest plugin: the fixture `golden`, `--golden-update`, `--golden-report`, and what the session says of goldens at its end.

Every pytest of an environment that has afk_es installed imports this module, so it loads pytest and the standard library only; an agent,
a log or a golden is known to `fixture`, which the first test that asks for the fixture imports.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from afk_es.evals.plugin.session import GoldenSession
from afk_es.evals.plugin.updating import MEANINGS, accepted

if TYPE_CHECKING:
    from afk_es.evals.plugin.fixture import GoldenFixture

_MODES = ("strict", "contract", "trajectory")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options and the settings."""
    group = parser.getgroup("goldens", "golden traces (afk_es)")
    group.addoption(
        "--golden-update",
        nargs="?",
        const="",
        metavar="CATEGORIES",
        help=f"accept what differs from goldens: {', '.join(MEANINGS)} (with commas), or all; never in CI, never with xdist",
    )
    group.addoption(
        "--golden-report",
        metavar="PATH",
        help="write what came of the goldens to a file: .json, .jsonl, .html, .xml (JUnit), .md, anything else as text",
    )
    parser.addini("golden_dir", "directory of goldens, beside each test file (default: goldens)", default="goldens")
    parser.addini(
        "golden_mode", f"how goldens are compared: {', '.join(_MODES)} (default: as each was recorded, new ones strict)", default=""
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuses what cannot work before a test is collected."""
    mode, directory = config.getini("golden_mode"), config.getini("golden_dir")
    if mode not in ("", *_MODES):
        raise pytest.UsageError(f"golden_mode is {', '.join(_MODES)}, not {mode!r}")
    if not directory or os.path.isabs(directory):
        raise pytest.UsageError(f"golden_dir is a directory beside each test file, such as `goldens`, not {directory!r}")
    update: frozenset[str] = frozenset()
    if (value := config.getoption("golden_update")) is not None:
        try:
            update = accepted(value, os.environ, parallel=_parallel(config))
        except ValueError as error:
            raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(GoldenSession(config, update), SESSION)


SESSION = "afk_es_goldens"
"""The name of the session's plugin object."""


def _parallel(config: pytest.Config) -> bool:
    """Whether xdist distributes tests, seen from either side of it."""
    return hasattr(config, "workerinput") or config.getoption("dist", "no") != "no" or bool(config.getoption("tx", None))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> GoldenFixture:
    """The golden of this test: `golden.check(agent)`, `golden.run(agent, user_message=...)`; `await acheck(...)`, `await arun(...)`.

    Its file is goldens/MODULE/TEST.golden.jsonl beside the test file; `golden("name")` is another one of this module, and
    `golden.open("path")` any file, from the test file's directory.
    """
    from afk_es.evals.plugin.fixture import GoldenFixture

    session = request.config.pluginmanager.get_plugin(SESSION)
    assert isinstance(session, GoldenSession)
    return GoldenFixture.of_test(request.node, session)
