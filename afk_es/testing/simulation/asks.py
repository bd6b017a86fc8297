"""What a simulated run waits for: the stand-ins for model, tools, people and summarisers, which ask whoever drives the simulation.

Everything around them is real: the arguments are validated, hooks and middlewares run, errors are classed, answers are checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Literal, Protocol

from afk_es.errors import (
    LLMConfigurationError,
    LLMInvalidResponseError,
    LLMRetryableError,
    LLMTimeoutError,
    ToolError,
    ToolTimeoutError,
    UsageError,
)
from afk_es.handlers import Binding
from afk_es.interaction import ApprovalDecision, ApprovalRequest, InputDecision, InputRequest
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.machine import Effect, RunState
from afk_es.machine.values import Message, ToolCall, Usage
from afk_es.testing.simulation.facts import (
    Fact,
    ModelAnswers,
    ModelFails,
    PersonSays,
    Summarises,
    ToolDefers,
    ToolFails,
    ToolReturns,
    ToolRuns,
)
from afk_es.tools import Tool, ToolContext, ToolDeferredHandle

PATIENCE_S = 5.0
"""Real seconds after which it is said that a tool's own code blocks."""

_LOGGER = logging.getLogger("afk_es.simulation")

AskKind = Literal["model", "tool", "approval", "input", "summary"]

PERFORMING: ContextVar[tuple[Effect, RunState]] = ContextVar("afk_es_performing")
"""The effect that the current task performs, and the state that wanted it."""

FITTING: dict[AskKind, tuple[type, ...]] = {
    "model": (ModelAnswers, ModelFails),
    "tool": (ToolReturns, ToolFails, ToolDefers, ToolRuns),
    "approval": (PersonSays,),
    "input": (PersonSays,),
    "summary": (Summarises,),
}
"""Per kind of ask, the facts that answer it."""


@dataclasses.dataclass(eq=False, slots=True)
class Ask:
    """Something that a run waits for.

    Attributes:
        key: names it within the simulation: its kind, whom it goes to, and a number, as in "tool:refund:1".
        kind: what is asked.
        name: of the agent whose model is asked, of the tool, or of the tool that a person is asked about.
        process: the number of the process that asks.
        run_id, step: the run's, which may be a subagent's.
        effect: the effect that is performed; None for a question that was found open.
        about: the request to the model or to a person, the tool's arguments as they are validated, or the messages to sum up.
        tool: for a tool.
        context: for a tool.
        state: in which the process wanted the effect.
    """

    key: str
    kind: AskKind
    name: str
    process: int
    run_id: str
    step: int
    effect: Effect | None
    about: Any
    future: asyncio.Future[Fact]
    tool: Tool[..., Any] | None = None
    context: ToolContext | None = None
    state: RunState | None = None


class Bounds(Protocol):
    """What may be answered in a world whose author has said so, such as that people refuse, or that a tool runs its own code."""

    def allows(self, ask: Ask, fact: Fact) -> bool:
        """Whether this may be the answer."""
        ...

    def plain(self, ask: Ask) -> Fact:
        """The answer where nothing goes wrong; one that is allowed."""
        ...


class Desk(Protocol):
    """Where the stand-ins of one process put what they ask."""

    async def answer(
        self, kind: AskKind, name: str, about: Any, tool: Tool[..., Any] | None = None, context: ToolContext | None = None
    ) -> Any:
        """The fact that answers, once there is one."""
        ...


class AskedModel:
    """Stands for a model.

    Args:
        provider: of the model that it stands for. It is in the log, and a golden of a simulated run is checked with the real model in place.
    """

    def __init__(self, desk: Desk, agent: str, provider: str = "simulated") -> None:
        self.provider_id: str = provider
        self._desk = desk
        self._agent = agent
        self.model: str = f"simulated-{agent}"

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """Whatever is answered."""
        fact = await self._desk.answer("model", self._agent, request)
        if isinstance(fact, ModelFails):
            raise _model_error(fact)
        assert isinstance(fact, ModelAnswers)
        return LLMResponse(
            text=fact.text,
            tool_calls=tuple(ToolCall(call.id, call.tool_name, call.arguments) for call in fact.calls),
            finish_reason=fact.finish_reason,
            usage=None if fact.tokens is None else Usage(fact.tokens[0], fact.tokens[1], sum(fact.tokens)),
            cost_usd=fact.cost_usd,
            structured_response=_structured(fact.text) if request.response_format is not None else None,
        )


