"""The contract under pytest: a class to derive from, whose one test is run for every promise. Needs pytest and no plugin."""

from __future__ import annotations

from pathlib import Path

import pytest

from afk_es.testing.log_contract.checking import check_declared, perform
from afk_es.testing.log_contract.dimension import Dimension, Promise
from afk_es.testing.log_contract.subject import StoreSubject
from afk_es.testing.log_contract.table import DIMENSIONS

_PROMISES = [(dimension, promise) for dimension in DIMENSIONS for promise in dimension.promises]


class EventLogContract(StoreSubject):
    """Every promise of `EventLog`, as a test each.

        class TestMyLog(EventLogContract):
            lacks = {"tampering": "the server lets nobody at its files", "guards": "it has no language to change events in"}

            def new_log(self, directory):
                return MyLog(directory / "runs")

    A dimension that is declared in `lacks` is skipped with its reason, so that `pytest -rs` lists what the store does not have. Select a
    dimension with `pytest -k forks`.
    """

    @pytest.mark.parametrize(("dimension", "promise"), _PROMISES, ids=[str(promise).replace(": ", "-") for _, promise in _PROMISES])
    def test_contract(self, dimension: Dimension, promise: Promise, tmp_path: Path) -> None:
        """The store keeps this promise, or says why it has not the dimension."""
        check_declared(self, self.lacks)
        if dimension.name in self.lacks:
            pytest.skip(f"{type(self).__name__} has not the dimension {dimension.name!r}: {self.lacks[dimension.name]}")
        perform(self, dimension, promise, tmp_path)
