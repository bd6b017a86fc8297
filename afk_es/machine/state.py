"""The state of a run: what the fold of its events is, and nothing that is not.

A run has a status, which people see, and a phase, which says what its current step waits for:

    new ──▶ between ──▶ model ──▶ answered ──────────────▶ (run_completed)
               ▲          │  └──▶ output ──▶ answered
               │          │         └──▶ between             (the answer was rejected)
               │          └────▶ requested ──▶ tools ──┐     (the answer asks for tools)
               └───────────────────────────────────────┘

A terminal event changes the status and leaves the phase alone, so an interrupted run goes on where it stood. All structures are frozen;
messages are an O(1) view, so every state of a run can be kept. The cyclic garbage collector is told to leave them alone (gc=False): what
they hold is JSON and each other's elders, which cannot lead back to them, and a long run would have it walk millions of them for nothing.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Literal

import msgspec

from afk_es.machine.breaker import Breaker
from afk_es.machine.delegation import Child, Delegation
from afk_es.machine.effects import Wait
from afk_es.machine.retention import Measure
from afk_es.machine.spec import Consequence, RunSpec
from afk_es.machine.values import Message, Messages, ToolCall, Usage

Status = Literal["new", "running", "paused", "completed", "degraded", "failed", "cancelled", "interrupted"]
Phase = Literal["new", "between", "model", "requested", "tools", "output", "answered"]

ENDED: frozenset[str] = frozenset({"completed", "degraded", "failed", "cancelled", "interrupted"})
"""Statuses in which nothing goes on. Of these an interrupted run can be resumed, and a failed one reopened."""

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NO_TIME = dt.timedelta(0)


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why an attempt, or a run, did not succeed."""

    error: str
    error_type: str
    classification: Literal["retryable", "terminal", "non_fatal"] = "terminal"


ModelCallStatus = Literal["waiting", "allowed", "denied", "called", "backoff", "failed", "in_doubt"]


class ModelCall(msgspec.Struct, frozen=True, gc=False):
    """The model call of the current step, over all its attempts and fallback models.

    Attributes:
        instructions_ready: whether a dynamic agent's instructions were resolved for this step.
        model_index: which model of the spec is being asked.
        attempt: requests sent to this model in this step.
        failures: how many of them failed; one in doubt did not.
        intent_seq: the seq of the `llm_called` under way.
        routed: whether the agent's router was asked in this step.
        wait: the retry's delay, while in backoff.
    """

    status: ModelCallStatus = "waiting"
    instructions_ready: bool = False
    model_index: int = 0
    attempt: int = 0
    failures: int = 0
    intent_seq: int = 0
    wait: Wait | None = None
    failure: Failure | None = None
    routed: bool = False


ToolStatus = Literal[
    "waiting",  # for the policy
    "allowed",  # may start
    "denied",  # by the policy or a person
    "approval",  # a person must be asked
    "asking",  # a person is being asked
    "overdue",  # nobody answered in time, or nobody could be asked
    "put_off",  # a rule put it off: the question is to be left open
    "deferred",  # somebody put it off: the question is open, and nobody is asked here
    "running",
    "backoff",  # failed, and will be tried again
    "failed",  # for good
    "limited",  # beyond max_tool_calls
    "in_doubt",  # announced before a crash, no result
    "unknown",  # in doubt, and to be reported as such
    "answered",  # a person's words stand in for the result
    "blocked",  # a node of a plan, for those upstream of it
    "parked",  # the subagent's run was laid down; it goes on when this one is resumed
    "cancelling",  # the subagent's run is to be ended
    "returned",  # the subagent has succeeded
    "cut",  # the join was decided without it
    "done",
]


PENDING: frozenset[str] = frozenset({"asking", "overdue", "deferred"})
"""Statuses of a call about which a question to a person is open."""


class ToolTurn(msgspec.Struct, frozen=True, gc=False):
    """One tool call of the batch under way.

    Attributes:
        ordinal: 1 for the first call the model asked for in this run.
        call: as the model asked for it.
        arguments: as it will run, where a policy or a person changed them.
        attempt: how often it was started.
        failures: how many of these attempts failed; one in doubt did not.
        intent_seq: the seq of the `tool_started` or the request under way.
        failure: of the last attempt; once done, what the policy judges the run by.
        consequence: what the policy makes of that.
        idempotency_key: of the start under way, as `tool_started` has it.
        in_doubt: an attempt was announced and has no result, and no other was started since.
        wait: the retry's delay, while in backoff; the term of the question, while a person is asked.
        request: the data of the pending approval or input request.
        asked_at: when it was made.
        content: what the model is shown, once done.
        child: for a call that goes to a subagent, that part of it.
    """

    ordinal: int
    call: ToolCall
    status: ToolStatus = "waiting"
    arguments: dict[str, Any] | None = None
    attempt: int = 0
    failures: int = 0
    intent_seq: int = 0
    idempotency_key: str = ""
    wait: Wait | None = None
    failure: Failure | None = None
    consequence: Consequence = "continue"
    asks: Literal["approval", "input"] = "approval"
    in_doubt: bool = False
    policy_id: str | None = None
    reason: str | None = None
    payload: dict[str, Any] = {}
    request: dict[str, Any] | None = None
    asked_at: dt.datetime | None = None
    content: str = ""
    child: Child | None = None

    @property
    def effective(self) -> ToolCall:
        """The call as it will run."""
        if self.arguments is None:
            return self.call
        return ToolCall(self.call.id, self.call.tool_name, self.arguments)


