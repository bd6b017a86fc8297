"""What a store's author gives the contract: a way to make stores, and what else can only be said by whoever wrote the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import ClassVar

from afk_es.errors import ConfigurationError
from afk_es.log.port import EventLog

NewLog = Callable[[Path], EventLog]
"""Makes a store, not opened, on the log of that directory: all stores of one directory have one and the same log."""

Meddle = Callable[[EventLog, Path, str, int], Awaitable[None]]
"""Goes behind the back of an open store, at the event of that run and seq."""


class StoreSubject:
    """A store as the contract sees it. Derive from it, or from `EventLogContract`, which is one for pytest.

    Attributes:
        lacks: dimensions that the store does not have, each with the reason. Only those that are optional may be declared, and what is
            declared is reported as such and never passed over in silence.
    """

    lacks: ClassVar[Mapping[str, str]] = {}

    def new_log(self, directory: Path) -> EventLog:
        """A store, not opened, on the log of that directory, which exists and is empty at first.

        Every store that is made for one directory is on one and the same log. A log on a server uses the directory's name, for instance
        as that of a schema.
        """
        raise NotImplementedError(f"{type(self).__qualname__} needs `new_log(self, directory)`, which makes a store that is not opened yet")

    async def tamper(self, log: EventLog, directory: Path, run_id: str, seq: int) -> None:
        """Change the stored data of this event by force, past every guard, as a bad disk or a hostile hand would."""
        raise NotImplementedError

    async def overwrite(self, log: EventLog, directory: Path, run_id: str, seq: int) -> None:
        """Try to change or delete this event by the ordinary means of the storage, such as UPDATE; raise what the storage raises."""
        raise NotImplementedError

    async def discard(self, directory: Path) -> None:
        """Clear away the log of that directory, after each promise. The directory itself is not the store's to remove."""

    def reference(self) -> str:
        """How a child process comes by this subject: "module:name". Importing that module must start nothing.

        Raises:
            ConfigurationError: another process cannot come by it.
        """
        return reference_of(type(self))


class FactorySubject(StoreSubject):
    """A subject made of functions, for those who derive nothing."""

    def __init__(self, new_log: NewLog, tamper: Meddle | None, overwrite: Meddle | None) -> None:
        self._new_log = new_log
        self._meddling = {"tamper": tamper, "overwrite": overwrite}

    def new_log(self, directory: Path) -> EventLog:
        """See `StoreSubject.new_log`."""
        return self._new_log(directory)

    def has(self, hook: str) -> bool:
        """Whether this hook was given."""
        return self._meddling[hook] is not None

    async def tamper(self, log: EventLog, directory: Path, run_id: str, seq: int) -> None:
        """See `StoreSubject.tamper`."""
        await self._meddle("tamper", log, directory, run_id, seq)

    async def overwrite(self, log: EventLog, directory: Path, run_id: str, seq: int) -> None:
        """See `StoreSubject.overwrite`."""
        await self._meddle("overwrite", log, directory, run_id, seq)

    async def _meddle(self, hook: str, log: EventLog, directory: Path, run_id: str, seq: int) -> None:
        meddle = self._meddling[hook]
        if meddle is None:
            raise NotImplementedError(hook)
        await meddle(log, directory, run_id, seq)

    def reference(self) -> str:
        """See `StoreSubject.reference`."""
        return reference_of(self._new_log)


def has_hook(subject: StoreSubject, hook: str) -> bool:
    """Whether the author has given it."""
    if isinstance(subject, FactorySubject):
        return subject.has(hook)
    return getattr(type(subject), hook) is not getattr(StoreSubject, hook)


def reference_of(maker: object) -> str:
    """The "module:name" by which another process imports this function or class.

    Raises:
        ConfigurationError: it has none.
    """
    module, name = getattr(maker, "__module__", None), getattr(maker, "__qualname__", None)
    if not module or not name or "<" in name or module == "__main__":
        raise ConfigurationError(
            f"another process must make a store too, and cannot import {maker!r}: give a function or class at the top of a module that is "
            "not the program itself, or declare in `lacks` that the store is not for several processes"
        )
    return f"{module}:{name}"
