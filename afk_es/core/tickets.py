"""Background tools as any process may see and end them: reads a run's tickets from the log, and posts what they came to.

It drives no run. What is posted is a letter; the run's owner takes it in, now or when the run is resumed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from afk_es.clock import Clock
from afk_es.errors import ConfigurationError, RunNotFoundError, ToolError, UsageError
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent, Draft
from afk_es.tools.outcome import plain_output
from afk_es.views import TicketBook, TicketRecord

_OPENING_S = 5.0
"""How long a ticket that is not in the log yet is waited for, while its tool may still be about to return: a fast worker has its result
before the run has written down that there is a ticket."""

_GLANCE_S = 0.02


class RunTickets:
    """The tickets of one run, read from the log and read on."""

    def __init__(self, log: EventLog, run_id: str) -> None:
        self.book = TicketBook()
        self._log = log
        self._run_id = run_id
        self._last: AgentRunEvent | None = None
        self._owner = ""
        self._under_way: set[str] = set()

    async def read(self, thread_id: str | None) -> None:
        """Take all events that are new.

        Raises:
            RunNotFoundError: there is no such run.
            UsageError: it belongs to another thread.
        """
        for event in await self._log.read(self._run_id, after=self._last.seq if self._last is not None else 0):
            self._take(event)
        if self._last is None:
            raise RunNotFoundError(f"{self._log.location} has no run {self._run_id!r}; `afk-es runs` lists what it has")
        if thread_id is not None and thread_id != self._last.thread_id:
            raise UsageError(f"run {self._run_id} belongs to thread {self._last.thread_id!r}, not to {thread_id!r}")

    async def expect(self) -> None:
        """Take the letters that were posted and are not events yet."""
        for letter in await self._log.letters(after=self.book.last_letter, run_ids=[self._run_id]):
            self.book.expect(letter.draft, letter.at)

    @property
    def ended(self) -> str | None:
        """The state in which the run ended for good, or None."""
        assert self._last is not None
        return self._last.state if self._last.type in ("run_completed", "run_failed", "run_cancelled") else None

    async def may_be_opened(self) -> bool:
        """Whether a tool is running that may be about to defer its result."""
        return bool(self._under_way) and await self._log.alive(self._owner, self._run_id)

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


async def listed(log: EventLog, run_id: str, thread_id: str | None) -> tuple[TicketRecord, ...]:
    """Every ticket of the run, with what was posted and is not taken in yet."""
    tickets = RunTickets(log, run_id)
    await tickets.read(thread_id)
    await tickets.expect()
    return tickets.book.records


def as_data(record: TicketRecord) -> dict[str, Any]:
    """The record as JSON data."""
    data: dict[str, Any] = msgspec.to_builtins(record)
    return data


async def resolved(log: EventLog, clock: Clock, run_id: str, thread_id: str | None, ticket_id: str, output: Any) -> None:
    """Post the result of a ticket."""
    tickets = RunTickets(log, run_id)
    ticket = await _open_ticket(tickets, run_id, thread_id, ticket_id)
    try:
        plain = plain_output(output, ticket.tool_name)
    except ToolError as error:
        raise ConfigurationError(f"{error}; a result is recorded, so it is JSON data") from error
    await _post(log, clock, tickets, ticket, "tool_background_resolved", {"output": plain}, "")


async def failed(log: EventLog, clock: Clock, run_id: str, thread_id: str | None, ticket_id: str, error: str) -> None:
    """Post that the work behind a ticket failed."""
    tickets = RunTickets(log, run_id)
    ticket = await _open_ticket(tickets, run_id, thread_id, ticket_id)
    await _post(log, clock, tickets, ticket, "tool_background_failed", {"error": error}, error)


async def _open_ticket(tickets: RunTickets, run_id: str, thread_id: str | None, ticket_id: str) -> TicketRecord:
    loop = asyncio.get_running_loop()
    patience = loop.time() + _OPENING_S
    while True:
        await tickets.read(thread_id)
        if tickets.ended is not None:
            raise UsageError(f"run {run_id} has ended ({tickets.ended}); results of its background tools are not taken any more")
        known = tickets.book.find(ticket_id)
        if known is not None and known.status == "pending":
            break
        # An id whose ticket has ended may be used again, by a call that is under way.
        if loop.time() >= patience or not await tickets.may_be_opened():
            raise UsageError(_why_not(tickets, run_id, ticket_id))
        await asyncio.sleep(_GLANCE_S)
    await tickets.expect()
    ticket = tickets.book.find(ticket_id)
    if ticket is None or ticket.status != "pending":
        raise UsageError(_why_not(tickets, run_id, ticket_id))
    return ticket


def _why_not(tickets: RunTickets, run_id: str, ticket_id: str) -> str:
    known = tickets.book.find(ticket_id)
    if known is not None:
        posted = "" if known.taken_in else ", which the run has not taken in yet"
        return f"ticket {ticket_id!r} of run {run_id} has ended: {known.status}{posted}; the first word holds"
    pending = [record.ticket_id for record in tickets.book.records if record.status == "pending"]
    shown = ", ".join(repr(one) for one in pending[:5]) + (", ..." if len(pending) > 5 else "")
    return f"run {run_id} has no ticket {ticket_id!r}; {f'open are: {shown}' if pending else 'none is open'}"


async def _post(
    log: EventLog, clock: Clock, tickets: RunTickets, ticket: TicketRecord, kind: str, outcome: dict[str, Any], message: str
) -> None:
    data = {"tool_name": ticket.tool_name, "tool_call_id": ticket.tool_call_id, "ticket_id": ticket.ticket_id, **outcome}
    letter = await log.post(ticket.run_id, Draft(kind, data, message), at=clock.now())
    for other in await log.letters(after=tickets.book.last_letter, run_ids=[ticket.run_id]):
        if other.position < letter.position and other.draft.data.get("ticket_id") == ticket.ticket_id:
            raise UsageError(
                f"ticket {ticket.ticket_id!r} of run {ticket.run_id} was ended by somebody else at this moment; the first word holds"
            )
