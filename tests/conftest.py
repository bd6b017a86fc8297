"""What all tests share: nobody writes into the user's own log."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs like this (`bash .ci/test &`), children inherit it, and a Ctrl-C of a test would never arrive.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _a_log_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AFK_ES_LOG", str(tmp_path / "default.db"))
