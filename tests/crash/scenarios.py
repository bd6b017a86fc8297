"""The runs that are killed everywhere. Each model answers from the request alone, or from what the world has seen."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from afk_es.agents import Agent, FailSafeConfig, PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.core import AgentResult, AgentRunHandle, RetentionPolicy, Runner, RunnerConfig
from afk_es.errors import LLMRetryableError, ToolError, UsageError
from afk_es.interaction import ApprovalDecision, ApprovalRequest, InputDecision, InputRequest
from afk_es.llms import Image, LLMBuilder, LLMRequest, LLMResponse, ToolCall, Usage
from afk_es.machine.values import Message
from afk_es.testing import CrashScenario, ScriptedModel
from afk_es.tools import Tool, ToolContext, ToolDeferredHandle, tool
from tests.crash.journal import Journal

Plan = Sequence[Sequence[str]]
"""Per turn of the model, the tools it asks for at once. After the last it says what came of them."""

REQUIRED = "does not have the required form"
UNKNOWN = "unknown"


def planned(plan: Plan) -> Callable[[LLMRequest], LLMResponse]:
    """A model that follows a plan, and in the end tells what each call returned."""

    def answer(request: LLMRequest) -> LLMResponse:
        said = since_user(request)
        turn = sum(bool(message.tool_calls) for message in said)
        usage = Usage(10, 5, 15)
        if turn < len(plan):
            calls = tuple(ToolCall(f"call_{turn + 1}_{n}", name, {"item": f"{turn + 1}.{n}"}) for n, name in enumerate(plan[turn], 1))
            return LLMResponse(text=f"turn {turn + 1}", tool_calls=calls, finish_reason="tool_calls", usage=usage, cost_usd=0.01)
        told = [f"{message.tool_call_id}: {short(message.content)}" for message in said if message.role == "tool"]
        earlier = sum(message.role == "user" for message in request.messages) - 1
        text = "\n".join([f"done after {earlier} earlier messages", *told])
        return LLMResponse(text=text, finish_reason="stop", usage=usage, cost_usd=0.01)

    return answer


def since_user(request: LLMRequest) -> list[Message]:
    """The messages after the last thing the user said."""
    messages = list(request.messages)
    last = max(index for index, message in enumerate(messages) if message.role == "user")
    return messages[last + 1 :]


def short(content: str) -> str:
    """What a tool's result says, without the preamble that marks it as data."""
    if "the outcome of this call is unknown" in content:
        return UNKNOWN
    return content.strip().splitlines()[-1]


def tools_in(journal: Journal, *, fail_times: int = 0) -> dict[str, Tool[..., Any]]:
    """One tool of each class. Each takes effect, waits a turn of the event loop, and returns."""
    return _tools(journal.path, fail_times)


@lru_cache(maxsize=16)
def _tools(path: Path, fail_times: int) -> dict[str, Tool[..., Any]]:
    """They keep nothing but the journal's name, so the processes of a trial may share them, which saves a third of its time."""
    journal = Journal(path)

    @tool
    async def pay(item: str, ctx: ToolContext) -> str:
        """Pay. Neither read-only nor idempotent."""
        journal.note("pay", ctx, item=item)
        await asyncio.sleep(0)
        return f"paid {item}"

    @tool(read_only=True)
    async def look(item: str, ctx: ToolContext) -> str:
        """Look something up."""
        journal.note("look", ctx, item=item)
        await asyncio.sleep(0)
        return f"saw {item}"

    @tool(idempotent=True)
    async def put(item: str, ctx: ToolContext) -> str:
        """Put something in its place; twice is as good as once."""
        journal.note("put", ctx, item=item)
        for _turn in range(3):
            await asyncio.sleep(0)
        return f"put {item}"

    @tool(idempotent=True)
    async def flaky(item: str, ctx: ToolContext) -> str:
        """Fails the first times."""
        journal.note("flaky", ctx, item=item)
        if journal.times()[ctx.idempotency_key] <= fail_times:
            raise ConnectionError("the line is down")
        return f"came through with {item}"

    @tool
    async def broken(item: str, ctx: ToolContext) -> str:
        """Takes effect and fails."""
        journal.note("broken", ctx, item=item)
        raise ToolError("it did not work")

    @tool
    def slow_pay(item: str, ctx: ToolContext) -> str:
        """Pay, in a thread."""
        journal.note("slow_pay", ctx, item=item)
        return f"paid {item}"

    return {one.name: one for one in (pay, look, put, flaky, broken, slow_pay)}


