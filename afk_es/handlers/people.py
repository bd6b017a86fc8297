"""Puts an open question before a person, through the Runner's provider. The provider is the user's code, and what it answers is checked."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from afk_es.errors import text_of
from afk_es.handlers.binding import Binding
from afk_es.interaction.port import ApprovalDecision, ApprovalRequest, InputDecision, InputRequest, request_of
from afk_es.machine import Draft, RunState
from afk_es.machine.effects import AskPerson
from afk_es.machine.inquiries import inquiries
from afk_es.machine.values import clean_text

D = TypeVar("D", ApprovalDecision, InputDecision)


class PeopleHandler:
    """Performs `AskPerson`."""

    def __init__(self, binding: Binding) -> None:
        self._people = binding.people

    async def __call__(self, effect: AskPerson, state: RunState) -> Draft:
        """The person's answer; or a warning why they could not be asked, after which the fallback answers."""
        # The Runner refuses interactive mode without one.
        assert self._people is not None
        request = next(request_of(inquiry) for inquiry in inquiries(state) if inquiry.seq == effect.seq)
        # A copy: a provider may keep what it gets, and the arguments are those that will run.
        request = request.model_copy(deep=True)
        try:
            if isinstance(request, ApprovalRequest):
                return approval_draft(request, _checked(await self._people.request_approval(request), ApprovalDecision))
            return input_draft(request, _checked(await self._people.request_input(request), InputDecision))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return _unasked(effect, "it was cancelled from inside")
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - the provider is the user's code, and its failure is a fact of the run
            return _unasked(effect, f"{type(error).__name__}: {text_of(error)}")


def approval_draft(request: ApprovalRequest, decision: ApprovalDecision) -> Draft:
    """The event of a decision about exactly this call with exactly these arguments."""
    reason = clean_text(decision.reason) if decision.reason is not None else None
    data = {
        "request_id": request.request_id,
        "tool_call_id": request.tool_call_id,
        "arguments_hash": request.arguments_hash,
        "outcome": decision.outcome,
        "by": clean_text(decision.by),
        "reason": reason,
    }
    return Draft("approval_resolved", data, reason or "")


def input_draft(request: InputRequest, decision: InputDecision) -> Draft:
    """The event of an answer to exactly this request."""
    data: dict[str, Any] = {
        "request_id": request.request_id,
        "tool_call_id": request.tool_call_id,
        "outcome": decision.outcome,
        "value": clean_text(decision.value) if decision.value is not None else None,
        "by": clean_text(decision.by),
        "reason": clean_text(decision.reason) if decision.reason is not None else None,
    }
    return Draft("input_resolved", data)


def _checked(answer: object, kind: type[D]) -> D:
    if isinstance(answer, kind):
        return answer
    raise TypeError(f"the provider must answer a {kind.__name__}, not {answer!r:.80}")


def _unasked(effect: AskPerson, failure: str) -> Draft:
    reason = clean_text(f"the interaction provider could not ask: {failure}")
    about = {"request_id": effect.request["request_id"], "tool_call_id": effect.request["tool_call_id"]}
    return Draft("warning", {"kind": "interaction_failed", **about, "reason": reason}, reason)
