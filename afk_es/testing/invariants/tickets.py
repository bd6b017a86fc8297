"""No lost ticket: what a tool goes on with in the background ends exactly once in the log, and the model hears of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.events import TERMINAL
from afk_es.testing.invariants.course import CalledTool, course_of
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.observing import ObservedRun, at_once


@dataclass(slots=True)
class _Tickets:
    """Of a run: the open tickets; those that ended since its step began, and before, and that the model has not heard of; those
    that may not be opened; the last letter that was taken in, and the last one that there was when its stretch began.
    """

    open: dict[str, CalledTool] = field(default_factory=dict)
    untold: list[str] = field(default_factory=list)
    due: list[str] = field(default_factory=list)
    refused: dict[str, CalledTool] = field(default_factory=dict)
    letter: int = 0
    posted: int = 0


class NoLostTicket(Invariant):
    """A deferred call ends as resolved, failed, expired or refused, once, or its run names it at its end; the model is told in the
    next step. What was posted to a run is taken in once, in order, and before the stretch ends that
    began after it. No more tickets are open than may be.
    """

    name = "no lost ticket"

    def __init__(self) -> None:
        self._runs: dict[str, _Tickets] = {}

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Follow the tickets of the run."""
        letter = event.data.get("letter")
        if letter is not None:
            self._judge_letter(run, letter)
        if event.type in TERMINAL:
            self._judge_letters(run)
        match event.type:
            case "run_started":
                self._of(run).posted = at_once(self.simulation.log.posted())
            case "tool_deferred":
                self._open(run, event)
            case "tool_completed":
                self._judge_refusal(run, event)
            case "tool_background_resolved" | "tool_background_failed":
                self._close(run, event)
            case "step_started" if run.run_id in self._runs:
                tickets = self._of(run)
                taken = next((each for each, call in tickets.refused.items() if call.ending is None), None)
                if taken is not None:
                    raise self.violated(f"ticket {taken} may not be opened beside {', '.join(tickets.open)}, and is not refused", run)
                tickets.refused.clear()
                tickets.due, tickets.untold = tickets.due + tickets.untold, []
            case "run_completed":
                self._judge_end(run, event)
            case _:
                pass

    def asked(self, ask: Ask) -> None:
        """Judge whether the model hears of what has ended."""
        tickets = self._runs.get(ask.run_id)
        if ask.kind != "model" or tickets is None or not tickets.due:
            return
        shown = [message.content for message in ask.about.messages if message.role == "user"]
        for ticket_id in tickets.due:
            if not any(ticket_id in text for text in shown):
                raise self.violated(f"{ask.key}: ticket {ticket_id} has ended, and the model is not told", ask.run_id)
        tickets.due.clear()

    # ------------------------------------------------------------------------------------------------------------------------ the inside

    def _of(self, run: ObservedRun) -> _Tickets:
        return self._runs.setdefault(run.run_id, _Tickets())

    def _judge_letter(self, run: ObservedRun, letter: int) -> None:
        tickets = self._of(run)
        if letter <= tickets.letter:
            raise self.violated(f"letter {letter} is taken in after letter {tickets.letter}", run)
        tickets.letter = letter

    def _judge_letters(self, run: ObservedRun) -> None:
        """What lay there when a stretch began is taken in before it ends."""
        tickets = self._of(run)
        if tickets.posted > tickets.letter:
            for letter in at_once(self.simulation.log.letters(after=tickets.letter, run_ids=[run.run_id])):
                if letter.position <= tickets.posted:
                    raise self.violated(f"letter {letter.position} ({letter.draft.type}) lay there, and is not taken in", run)

    def _open(self, run: ObservedRun, event: AgentRunEvent) -> None:
        call, ticket_id = course_of(run).about, event.data["ticket_id"]
        tickets = self._of(run)
        terms = run.state.spec.background
        # One that is named already, or one too many, is refused: what follows must say so.
        refused = terms is not None and (not terms.enabled or ticket_id in tickets.open or len(tickets.open) >= terms.max_pending)
        if call is not None and not refused:
            tickets.open[ticket_id] = call
        elif call is not None:
            call.deferred = None
            tickets.refused[ticket_id] = call

    def _judge_refusal(self, run: ObservedRun, event: AgentRunEvent) -> None:
        call = course_of(run).about
        if call is not None and call.deferred is not None:
            raise self.violated(f"{call.tool_name} ({call.id}) goes on in the background, and ends as {event.data['outcome']!r}", run)

    def _close(self, run: ObservedRun, event: AgentRunEvent) -> None:
        tickets, ticket_id = self._of(run), event.data["ticket_id"]
        call = tickets.open.pop(ticket_id, None)
        if call is None:
            raise self.violated(f"ticket {ticket_id} ends, and it is not open", run)
        if (call.id, call.tool_name) != (event.data["tool_call_id"], event.data["tool_name"]):
            raise self.violated(f"ticket {ticket_id} is of {call.tool_name} ({call.id}), and ends as {event.data['tool_call_id']}", run)
        stated = call.deferred.data.get("expires_at") if call.deferred is not None else None
        if event.data.get("expired") and stated is not None and event.at.isoformat() < stated[:19]:
            raise self.violated(f"ticket {ticket_id} expires at {event.at.isoformat()}, before its term {stated}", run)
        tickets.untold.append(ticket_id)

    def _judge_end(self, run: ObservedRun, event: AgentRunEvent) -> None:
        tickets = self._of(run)
        lost = [*tickets.open, *tickets.untold, *tickets.due]
        if event.data["state"] == "completed" and lost:
            raise self.violated(f"it completes, and of ticket {lost[0]} nobody hears any more", run)
        if event.data["state"] == "degraded" and run.events[-2].type != "limit_reached":
            named = " ".join(event.data.get("missing", ()))
            unnamed = next((ticket_id for ticket_id in tickets.open if ticket_id not in named), None)
            at_end = run.state.spec.background.at_end if run.state.spec.background is not None else "wait"
            if unnamed is not None and at_end == "report" and course_of(run).answers and not course_of(run).requested:
                raise self.violated(f"it ends, and does not name ticket {unnamed}", run)
