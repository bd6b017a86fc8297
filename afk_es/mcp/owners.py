"""Sees to it that no run of a call is left without somebody who can still have its result. It knows no protocol.

A run belongs to the requests that wait for it. When the last one is gone, its connection lost or itself cancelled, then a run

* whose caller did not name it is cancelled: nobody could ever ask for it again;
* whose caller did name it goes on for a while, as that caller may have lost the connection only and come again, and is cancelled after that,
  or at once where the caller said that it does not want it any more;
* is laid down, where the server ends meanwhile, if its caller named it: the same call goes on with it in the next server;
* is left to the process that drives it, where that is another, as requests may wait for it there; unless the caller said that it does not want it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Coroutine, Hashable, Iterator
from typing import Any, Final

from afk_es.core import AttachedRun, Runner
from afk_es.errors import AfkError, UsageError

_GONE: Final = "the client that made the call is gone"
_UNWANTED: Final = "the client cancelled the call"
_CLOSING: Final = "the server ends"


class Waiting:
    """A request that waits for a run."""

    def __init__(self, identity: Hashable, place: object, run_id: str, *, named: bool) -> None:
        self.identity = identity
        self.place = place
        self.run_id = run_id
        self.named = named
        self.unwanted = False
        self.decided: asyncio.Event = asyncio.Event()
        self.starting: asyncio.Task[AttachedRun] | None = None


class Owners:
    """The requests that wait for runs of one Runner.

    Args:
        runner: has the runs.
        linger_s: how long a named run goes on that nobody waits for, in real seconds.
        drain_s: how long all such runs together may take to come to their ends when the server ends.
    """

    def __init__(self, runner: Runner, linger_s: float, drain_s: float) -> None:
        self._runner = runner
        self._linger_s = linger_s
        self._drain_s = drain_s
        self._requests: set[Waiting] = set()
        self._waits: Counter[str] = Counter()
        self._lingering: dict[str, asyncio.Task[None]] = {}
        self._tasks: dict[asyncio.Task[Any], object] = {}
        self.begin()

    def begin(self) -> None:
        """Whoever serves begins to, in an event loop that may be another than before."""
        self._hurried = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._until: float | None = None

    @contextlib.contextmanager
    def waiting(self, identity: Hashable, place: object, run_id: str, *, named: bool) -> Iterator[Waiting]:
        """Be one who waits for the run.

        Args:
            identity: of the request, by which `unwanted` may name it.
            place: the server's connection, or application, that the request came by.
            named: whether the caller can come again and ask for it.
        """
        request = Waiting(identity, place, run_id, named=named)
        self._requests.add(request)
        self._waits[run_id] += 1
        self._quiet.clear()
        if (lingering := self._lingering.pop(run_id, None)) is not None:
            lingering.cancel()
        left = False
        try:
            yield request
        except asyncio.CancelledError:
            left = True
            raise
        finally:
            self._waits[run_id] -= 1
            if not self._waits[run_id]:
                del self._waits[run_id]
            if not self._waits:
                self._quiet.set()
            if left and run_id not in self._waits:
                self._lingering[run_id] = seeing = self._in_background(self._see_to(request), request.place)
                # A task that is cancelled before it has begun comes to no end of its own.
                seeing.add_done_callback(lambda _task: self._requests.discard(request))
            else:
                self._requests.discard(request)

    async def started(self, request: Waiting, starting: Coroutine[Any, Any, AttachedRun]) -> AttachedRun:
        """The run, begun whole: a request that is cancelled meanwhile leaves it to us and not to nobody."""
        request.starting = self._in_background(starting, request.place)
        return await asyncio.shield(request.starting)

    def unwanted(self, identity: Hashable) -> None:
        """The caller has said that it does not want the result any more."""
        for request in self._requests:
            if request.identity == identity:
                request.unwanted = True
                request.decided.set()

    def ends(self, at_once: bool = False) -> None:
        """The server begins to end: whatever it still waits for has `drain_s` from the first time that this is said.

        Args:
            at_once: wait for nothing any more.
        """
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._drain_s
        if at_once:
            self._hurried.set()

    def _left_s(self) -> float:
        return self._drain_s if self._until is None else max(0.0, self._until - asyncio.get_running_loop().time())

    async def quiet(self) -> None:
        """Return when nobody waits for anything, when the time is over that there is in the end, or when it is to go fast."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._quiet, self._hurried)]
        try:
            await asyncio.wait(waits, timeout=self._left_s(), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def close(self, place: object) -> None:
        """The connection or application has ended: see to the runs of its requests, and wait for that."""
        self.ends()
        for request in self._requests:
            if request.place is place:
                request.decided.set()
        if tasks := [task for task, of in self._tasks.items() if of is place]:
            await asyncio.wait(tasks)
        # Another place may go on, and end at another time.
        self._until = None

    async def _see_to(self, request: Waiting) -> None:
        with contextlib.suppress(TimeoutError):
            if request.named:
                async with asyncio.timeout(self._linger_s):
                    await request.decided.wait()
        closing = request.named and request.decided.is_set() and not request.unwanted
        # From here on nobody stops us: whoever comes now finds what we have made of the run.
        self._lingering.pop(request.run_id, None)
        with contextlib.suppress(AfkError):
            run = await self._run_of(request)
            if not request.unwanted and await run.driven_elsewhere():
                return
            if closing:
                await self._lay_down(run)
            else:
                await run.cancel(_UNWANTED if request.unwanted or not request.named else _GONE)
                await run.await_result()

    async def _run_of(self, request: Waiting) -> AttachedRun:
        if request.starting is not None:
            await asyncio.wait([request.starting])
        return await self._runner.attach(run_id=request.run_id, by="mcp")

    async def _lay_down(self, run: AttachedRun) -> None:
        """Interrupt the run, unless it comes to its end in the time that there is."""
        ended = asyncio.ensure_future(run.await_result())
        hurried = asyncio.ensure_future(self._hurried.wait())
        try:
            done, _pending = await asyncio.wait((ended, hurried), timeout=self._left_s(), return_when=asyncio.FIRST_COMPLETED)
            if ended not in done:
                # It may end at this very moment, which is as well.
                with contextlib.suppress(UsageError):
                    await run.interrupt(_CLOSING)
            await ended
        finally:
            hurried.cancel()

    def _in_background(self, work: Coroutine[Any, Any, Any], place: object) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks[task] = place
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        # Whoever waits for it is told; where nobody does any more, its error is nobody's.
        if not task.cancelled():
            task.exception()
