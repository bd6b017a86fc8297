"""Background tools as any process may see and end them: reads a run's tickets from the log, and posts what they came to.

It drives no run. What is posted is a letter; the run's owner takes it in, now or when the run is resumed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Any

from afk_es.clock import Clock
from afk_es.errors import ConfigurationError, RunNotFoundError, ToolError, UsageError
from afk_es.log import EventLog, Letter
from afk_es.machine import AgentRunEvent, Draft
from afk_es.tools.outcome import plain_output
from afk_es.views import TicketBook, TicketRecord

_OPENING_S = 5.0
"""How long a ticket that is not in the log yet is waited for, while its tool may still be about to return: a fast worker has its result
before the run has written down that there is a ticket."""

_GLANCE_S = 0.02

_KEPT = 32


class RunTickets:
    """The tickets of one run, read from the log and read on: a log is append-only, so what was read stays true."""

    def __init__(self, log: EventLog, run_id: str) -> None:
        self.book: TicketBook = TicketBook()
        self.run_id: str = run_id
        self._log = log
        self._letters: deque[Letter] = deque()
        self._last: AgentRunEvent | None = None
        self._owner = ""
        self._under_way: set[str] = set()
        self._turn = asyncio.Lock()

    async def read(self, thread_id: str) -> None:
        """Take all events that are new.

        Raises:
            RunNotFoundError: there is no such run.
            UsageError: it belongs to another thread.
        """
        # One after the other: where many results come at once, the first reads the run and the others what is new.
        async with self._turn:
            for event in await self._log.read(self.run_id, after=self._last.seq if self._last is not None else 0):
                self._take(event)
        if self._last is None:
            raise RunNotFoundError(f"{self._log.location} has no run {self.run_id!r}; `afk-es runs` lists what it has")
        if thread_id != self._last.thread_id:
            raise UsageError(f"run {self.run_id} belongs to thread {self._last.thread_id!r}, not to {thread_id!r}")

    async def expected(self, ticket_id: str | None = None) -> TicketBook:
        """The tickets, or one of them, as they will be when the run has taken in what was posted."""
        book = self.book.copy()
        for letter in await self.letters():
            if ticket_id is None or letter.draft.data.get("ticket_id") == ticket_id:
                book.expect(letter.draft, letter.at, letter.position)
        return book

    async def letters(self) -> list[Letter]:
        """The letters that were posted and that the events read so far have not taken in, in order."""
        async with self._turn:
            seen = self._letters[-1].position if self._letters else self.book.last_letter
            self._letters += await self._log.letters(after=seen, run_ids=[self.run_id])
        while self._letters and self._letters[0].position <= self.book.last_letter:
            self._letters.popleft()
        return list(self._letters)

    @property
    def ended(self) -> str | None:
        """The state in which the run ended for good, or None."""
        assert self._last is not None
        return self._last.state if self._last.type in ("run_completed", "run_failed", "run_cancelled") else None

    async def may_be_opened(self) -> bool:
        """Whether a tool is running that may be about to defer its result."""
        return bool(self._under_way) and await self._log.alive(self._owner, self.run_id)

    def _take(self, event: AgentRunEvent) -> None:
        self._last = event
        self.book.take(event)
        match event.type:
            case "run_started":
                self._owner = event.data["owner"]
                self._under_way.clear()
            case "tool_started":
                self._under_way.add(event.data["tool_call_id"])
            case "tool_completed" | "tool_failed" | "tool_deferred":
                self._under_way.discard(event.data["tool_call_id"])
            case _:
                pass


class TicketDesk:
    """Where results are handed in, for all runs of a log. It keeps what it has read of the latest runs."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._known: OrderedDict[str, RunTickets] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def listed(self, thread_id: str, run_id: str) -> tuple[TicketRecord, ...]:
        """Every ticket of the run, with what was posted and is not taken in yet."""
        tickets = self._of(run_id)
        await tickets.read(thread_id)
        return (await tickets.expected()).records

    async def resolved(self, thread_id: str, run_id: str, ticket_id: str, output: Any) -> None:
        """Post the result of a ticket."""
        tickets = self._of(run_id)
        ticket = await self._pending(tickets, thread_id, ticket_id)
        try:
            plain = plain_output(output, ticket.tool_name)
        except ToolError as error:
            raise ConfigurationError(f"{error}; a result is recorded, so it is JSON data") from error
        await self._post(tickets, ticket, "tool_background_resolved", {"output": plain}, "")

    async def failed(self, thread_id: str, run_id: str, ticket_id: str, error: str) -> None:
        """Post that the work behind a ticket failed."""
        tickets = self._of(run_id)
        ticket = await self._pending(tickets, thread_id, ticket_id)
        await self._post(tickets, ticket, "tool_background_failed", {"error": error}, error)

    def _of(self, run_id: str) -> RunTickets:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._known.clear()
        tickets = self._known.pop(run_id, None) or RunTickets(self._log, run_id)
        self._known[run_id] = tickets
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return tickets

    async def _pending(self, tickets: RunTickets, thread_id: str, ticket_id: str) -> TicketRecord:
        """The ticket, once it is open and as long as nobody has said what it came to."""
        loop = asyncio.get_running_loop()
        patience = loop.time() + _OPENING_S
        while True:
            await tickets.read(thread_id)
            if tickets.ended is not None:
                raise UsageError(
                    f"run {tickets.run_id} has ended ({tickets.ended}); results of its background tools are not taken any more"
                )
            known = tickets.book.find(ticket_id)
            if known is not None and known.status == "pending":
                break
            # An id whose ticket has ended may be used again, by a call that is under way.
            if loop.time() >= patience or not await tickets.may_be_opened():
                raise UsageError(_why_not(tickets.book, tickets.run_id, ticket_id))
            await asyncio.sleep(_GLANCE_S)
        expected = await tickets.expected(ticket_id)
        ticket = expected.find(ticket_id)
        if ticket is None or ticket.status != "pending":
            raise UsageError(_why_not(expected, tickets.run_id, ticket_id))
        return ticket

    async def _post(self, tickets: RunTickets, ticket: TicketRecord, kind: str, outcome: dict[str, Any], message: str) -> None:
        data = {"tool_name": ticket.tool_name, "tool_call_id": ticket.tool_call_id, "ticket_id": ticket.ticket_id, **outcome}
        letter = await self._log.post(ticket.run_id, Draft(kind, data, message), at=self._clock.now())
        known = (await tickets.expected(ticket.ticket_id)).find(ticket.ticket_id)
        if known is not None and known.deferred_at == ticket.deferred_at and known.letter != letter.position:
            raise UsageError(
                f"ticket {ticket.ticket_id!r} of run {ticket.run_id} was ended by somebody else at this moment: {known.status}; "
                "the first word holds"
            )


def _why_not(book: TicketBook, run_id: str, ticket_id: str) -> str:
    known = book.find(ticket_id)
    if known is not None:
        posted = "" if known.taken_in else ", which the run has not taken in yet"
        return f"ticket {ticket_id!r} of run {run_id} has ended: {known.status}{posted}; the first word holds"
    pending = [record.ticket_id for record in book.records if record.status == "pending"]
    shown = ", ".join(repr(one) for one in pending[:5]) + (", ..." if len(pending) > 5 else "")
    return f"run {run_id} has no ticket {ticket_id!r}; {f'open are: {shown}' if pending else 'none is open'}"