def _structured(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _model_error(fact: ModelFails) -> Exception:
    match fact.fault:
        case "timeout":
            return LLMTimeoutError("the model did not answer in time")
        case "overloaded":
            return LLMRetryableError("the model is overloaded", status_code=429, retry_after_s=fact.retry_after_s)
        case "connection":
            return ConnectionError("the connection was lost")
        case "invalid_response":
            return LLMInvalidResponseError("the model answered something that is no answer")
        case "refused_request":
            return LLMConfigurationError("the model refuses the request", status_code=400)


class AskedPeople:
    """Stands for the people whom a run may ask."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def request_approval(self, request: ApprovalRequest) -> ApprovalDecision:
        """Whatever is said."""
        return approval_of(await self._desk.answer("approval", request.tool_name, request))

    async def request_input(self, request: InputRequest) -> InputDecision:
        """Whatever is said."""
        return words_of(await self._desk.answer("input", request.tool_name, request))


def approval_of(said: PersonSays) -> ApprovalDecision:
    """What was said, as the answer to an approval request."""
    if said.outcome == "absent":
        raise ConnectionError("nobody is at the desk")
    outcomes: dict[str, Literal["granted", "denied", "deferred"]] = {"yes": "granted", "no": "denied", "put_off": "deferred"}
    return ApprovalDecision(outcome=outcomes[said.outcome], by=said.by, reason=said.words or None)


def words_of(said: PersonSays) -> InputDecision:
    """What was said, as the answer to a request for words."""
    if said.outcome == "absent":
        raise ConnectionError("nobody is at the desk")
    if said.outcome == "yes":
        return InputDecision(outcome="answered", by=said.by, value=said.words)
    return InputDecision(outcome="denied" if said.outcome == "no" else "deferred", by=said.by)


def asked_tool(tool: Tool[..., Any], desk: Desk) -> Tool[..., Any]:
    """The same tool, with whoever drives the simulation in place of its function; its hooks and middlewares stay."""
    invoke, is_async = tool.signature.invoke, tool.signature.is_async

    async def ask(args: Any, ctx: ToolContext) -> Any:
        fact = await desk.answer("tool", tool.name, tool.json_arguments(args), tool, ctx)
        match fact:
            case ToolReturns():
                return fact.output
            case ToolDefers():
                return ToolDeferredHandle(ticket_id=fact.ticket_id, expires_in_s=fact.expires_in_s)
            case ToolRuns():
                with _patience(tool.name):
                    output = invoke(args, ctx)
                return await output if is_async or inspect.isawaitable(output) else output
            case _:
                assert isinstance(fact, ToolFails)
                raise _tool_error(fact)

    return dataclasses.replace(tool, signature=dataclasses.replace(tool.signature, invoke=ask, is_async=True))


@contextlib.contextmanager
def _patience(name: str) -> Iterator[None]:
    """Say so where a tool's own code blocks: real time passes then, in which nothing else goes on and nobody knows why."""
    timer = threading.Timer(
        PATIENCE_S, _LOGGER.warning, ("the tool %s blocks for more than %g real seconds in a simulation", name, PATIENCE_S)
    )
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _tool_error(fact: ToolFails) -> Exception:
    match fact.fault:
        case "error":
            return ToolError(fact.message)
        case "timeout":
            return ToolTimeoutError(fact.message)
        case "crash":
            return RuntimeError(fact.message)


def asked_summariser(desk: Desk, name: str) -> Callable[[list[Message]], Any]:
    """Stands for a function or model that sums up."""

    async def summarise(messages: list[Message]) -> str:
        fact = await desk.answer("summary", name, messages)
        assert isinstance(fact, Summarises)
        if fact.text is None:
            raise RuntimeError("no words were found")
        return fact.text

    return summarise


def simulated(binding: Binding, desk: Desk) -> Binding:
    """A binding whose outside world is asked at the desk; policies, instructions, output types, routers and hooks stay real."""
    agent = binding.spec.agent_name
    return dataclasses.replace(
        binding,
        models=tuple(AskedModel(desk, agent, model.provider_id) for model in binding.models),
        tools={name: asked_tool(tool, desk) if _executes(binding, name) else tool for name, tool in binding.tools.items()},
        people=AskedPeople(desk) if binding.people is not None else None,
        summariser=asked_summariser(desk, agent) if binding.summariser is not None else None,
        subagents={name: simulated(child, desk) for name, child in binding.subagents.items()},
    )


def _executes(binding: Binding, name: str) -> bool:
    spec = binding.spec.tool(name)
    return spec is None or spec.kind == "function"


def check_fits(ask: Ask, fact: Fact) -> None:
    """Refuse a fact that answers something else.

    Raises:
        UsageError: naming both.
    """
    if not isinstance(fact, FITTING[ask.kind]):
        kinds = " or ".join(kind.__name__ for kind in FITTING[ask.kind])
        raise UsageError(f"{ask.key} is answered by {kinds}, and not by {type(fact).__name__}")
