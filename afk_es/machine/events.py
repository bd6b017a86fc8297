"""The facts of a run: `AgentRunEvent`, and the one table of event types.

The event is the public contract and the stored fact at once. Its `data` is a plain dict whose shape is declared here per type; keys may be
added to a shape, never changed or taken away, and a reader ignores what it does not know. `EVENT_TYPES` is what the tests, the docs, the
log and the debugger read: a type that is not in the table is carried along untouched.
"""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any, Literal, NotRequired, TypedDict, get_args, get_origin, get_type_hints

import msgspec

from afk_es.errors import InvalidEventError

SCHEMA_VERSION = 1
"""The version of the shapes below. Raised when a shape's meaning changes; an upcaster then turns old events into new ones."""


class AgentRunEvent(msgspec.Struct, frozen=True, gc=False):
    """One fact of a run.

    Attributes:
        type: a key of `EVENT_TYPES`, or a type of a newer version.
        run_id: the run.
        thread_id: the thread, which gives runs a common memory.
        state: the run's status once this has happened.
        step: the step it belongs to; 0 before the first.
        message: one sentence for people; the error or reason of a terminal event; otherwise often empty.
        data: plain JSON data of the shape declared for the type.
        seq: gap-free from 1 within the run. A transient `text_delta` has the seq of the `llm_called` it belongs to, and a transient
            `tool_progress` that of its `tool_started`.
        at: when, aware, in UTC.
        schema_version: of the shape of `data`.
    """

    type: str
    run_id: str
    thread_id: str
    seq: int
    at: dt.datetime
    state: str
    step: int
    message: str
    data: dict[str, Any]
    schema_version: int = SCHEMA_VERSION


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event that has not been given its place and time yet."""

    type: str
    data: dict[str, Any]
    message: str = ""


class UsageData(TypedDict):
    input_tokens: int
    output_tokens: int
    total_tokens: int
    cache_read_tokens: NotRequired[int]
    """Of the input tokens, those that the provider had in its prompt cache."""


class ToolCallData(TypedDict):
    id: str
    tool_name: str
    arguments: dict[str, Any] | str


class PartData(TypedDict):
    """A part of a user's message: text, or an image by its address or its bytes."""

    type: Literal["text", "image"]
    text: NotRequired[str]
    url: NotRequired[str]
    media_type: NotRequired[str]
    data: NotRequired[str]
    """Base64."""


class RunRef(TypedDict):
    """A position in a run: everything up to and including `seq`."""

    run_id: str
    seq: int


class ParentRef(TypedDict):
    """Where a subagent's run was started from."""

    run_id: str
    tool_call_id: str
    seq: NotRequired[int]
    """Of the `subagent_started`."""
    root: NotRequired[str]
    """The run that a caller started, at the head of the family."""


class ForkData(TypedDict):
    """What a fork changes."""

    edits: NotRequired[list[dict[str, Any]]]
    """Each with its `kind`, and the `seq` of the event that it changes where it changes one."""
    tools: NotRequired[dict[str, Any]]
    """Per tool name, or "*": "recorded", "live", "recorded_or_live", or {"output": ...} for a stub."""
    models: NotRequired[Literal["live", "recorded"]]


class RunStarted(TypedDict):
    agent_name: str
    resumed: bool
    reopened: NotRequired[bool]
    """The stretch goes on with a run that failed: see `reopening_facts`."""
    epoch: int
    owner: str
    agent: NotRequired[dict[str, Any]]
    """The `RunSpec`. In a resumed stretch only where it differs from the one before."""
    user_message: NotRequired[str | None]
    """The text of what the user said."""
    user_parts: NotRequired[list[PartData]]
    """All of it, where there are images."""
    context: NotRequired[dict[str, Any]]
    imported: NotRequired[dict[str, Any]]
    """Of a run that another system recorded: from where it was read, by what, and what else was said of it."""
    history: NotRequired[list[RunRef]]
    """The earlier runs on the thread whose turns this run begins with."""
    parent: NotRequired[ParentRef]
    """Of a subagent's run, in every stretch."""
    forked_from: NotRequired[RunRef]
    """Of a fork's own first event: the run that it is a variation of, and the last seq of it that it shares."""
    forked_as: NotRequired[str]
    """The fork's own run id, by which it names what it goes on with; a fork of it shares this event, and reads it as one of its own."""
    fork: NotRequired[ForkData]
    """What that fork is to change."""
    answers_from: NotRequired[list[RunRef]]
    """The runs that it answers from, each with the last seq that there was when the fork began."""
    recorded_agent: NotRequired[bool]
    """In a stretch of a fork: of the agent there was only the log, so no tool was run."""
    replay_of: NotRequired[RunRef]
    """Of a replay: the run whose recorded answers it is given, and the last seq of it that there was."""
    untouched: NotRequired[list[int]]
    """In a resumed stretch of a fork: seqs of intents without a result that touched nothing, since their answers are not asked of the world."""