class ToolBatch(msgspec.Struct, frozen=True, gc=False):
    """The tool calls of one answer, or the nodes of a router's plan. `delegation` is there where a call goes to a subagent."""

    seq: int
    turns: tuple[ToolTurn, ...]
    delegation: Delegation | None = None

    def find(self, tool_call_id: str) -> ToolTurn | None:
        """The turn with that call id."""
        for turn in self.turns:
            if turn.call.id == tool_call_id:
                return turn
        return None

    def with_turn(self, changed: ToolTurn) -> ToolBatch:
        """The batch with that turn in place of the one with the same ordinal."""
        if len(self.turns) == 1:
            return ToolBatch(self.seq, (changed,), self.delegation)
        turns = tuple(changed if turn.ordinal == changed.ordinal else turn for turn in self.turns)
        return ToolBatch(self.seq, turns, self.delegation)


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """A deferred tool that has not ended yet.

    Attributes:
        seq: of its `tool_deferred`.
        expired: its term is over; it has failed unless its result is taken in at this very moment.
    """

    ticket_id: str
    tool_name: str
    tool_call_id: str
    seq: int
    deferred_at: dt.datetime
    expires_at: dt.datetime
    expired: bool = False


class Grace(msgspec.Struct, frozen=True, gc=False):
    """How long the next step waits for what the last batch deferred: tickets whose seq is above `batch_seq`."""

    batch_seq: int
    wait: Wait


class Compaction(msgspec.Struct, frozen=True, gc=False):
    """How large the conversation is, and its compaction where one is under way.

    Attributes:
        own: position of the request that the run began with; -1 where there is none.
        size: of the conversation up to the last step.
        after: of what the last compaction left, or found where it failed.
        status: "due" once more after one in doubt or a failed attempt; "over" when it came to its end, well or not (`failure`).
        intent_seq: the seq of the `compaction_started` under way.
        attempt: how often this compaction was started.
        failures: how many of these attempts failed; one in doubt did not.
        cut, kept, dropped: what the one under way replaces, as in `Plan`.
        warned: whether it was said that compacting does not help.
    """

    own: int = -1
    size: Measure = Measure()
    after: Measure = Measure()
    status: Literal["idle", "due", "started", "in_doubt", "backoff", "over"] = "idle"
    intent_seq: int = 0
    attempt: int = 0
    failures: int = 0
    cut: int = 0
    kept: tuple[int, ...] = ()
    dropped: int = 0
    wait: Wait | None = None
    failure: Failure | None = None
    warned: bool = False


class Control(msgspec.Struct, frozen=True, gc=False):
    """A wish from outside that ends the run's stretch."""

    action: Literal["cancel", "interrupt"]
    reason: str


class Facets(msgspec.Struct, frozen=True, gc=False):
    """Digests of the parts of a request that do not change within a run."""

    tools: str
    parameters: str
    instructions: str


NO_SPEC = RunSpec("", ())
NO_FACETS = Facets("", "", "")


class RunState(msgspec.Struct, frozen=True, gc=False):
    """Everything the next decision depends on.

    Attributes:
        seq: of the last event folded.
        at: its time.
        deadline: the wait that ends the run when its wall time is used up, where it has a limit.
        ran: the run's time before `since`.
        since: when it began to run, the last time; None while it does not.
        delegated: subagents that this step has taken on, of the answer and of a router's plan.
        breakers: of the spec's models, in their order; empty until one of them has failed.
        cost_usd: the known costs added up, exactly.
        cost_known: whether any answer carried a price.
        fault: why the run has to fail once nothing is in flight any more.
        missing: what a degraded run did not do.
        notices: messages that join the conversation when the next step starts.
        answer: text of the last answer, whole or partial.
        last_letter: the position of the last letter that was taken in.
        compaction: None in a run whose conversation is never compacted.
        grace: while the next step waits for tickets.
    """

    run_id: str
    thread_id: str
    status: Status = "new"
    phase: Phase = "new"
    seq: int = 0
    at: dt.datetime = EPOCH
    epoch: int = 0
    owner: str = ""
    spec: RunSpec = NO_SPEC
    facets: Facets = NO_FACETS
    context: dict[str, Any] = {}
    instructions: str | None = None
    step: int = 0
    messages: Messages = msgspec.field(default_factory=Messages)
    call: ModelCall | None = None
    breakers: tuple[Breaker, ...] = ()
    requested: tuple[ToolCall, ...] = ()
    batch: ToolBatch | None = None
    llm_calls: int = 0
    tool_calls: int = 0
    tool_requests: int = 0
    delegated: int = 0
    usage: Usage = Usage()
    cost_usd: Decimal = Decimal(0)
    cost_known: bool = False
    ran: dt.timedelta = NO_TIME
    since: dt.datetime | None = None
    deadline: Wait | None = None
    overdue: bool = False
    control: Control | None = None
    fault: Failure | None = None
    missing: tuple[str, ...] = ()
    tickets: tuple[Ticket, ...] = ()
    notices: tuple[Message, ...] = ()
    answer: str = ""
    output: Any = None
    reason: str = ""
    last_letter: int = 0
    compaction: Compaction | None = None
    grace: Grace | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing goes on in this run."""
        return self.status in ENDED

    @property
    def elapsed(self) -> dt.timedelta:
        """Time during which a process ran the run and it was not paused."""
        return self.elapsed_at(self.at)

    def elapsed_at(self, moment: dt.datetime) -> dt.timedelta:
        """What `elapsed` will be at that moment, if nothing happens before."""
        return self.ran if self.since is None else self.ran + (moment - self.since)


def initial_state(run_id: str, thread_id: str, history: Messages | None = None) -> RunState:
    """The state before the first event; `history` is what the thread remembers from earlier runs."""
    return RunState(run_id, thread_id, messages=history if history is not None else Messages())
