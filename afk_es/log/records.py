"""A run's row in the list of runs: folded from its events, or of what a database has counted with aggregates of its own; and letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from afk_es.errors import CorruptLogError, InvalidEventError
from afk_es.log.codec import moment
from afk_es.log.port import Letter, RunHead, RunRecord
from afk_es.machine.delegation import TRANSFER
from afk_es.machine.events import TERMINAL, AgentRunEvent, Draft, RunRef, validate_letter


def run_record(events: Sequence[AgentRunEvent], head: RunHead) -> RunRecord:
    """The record of a run of which these are all events that are its own."""
    first, last = events[0], events[-1]
    # A model that sums up a thread costs as one that answers does.
    answers = [event.data for event in events if event.type in _PAID and "reused" not in event.data]
    usages = [usage for answer in answers if (usage := answer.get("usage")) is not None]
    costs = [cost for answer in answers if (cost := answer.get("cost_usd")) is not None]
    claims = [event.data["owner"] for event in events if event.type == "run_started"]
    return RunRecord(
        run_id=head.run_id,
        thread_id=head.thread_id,
        agent_name=first.data.get("agent_name") or "",
        state=last.state,
        seq=head.seq,
        epoch=head.epoch,
        owner=claims[-1],
        started_at=first.at,
        updated_at=last.at,
        ended=last.type in TERMINAL,
        step=last.step,
        llm_calls=_llm_calls(events),
        tool_calls=_tool_calls(events),
        errors=sum(_is_error(event) for event in events),
        input_tokens=sum(usage["input_tokens"] for usage in usages),
        output_tokens=sum(usage["output_tokens"] for usage in usages),
        cost_usd=sum(costs) if costs else None,
        user_message=first.data.get("user_message"),
        message=last.message,
        parent_run_id=first.data.get("parent", {}).get("run_id"),
        forked_from=first.data.get("forked_from"),
    )


_PAID = frozenset({"llm_completed", "thread_compacted", "compaction_failed"})


def _llm_calls(events: Sequence[AgentRunEvent]) -> int:
    """Requests that were sent; of a fork, which may answer what another run has asked, and does not ask all it answers: those answered."""
    if "forked_from" not in events[0].data:
        return sum(event.type == "llm_called" for event in events)
    told = [event.data for event in events if event.type in ("llm_completed", "llm_failed") and "reused" not in event.data]
    return sum(data.get("attempt", 1) > 0 for data in told)


def _tool_calls(events: Sequence[AgentRunEvent]) -> int:
    """Starts of tools and subagents; of a fork those that came back from the world."""
    if "forked_from" not in events[0].data:
        return sum(event.type in ("tool_started", "subagent_started") for event in events)
    return sum(_came_back(event) for event in events if "reused" not in event.data and "stubbed" not in event.data)


def _came_back(event: AgentRunEvent) -> bool:
    data = event.data
    match event.type:
        case "tool_completed":
            # The end of a subagent's call follows from that of its run.
            return data["outcome"] == "returned" and not data["tool_name"].startswith(TRANSFER)
        case "tool_failed":
            return bool(data["attempt"] > 0)
        case "tool_deferred" | "subagent_completed":
            return True
        case _:
            return False


def _is_error(event: AgentRunEvent) -> bool:
    return event.type == "llm_failed" or (event.type == "tool_completed" and not event.data["success"])


def listed_run(row: Sequence[Any]) -> RunRecord:
    """The record of a row of a database's list of runs, of which the columns are counted there.

    Raises:
        CorruptLogError: one of them cannot be.
    """
    run_id, thread_id, agent_name, state, seq, epoch, owner, started, updated, last_type, step = row[:11]
    llm_calls, tool_calls, errors, input_tokens, output_tokens, cost_usd, user_message, message, parent_run_id, *base = row[11:]
    try:
        return msgspec.convert(
            {
                "run_id": run_id,
                "thread_id": thread_id,
                "agent_name": agent_name or "",
                "state": state or "running",
                "seq": seq,
                "epoch": epoch,
                "owner": owner,
                "started_at": moment(started),
                "updated_at": moment(updated),
                "ended": last_type in TERMINAL,
                "step": step,
                "llm_calls": llm_calls,
                "tool_calls": tool_calls,
                "errors": errors,
                "input_tokens": input_tokens or 0,
                "output_tokens": output_tokens or 0,
                "cost_usd": cost_usd,
                "user_message": user_message,
                "message": message or "",
                "parent_run_id": parent_run_id,
                "forked_from": forked_from(*base),
            },
            RunRecord,
        )
    except (msgspec.ValidationError, TypeError, OverflowError) as error:
        # What is counted was never decoded: a database takes it out of the JSON as it stands there.
        raise CorruptLogError(f"run {run_id!r} cannot be listed: {error}; `afk-es verify` says more") from error


def forked_from(run_id: str | None, seq: int | None) -> RunRef | None:
    """What a database says of where a run was forked from, as the port has it."""
    return None if run_id is None or seq is None else {"run_id": run_id, "seq": seq}


def letter_of(row: Sequence[Any]) -> Letter:
    """The letter of a row: position, run id, time, type, message, data. One that cannot be read becomes a warning to its run: the others are delivered all the same."""
    position, run_id, at, kind, message, data = row
    posted_at = moment(0)
    try:
        posted_at = moment(at)
        draft = Draft(kind, msgspec.json.decode(data, type=dict[str, Any]), message)
        validate_letter(draft)
    except (msgspec.DecodeError, OverflowError, RecursionError, InvalidEventError) as error:
        draft = Draft("warning", {"kind": "letter_unreadable"}, f"letter {position} cannot be read: {error}")
    return Letter(position, run_id, posted_at, draft)