class StepStarted(TypedDict):
    step: int
    state: str


class InstructionsResolved(TypedDict):
    instructions: str
    reused: NotRequired[RunRef]


class PolicyDecided(TypedDict):
    event_type: str
    action: str
    reason: str | None
    policy_id: str | None
    matched_rules: list[str]
    tool_name: NotRequired[str]
    tool_call_id: NotRequired[str]
    subagent_name: NotRequired[str]
    updated_tool_args: NotRequired[dict[str, Any]]
    request_payload: NotRequired[dict[str, Any]]
    reused: NotRequired[RunRef]
    """The event that this is a copy of: nobody was asked, and nothing was spent."""
    edited: NotRequired[bool]
    """A copy with a change that a person made for this fork."""


class LlmCalled(TypedDict):
    model: str
    provider: str
    model_index: int
    """0 for the agent's own model, then the fallbacks in order."""
    attempt: int
    """1 for the first request to this model in this step."""
    ordinal: int
    """1 for the first request of the run."""
    request_hash: str


class LlmCompleted(TypedDict):
    tool_call_count: int
    finish_reason: str | None
    text: str
    tool_calls: list[ToolCallData]
    usage: UsageData | None
    """None where the provider did not say: unknown, not zero."""
    cost_usd: float | None
    latency_ms: float
    model: NotRequired[str | None]
    """The model's name as the provider gave it."""
    imported: NotRequired[dict[str, Any]]
    """What another system recorded of this answer, and ours has no place for."""
    cached: NotRequired[bool]
    """Nobody was asked: a cache of the model object had the answer. It used no tokens and cost nothing."""
    structured_response: NotRequired[Any]
    reused: NotRequired[RunRef]
    """The event that this is a copy of: nobody was asked, and nothing was spent."""
    edited: NotRequired[bool]
    """A copy with a change that a person made for this fork."""


class LlmFailed(TypedDict):
    error: str
    error_type: str
    classification: Literal["retryable", "terminal", "non_fatal"]
    model: str
    attempt: int
    status_code: NotRequired[int | None]
    retry_after_s: NotRequired[float | None]
    latency_ms: NotRequired[float]
    reused: NotRequired[RunRef]


class CircuitOpened(TypedDict):
    model: str
    model_index: int
    failures: int
    """Retryable failures in a row."""
    cooldown_s: float
    """Seconds until the model may be asked again."""
    classification: NotRequired[Literal["retryable", "terminal"]]
    """`terminal` where there is no other model to ask."""


class TextDelta(TypedDict):
    delta: str
    offset: NotRequired[int]
    """Characters of the call's text before this piece, so that who watches knows whether it has seen them."""


class ToolProgress(TypedDict):
    tool_name: str
    tool_call_id: str
    progress: float
    total: float | None


class OutputValidated(TypedDict):
    output: Any
    reused: NotRequired[RunRef]


class OutputRejected(TypedDict):
    error: str
    reused: NotRequired[RunRef]


class ToolBatchStarted(TypedDict):
    tool_call_count: int
    tool_names: list[str]
    tool_call_ids: list[str]


class ToolStarted(TypedDict):
    tool_name: str
    tool_call_id: str
    ordinal: int
    """1 for the first call the model asked for in this run."""
    attempt: int
    arguments_hash: str
    idempotency_key: str


class ToolFailed(TypedDict):
    tool_name: str
    tool_call_id: str
    attempt: int
    """0 where the call was refused before it started."""
    error: str
    error_type: str
    classification: Literal["retryable", "terminal", "non_fatal"]
    latency_ms: NotRequired[float]
    reused: NotRequired[RunRef]
    """The event that this is a copy of: nobody was asked, and nothing was spent."""
    edited: NotRequired[bool]
    """A copy with a change that a person made for this fork."""


