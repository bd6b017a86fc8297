"""What all tests share: nobody writes into the user's own log."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.million import Recorded
    from tests.support.stories import Stories

pytest_plugins = ("pytester",)
"""For the tests of our pytest plugin. Only a conftest at the top may ask for a plugin."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs like this (`bash .ci/test &`), children inherit it, and a Ctrl-C of a test would never arrive.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _a_log_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AFK_ES_LOG", str(tmp_path / "default.db"))


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Stories:
    """The recorded runs of the demo, made once a session: a failing run, a looping one, a crashed one, a team, and so on."""
    from tests.support.stories import recorded_stories

    return recorded_stories(tmp_path_factory.mktemp("stories"))


@pytest.fixture(scope="session")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A run of some 20,000 events in a log, made once a session. Nobody may write to it."""
    from tests.support.million import recorded

    return recorded(tmp_path_factory.mktemp("long") / "long.db", 20_000)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server, one for all workers of the session. A test has a schema of its own in it."""
    from tests.support.postgres import ENVIRONMENT, SharedServer, server_directory

    # The workers of one session have the same number.
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(tmp_path_factory.getbasetemp())
    name = hashlib.blake2b(session.encode(), digest_size=6).hexdigest()
    server = SharedServer(server_directory(f"afk-pg-{name}"))
    os.environ[ENVIRONMENT] = server.url
    yield server.url
    del os.environ[ENVIRONMENT]
    server.leave()


@pytest.fixture
def postgres_log(postgres: str, tmp_path: Path) -> str:
    """The URL of a log of this test's own; nothing is there yet."""
    return f"{postgres}&schema=test_{hashlib.blake2b(str(tmp_path).encode(), digest_size=8).hexdigest()}"
