"""`AgentResult`: what a run came to, as a fold of its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

from pydantic import BaseModel, ConfigDict

from afk_es.core.pending import pending_requests
from afk_es.errors import RunCancelledError, RunDegradedError, RunError, RunFailedError, RunInterruptedError
from afk_es.interaction.port import ApprovalRequest, InputRequest
from afk_es.llms import LLMResponse
from afk_es.log import EventLog
from afk_es.machine.events import AgentRunEvent
from afk_es.machine.state import NO_TIME, RunState
from afk_es.machine.values import ToolCall, Usage, canonical_json
from afk_es.views import FAILURE_EVENTS, TICKET_EVENTS, ModelUse, RunFailure, TicketBook, TicketRecord, failure_of, usage_by_model

ResultState = Literal["completed", "failed", "degraded", "cancelled", "interrupted"]

RESULT_EVENTS = (
    frozenset({"run_started", "llm_called", "llm_completed", "llm_failed", "subagent_started", "subagent_completed"})
    | TICKET_EVENTS
    | FAILURE_EVENTS
)
"""The events that a result needs beside the state."""


class ToolExecutionRecord(BaseModel):
    """A tool call of a run and how it ended; denied and refused ones too.

    One that went on in the background has its record when it has ended there; its `latency_ms` is the time since it was deferred.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, defer_build=True)

    tool_name: str
    tool_call_id: str
    success: bool
    output: Any
    error: str | None
    latency_ms: float
    agent_name: str
    agent_depth: int
    agent_path: tuple[str, ...]


class SubagentExecutionRecord(BaseModel):
    """A subagent's run and how it ended; each attempt is one. `output_text` is JSON where the subagent has an output type."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, defer_build=True)

    subagent_name: str
    success: bool
    output_text: str
    error: str | None
    latency_ms: float
    run_id: str


class StateSnapshot(BaseModel):
    """Where a run stood when the result was made. `total_cost_usd` is None where no answer carried a price."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, defer_build=True)

    state: str
    step: int
    llm_calls: int
    tool_calls: int
    elapsed_s: float
    total_cost_usd: float | None
    seq: int
    open_tickets: int


class AgentResult(BaseModel):
    """What a run came to.

    Attributes:
        final_text: the answer; the error message of a failed run; the answer and what is missing of a degraded one; for a cancelled or
            interrupted run the last text there was, or "".
        state: completed, failed, degraded, cancelled or interrupted. An interrupted run can be resumed, and a failed one reopened
            (`Runner.resume(..., reopen=True)`).
        tool_executions: every tool call, of subagents at every level too, which their `agent_path` tells apart.
        subagent_executions: the runs of this run's own subagents that have ended.
        usage_aggregate: tokens of all model calls whose provider said how many, those of subagents that have ended too.
        total_cost_usd: known costs added up, of subagents that have ended too; None where no answer carried a price. Of a fork this and
            `usage_aggregate` are of all that led to the result, shared and reused answers too: limits count by them.
        usage_by_model: requests, tokens and costs of this run itself by the name a model was asked under, fallbacks included; of a fork,
            what it has spent itself.
        requested_model: the agent's model.
        normalized_model: the name under which the provider answered; where it did not say, the one it was asked by.
        provider_adapter: the adapter that answered, which is a fallback's where one had to; without an answer, the agent's own.
        final_structured: the validated answer of an agent with an output_type, as an instance of it. Without an output_type, and where
            a finished run is asked for again with another one: the JSON data of a structured answer. None where there is none.
        llm_response: the last answer of the model, or None.
        error: why a run that is not completed ended; None for a completed one.
        failure: of a failed run, how it failed, and whether it may go better another time (`RunFailure.retryable`); None otherwise.
        pending: the questions to people that an interrupted run waits with, or a subagent it waits for: an
            `afk_es.interaction.ApprovalRequest` or `InputRequest` each, with its own run_id; answer them with `Runner.approve`,
            `deny` or `answer`, or on the command line, and resume the run.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, arbitrary_types_allowed=True, defer_build=True)

    final_text: str
    state: ResultState
    run_id: str
    thread_id: str
    tool_executions: tuple[ToolExecutionRecord, ...] = ()
    subagent_executions: tuple[SubagentExecutionRecord, ...] = ()
    usage_aggregate: Usage = Usage()
    total_cost_usd: float | None = None
    usage_by_model: dict[str, ModelUse] = {}
    requested_model: str
    normalized_model: str
    provider_adapter: str
    final_structured: Any = None
    llm_response: LLMResponse | None = None
    state_snapshot: StateSnapshot
    error: str | None = None
    failure: RunFailure | None = None
    pending: tuple[ApprovalRequest | InputRequest, ...] = ()

    def raise_for_state(self) -> AgentResult:
        """This result, if the run completed.

        Raises:
            RunFailedError, RunDegradedError, RunCancelledError, RunInterruptedError: after the state; each carries the result.
        """
        error = _ERRORS.get(self.state)
        if error is None:
            return self
        raise error(f"run {self.run_id} is {self.state}: {self.error or self.final_text}", result=self)


_ERRORS: dict[str, type[RunError]] = {
    "failed": RunFailedError,
    "degraded": RunDegradedError,
    "cancelled": RunCancelledError,
    "interrupted": RunInterruptedError,
}


async def whole_result(log: EventLog, state: RunState, events: Sequence[AgentRunEvent], structured: Any = None) -> AgentResult:
    """The result of a run in this state, with what only the logs of its subagents' runs say: their tool records and open questions."""
    theirs = await _records_of_subagents(log, events)
    # No run has to be read again that was laid down with nothing of its own or of a subagent's left open.
    pending = await pending_requests(log, state.run_id) if state.status == "interrupted" and state.batch is not None else ()
    return result_of(state, events, structured, theirs, pending)