class ToolCompleted(TypedDict):
    tool_name: str
    tool_call_id: str
    success: bool
    output: Any
    error: str | None
    agent_name: str
    agent_depth: int
    agent_path: list[str]
    outcome: Literal["returned", "failed", "invalid", "denied", "limited", "unknown", "cancelled"]
    """`returned` is the only success. `unknown`: it was started and nobody knows whether it took effect."""
    latency_ms: float
    classification: NotRequired[Literal["retryable", "terminal", "non_fatal"]]
    """Of the failure of a call that failed, was invalid or was denied."""
    reused: NotRequired[RunRef]
    """The event that this is a copy of: nobody was asked, and nothing was spent."""
    edited: NotRequired[bool]
    """A copy with a change that a person made for this fork."""
    stubbed: NotRequired[bool]
    """The fork was told to answer this instead of running the tool."""


class ToolDeferred(TypedDict):
    tool_name: str
    tool_call_id: str
    ticket_id: str
    status: str
    summary: str | None
    resume_hint: str | None
    expires_at: NotRequired[str | None]
    reused: NotRequired[RunRef]


class ToolBackgroundResolved(TypedDict):
    tool_name: str
    tool_call_id: str
    ticket_id: str
    output: Any
    letter: NotRequired[int]
    reused: NotRequired[RunRef]


class ToolBackgroundFailed(TypedDict):
    tool_name: str
    tool_call_id: str
    ticket_id: str
    error: str
    expired: NotRequired[bool]
    letter: NotRequired[int]
    reused: NotRequired[RunRef]


class ApprovalRequested(TypedDict):
    request_id: str
    purpose: Literal["policy", "in_doubt"]
    tool_name: str
    tool_call_id: str
    arguments: dict[str, Any]
    arguments_hash: str
    """A grant holds for this call id with these arguments, and for nothing else."""
    policy_id: str | None
    reason: str | None
    payload: dict[str, Any]
    timeout_s: float
    """Seconds from this event until the fallback answers."""
    agent_path: list[str]
    proposed_arguments: NotRequired[dict[str, Any] | str]
    """As the model asked for the call, where a rule or a person changed its arguments."""
    deferred: NotRequired[bool]
    """A rule put the call off: nobody is asked, and the question has no term."""


class ApprovalResolved(TypedDict):
    request_id: str
    tool_call_id: str
    arguments_hash: str
    outcome: Literal["granted", "denied", "deferred"]
    by: str
    """A person's name, or `fallback` where nobody answered."""
    reason: str | None
    letter: NotRequired[int]
    reference: NotRequired[str]
    """The name that whoever answered has for the answer, such as a message's id, by which it is known when it comes again."""


class InputRequested(TypedDict):
    request_id: str
    tool_name: str
    tool_call_id: str
    prompt: str
    payload: dict[str, Any]
    timeout_s: float
    """Seconds from this event until the fallback answers."""
    agent_path: list[str]
    arguments: NotRequired[dict[str, Any]]
    proposed_arguments: NotRequired[dict[str, Any] | str]
    policy_id: NotRequired[str | None]
    reason: NotRequired[str | None]


class InputResolved(TypedDict):
    request_id: str
    tool_call_id: str
    outcome: Literal["answered", "denied", "deferred"]
    value: str | None
    by: str
    reason: NotRequired[str | None]
    letter: NotRequired[int]
    reference: NotRequired[str]
    """As of an `approval_resolved`."""


class SubagentStarted(TypedDict):
    subagent_name: str
    correlation_id: str
    run_id: str
    """The child's run."""
    tool_name: NotRequired[str]
    tool_call_id: NotRequired[str]
    """Of the model's call, or the id of the plan's node."""
    ordinal: NotRequired[int]
    attempt: NotRequired[int]
    """1 for the first run; each attempt is a run of its own."""
    task: NotRequired[str]
    cost_budget_usd: NotRequired[float]
    """What the child may spend at most, where this run has a cost limit."""


class SubagentWaiting(TypedDict):
    subagent_name: str
    tool_call_id: str
    run_id: str
    reason: str
    """Why the child was laid down, such as the person it waits for."""


class NodeData(TypedDict):
    """As `delegation.Node`."""

    id: str
    subagent: str
    task: str
    timeout_s: NotRequired[float | None]
    retries: NotRequired[int]
    required: NotRequired[bool]
    inputs: NotRequired[dict[str, str]]