def agent(
    plan: Plan,
    *,
    fail_times: int = 0,
    fail_safe: FailSafeConfig | None = None,
    wrap: Callable[[Any, Journal], Any] | None = None,
    **more: Any,
) -> Callable[[Path], Agent]:
    """Makes the agent of a process."""

    def make(directory: Path) -> Agent:
        journal = Journal(directory / "journal.jsonl")
        answer: Any = planned(plan)
        model = ScriptedModel(answer if wrap is None else wrap(answer, journal))
        used = {name for turn in plan for name in turn}
        tools = [one for name, one in tools_in(journal, fail_times=fail_times).items() if name in used]
        return Agent(name="clerk", model=model, instructions="Be brief.", tools=tools, fail_safe=fail_safe or FailSafeConfig(), **more)

    return make


def failing_at_first(answer: Any, journal: Journal) -> Any:
    """A provider that is overloaded for the first two requests of each step."""

    def ask(request: LLMRequest) -> Any:
        journal.note("asked", step=request.idempotency_key)
        asked = sum(line.get("step") == request.idempotency_key for line in journal.lines())
        return LLMRetryableError("overloaded", status_code=503) if asked <= 2 else answer(request)

    return ask


def never_there(answer: Any, journal: Journal) -> Any:
    """A provider that is out of reach."""
    return lambda request: LLMRetryableError("overloaded", status_code=503)


class Verdict(BaseModel):
    """A structured answer."""

    ok: bool
    count: int


def _verdict(directory: Path) -> Agent:
    journal = Journal(directory / "journal.jsonl")

    def answer(request: LLMRequest) -> Any:
        last = list(request.messages)[-1]
        if last.role == "tool":
            return "I think it is fine."
        return '{"ok": true, "count": 3}' if REQUIRED in last.content else planned([["look"]])(request)

    return Agent(name="judge", model=ScriptedModel(answer), tools=[tools_in(journal)["look"]], output_type=Verdict)


def ordering(*items: str) -> Callable[[LLMRequest], LLMResponse]:
    """A model that orders these, and then tells all that it has heard of them, whenever it heard it."""

    def answer(request: LLMRequest) -> LLMResponse:
        usage = Usage(10, 5, 15)
        if not any(message.tool_calls for message in request.messages):
            calls = tuple(ToolCall(f"call_{n}", "order", {"item": item}) for n, item in enumerate(items, 1))
            return LLMResponse(tool_calls=(*calls, ToolCall("call_put", "put", {"item": "by"})), usage=usage)
        heard = [short(message.content) for message in request.messages if message.content.startswith("The background tool")]
        return LLMResponse(text=f"heard: {sorted(heard)}", usage=usage)

    return answer


def background(*items: str) -> Callable[[Path], Agent]:
    """Makes a clerk who orders these in the background."""

    def make(directory: Path) -> Agent:
        journal = Journal(directory / "journal.jsonl")

        @tool
        async def order(item: str, ctx: ToolContext) -> ToolDeferredHandle:
            """Order something that takes long."""
            journal.note("order", ctx, item=item)
            await asyncio.sleep(0)
            return ToolDeferredHandle(ticket_id=f"ticket {item}", summary="ordered")

        model = ScriptedModel(ordering(*items))
        return Agent(name="clerk", model=model, tools=[order, tools_in(journal)["put"]], fail_safe=FailSafeConfig(max_wall_time_s=None))

    return make


async def deliver(runner: Runner, handle: AgentRunHandle) -> None:
    """Whoever does the work has the result of every ticket as soon as there is one, and hands it in unless it was."""
    run = {"thread_id": handle.thread_id, "run_id": handle.run_id}
    async for event in handle.events:
        if event.type in ("run_started", "tool_deferred"):
            for ticket in await runner.list_background_tools(**run, include_resolved=False):
                # It may have ended, or the run itself, since it was listed.
                with contextlib.suppress(UsageError):
                    await runner.resolve_background_tool(**run, ticket_id=ticket["ticket_id"], output=f"delivered {ticket['ticket_id']}")


