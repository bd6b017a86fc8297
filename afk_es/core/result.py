"""`AgentResult`: what a run came to, as a fold of its events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

from pydantic import BaseModel, ConfigDict

from afk_es.errors import RunCancelledError, RunDegradedError, RunError, RunFailedError, RunInterruptedError
from afk_es.interaction.port import ApprovalRequest, InputRequest, request_of
from afk_es.llms import LLMResponse
from afk_es.log import EventLog
from afk_es.machine.events import AgentRunEvent
from afk_es.machine.inquiries import inquiries
from afk_es.machine.state import NO_TIME, RunState
from afk_es.machine.values import ToolCall, Usage, canonical_json
from afk_es.views import TICKET_EVENTS, ModelUse, TicketBook, TicketRecord, usage_by_model

ResultState = Literal["completed", "failed", "degraded", "cancelled", "interrupted"]

RESULT_EVENTS = frozenset({"llm_called", "llm_completed", "subagent_started", "subagent_completed"}) | TICKET_EVENTS
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
        state: completed, failed, degraded, cancelled or interrupted. Only an interrupted run can be resumed.
        tool_executions: every tool call, of subagents at every level too, which their `agent_path` tells apart.
        subagent_executions: the runs of this run's own subagents that have ended.
        usage_aggregate: tokens of all model calls whose provider said how many, those of subagents that have ended too.
        total_cost_usd: known costs added up, of subagents that have ended too; None where no answer carried a price.
        usage_by_model: requests, tokens and costs of this run itself by the name a model was asked under, fallbacks included.
        requested_model: the agent's model.
        normalized_model: the name under which the provider answered; where it did not say, the one it was asked by.
        provider_adapter: the adapter that answered, which is a fallback's where one had to; without an answer, the agent's own.
        final_structured: the validated answer of an agent with an output_type, as an instance of it. Without an output_type, and where
            a finished run is asked for again with another one: the JSON data of a structured answer. None where there is none.
        llm_response: the last answer of the model, or None.
        error: why a run that is not completed ended; None for a completed one.
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


def result_of(state: RunState, events: Sequence[AgentRunEvent], structured: Any = None) -> AgentResult:
    """The result of a run in this state. Of the events only `RESULT_EVENTS` count.

    Args:
        structured: the validated answer as an instance of the agent's output type.
    """
    records: list[ToolExecutionRecord] = []
    subagents: list[SubagentExecutionRecord] = []
    asked: dict[str, Any] = {}
    answered: dict[str, Any] = {}
    answer: dict[str, Any] | None = None
    tickets = TicketBook()
    for event in events:
        ended = tickets.take(event)
        if ended is not None:
            records.append(_background_record(state, ended))
        match event.type:
            case "tool_completed":
                records.append(_record(event.data))
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
        tool_executions=tuple(records),
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
        pending=tuple(request_of(inquiry) for inquiry in inquiries(state)),
    )


async def with_descendants(log: EventLog, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
    """The events a result is made of, and the tool records of the subagents' runs, each after the `subagent_started` of its run.

    They are read from the children's own logs: no copy of them stands in the parent's.
    """
    if not any(event.type == "subagent_started" for event in events):
        return events
    whole: list[AgentRunEvent] = []
    for event in events:
        whole.append(event)
        if event.type == "subagent_started":
            child = await log.read(event.data["run_id"])
            theirs = await with_descendants(log, [each for each in child if each.type in ("tool_completed", "subagent_started")])
            whole += [each for each in theirs if each.type == "tool_completed"]
    return whole


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


def _background_record(state: RunState, ticket: TicketRecord) -> ToolExecutionRecord:
    spec = state.spec
    took = ticket.ended_at - ticket.deferred_at if ticket.ended_at is not None else NO_TIME
    return ToolExecutionRecord.model_construct(
        tool_name=ticket.tool_name,
        tool_call_id=ticket.tool_call_id,
        success=ticket.status == "resolved",
        output=ticket.output,
        error=ticket.error,
        latency_ms=took.total_seconds() * 1000,
        agent_name=spec.agent_name,
        agent_depth=len(spec.agent_path),
        agent_path=(*spec.agent_path, spec.agent_name),
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
