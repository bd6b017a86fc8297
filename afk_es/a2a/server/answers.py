"""What a client's message says to the questions that a task waits with. Only a plain yes allows anything; what is unclear is asked again.

A program answers with a data part: `{"request_id": ..., "decision": "approve" | "deny", "reason": ...}` or `{"request_id": ..., "answer": ...}`,
with the `request_id` that the question's own data part gives. A person answers in words. Where several questions are open, words begin with
the name of the one that is meant: a yes to the wrong call would be worse than asking again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from afk_es.a2a.server.messages import Said
from afk_es.a2a.server.tasks import request_name
from afk_es.interaction.port import ApprovalRequest, InputRequest
from afk_es.machine import Draft

_YES = frozenset({"yes", "y", "ok", "okay", "approve", "approved", "allow", "allowed", "granted", "yes please", "go ahead"})
_NO = re.compile(
    r"(no|n|deny|denied|reject|rejected|refuse|refused|don'?t|do not|stop)\b[\s,.:;!-]*(?P<reason>.*)", re.IGNORECASE | re.DOTALL
)


class Decision(msgspec.Struct, frozen=True):
    """What was decided about a question. `text` is the reason of a denial, or the words of an answer."""

    request: ApprovalRequest | InputRequest
    outcome: Literal["granted", "denied", "answered"]
    text: str | None = None

    def is_of(self, draft: Draft) -> bool:
        """Whether this is what was posted before."""
        data = draft.data
        words = data.get("value") if self.outcome == "answered" else data.get("reason")
        return (data["outcome"], data["request_id"], words) == (self.outcome, self.request.request_id, self.text)


class Unclear(msgspec.Struct, frozen=True):
    """No decision, and why."""

    why: str


def decided(said: Said, pending: Sequence[ApprovalRequest | InputRequest]) -> Decision | Unclear:
    """The decision that a message holds. There is at least one question."""
    for data in said.data:
        if isinstance(data, dict) and {"request_id", "decision", "answer"} & data.keys():
            return _by_data(data, pending)
    words = said.text.strip()
    if len(pending) == 1:
        return _by_words(words.removeprefix(request_name(pending[0])).lstrip(" :"), pending[0])
    name, _space, rest = words.partition(" ")
    for request in pending:
        if request_name(request) == name.rstrip(":"):
            return _by_words(rest.strip(), request)
    return Unclear("It was not said which question is meant.")


def _by_data(data: dict[str, Any], pending: Sequence[ApprovalRequest | InputRequest]) -> Decision | Unclear:
    named = data.get("request_id")
    found = [request for request in pending if named is None or request_name(request) == named]
    if len(found) != 1:
        return Unclear("That is none of the open questions." if named is not None else "It was not said which question is meant.")
    request, decision, reason = found[0], data.get("decision"), data.get("reason")
    if not isinstance(reason, str | None):
        return Unclear("The reason is no text.")
    if decision == "deny":
        return Decision(request, "denied", reason)
    if isinstance(request, InputRequest):
        answer = data.get("answer")
        return Decision(request, "answered", answer) if isinstance(answer, str) else Unclear("The answer is no text.")
    return Decision(request, "granted", reason) if decision == "approve" else Unclear("The decision is neither approve nor deny.")


def _by_words(words: str, request: ApprovalRequest | InputRequest) -> Decision | Unclear:
    if isinstance(request, InputRequest):
        return Decision(request, "answered", words) if words else Unclear("Nothing was said.")
    if words.casefold().strip(" .!,") in _YES:
        return Decision(request, "granted")
    no = _NO.fullmatch(words)
    if no is not None:
        return Decision(request, "denied", no["reason"].strip() or None)
    # "Yes, but ..." is no yes to this very call, and no text of a client's is ever taken for more than it says.
    return Unclear("That was neither a plain yes nor a no.")