class PlanData(TypedDict):
    """As `delegation.Plan`."""

    nodes: list[NodeData]
    edges: NotRequired[list[list[str]]]
    join_policy: NotRequired[str]
    quorum: NotRequired[int | None]


class SubagentsRouted(TypedDict):
    plan: PlanData | None
    """The nodes and edges to carry out before the model is asked; None: nothing is delegated."""
    error: NotRequired[str]
    error_type: NotRequired[str]
    reused: NotRequired[RunRef]


class SubagentCompleted(TypedDict):
    subagent_name: str
    success: bool
    latency_ms: float
    error: str | None
    correlation_id: NotRequired[str]
    run_id: NotRequired[str]
    output: NotRequired[Any]
    usage: NotRequired[UsageData | None]
    cost_usd: NotRequired[float | None]
    tool_call_id: NotRequired[str]
    attempt: NotRequired[int]
    state: NotRequired[str | None]
    """What the child's run ended as; None where it never began."""
    error_type: NotRequired[str | None]
    classification: NotRequired[Literal["retryable", "terminal", "non_fatal"]]
    reused: NotRequired[RunRef]
    """The event that this is a copy of: nobody was asked, and nothing was spent."""
    edited: NotRequired[bool]
    """A copy with a change that a person made for this fork."""
    stubbed: NotRequired[bool]
    """The fork was told to answer this instead of running the subagent."""


class ControlRequested(TypedDict):
    action: Literal["pause", "resume", "cancel", "interrupt"]
    reason: str | None
    origin: str
    """`handle`, `guard`, or the name of whoever asked from outside."""
    letter: NotRequired[int]


class TimerFired(TypedDict):
    timer: str


class EffectInDoubt(TypedDict):
    effect: Literal["llm", "tool", "compaction"]
    intent_seq: int
    """The seq of the `llm_called`, `tool_started` or `compaction_started` that has no result."""
    resolution: Literal["ask_again", "run_again", "report", "ask"]
    tool_name: NotRequired[str]
    tool_call_id: NotRequired[str]


class LimitReached(TypedDict):
    limit: str
    maximum: float
    used: float


class CompactionStarted(TypedDict):
    attempt: int
    cut: int
    """Position, in the conversation of this run, of the first message that stays."""
    kept: list[int]
    """Positions before it that stay as well: the request that the run began with."""
    dropped_messages: int
    messages: int
    tokens: int
    """Of the conversation, an estimate."""
    turns: int
    summariser: str | None
    """The name of the function or model; None where turns are dropped without a summary."""
    input_hash: str
    """The digest of the messages that are summed up."""


class ThreadCompacted(TypedDict):
    thread_id: str
    up_to: list[RunRef]
    """How far the log is covered: the position of the `compaction_started`, with all that its run follows."""
    summary: str | None
    dropped_messages: int
    cut: NotRequired[int]
    """As in `compaction_started`. An event without it changes nothing: it is of a version that only took note."""
    kept: NotRequired[list[int]]
    tokens_before: NotRequired[int]
    tokens_after: NotRequired[int]
    summariser: NotRequired[str | None]
    model: NotRequired[str | None]
    """The model's name as the provider gave it, where a model summed up."""
    usage: NotRequired[UsageData | None]
    cost_usd: NotRequired[float | None]
    latency_ms: NotRequired[float]
    reused: NotRequired[RunRef]


class CompactionFailed(TypedDict):
    error: str
    error_type: str
    classification: Literal["retryable", "terminal", "non_fatal"]
    attempt: int
    summariser: str | None
    status_code: NotRequired[int | None]
    retry_after_s: NotRequired[float | None]
    latency_ms: NotRequired[float]
    model: NotRequired[str | None]
    usage: NotRequired[UsageData | None]
    """Of an answer that is no summary; without it there was no answer."""
    cost_usd: NotRequired[float | None]
    reused: NotRequired[RunRef]


class Warned(TypedDict):
    kind: str
    """`letter_refused`, or `interaction_failed`: a person could not be asked, and the fallback answers; or of a newer version."""
    request_id: NotRequired[str]
    tool_call_id: NotRequired[str]
    reason: NotRequired[str]
    letter: NotRequired[int]
    """The position of the letter that was taken in as this, here as in the other types that have it."""


class RunCompleted(TypedDict):
    state: Literal["completed", "degraded"]
    missing: NotRequired[list[str]]
    """What a degraded run did not do, one sentence each."""


