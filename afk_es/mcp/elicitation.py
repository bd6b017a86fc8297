"""A run's open question as a form for the person at the client, and the filled form as the answer. How the form gets there is not its affair."""

from __future__ import annotations

from typing import Any, Final

from mcp_types import ClientCapabilities, ElicitRequestFormParams, ElicitResult

from afk_es.core import AttachedRun
from afk_es.interaction import ApprovalRequest, InputRequest
from afk_es.views import visible, visible_json

_LONGEST_ARGUMENTS: Final = 4_000
"""Characters of the arguments that a person is shown: a form that hides its question under a page of text is no question."""

_APPROVAL: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "decision": {"type": "string", "title": "Decision", "enum": ["approve", "deny"]},
        "reason": {"type": "string", "title": "Reason", "description": "Told to the caller where the call is denied."},
    },
    "required": ["decision"],
}
_INPUT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "title": "Answer"}},
    "required": ["answer"],
}


def can_be_asked(capabilities: ClientCapabilities | None) -> bool:
    """Whether the client shows forms. One that names no kind of elicitation means this kind, which was the only one once."""
    elicitation = capabilities.elicitation if capabilities is not None else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def key_of(request: ApprovalRequest | InputRequest) -> str:
    """Names a question among all that a call may ask, those of its subagents too."""
    return f"{request.run_id}:{request.request_id}"


def form_of(request: ApprovalRequest | InputRequest) -> ElicitRequestFormParams:
    """The question as a form: who asks, what with, and by which rule."""
    if isinstance(request, InputRequest):
        lines = [visible(request.prompt, multiline=True), ""]
    elif request.purpose == "in_doubt":
        lines = [f"A crash cut {request.tool_name} off, and it may have taken effect. Run it again?", ""]
    else:
        lines = [f"Let {request.tool_name} run?", ""]
    lines.append(f"Tool: {' > '.join((*request.agent_path[1:], request.tool_name))}")
    lines.append(f"Arguments: {_clipped(visible_json(request.arguments).decode())}")
    lines += [f"{name}: {visible(value)}" for name, value in (("Rule", request.rule), ("Reason", request.reason)) if value]
    if request.payload:
        lines.append(f"More: {_clipped(visible_json(request.payload).decode())}")
    schema = _INPUT if isinstance(request, InputRequest) else _APPROVAL
    return ElicitRequestFormParams(message="\n".join(lines), requested_schema=schema)


async def say(run: AttachedRun, request: ApprovalRequest | InputRequest, answer: ElicitResult) -> bool:
    """Tell the run what the person answered. Whoever closed the form without an answer has said nothing: the question stays open.

    Args:
        run: that of the question, which may be a subagent's.

    Returns:
        Whether something was said.

    Raises:
        UsageError: the question is answered already, or this is no answer to it.
    """
    content = answer.content or {}
    match answer.action:
        case "cancel":
            return False
        case "decline":
            await run.deny(request.request_id, reason="declined")
        case _ if isinstance(request, InputRequest):
            await run.answer(str(content.get("answer", "")), request.request_id)
        case _ if content.get("decision") == "approve":
            await run.approve(request.request_id, reason=_reason(content))
        case _:
            # All that is not a yes is a no.
            await run.deny(request.request_id, reason=_reason(content))
    return True


def _reason(content: dict[str, Any]) -> str | None:
    reason = content.get("reason")
    return reason if isinstance(reason, str) and reason.strip() else None


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST_ARGUMENTS else f"{text[:_LONGEST_ARGUMENTS]}... ({len(text)} characters in all)"
