"""Questions to people about a tool call: how they are put, how long they stand, and what is said where nobody answers.

A question is an event with the call's effective arguments in it. It stands until an event answers it, whoever drives the run by then, so it
is asked once, however often the run is taken over. An answer that puts it off leaves it standing, without a term.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from afk_es.machine.effects import AskPerson, Effect, Wait
from afk_es.machine.events import Draft
from afk_es.machine.spec import Interaction
from afk_es.machine.state import PENDING, RunState, ToolTurn
from afk_es.machine.values import digest_json

TERM = "answer:"
"""How the id of the wait for an answer begins."""

_LONGEST_S = 365 * 86_400.0
"""Terms beyond a year are no terms; datetime could not hold them all."""


class Inquiry(msgspec.Struct, frozen=True, gc=False):
    """A question to a person, open since `asked_at`.

    Attributes:
        kind: a yes or no, or words.
        request: the data of `approval_requested` or `input_requested`.
        expires_at: when the fallback answers; None for one that was put off.
        deferred: whether it was put off.
    """

    run_id: str
    thread_id: str
    seq: int
    kind: str
    request: dict[str, Any]
    asked_at: dt.datetime
    expires_at: dt.datetime | None
    deferred: bool


def inquiries(state: RunState) -> tuple[Inquiry, ...]:
    """The open questions of a run, in the order of its calls; none once it has ended for good."""
    if state.batch is None or (state.ended and state.status != "interrupted"):
        return ()
    return tuple(
        Inquiry(
            state.run_id, state.thread_id, turn.intent_seq, turn.asks, turn.request, turn.asked_at, until(turn), turn.status == "deferred"
        )
        for turn in state.batch.turns
        if turn.status in PENDING and turn.request is not None and turn.asked_at is not None
    )


def until(turn: ToolTurn) -> dt.datetime | None:
    """When the fallback answers for this call, or None where its question has no term."""
    return turn.wait.until if turn.wait is not None else None


def term(seq: int, asked_at: dt.datetime, timeout_s: float) -> Wait:
    """The wait for an answer, from the asking: the same moment in every process that takes the run over."""
    timer = f"{TERM}{seq}"
    return Wait(timer, timer, asked_at + dt.timedelta(seconds=min(timeout_s, _LONGEST_S)))


def asking_effects(interaction: Interaction, turn: ToolTurn) -> tuple[Effect, ...]:
    """What should be under way for a call whose question stands: in interactive mode somebody is asked here, and its term runs."""
    effects: list[Effect] = []
    if interaction.mode == "interactive" and turn.request is not None:
        effects.append(AskPerson(f"ask:{turn.intent_seq}", turn.intent_seq, turn.asks, turn.request))
    if turn.wait is not None:
        effects.append(turn.wait)
    return tuple(effects)


def request(state: RunState, turn: ToolTurn, unknown: str) -> Draft:
    """The question about a call, as it is put.

    Args:
        unknown: what is said of a call that was started and whose outcome nobody knows.
    """
    spec = state.spec
    call = turn.effective
    data: dict[str, Any] = {
        "request_id": f"{turn.asks}:{turn.ordinal}:{turn.attempt}",
        "tool_name": call.tool_name,
        "tool_call_id": call.id,
        "payload": turn.payload,
        "agent_path": [*spec.agent_path, spec.agent_name],
        "arguments": call.arguments,
        "policy_id": turn.policy_id,
    }
    if turn.arguments is not None and turn.arguments != turn.call.arguments:
        data["proposed_arguments"] = turn.call.arguments
    if turn.status == "put_off":
        data["deferred"] = True
    if turn.asks == "input":
        prompt = str(turn.payload.get("prompt") or turn.reason or f"{call.tool_name} needs your input")
        words = {**data, "prompt": prompt, "reason": turn.reason, "timeout_s": spec.interaction.input_timeout_s}
        return Draft("input_requested", words, prompt)
    reason = f"{unknown}. Run it again?" if turn.in_doubt else turn.reason
    approval = {
        **data,
        "purpose": "in_doubt" if turn.in_doubt else "policy",
        "arguments_hash": digest_json(call.arguments),
        "reason": reason,
        "timeout_s": spec.interaction.approval_timeout_s,
    }
    return Draft("approval_requested", approval, reason or "")


def fallback_answer(interaction: Interaction, turn: ToolTurn) -> Draft:
    """What stands in for a person's answer that cannot or did not come."""
    asked = turn.request
    assert asked is not None
    reason = _why_nobody(interaction, turn, asked["timeout_s"])
    answer = {"request_id": asked["request_id"], "tool_call_id": turn.call.id, "by": "fallback", "reason": reason}
    if turn.asks == "input":
        outcome = {"allow": "answered", "deny": "denied", "defer": "deferred"}[interaction.input_fallback]
        return Draft("input_resolved", {**answer, "outcome": outcome, "value": None})
    outcome = {"allow": "granted", "deny": "denied", "defer": "deferred"}[interaction.approval_fallback]
    return Draft("approval_resolved", {**answer, "arguments_hash": asked["arguments_hash"], "outcome": outcome})


def _why_nobody(interaction: Interaction, turn: ToolTurn, timeout_s: float) -> str:
    if turn.status == "asking":
        return f"nobody answered ({interaction.mode} mode)"
    if turn.failure is not None and turn.failure.error_type == "InteractionFailed":
        return turn.failure.error
    return f"nobody answered within {timeout_s:g} s"