class RunFailed(TypedDict):
    error: str
    error_type: str


class RunInterrupted(TypedDict):
    reason: str


class RunCancelled(TypedDict):
    reason: str


Origin = Literal["decision", "effect", "runner", "caller"]


class EventType(msgspec.Struct, frozen=True):
    """A row of the table of event types.

    Attributes:
        name: the stored tag.
        shape: the TypedDict that `data` must satisfy.
        when: when it is appended, in a sentence.
        origin: who says so: the machine's own `decision`, an `effect`'s answer, the `runner` that opens and drives the run, or the
            `caller` from outside.
        terminal: whether it ends the run's stretch.
        stored: whether it is in the log, or only seen live.
        posted: whether anybody may leave it for the run as a letter, which the run's owner takes in when it fits.
        parts: keys of `data` that are stored once by content, however many events carry them.
        defaults: keys that are left out of the stored text where they have this value.
        since: the version of afk_es that is the first to write the type. A golden of an older one has none, and is not blamed for it.
        keys_since: the same for keys that were added to its shape later.
    """

    name: str
    shape: type
    when: str
    origin: Origin
    terminal: bool = False
    stored: bool = True
    posted: bool = False
    parts: tuple[str, ...] = ()
    defaults: dict[str, Any] = {}
    since: str = "0.1.0"
    keys_since: dict[str, str] = {}


_TABLE = (
    EventType(
        "run_started",
        RunStarted,
        "a run, or a resumed stretch of it, begins and its owner claims it; one that failed is reopened",
        "runner",
        parts=("agent", "user_parts"),
    ),
    EventType("step_started", StepStarted, "a step begins: one turn of the model and the tools it asks for", "decision"),
    EventType(
        "instructions_resolved",
        InstructionsResolved,
        "the agent's instructions function has answered for this step",
        "effect",
        parts=("instructions",),
    ),
    EventType(
        "policy_decision",
        PolicyDecided,
        "a model, tool or subagent call was put before the policy, allowed ones too",
        "effect",
        defaults={"reason": None, "policy_id": None, "matched_rules": []},
    ),
    EventType(
        "llm_called",
        LlmCalled,
        "a request is about to be sent: each attempt, each fallback model",
        "decision",
        defaults={"model_index": 0, "attempt": 1},
    ),
    EventType("text_delta", TextDelta, "a piece of text arrived in a streamed run", "effect", stored=False),
    EventType("llm_completed", LlmCompleted, "the model has answered", "effect"),
    EventType("llm_failed", LlmFailed, "one attempt to ask the model failed", "effect"),
    EventType(
        "circuit_open",
        CircuitOpened,
        "a model was not asked, because it has failed too often in a row and its cooldown is not over",
        "decision",
    ),
    EventType("output_validated", OutputValidated, "the final answer satisfies the agent's output type", "effect"),
    EventType("output_rejected", OutputRejected, "the final answer does not, and the model is told why", "effect"),
    EventType("tool_batch_started", ToolBatchStarted, "the tool calls of one answer are taken up", "decision"),
    EventType("tool_started", ToolStarted, "a tool is about to run: each attempt", "decision", defaults={"attempt": 1}),
    EventType("tool_progress", ToolProgress, "a tool that goes on says how far it is, to whoever watches", "effect", stored=False),
    EventType("tool_failed", ToolFailed, "one attempt failed, or the call was refused before it started", "effect"),
    EventType(
        "tool_completed",
        ToolCompleted,
        "a call is over: returned, failed for good, denied, limited or unknown",
        "effect",
        defaults={"error": None, "agent_depth": 0, "outcome": "returned"},
    ),
    EventType("tool_deferred", ToolDeferred, "a tool has moved its call to the background; a refusal follows as tool_completed", "effect"),
    EventType("tool_background_resolved", ToolBackgroundResolved, "a deferred call ended well", "caller", posted=True),
    EventType("tool_background_failed", ToolBackgroundFailed, "a deferred call failed or expired", "caller", posted=True),
    EventType("approval_requested", ApprovalRequested, "a call waits for a person's yes", "decision"),
    EventType("approval_resolved", ApprovalResolved, "a person, or the fallback, answered or put it off", "effect", posted=True),
    EventType("input_requested", InputRequested, "a call waits for a person's words", "decision"),
    EventType("input_resolved", InputResolved, "a person, or the fallback, answered or put it off", "effect", posted=True),
    EventType("subagent_started", SubagentStarted, "a subagent's run is about to start", "decision"),
    EventType("subagent_completed", SubagentCompleted, "a subagent's run has ended", "effect"),
    EventType("subagent_waiting", SubagentWaiting, "a subagent's run was laid down, and goes on when this one is resumed", "effect"),
    EventType("subagents_routed", SubagentsRouted, "the agent's router has said what to delegate before the model is asked", "effect"),
    EventType("control_requested", ControlRequested, "somebody asked to pause, resume, cancel or interrupt", "caller", posted=True),
    EventType("timer_fired", TimerFired, "a wait is over: a retry's delay, a deadline", "effect"),
    EventType(
        "effect_in_doubt", EffectInDoubt, "on resume, an announced effect without a result was found, and this is done about it", "decision"
    ),
    EventType("limit_reached", LimitReached, "a limit of the agent was hit; what follows is the policy's affair", "decision"),
    EventType(
        "compaction_started",
        CompactionStarted,
        "the conversation has grown too large, and its older turns are about to be summed up or dropped: each attempt",
        "decision",
        defaults={"attempt": 1, "kept": []},
    ),
    EventType(
        "thread_compacted", ThreadCompacted, "older turns of the thread were summarised or dropped from what the model sees", "effect"
    ),
    EventType("compaction_failed", CompactionFailed, "one attempt to sum up older turns failed; nothing was dropped", "effect"),
    EventType("warning", Warned, "something non-fatal went wrong", "runner"),
    EventType("run_completed", RunCompleted, "the run ended with an answer, whole or degraded", "decision", terminal=True),
    EventType("run_failed", RunFailed, "the run failed", "decision", terminal=True),
    EventType("run_interrupted", RunInterrupted, "the run stopped and can be resumed", "decision", terminal=True),
    EventType("run_cancelled", RunCancelled, "the caller cancelled the run", "decision", terminal=True),
)

