"""People who are asked inside this process: requests wait until the program answers them. For tests, and for web applications."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from pydantic import BaseModel

from afk_es.errors import UsageError
from afk_es.interaction.port import ApprovalDecision, ApprovalRequest, InputDecision, InputRequest, PendingRequest

R = TypeVar("R", bound=BaseModel)


class InMemoryInteraction:
    """An `InteractionProvider` whose requests wait in memory for `approve`, `deny`, `answer` or `defer`.

    Request ids name a request within its run; where two runs have one of the same id open, say which run. Call it in the event loop that
    drives the runs.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], tuple[PendingRequest, asyncio.Future[BaseModel]]] = {}
        self._news = asyncio.Event()

    def pending(self) -> tuple[PendingRequest, ...]:
        """The requests that wait for an answer, in the order in which they were made."""
        return tuple(request for request, answer in self._open.values() if not answer.done())

    async def next_request(self) -> PendingRequest:
        """The oldest request that waits, as soon as there is one."""
        while (oldest := next((request for request, answer in self._open.values() if not answer.done()), None)) is None:
            self._news.clear()
            await self._news.wait()
        return oldest

    def approve(self, request_id: str, *, by: str, reason: str | None = None, run_id: str | None = None) -> None:
        """Say yes to an approval request.

        Raises:
            UsageError: no approval of that id is pending, or in several runs and `run_id` does not say which.
            pydantic.ValidationError: `by` or `reason` is not what `ApprovalDecision` takes.
        """
        self._settle(self._find(request_id, run_id, "approval"), ApprovalDecision(outcome="granted", by=by, reason=reason))

    def deny(self, request_id: str, *, by: str, reason: str | None = None, run_id: str | None = None) -> None:
        """Say no to a request of either kind. Raises as `approve` does."""
        self._refuse(request_id, run_id, "denied", by, reason)

    def defer(self, request_id: str, *, by: str, reason: str | None = None, run_id: str | None = None) -> None:
        """Put a request of either kind off: its run is laid down with it once nothing else can go on. Raises as `approve` does."""
        self._refuse(request_id, run_id, "deferred", by, reason)

    def answer(self, request_id: str, value: str, *, by: str, run_id: str | None = None) -> None:
        """Give the words that an input request asks for. Raises as `approve` does."""
        self._settle(self._find(request_id, run_id, "input"), InputDecision(outcome="answered", by=by, value=value))

    async def request_approval(self, request: ApprovalRequest) -> ApprovalDecision:
        """See `InteractionProvider.request_approval`."""
        return await self._asked(request, ApprovalDecision)

    async def request_input(self, request: InputRequest) -> InputDecision:
        """See `InteractionProvider.request_input`."""
        return await self._asked(request, InputDecision)

    async def _asked(self, request: PendingRequest, kind: type[R]) -> R:
        answer: asyncio.Future[BaseModel] = asyncio.get_running_loop().create_future()
        key = (request.run_id, request.request_id)
        waiting = self._open[key] = (request, answer)
        self._news.set()
        try:
            decision = await answer
        finally:
            # It may have been withdrawn and made again before we came to notice.
            if self._open.get(key) is waiting:
                del self._open[key]
        assert isinstance(decision, kind)
        return decision

    def _refuse(self, request_id: str, run_id: str | None, outcome: str, by: str, reason: str | None) -> None:
        request = self._find(request_id, run_id, None)
        decision = ApprovalDecision if request.kind == "approval" else InputDecision
        self._settle(request, decision.model_validate({"outcome": outcome, "by": by, "reason": reason}))

    def _settle(self, request: PendingRequest, decision: BaseModel) -> None:
        # Out at once, and not when its run comes to notice: whoever answers thousands in a row would pass by all of them each time.
        _request, answer = self._open.pop((request.run_id, request.request_id))
        answer.set_result(decision)

    def _find(self, request_id: str, run_id: str | None, kind: str | None) -> PendingRequest:
        named = self._open.values() if run_id is None else [one] if (one := self._open.get((run_id, request_id))) is not None else []
        found = [
            request for request, answer in named if not answer.done() and request.request_id == request_id and kind in (None, request.kind)
        ]
        if len(found) == 1:
            return found[0]
        what = f"{kind or 'request'} {request_id!r}" + (f" of run {run_id}" if run_id is not None else "")
        if found:
            raise UsageError(f"{what} is pending in several runs; say which with run_id=")
        waiting = ", ".join(f"{request.kind} {request.request_id!r} of run {request.run_id}" for request in self.pending()) or "nothing"
        raise UsageError(f"{what} is not pending; what is: {waiting}")
