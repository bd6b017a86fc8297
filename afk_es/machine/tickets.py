"""Tickets of tools that go on in the background: when one is opened, what is waited for, and what follows when its time is up.

How a result reaches the log is no affair of the machine: it comes as an event, from whichever process had it.
"""

from __future__ import annotations

import datetime as dt

from msgspec.structs import replace

from afk_es.machine.effects import Wait
from afk_es.machine.events import AgentRunEvent, Draft
from afk_es.machine.limits import breached, degraded, ending
from afk_es.machine.spec import Background
from afk_es.machine.state import Failure, Grace, RunState, Ticket
from afk_es.machine.turns import start_step

DEFAULTS = Background()

_LONGEST_S = 365 * 86_400.0
"""Waits beyond a year are none; datetime could not hold them all."""


def terms_of(state: RunState) -> Background:
    """What was agreed on background tools for this run."""
    return state.spec.background or DEFAULTS


# ------------------------------------------------------------------------------------------------------------------------- for the fold


def refused(state: RunState, ticket_id: str) -> Failure | None:
    """Why a call may not go on under this ticket, or None."""
    terms = state.spec.background
    if terms is None:
        return None
    if not terms.enabled:
        return Failure(
            "background tools are not enabled here (background_tools_enabled), and this tool deferred its result", "DeferralRefused"
        )
    if any(ticket.ticket_id == ticket_id for ticket in state.tickets):
        return Failure(
            f"ticket {ticket_id!r} is open already, and names other work; each call needs a ticket of its own", "DeferralRefused"
        )
    if len(state.tickets) >= terms.max_pending:
        message = f"background_tool_max_pending reached: {terms.max_pending} results are waited for; this call's will not be taken"
        return Failure(message, "LimitReached")
    return None


def opened(state: RunState, event: AgentRunEvent) -> Ticket:
    """The ticket that a `tool_deferred` opens."""
    data = event.data
    stated = data.get("expires_at")
    if stated is None:
        expires_at = event.at + dt.timedelta(seconds=min(terms_of(state).result_ttl_s, _LONGEST_S))
    else:
        expires_at = dt.datetime.fromisoformat(stated)
        if expires_at.tzinfo is None:
            expires_at = expires_at.replace(tzinfo=dt.UTC)
    return Ticket(data["ticket_id"], data["tool_name"], data["tool_call_id"], event.seq, event.at, expires_at)


def expired_by(tickets: tuple[Ticket, ...], moment: dt.datetime) -> tuple[Ticket, ...]:
    """The tickets, with those marked whose term is over at that moment."""
    if not [True for ticket in tickets if ticket.expires_at <= moment and not ticket.expired]:
        return tickets
    return tuple(replace(ticket, expired=True) if ticket.expires_at <= moment else ticket for ticket in tickets)


def term_over(tickets: tuple[Ticket, ...], timer: str) -> tuple[Ticket, ...]:
    """The tickets when this timer has fired: a clock may be a hair early, and its word holds nevertheless."""
    for ticket in tickets:
        if _expiry_of(ticket) == timer:
            return expired_by(tickets, ticket.expires_at)
    return tickets


def grace_after(state: RunState, tickets: tuple[Ticket, ...], batch_seq: int, event: AgentRunEvent) -> Grace | None:
    """What the next step waits for, now that a batch is over."""
    grace_s = terms_of(state).grace_s
    if grace_s <= 0 or not _since(tickets, batch_seq):
        return None
    timer = f"grace:{batch_seq}"
    return Grace(batch_seq, Wait(timer, timer, event.at + dt.timedelta(seconds=min(grace_s, _LONGEST_S))))


def grace_left(grace: Grace | None, tickets: tuple[Ticket, ...]) -> Grace | None:
    """The wait, unless all it was for has ended."""
    return grace if grace is not None and _since(tickets, grace.batch_seq) else None


def _since(tickets: tuple[Ticket, ...], seq: int) -> bool:
    return any(ticket.seq > seq for ticket in tickets)


# -------------------------------------------------------------------------------------------------------------------- for the decision


def expirations(state: RunState) -> tuple[Draft, ...]:
    """The end of every ticket whose term is over."""
    return tuple([_expiration(ticket) for ticket in state.tickets if ticket.expired])


def _expiration(ticket: Ticket) -> Draft:
    term_s = (ticket.expires_at - ticket.deferred_at).total_seconds()
    error = f"it expired: no result came within {term_s:.{0 if term_s >= 10 else 1}f} s"
    data = {"tool_name": ticket.tool_name, "tool_call_id": ticket.tool_call_id, "ticket_id": ticket.ticket_id}
    return Draft("tool_background_failed", {**data, "error": error, "expired": True}, error)


def expiry(state: RunState) -> Wait:
    """The wait for the first term that ends."""
    first = min(state.tickets, key=lambda ticket: (ticket.expires_at, ticket.seq))
    timer = _expiry_of(first)
    return Wait(timer, timer, first.expires_at)


def _expiry_of(ticket: Ticket) -> str:
    return f"expiry:{ticket.seq}"


def after_answer(state: RunState) -> tuple[Draft, ...]:
    """What follows when the model has answered and background tools are open, or have ended and the model has not heard of it."""
    terms = terms_of(state)
    breach = breached(state)
    if state.notices and breach is None and (not state.tickets or terms.interrupt_on_resolve or terms.at_end == "report"):
        return start_step(state)
    if terms.at_end == "report":
        unheard = [] if breach is None or not state.notices else [f"{breach.message}; {_UNHEARD}"]
        return degraded(state, *[f"background tool {_named(ticket)} had not ended" for ticket in state.tickets], *unheard)
    if breach is not None:
        # Nothing that comes could be told to the model any more, so nothing is waited for.
        return ending(state, replace(breach, message=f"{breach.message}; {_UNHEARD}"))
    if terms.at_end == "park":
        reason = f"waits for background tools: {', '.join(_named(ticket) for ticket in state.tickets)}"
        return (Draft("run_interrupted", {"reason": reason}, reason),)
    return ()


_UNHEARD = "there is no step left in which the model could be told what its background tools came to"


def _named(ticket: Ticket) -> str:
    return f"{ticket.tool_name} (ticket {ticket.ticket_id})"
