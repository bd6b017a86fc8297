"""A process that can die, inside the one that tests it: a thread with an event loop of its own, which stops dead at a chosen point.

At that point the thread blocks. Nothing is unwound: no `finally`, no cancellation, no orderly close; whatever was suspended stays
suspended, and the log takes nothing more from it. Only when the test has seen what it wanted is the thread let go, so that its clean-up
can disturb nobody. One thing differs from a real kill: a synchronous tool that is running in a worker thread runs on to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Generic, Literal, TypeVar

import msgspec

from afk_es.errors import LogClosedError
from afk_es.log import EventLog
from afk_es.log.port import ChainFault, Letter, RunHead, RunRecord
from afk_es.machine import AgentRunEvent, Draft

T = TypeVar("T")

_HUNG_S = 60.0
"""Real seconds after which a process that neither ends nor dies counts as hung."""


class CrashPoint(msgspec.Struct, frozen=True):
    """A moment at which a process may die.

    Attributes:
        when: just before or just after.
        what: "append:7" is the write whose first event has seq 7; of a subagent's run its id stands before. "effect:tool:7" is the effect with that id: before it starts, or when it
            has come to its end and its result is in the hands of the dying process only.
        about: what it concerns, for people: the type of the event, the tool or model.
    """

    when: Literal["before", "after"]
    what: str
    about: str

    def __str__(self) -> str:
        return f"{self.when} {self.what} ({self.about})"


def within(run_id: str, root: str) -> str:
    """How points of this run are told from those of the run that was started."""
    return "" if run_id == root or not root else f"{run_id}:"


class MortalProcess(Generic[T]):
    """Lives through one coroutine, or until it comes to its point.

    Args:
        main: makes the coroutine that is the process.
        until: where to die; None: nowhere.

    Attributes:
        dead: whether it died.
        passed: every point it came to, in order.
    """

    def __init__(self, main: Callable[[], Coroutine[Any, Any, T]], until: CrashPoint | None = None) -> None:
        self.dead: bool = False
        self.passed: list[CrashPoint] = []
        self._main = main
        self._until = until
        self._over = threading.Event()
        self._buried = threading.Event()
        self._thread = threading.Thread(target=self._run, name="afk_es mortal process", daemon=True)
        self._result: T | None = None
        self._error: BaseException | None = None
        self._main_task: asyncio.Task[Any] | None = None

    def live(self) -> T | None:
        """Run. The result of the coroutine, or None if the process died.

        Raises:
            TimeoutError: it did neither within a minute.
            BaseException: what the coroutine raised.
        """
        self._thread.start()
        if not self._over.wait(_HUNG_S):
            raise TimeoutError(f"the process hangs: it neither ended nor died within {_HUNG_S:g} s; last point: {self.passed[-1:]}")
        if self.dead:
            return None
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result

    def reach(self, point: CrashPoint) -> None:
        """The process is at this point. Does not return if it is to die here."""
        if self.dead:
            return
        self.passed.append(point)
        if point == self._until:
            self.dead = True
            self._over.set()
            self._buried.wait()
            raise asyncio.CancelledError("this process is dead")

    def bury(self) -> None:
        """Let go of the thread of a dead process, which then cleans up behind itself. Nothing of that reaches the log."""
        self._buried.set()
        if self._main_task is not None:
            # What it waited for may never come. If its event loop has ended meanwhile, all is well.
            with contextlib.suppress(RuntimeError):
                self._main_task.get_loop().call_soon_threadsafe(self._main_task.cancel)
        self._thread.join(_HUNG_S)

    def _run(self) -> None:
        try:
            self._result = asyncio.run(self._watched())
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits in `live`, unless this is a dead process' clean-up
            self._error = error
        finally:
            self._over.set()

    async def _watched(self) -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None if self.dead else loop.default_exception_handler(context))
        self._main_task = asyncio.current_task()
        return await self._main()


class MortalLog:
    """The log as one mortal process sees it: an `EventLog` in front of another, under an owner's name of its own.

    Args:
        inner: the store that survives.
        owner: this process' name.
        living: whether the process of an owner, by its name, drives a run at this moment.
    """

    def __init__(self, inner: EventLog, owner: str, living: Callable[[str, str], bool]) -> None:
        self.process: MortalProcess[Any] | None = None
        self.held: set[str] = set()
        self.root: str = ""
        self._inner = inner
        self._owner = owner
        self._living = living

    @property
    def location(self) -> str:
        """Where the surviving store is."""
        return self._inner.location

    @property
    def owner(self) -> str:
        """The name under which this process claims runs."""
        return self._owner

    async def open(self) -> None:
        """Open the surviving store."""
        await self._inner.open()

    async def close(self) -> None:
        """Close the surviving store."""
        await self._inner.close()

    async def append(self, events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        """Append, passing a point before and one after.

        Raises:
            LogClosedError: the process is dead, and is only being cleared away.
        """
        process = self.process
        if process is None or not events:
            await self._inner.append(events, epoch=epoch)
            return
        if process.dead:
            raise LogClosedError("this process is dead: nothing of it reaches the log")
        what, about = f"{within(events[0].run_id, self.root)}append:{events[0].seq}", ", ".join(event.type for event in events)
        process.reach(CrashPoint("before", what, about))
        await self._inner.append(events, epoch=epoch)
        process.reach(CrashPoint("after", what, about))

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        """See `EventLog.read`."""
        return await self._inner.read(run_id, after=after, limit=limit)

    async def scan(
        self,
        run_id: str,
        *,
        after: int = 0,
        before: int | None = None,
        types: Collection[str] = (),
        containing: Sequence[str] = (),
        backwards: bool = False,
        limit: int | None = None,
    ) -> list[AgentRunEvent]:
        """See `EventLog.scan`."""
        return await self._inner.scan(
            run_id, after=after, before=before, types=types, containing=containing, backwards=backwards, limit=limit
        )

    async def head(self, run_id: str) -> RunHead | None:
        """See `EventLog.head`."""
        return await self._inner.head(run_id)

    async def thread(self, thread_id: str) -> list[RunHead]:
        """See `EventLog.thread`."""
        return await self._inner.thread(thread_id)

    async def forks(self, run_id: str) -> list[RunHead]:
        """See `EventLog.forks`."""
        return await self._inner.forks(run_id)

    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        """See `EventLog.runs`."""
        return await self._inner.runs(thread_id=thread_id, limit=limit, before=before)

    async def find(self, prefix: str) -> list[str]:
        """See `EventLog.find`."""
        return await self._inner.find(prefix)

    async def verify(self, run_id: str) -> ChainFault | None:
        """See `EventLog.verify`."""
        return await self._inner.verify(run_id)

    async def link(self, run_id: str, seq: int) -> str | None:
        """See `EventLog.link`."""
        return await self._inner.link(run_id, seq)

    async def post(self, run_id: str, draft: Draft, *, at: dt.datetime) -> Letter:
        """Post, passing a point before and one after.

        Raises:
            LogClosedError: the process is dead, and is only being cleared away.
        """
        process = self.process
        if process is None:
            return await self._inner.post(run_id, draft, at=at)
        if process.dead:
            raise LogClosedError("this process is dead: nothing of it reaches the log")
        process.reach(CrashPoint("before", f"post:{run_id}", draft.type))
        letter = await self._inner.post(run_id, draft, at=at)
        process.reach(CrashPoint("after", f"post:{run_id}", draft.type))
        return letter

    async def letters(self, *, after: int = 0, run_ids: Sequence[str] | None = None) -> list[Letter]:
        """See `EventLog.letters`. A dead process that is cleared away finds none: the store may be closed by then."""
        if self.process is not None and self.process.dead:
            return []
        return await self._inner.letters(after=after, run_ids=run_ids)

    async def posted(self) -> int:
        """See `EventLog.posted`. For a dead process that is cleared away, nothing is."""
        return 0 if self.process is not None and self.process.dead else await self._inner.posted()

    def hold(self, run_id: str) -> None:
        """See `EventLog.hold`."""
        self.held.add(run_id)

    def release(self, run_id: str) -> None:
        """See `EventLog.release`."""
        self.held.discard(run_id)

    async def alive(self, owner: str, run_id: str) -> bool:
        """See `EventLog.alive`."""
        return self._living(owner, run_id)