def _dynamic(directory: Path) -> Agent:
    journal = Journal(directory / "journal.jsonl")

    async def instructions(context: dict[str, Any]) -> str:
        await asyncio.sleep(0)
        return f"Serve {context['customer']}."

    return Agent(name="clerk", model=ScriptedModel(planned([["put"]])), instructions=instructions, tools=[tools_in(journal)["put"]])


def _chain(directory: Path) -> Agent:
    """A model whose retries and fallback are its own until a Runner takes them over."""
    journal = Journal(directory / "journal.jsonl")
    answer = planned([["pay"], ["put"]])
    fallback = LLMBuilder().provider(ScriptedModel(answer)).model("plan b").build()
    first = ScriptedModel(never_there(answer, journal))
    model = LLMBuilder().provider(first).model("plan a").with_retry(2).with_circuit_breaker(None).with_fallback(fallback).build()
    return Agent(name="clerk", model=model, tools=[tools_in(journal)[name] for name in ("pay", "put")])


async def _pause_in_the_middle(handle: AgentRunHandle) -> None:
    paused = False
    async for event in handle.events:
        if event.type == "tool_started" and not paused:
            paused = True
            await handle.pause()
        elif event.type == "tool_completed" and paused:
            await handle.resume()


async def _cancel_in_the_first_tool(handle: AgentRunHandle) -> None:
    async for event in handle.events:
        if event.type == "tool_started":
            await handle.cancel("enough")


def going_by_words(plan: Plan) -> Callable[[Path], Agent]:
    """Follows a plan by what was said of it, in turns or in a summary of them."""

    def make(directory: Path) -> Agent:
        journal = Journal(directory / "journal.jsonl")

        def answer(request: LLMRequest) -> LLMResponse:
            turn = max([0, *map(int, re.findall(r"turn (\d+)", " ".join(message.content for message in request.messages)))])
            if turn == len(plan):
                return LLMResponse(text=f"done after {turn}", finish_reason="stop", usage=Usage(10, 5, 15), cost_usd=0.01)
            calls = tuple(ToolCall(f"call_{turn + 1}_{n}", name, {"item": f"{turn + 1}.{n}"}) for n, name in enumerate(plan[turn], 1))
            return LLMResponse(text=f"turn {turn + 1}", tool_calls=calls, usage=Usage(10, 5, 15), cost_usd=0.01)

        return Agent(name="clerk", model=ScriptedModel(answer), tools=list(tools_in(journal).values()))

    return make


async def in_a_few_words(messages: list[Message]) -> str:
    await asyncio.sleep(0)
    return " ".join(word for message in messages for word in re.findall(r"turn \d+|said \d+", message.content))


def in_a_models_words(request: LLMRequest) -> LLMResponse:
    words = " ".join(re.findall(r"turn \d+|said \d+", list(request.messages)[-1].content))
    return LLMResponse(text=f"They came to: {words}", usage=Usage(30, 5, 35), cost_usd=0.02)


def _overloaded_at_first(request: LLMRequest) -> LLMResponse:
    raise LLMRetryableError("overloaded", status_code=503)


async def _some_runs(runner: Runner, agent: Agent) -> None:
    for number in range(4):
        said = agent.model_copy(update={"model": ScriptedModel([f"said {number}"])})
        await runner.run(said, user_message=f"Say {number}.", thread_id="thread_of_four")


def keeping(summariser: Any, **maxima: int) -> RunnerConfig:
    return RunnerConfig(thread_retention=RetentionPolicy(summariser=summariser, **maxima))


_STEPS: Plan = [["put"], ["look", "pay"], ["put"], ["pay"], ["look"]]


async def first_run(runner: Runner, agent: Agent) -> None:
    await runner.run(agent, user_message="The first.", thread_id="thread_of_two")


_NO_PAYING = PolicyEngine(
    [
        PolicyRule(
            rule_id="no_paying",
            action="deny",
            reason="not today",
            condition=PolicyRuleCondition(event_type="tool_before_execute", tool_name="pay"),
        )
    ]
)