EVENT_TYPES: dict[str, EventType] = {row.name: row for row in _TABLE}
"""Every event type there is, in the order of a run."""

TERMINAL: frozenset[str] = frozenset(row.name for row in _TABLE if row.terminal)


def stored(event_type: str) -> bool:
    """Whether events of the type are in a log. An unknown type is: a newer version may have written it."""
    row = EVENT_TYPES.get(event_type)
    return row is None or row.stored


def struct_of(row: EventType, *, stored: bool = False) -> type[msgspec.Struct]:
    """The row's shape as a Struct. Data is held against one at a fifth of what a TypedDict costs, which makes a new dict of it.

    Args:
        stored: as a log stores it: with anything in place of a part, and without what is left out.
    """
    fields: list[Any] = []
    # The shapes' annotations are text, so `__required_keys__` does not know better than to hold every key.
    for key, hint in get_type_hints(row.shape, include_extras=True).items():
        optional = get_origin(hint) is NotRequired
        checked = Any if stored and key in row.parts else get_args(hint)[0] if optional else hint
        fields.append((key, checked, None) if optional or (stored and key in row.defaults) else (key, checked))
    return msgspec.defstruct(row.name, fields, kw_only=True)


@cache
def _struct_of(event_type: str) -> type[msgspec.Struct]:
    return struct_of(EVENT_TYPES[event_type])


def validate(event_type: str, data: dict[str, Any]) -> None:
    """Check `data` against the shape declared for the type. Unknown types and unknown keys pass: a newer version may have written them.

    Raises:
        InvalidEventError: naming the type, the path and what was expected.
    """
    row = EVENT_TYPES.get(event_type)
    if row is None:
        return
    try:
        msgspec.convert(data, _struct_of(event_type))
    except msgspec.ValidationError as error:
        raise InvalidEventError(f"{event_type}: {error}") from error


def validate_letter(draft: Draft) -> None:
    """Check that a draft can be left for a run from outside.

    Raises:
        InvalidEventError: not a type that can be posted, or data not of its shape.
    """
    row = EVENT_TYPES.get(draft.type)
    if row is None or not row.posted:
        legal = ", ".join(sorted(name for name, known in EVENT_TYPES.items() if known.posted))
        raise InvalidEventError(f"{draft.type!r} cannot be posted to a run; what can: {legal}")
    validate(draft.type, draft.data)
