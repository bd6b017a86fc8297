"""An engine that is elsewhere can keep the contract of the port as well."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import ClassVar

from afk_es.clock import SimulatedClock
from afk_es.queues import Dispatcher
from afk_es.testing.dispatcher_contract import DispatcherContract
from tests.queues.memory_dispatcher import Broker, MemoryDispatcher


class TestMemoryDispatcher(DispatcherContract):
    _brokers: ClassVar[dict[Path, Broker]] = {}

    async def connect(self, directory: Path) -> Dispatcher:
        return MemoryDispatcher(self._broker(directory))

    async def pass_time(self, directory: Path, seconds: float) -> None:
        clock = self._broker(directory).clock
        assert isinstance(clock, SimulatedClock)
        clock.advance(seconds)

    def now(self, directory: Path) -> dt.datetime:
        return self._broker(directory).clock.now()

    def reference(self) -> None:
        return None

    def _broker(self, directory: Path) -> Broker:
        return self._brokers.setdefault(directory, Broker(SimulatedClock()))