# Whoever posts looks at once, and nobody looks by real time: a scenario has the same points every time.
_LOOKING = RunnerConfig(background_tool_poll_interval_s=60)


def ruled(*actions: tuple[str, str, dict[str, Any]]) -> PolicyEngine:
    """Rules for tools by name: the action, and what is shown to the person."""
    return PolicyEngine(
        [
            PolicyRule.model_validate(
                {
                    "rule_id": f"{action}_{name}",
                    "action": action,
                    "reason": "it is dear",
                    "condition": PolicyRuleCondition(event_type="tool_before_execute", tool_name=name),
                    "request_payload": payload,
                }
            )
            for name, action, payload in actions
        ]
    )


class Clerks:
    """People who answer by what they are asked, after a turn of the event loop, and note that they were asked."""

    def __init__(self, directory: Path) -> None:
        self._journal = Journal(directory / "journal.jsonl")

    async def request_approval(self, request: ApprovalRequest) -> ApprovalDecision:
        self._journal.note("asked", request_id=request.request_id)
        await asyncio.sleep(0)
        refused = request.arguments.get("item") == "1.3"
        return ApprovalDecision(outcome="denied" if refused else "granted", by="ann", reason="too dear" if refused else None)

    async def request_input(self, request: InputRequest) -> InputDecision:
        self._journal.note("asked", request_id=request.request_id)
        await asyncio.sleep(0)
        return InputDecision(outcome="answered", by="ann", value="chosen by ann")


async def answer_from_outside(runner: Runner, result: AgentResult) -> bool:
    """One request at a time, as the command line does it."""
    for request in (await runner.pending_requests(run_id=result.run_id))[:1]:
        if request.kind == "input":
            await runner.answer(run_id=request.run_id, request_id=request.request_id, value="chosen by bob", by="bob")
        else:
            await runner.approve(run_id=request.run_id, request_id=request.request_id, by="bob")
    return True


async def _pause_by_letter(runner: Runner, handle: AgentRunHandle) -> None:
    attached = await runner.attach(run_id=handle.run_id, by="bob")
    async for event in handle.events:
        if event.type == "tool_started" and not await runner.log.posted():
            await attached.pause()
        elif event.type == "control_requested" and event.data["action"] == "pause":
            await attached.resume()


async def _cancel_by_letter(runner: Runner, handle: AgentRunHandle) -> None:
    attached = await runner.attach(run_id=handle.run_id, by="bob")
    async for event in handle.events:
        if event.type == "tool_started" and not await runner.log.posted():
            await attached.cancel("enough")


def _endless(directory: Path) -> Agent:
    journal = Journal(directory / "journal.jsonl")

    @tool
    async def order(item: str, ctx: ToolContext) -> str:
        """Take effect, and do not return."""
        journal.note("order", ctx, item=item)
        await asyncio.Event().wait()
        return "never"

    return Agent(name="clerk", model=ScriptedModel(planned([["order"]])), tools=[order])


_MIXED: Plan = [["look", "put", "pay"]]
_RETRY = FailSafeConfig(tool_failure_policy="retry_then_continue")

