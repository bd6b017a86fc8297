"""What a run's background tools came to, ticket by ticket, as a fold of its events and of the letters that it has not taken in yet."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from afk_es.machine.events import AgentRunEvent, Draft
from afk_es.views.printable import compact_json

TicketStatus = Literal["pending", "resolved", "failed", "expired", "abandoned"]

TICKET_EVENTS = frozenset({"tool_deferred", "tool_completed", "tool_background_resolved", "tool_background_failed"})
"""The events that say all there is to say of tickets."""


class TicketRecord(msgspec.Struct, frozen=True):
    """A tool call that went on in the background.

    Attributes:
        status: "pending" until its end is known; "expired" is a failure for want of time; "abandoned" where the run ended before, unless it
            failed and is reopened.
        summary, resume_hint: what the tool said of it.
        expires_at: when its term ends, as ISO 8601; None in old logs.
        ended_at: when its end became known; for a posted result, when it was posted.
        output: of a resolved one.
        error: of one that failed or expired.
        letter: the position of the letter that said so; None where the run itself did.
        taken_in: False for a result that was posted and that the run has not taken in yet.
    """

    ticket_id: str
    tool_name: str
    tool_call_id: str
    run_id: str
    status: TicketStatus
    summary: str | None
    resume_hint: str | None
    deferred_at: dt.datetime
    expires_at: str | None
    ended_at: dt.datetime | None = None
    output: Any = None
    error: str | None = None
    letter: int | None = None
    taken_in: bool = True

    @property
    def story(self) -> str:
        """What there is to say of it, in a line; a renderer has to make it harmless."""
        waits = "" if self.taken_in else " (posted; the run has not taken it in yet)"
        match self.status:
            case "resolved":
                return compact_json(self.output) + waits
            case "failed" | "expired":
                return (self.error or "") + waits
            case _:
                return self.summary or ""


class TicketBook:
    """The tickets of a run, as far as its events were taken.

    Attributes:
        last_letter: the position of the last letter that these events took in; those behind it are to be expected.
    """

    def __init__(self) -> None:
        self.last_letter: int = 0
        self._records: list[TicketRecord] = []
        self._latest: dict[str, int] = {}
        """Where the latest ticket of each id stands: an id may be used again when its ticket has ended."""
        self._of_call: dict[tuple[int, str], str] = {}
        """The tickets that calls opened, by step and call id."""

    @property
    def records(self) -> tuple[TicketRecord, ...]:
        """All tickets, in the order in which they were opened."""
        return tuple(self._records)

    def copy(self) -> TicketBook:
        """Another book with the same tickets, to look ahead in."""
        twin = TicketBook()
        twin.last_letter = self.last_letter
        twin._records, twin._latest, twin._of_call = list(self._records), dict(self._latest), dict(self._of_call)
        return twin

    def find(self, ticket_id: str) -> TicketRecord | None:
        """The latest ticket of that id, or None."""
        place = self._latest.get(ticket_id)
        return self._records[place] if place is not None else None

    def take(self, event: AgentRunEvent) -> TicketRecord | None:
        """Take the next event; the ticket that ends with it, or None."""
        self.last_letter = max(self.last_letter, event.data.get("letter", 0))
        match event.type:
            case "tool_deferred":
                self._open(event)
            case "tool_completed":
                self._refused(event)
            case "tool_background_resolved" | "tool_background_failed":
                return self._end(Draft(event.type, event.data), event.at, event.data.get("letter"), taken_in=True)
            case "run_completed" | "run_failed" | "run_cancelled":
                self._turned("pending", "abandoned")
            case "run_started" if event.data.get("reopened"):
                self._turned("abandoned", "pending")
            case _:
                pass
        return None

    def expect(self, letter: Draft, at: dt.datetime, position: int) -> None:
        """Take a letter that was posted then and is not an event yet."""
        if letter.type in ("tool_background_resolved", "tool_background_failed"):
            self._end(letter, at, position, taken_in=False)

    def _turned(self, before: TicketStatus, after: TicketStatus) -> None:
        self._records = [replace(one, status=after) if one.status == before else one for one in self._records]

    def _open(self, event: AgentRunEvent) -> None:
        data = event.data
        ticket_id = data["ticket_id"]
        known = self.find(ticket_id)
        if known is not None and known.status == "pending":
            return  # Refused: the call fails, and the ticket stays that of the first.
        record = TicketRecord(
            ticket_id,
            data["tool_name"],
            data["tool_call_id"],
            event.run_id,
            "pending",
            data["summary"],
            data["resume_hint"],
            event.at,
            data.get("expires_at"),
        )
        self._latest[ticket_id] = len(self._records)
        self._of_call[event.step, record.tool_call_id] = ticket_id
        self._records.append(record)

    def _refused(self, event: AgentRunEvent) -> None:
        """A call that opened a ticket and is completed nevertheless was refused it."""
        ticket_id = self._of_call.pop((event.step, event.data["tool_call_id"]), None)
        if ticket_id is None:
            return
        del self._records[self._latest[ticket_id]]
        self._latest = {record.ticket_id: place for place, record in enumerate(self._records)}

    def _end(self, draft: Draft, at: dt.datetime, letter: int | None, *, taken_in: bool) -> TicketRecord | None:
        data = draft.data
        known = self.find(data["ticket_id"])
        if known is None or known.status != "pending":
            return None
        if draft.type == "tool_background_resolved":
            ended = replace(known, status="resolved", output=data["output"], ended_at=at, letter=letter, taken_in=taken_in)
        else:
            status: TicketStatus = "expired" if data.get("expired") else "failed"
            ended = replace(known, status=status, error=data["error"], ended_at=at, letter=letter, taken_in=taken_in)
        self._records[self._latest[known.ticket_id]] = ended
        return ended
