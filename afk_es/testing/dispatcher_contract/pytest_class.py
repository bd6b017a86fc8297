"""The contract under pytest: a class to derive from. Needs pytest and Hypothesis, and no plugin."""

from __future__ import annotations

from pathlib import Path

import pytest

from afk_es.testing.dispatcher_contract.histories import play_histories
from afk_es.testing.dispatcher_contract.promises import PROMISES, Promise, perform
from afk_es.testing.dispatcher_contract.subject import DispatcherSubject


class DispatcherContract(DispatcherSubject):
    """Every promise of `Dispatcher`, as a test each, and one test of random histories against a model.

    Attributes:
        histories: how many of them are played.
    """

    histories: int = 25

    @pytest.mark.parametrize("promise", PROMISES, ids=[each.__name__ for each in PROMISES])
    def test_contract(self, promise: Promise, tmp_path: Path) -> None:
        """The dispatcher keeps this promise."""
        perform(self, promise, tmp_path)

    def test_histories(self, tmp_path: Path) -> None:
        """In every history the dispatcher gives what the model gives, in its order."""
        play_histories(self, tmp_path, self.histories)
