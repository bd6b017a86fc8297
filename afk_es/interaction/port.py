"""The port through which people are asked: what they are shown, and what they may answer. It knows no way of showing it."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from afk_es.machine.inquiries import Inquiry

Outcome = Literal["granted", "denied", "deferred"]


def _a_person(name: str) -> str:
    if name == "fallback":
        raise ValueError("'fallback' is what stands in the log where nobody answered; name who did")
    return name


By = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_a_person)]
"""A person's name. `fallback` is the name of whoever answers where nobody did."""

Text = Annotated[str, StringConstraints(max_length=100_000)]


class _Request(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, defer_build=True)

    request_id: str
    run_id: str
    thread_id: str
    tool_name: str
    tool_call_id: str
    arguments: dict[str, Any]
    proposed_arguments: Any = None
    rule: str | None
    reason: str | None
    payload: dict[str, Any]
    agent_path: tuple[str, ...]
    asked_at: dt.datetime
    expires_at: dt.datetime | None
    deferred: bool


class ApprovalRequest(_Request):
    """A call that waits for a person's yes or no.

    Attributes:
        kind: "approval".
        purpose: "policy" where a rule asks, "in_doubt" where a call was cut off by a crash and the question is whether to run it again.
        request_id: names the request within its run.
        run_id: the run; of a subagent's call, the subagent's run.
        thread_id: its thread.
        tool_name: the tool.
        tool_call_id: the call, as the model named it; call ids of one run may repeat.
        arguments: as the call will run. A grant is bound to them.
        arguments_hash: of these arguments.
        proposed_arguments: as the model asked for the call, where a rule rewrote its arguments; None where it did not.
        rule: the id of the rule that asks for approval, or None.
        reason: why it is asked, or None.
        payload: the rule's `request_payload`.
        agent_path: the agents from the outermost down to the one that asks.
        asked_at: when it was asked, in UTC.
        expires_at: when the fallback answers, in UTC; None where the request was put off, which has no term.
        deferred: whether it was put off.
    """

    kind: Literal["approval"] = "approval"
    purpose: Literal["policy", "in_doubt"]
    arguments_hash: str


class InputRequest(_Request):
    """A call that waits for a person's words. The attributes it shares with `ApprovalRequest` mean the same.

    Attributes:
        kind: "input".
        prompt: what the person is asked.
    """

    kind: Literal["input"] = "input"
    prompt: str


PendingRequest = ApprovalRequest | InputRequest


class ApprovalDecision(BaseModel):
    """A person's answer to an `ApprovalRequest`.

    Attributes:
        outcome: "granted", "denied", or "deferred": put off, so that the run is laid down with the request open.
        by: who answered: a name of 1 to 200 characters, and not "fallback".
        reason: why, or None; where it is denied, the model is told.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    outcome: Outcome
    by: By
    reason: Text | None = None


class InputDecision(BaseModel):
    """A person's answer to an `InputRequest`.

    Attributes:
        outcome: "answered", "denied", or "deferred": put off, so that the run is laid down with the request open.
        by: who answered: a name of 1 to 200 characters, and not "fallback".
        value: the words, where it is answered.
        reason: why, or None; where it is denied, the model is told.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    outcome: Literal["answered", "denied", "deferred"]
    by: By
    value: Text | None = None
    reason: Text | None = None

    def model_post_init(self, context: Any) -> None:
        """Words belong to an answer, and an answer is words."""
        if (self.outcome == "answered") != (self.value is not None):
            raise ValueError(f"value is a str where the outcome is 'answered' and None otherwise; the outcome is {self.outcome!r}")


@runtime_checkable
class InteractionProvider(Protocol):
    """Asks people, for a Runner in interactive mode.

    A request may be made at any time and several at once. When the call is cancelled the request is withdrawn: it was answered elsewhere,
    its term has passed, or the run has ended. After a crash only requests without an answer are made again. A provider that raises is not
    asked again: the fallback answers, and a warning in the log says why.
    """

    async def request_approval(self, request: ApprovalRequest) -> ApprovalDecision:
        """Ask for a yes or no, and wait for it."""
        ...

    async def request_input(self, request: InputRequest) -> InputDecision:
        """Ask for words, and wait for them."""
        ...


def request_of(inquiry: Inquiry) -> PendingRequest:
    """What a person is shown of an open question."""
    asked = inquiry.request
    shared = {
        "request_id": asked["request_id"],
        "run_id": inquiry.run_id,
        "thread_id": inquiry.thread_id,
        "tool_name": asked["tool_name"],
        "tool_call_id": asked["tool_call_id"],
        "arguments": asked.get("arguments", {}),
        "proposed_arguments": asked.get("proposed_arguments"),
        "rule": asked.get("policy_id"),
        "reason": asked.get("reason"),
        "payload": asked["payload"],
        "agent_path": tuple(asked["agent_path"]),
        "asked_at": inquiry.asked_at,
        "expires_at": inquiry.expires_at,
        "deferred": inquiry.deferred,
    }
    if inquiry.kind == "input":
        return InputRequest.model_construct(**shared, prompt=asked["prompt"])
    return ApprovalRequest.model_construct(**shared, purpose=asked["purpose"], arguments_hash=asked["arguments_hash"])
