"""Asks an agent's policy roles where no rule has decided. What is unclear denies, as with the rules."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from afk_es.agents import PolicyDecision, PolicyEvent
from afk_es.agents.agent import PolicyRole
from afk_es.errors import text_of
from afk_es.machine.values import clean_text, plain


def decided_by_roles(roles: tuple[PolicyRole, ...], event: PolicyEvent) -> PolicyDecision | None:
    """The decision of the first role that answers one; None where all have nothing to say.

    A decision without a `policy_id` gets `role:<name of the function>`. Each role gets an event of its own.
    """
    for role in roles:
        name = f"role:{getattr(role, '__name__', type(role).__name__)}"
        try:
            decision: object = role(event.model_copy(deep=True))
            if decision is None:
                continue
            if inspect.iscoroutine(decision):
                decision.close()
                raise TypeError("it is async, and a policy decides from the event alone")
            if not isinstance(decision, PolicyDecision):
                raise TypeError(f"it answered {decision!r:.80}; answer a PolicyDecision or None")
            return _attributed(decision, name, event)
        # Nobody can cancel a function that does not wait: this one raised it by itself, and the loop would take it for its own end.
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a role is the user's code, and its failure is a denial
            return _denied(name, error)
    return None


def _attributed(decision: PolicyDecision, name: str, event: PolicyEvent) -> PolicyDecision:
    changes: dict[str, Any] = {"policy_id": clean_text(decision.policy_id or name)}
    changes["matched_rules"] = tuple(clean_text(rule) for rule in decision.matched_rules) or (changes["policy_id"],)
    # Recorded with the decision, so what cannot be JSON fails here, where it denies.
    changes["request_payload"] = plain(decision.request_payload)
    rewrites = event.event_type == "tool_before_execute" and decision.action not in ("deny", "defer")
    changes["updated_tool_args"] = plain(decision.updated_tool_args) if rewrites else None
    return decision.model_copy(update=changes)


def _denied(name: str, error: BaseException) -> PolicyDecision:
    reason = f"{name} could not be asked, so the call is denied: {type(error).__name__}: {text_of(error)}"
    return PolicyDecision(action="deny", reason=reason, policy_id=name, matched_rules=(name,))
