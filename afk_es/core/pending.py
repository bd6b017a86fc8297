"""What the runs of a log wait for: the open questions to people, as a fold of each run, whoever drives it and whether anybody does."""

from __future__ import annotations

from collections.abc import Iterable

from afk_es.core.history import ThreadMemory
from afk_es.core.merging import compacts
from afk_es.errors import RunNotFoundError
from afk_es.interaction.port import ApprovalRequest, InputRequest, request_of
from afk_es.log import EventLog, Letter
from afk_es.machine import AgentRunEvent, RunState, fold, initial_state
from afk_es.machine.admission import refusal
from afk_es.machine.inquiries import inquiries

_QUESTIONS = frozenset({"approval_requested", "input_requested"})
_PAGE = 200


async def pending_requests(log: EventLog, run_id: str | None = None) -> tuple[ApprovalRequest | InputRequest, ...]:
    """The open questions of a run and of the subagents it waits for, or of all runs, the oldest first.

    A question that was answered from outside is not open any more, although the answer may still wait for a process to go on with the run.

    Raises:
        RunNotFoundError: there is no such run.
    """
    found: list[ApprovalRequest | InputRequest] = []
    run_ids = await _unended(log) if run_id is None else [run_id]
    seen: set[str] = set()
    while run_ids:
        each = run_ids.pop()
        if each in seen:
            continue
        seen.add(each)
        events = await log.read(each)
        if not events and each == run_id:
            raise RunNotFoundError(f"{log.location} has no run {run_id!r}; `afk-es runs` lists what it has")
        if run_id is not None:
            run_ids += _children(events)
        if any(event.type in _QUESTIONS for event in events):
            state = await state_of(log, events)
            found += unanswered(state, await log.letters(after=state.last_letter, run_ids=[each]))
    return tuple(sorted(found, key=lambda request: (request.asked_at, request.run_id, request.request_id)))


async def family_of(log: EventLog, run_id: str) -> list[RunState]:
    """Where a run stands, and each of the subagents' runs, at every level, that it waits for."""
    states: list[RunState] = []
    run_ids = [run_id]
    while run_ids:
        if events := await log.read(run_ids.pop()):
            states.append(await state_of(log, events))
            run_ids += _children(events)
    return states


def unanswered(state: RunState, letters: Iterable[Letter]) -> list[ApprovalRequest | InputRequest]:
    """The open questions of a run in this state to which none of these letters is an answer."""
    answered = {letter.draft.data["request_id"] for letter in letters if answers(state, letter)}
    return [request_of(inquiry) for inquiry in inquiries(state) if inquiry.request["request_id"] not in answered]


def answers(state: RunState, letter: Letter) -> bool:
    """Whether this letter will close a question of a run in this state."""
    draft = letter.draft
    closing = draft.type in ("approval_resolved", "input_resolved") and draft.data["outcome"] != "deferred"
    return closing and refusal(state, draft) is None


async def state_of(log: EventLog, events: list[AgentRunEvent]) -> RunState:
    """Where a run stands. What its thread remembered before it is only read where the run has replaced some of that: nothing else that is
    asked of a run from outside depends on it.
    """
    first = events[0]
    history = await ThreadMemory().read(log, first.data.get("history", [])) if compacts(events) else None
    return fold(initial_state(first.run_id, first.thread_id, history), events)


def _children(events: list[AgentRunEvent]) -> list[str]:
    """The runs of subagents that were started and have not ended."""
    open_runs: dict[str, None] = {}
    for event in events:
        if event.type == "run_started" and "forked_from" in event.data:
            # Those that were under way there are the other run's.
            open_runs.clear()
        child = event.data.get("run_id") if event.type.startswith("subagent_") else None
        if not isinstance(child, str):
            continue
        if event.type == "subagent_completed":
            open_runs.pop(child, None)
        else:
            open_runs[child] = None
    return list(open_runs)


async def _unended(log: EventLog) -> list[str]:
    found: list[str] = []
    before: str | None = None
    while page := await log.runs(limit=_PAGE, before=before):
        found += [record.run_id for record in page if not record.ended or record.state == "interrupted"]
        before = page[-1].run_id
    return found