def result_of(
    state: RunState,
    events: Sequence[AgentRunEvent],
    structured: Any = None,
    theirs: Mapping[str, Sequence[ToolExecutionRecord]] | None = None,
    pending: tuple[ApprovalRequest | InputRequest, ...] = (),
) -> AgentResult:
    """The result of a run in this state. Of the events, which are its own, only `RESULT_EVENTS` count.

    Args:
        structured: the validated answer as an instance of the agent's output type.
        theirs: the tool records of its subagents' runs, by run id.
    """
    subagents: list[SubagentExecutionRecord] = []
    asked: dict[str, Any] = {}
    answered: dict[str, Any] = {}
    answer: dict[str, Any] | None = None
    for event in events:
        match event.type:
            case "subagent_completed":
                subagents.append(_subagent_record(event.data))
            case "llm_called":
                asked = event.data
            case "llm_completed":
                answered, answer = asked, event.data
            case _:
                pass
    model = state.spec.models[0]
    completed = state.status == "completed"
    cost = float(state.cost_usd) if state.cost_known else None
    return AgentResult.model_construct(
        final_text=text_of_run(state),
        state=cast(ResultState, state.status),
        run_id=state.run_id,
        thread_id=state.thread_id,
        tool_executions=tuple(_tool_records(events, (*state.spec.agent_path, state.spec.agent_name), theirs or {})),
        subagent_executions=tuple(subagents),
        usage_aggregate=state.usage,
        total_cost_usd=cost,
        usage_by_model=usage_by_model(events),
        requested_model=model.model,
        normalized_model=(answer.get("model") if answer is not None else None) or answered.get("model", model.model),
        provider_adapter=answered.get("provider", model.provider),
        final_structured=structured if completed or state.status == "degraded" else None,
        llm_response=_response(answer) if answer is not None else None,
        state_snapshot=StateSnapshot.model_construct(
            state=state.status,
            step=state.step,
            llm_calls=state.llm_calls,
            tool_calls=state.tool_calls,
            elapsed_s=state.elapsed.total_seconds(),
            total_cost_usd=cost,
            seq=state.seq,
            open_tickets=len(state.tickets),
        ),
        error=None if completed else state.reason,
        failure=failure_of(events) if state.status == "failed" else None,
        pending=pending,
    )


async def _records_of_subagents(log: EventLog, events: Iterable[AgentRunEvent]) -> dict[str, list[ToolExecutionRecord]]:
    """The tool records of the runs that these events start, and of those below, by run id.

    They are read from the children's own logs: no copy of them stands in the parent's.
    """
    found: dict[str, list[ToolExecutionRecord]] = {}
    for event in events:
        # What a fork reuses was done by a child of the other run.
        if event.type != "subagent_started" and not _reuses_child(event):
            continue
        run_id = event.data["run_id"]
        # Announced, and the process died before it began: then there is nothing.
        if child := await log.read(run_id):
            agent = child[0].data["agent"]
            path = (*agent.get("agent_path", ()), agent["agent_name"])
            found[run_id] = _tool_records(child, path, await _records_of_subagents(log, child))
    return found


