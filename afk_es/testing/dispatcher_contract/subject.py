"""What the author of a dispatcher gives the contract: a way to it, to the log that it is beside, and to its time."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from afk_es.log.port import DatabaseLog
from afk_es.queues.dispatch import Dispatcher
from afk_es.testing.log_contract.subject import reference_of


class DispatcherSubject:
    """A dispatcher as the contract sees it. Derive from it, or from `DispatcherContract`, which is one for pytest."""

    async def connect(self, directory: Path) -> Dispatcher:
        """A dispatcher, open, on the engine of that directory, which exists and is empty at first.

        Every dispatcher that is made for one directory is on one and the same engine, as from several processes. An engine on a server uses
        the directory's name, for instance as that of a schema.
        """
        raise NotImplementedError(f"{type(self).__qualname__} needs `connect(self, directory)`, which gives a dispatcher that is open")

    async def disconnect(self, dispatcher: Dispatcher) -> None:
        """Close a dispatcher that `connect` gave, and what was opened for it. Default: `dispatcher.close()`."""
        await dispatcher.close()

    async def pass_time(self, directory: Path, seconds: float) -> None:
        """Let so much time pass for the engine: leases that are shorter are over then, and what was not to be before is due.

        A clock is turned, or what the engine has stored is made older.
        """
        raise NotImplementedError(f"{type(self).__qualname__} needs `pass_time(self, directory, seconds)`: nobody waits for real leases")

    def now(self, directory: Path) -> dt.datetime:
        """The engine's time, in which `not_before` is meant. Default: the machine's time of day."""
        from afk_es.clock import SystemClock

        return SystemClock().now()

    def log(self, dispatcher: Dispatcher) -> DatabaseLog:
        """The log, open, whose transactions `dispatcher.sending` is for. Only asked where that gives statements."""
        raise NotImplementedError(
            f"{type(self).__qualname__} needs `log(self, dispatcher)`: its dispatcher gives statements for a transaction"
        )

    def reference(self) -> str | None:
        """How another process comes by this subject: "module:name"; None where the engine is within its process.

        Raises:
            ConfigurationError: another process cannot come by it.
        """
        return reference_of(type(self))
