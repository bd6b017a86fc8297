"""A log for each test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the calls of the test are recorded."""
    return tmp_path / "calls.db"