def _tool_records(
    events: Iterable[AgentRunEvent], path: tuple[str, ...], theirs: Mapping[str, Sequence[ToolExecutionRecord]]
) -> list[ToolExecutionRecord]:
    """The tool records of one run, by its agent's path; those of a subagent's run stand where that was started."""
    records: list[ToolExecutionRecord] = []
    events = list(events)
    left = _left_to_others(events)
    tickets = TicketBook()
    for event in events:
        ended = tickets.take(event)
        if ended is not None:
            records.append(_background_record(path, ended))
        elif event.type == "tool_completed":
            records.append(_record(event.data))
        elif (event.type == "subagent_started" and event.data["run_id"] not in left) or _reuses_child(event):
            records += theirs.get(event.data["run_id"], ())
    return records


def _left_to_others(events: Sequence[AgentRunEvent]) -> set[str]:
    """Runs of subagents that were under way where a fork begins: the other run's, save that the fork may reuse what they came to."""
    under_way: set[str] = set()
    left: set[str] = set()
    for event in events:
        if event.type == "subagent_started":
            under_way.add(event.data["run_id"])
        elif event.type == "subagent_completed":
            under_way.discard(event.data.get("run_id", ""))
        elif event.type == "run_started" and "forked_from" in event.data:
            left |= under_way
            under_way.clear()
    return left


def _reuses_child(event: AgentRunEvent) -> bool:
    return event.type == "subagent_completed" and "reused" in event.data and "run_id" in event.data


def text_of_run(state: RunState) -> str:
    """What a run in this state says, as `AgentResult.final_text` has it."""
    match state.status:
        case "failed":
            return state.reason
        case "degraded":
            missing = "\n".join(f"- {sentence}" for sentence in state.missing)
            return f"{state.answer}\n\nIncomplete:\n{missing}".strip()
        case _:
            return state.answer


def _record(data: dict[str, Any]) -> ToolExecutionRecord:
    return ToolExecutionRecord.model_construct(
        tool_name=data["tool_name"],
        tool_call_id=data["tool_call_id"],
        success=data["success"],
        output=data["output"],
        error=data["error"],
        latency_ms=data["latency_ms"],
        agent_name=data["agent_name"],
        agent_depth=data["agent_depth"],
        agent_path=tuple(data["agent_path"]),
    )


def _background_record(path: tuple[str, ...], ticket: TicketRecord) -> ToolExecutionRecord:
    took = ticket.ended_at - ticket.deferred_at if ticket.ended_at is not None else NO_TIME
    return ToolExecutionRecord.model_construct(
        tool_name=ticket.tool_name,
        tool_call_id=ticket.tool_call_id,
        success=ticket.status == "resolved",
        output=ticket.output,
        error=ticket.error,
        latency_ms=took.total_seconds() * 1000,
        agent_name=path[-1],
        agent_depth=len(path) - 1,
        agent_path=path,
    )


def _subagent_record(data: dict[str, Any]) -> SubagentExecutionRecord:
    output = data.get("output")
    text = output if isinstance(output, str) else "" if output is None else canonical_json(output).decode()
    return SubagentExecutionRecord.model_construct(
        subagent_name=data["subagent_name"],
        success=data["success"],
        output_text=text,
        error=data["error"],
        latency_ms=data["latency_ms"],
        run_id=data.get("run_id", ""),
    )


def _response(data: dict[str, Any]) -> LLMResponse:
    usage = data["usage"]
    return LLMResponse(
        text=data["text"],
        tool_calls=tuple(ToolCall(item["id"], item["tool_name"], item["arguments"]) for item in data["tool_calls"]),
        finish_reason=data["finish_reason"],
        usage=Usage(usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) if usage is not None else None,
        cache_read_tokens=usage.get("cache_read_tokens") if usage is not None else None,
        cached=data.get("cached", False),
        cost_usd=data["cost_usd"],
        model=data.get("model"),
        structured_response=data.get("structured_response"),
    )