SCENARIOS: dict[str, CrashScenario] = {
    "plain answer": CrashScenario(agent=agent([]), user_message="Hello"),
    "sequential tools": CrashScenario(agent=agent([["pay"], ["look"], ["put"]]), user_message="Do it"),
    "parallel tools": CrashScenario(agent=agent([["pay", "pay", "pay"]]), user_message="Do it"),
    "mixed tools": CrashScenario(agent=agent([["look"], *_MIXED]), user_message="Do it"),
    "two at a time": CrashScenario(agent=agent([["pay", "put", "look", "pay"]], tool_parallelism=2), user_message="Do it"),
    "a tool in a thread": CrashScenario(agent=agent([["slow_pay"]]), user_message="Do it"),
    "denied by policy": CrashScenario(agent=agent(_MIXED), user_message="Do it", policy_engine=_NO_PAYING),
    "a failing tool": CrashScenario(agent=agent([["broken"], ["broken", "put"]]), user_message="Do it"),
    "a flaky tool": CrashScenario(agent=agent([["flaky", "pay"]], fail_times=2, fail_safe=_RETRY), user_message="Do it"),
    "a failing model": CrashScenario(agent=agent([["pay"]], wrap=failing_at_first), user_message="Do it"),
    "a fallback model": CrashScenario(
        agent=agent(
            [["pay"]],
            wrap=never_there,
            fail_safe=FailSafeConfig(fallback_model_chain=(ScriptedModel(planned([["pay"]]), model="scripted-2"),)),
        ),
        user_message="Do it",
    ),
    "a breaker that opens": CrashScenario(
        agent=agent(
            [["pay"], ["put"], ["pay"]],
            wrap=never_there,
            fail_safe=FailSafeConfig(
                breaker_failure_threshold=4,
                fallback_model_chain=(ScriptedModel(planned([["pay"], ["put"], ["pay"]]), model="scripted-2"),),
            ),
        ),
        user_message="Do it",
    ),
    "a breaker and nobody else": CrashScenario(
        agent=agent([["pay"]], wrap=never_there, fail_safe=FailSafeConfig(breaker_failure_threshold=2)), user_message="Do it"
    ),
    "a chain of a builder": CrashScenario(agent=_chain, user_message="Do it"),
    "an image": CrashScenario(
        agent=agent([["put"]]), user_message=["Do it", Image(data=b"\x89PNG\r\n\x1a\n"), Image(url="https://example.org/a.png")]
    ),
    "no model at all": CrashScenario(agent=agent([["pay"]], wrap=never_there), user_message="Do it"),
    "reopened after a tool": CrashScenario(
        agent=agent([["look"], ["pay", "broken", "put"]], tool_parallelism=1, fail_safe=FailSafeConfig(tool_failure_policy="fail_run")),
        user_message="Do it",
        reopenings=1,
    ),
    "reopened without a model": CrashScenario(
        agent=agent([["pay"]], wrap=never_there, fail_safe=FailSafeConfig(breaker_failure_threshold=2)), user_message="Do it", reopenings=2
    ),
    "reopened at a limit": CrashScenario(
        agent=agent([["pay"], ["put"]], fail_safe=FailSafeConfig(max_llm_calls=2)), user_message="Do it", reopenings=1
    ),
    "structured output": CrashScenario(agent=_verdict, user_message="Judge"),
    "dynamic instructions": CrashScenario(agent=_dynamic, user_message="Do it", context={"customer": "Ada"}),
    "second run of a thread": CrashScenario(
        agent=agent([["put"]]), user_message="The second.", thread_id="thread_of_two", before=first_run
    ),
    "a tool in the background": CrashScenario(agent=background("A"), user_message="Do it", beside=deliver, config=_LOOKING),
    "results waited for one by one": CrashScenario(agent=background("A", "B"), user_message="Do it", beside=deliver, config=_LOOKING),
    "results waited for together": CrashScenario(
        agent=background("A", "B", "C"),
        user_message="Do it",
        beside=deliver,
        config=RunnerConfig(background_tool_poll_interval_s=60, background_tool_interrupt_on_resolve=False),
    ),
    "results within the grace": CrashScenario(
        agent=background("A"),
        user_message="Do it",
        beside=deliver,
        config=RunnerConfig(background_tool_poll_interval_s=60, background_tool_default_grace_s=60),
    ),
    "a grace that passes": CrashScenario(
        agent=background("A"),
        user_message="Do it",
        config=RunnerConfig(background_tool_default_grace_s=60, background_tool_at_end="report"),
        passing=("retry", "grace"),
    ),
    "a ticket that expires": CrashScenario(agent=background("A", "B"), user_message="Do it", passing=("retry", "expiry")),
    "laid down with a ticket": CrashScenario(
        agent=background("A"), user_message="Do it", config=RunnerConfig(background_tool_at_end="park")
    ),
    "a deferral beyond the maximum": CrashScenario(
        agent=background("A", "B"),
        user_message="Do it",
        config=RunnerConfig(background_tool_max_pending=1, background_tool_at_end="report"),
    ),
    "call limit": CrashScenario(agent=agent([["pay", "put", "pay"]], fail_safe=FailSafeConfig(max_tool_calls=2)), user_message="Do it"),
    "exact model limit": CrashScenario(agent=agent([["pay"], ["put"]], fail_safe=FailSafeConfig(max_llm_calls=3)), user_message="Do it"),
    "a tool that fails the run": CrashScenario(
        agent=agent([["broken", "put", "pay"]], fail_safe=FailSafeConfig(tool_failure_policy="fail_run")), user_message="Do it"
    ),
    "a tool that degrades the run": CrashScenario(
        agent=agent([["broken", "put"], ["pay"]], fail_safe=FailSafeConfig(tool_failure_policy="degrade")), user_message="Do it"
    ),
    "cost limit": CrashScenario(agent=agent([["pay"], ["put"]], fail_safe=FailSafeConfig(max_total_cost_usd=0.02)), user_message="Do it"),
    "paused": CrashScenario(agent=agent([["pay", "put"]]), user_message="Do it", control=_pause_in_the_middle),
    "cancelled": CrashScenario(agent=agent([["put", "pay"]]), user_message="Do it", control=_cancel_in_the_first_tool),
    "retry what is in doubt": CrashScenario(agent=agent([["pay"], *_MIXED]), user_message="Do it", config=RunnerConfig(in_doubt="retry")),
    "compacted by a function": CrashScenario(
        agent=going_by_words(_STEPS), user_message="Do it", config=keeping(in_a_few_words, max_messages=4)
    ),
    "compacted by a model": CrashScenario(
        agent=going_by_words(_STEPS), user_message="Do it", config=keeping(ScriptedModel(in_a_models_words), max_messages=4)
    ),
    "a summariser that fails": CrashScenario(
        agent=going_by_words(_STEPS[:3]), user_message="Do it", config=keeping(ScriptedModel(_overloaded_at_first), max_messages=4)
    ),
    "a thread whose turns are dropped": CrashScenario(
        agent=agent([["put"]]), user_message="More.", thread_id="thread_of_four", before=_some_runs, config=keeping(None, max_turns=2)
    ),
    "a thread that is compacted": CrashScenario(
        agent=agent([]),
        thread_id="thread_of_four",
        before=_some_runs,
        compact=RetentionPolicy(max_turns=1, summariser=ScriptedModel(in_a_models_words)),
    ),
    "ask about what is in doubt": CrashScenario(agent=agent(_MIXED), user_message="Do it", config=RunnerConfig(in_doubt="ask")),
    "ask a person about what is in doubt": CrashScenario(
        agent=agent([["pay", "put"], ["pay"]]),
        user_message="Do it",
        config=RunnerConfig(in_doubt="ask", interaction_mode="interactive"),
        people=Clerks,
    ),
    "a person approves and denies": CrashScenario(
        agent=agent([["pay", "put", "pay"], ["look"]]),
        user_message="Do it",
        policy_engine=ruled(("pay", "request_approval", {"amount": 3})),
        config=RunnerConfig(interaction_mode="interactive"),
        people=Clerks,
    ),
    "a person gives words": CrashScenario(
        agent=agent([["pay", "put"], ["look"]]),
        user_message="Do it",
        policy_engine=ruled(
            ("pay", "request_user_input", {"argument": "item"}), ("look", "request_user_input", {"prompt": "What is there?"})
        ),
        config=RunnerConfig(interaction_mode="interactive"),
        people=Clerks,
    ),
    "answered from outside": CrashScenario(
        agent=agent([["pay", "put", "pay"], ["look"]]),
        user_message="Do it",
        policy_engine=ruled(("pay", "request_approval", {}), ("look", "request_user_input", {})),
        config=RunnerConfig(interaction_mode="external"),
        answer=answer_from_outside,
    ),
    "put off by a rule": CrashScenario(
        agent=agent([["pay", "put"]]), user_message="Do it", policy_engine=ruled(("pay", "defer", {})), answer=answer_from_outside
    ),
    "paused by letter": CrashScenario(
        agent=agent([["pay", "put"], ["look"]]), user_message="Do it", beside=_pause_by_letter, config=_LOOKING
    ),
    "cancelled by letter": CrashScenario(agent=_endless, user_message="Do it", beside=_cancel_by_letter, config=_LOOKING),
}
